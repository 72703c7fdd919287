//! `oms doctor`: what is reachable and what is not, each failing line with its remedy.

mod database;
mod engine;
mod parties;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use oms_domain::party::Party;
use oms_gateways::faults::FaultMode;
use oms_gateways::sandbox::{LEDGER_FILE, Sandbox};
use serde_json::json;

use crate::settings::{ApiSection, Settings, redacted};
use crate::wiring;

/// One check may take this long.
const CHECK_MAX: Duration = Duration::from_secs(6);

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Good,
    /// Not running, which is no fault: a command of ours starts it.
    Off,
    /// It works, but somebody should know.
    Warn,
    /// In the way.
    Bad,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    state: State,
    subject: &'static str,
    detail: String,
}

impl Finding {
    fn good(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { state: State::Good, subject, detail: detail.into() }
    }

    fn off(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { state: State::Off, subject, detail: detail.into() }
    }

    fn warn(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { state: State::Warn, subject, detail: detail.into() }
    }

    fn bad(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { state: State::Bad, subject, detail: detail.into() }
    }
}

/// Looks at everything and prints the table; exit code 1 if a line is bad.
pub(crate) async fn run(settings: Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let (database, engine, payment, carrier, mail, sms, redis, sinks, sandbox, api) = tokio::join!(
        within("database", database::examine(&settings)),
        engine::examine(&settings),
        within("payment", parties::payment(&settings)),
        within("carrier", parties::carrier(&settings)),
        within("mail", parties::mail(&settings)),
        within("sms", parties::sms(&settings)),
        within("Redis", redis(&settings)),
        sinks(&settings),
        sandbox(&settings),
        within("API", api(&settings)),
    );
    let mut findings = vec![sources(&settings), listener(settings.api), data_dir(&settings.data_dir), database];
    findings.extend(engine);
    findings.extend([payment, carrier, mail, sms, redis]);
    findings.extend(sinks);
    findings.extend(parties::in_public(&settings));
    findings.extend(sandbox);
    findings.push(api);
    print!("{}", if as_json { as_document(&findings) } else { as_table(&findings) });
    let bad = findings.iter().any(|f| f.state == State::Bad);
    Ok(ExitCode::from(u8::from(bad)))
}

async fn within(subject: &'static str, check: impl Future<Output = Finding>) -> Finding {
    let silent = || Finding::bad(subject, format!("no answer within {} s: look at its log", CHECK_MAX.as_secs()));
    tokio::time::timeout(CHECK_MAX, check).await.unwrap_or_else(|_| silent())
}

fn as_table(findings: &[Finding]) -> String {
    let mut table = String::new();
    for finding in findings {
        let state = match finding.state {
            State::Good => "ok",
            State::Off => "off",
            State::Warn => "WARN",
            State::Bad => "FAIL",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{state:4}  {:18}  {}", finding.subject, finding.detail);
    }
    table
}

fn as_document(findings: &[Finding]) -> String {
    let rows: Vec<_> = findings
        .iter()
        .map(|f| {
            let state = match f.state {
                State::Good => "ok",
                State::Off => "off",
                State::Warn => "warn",
                State::Bad => "fail",
            };
            json!({"subject": f.subject, "state": state, "detail": f.detail})
        })
        .collect();
    format!("{:#}\n", json!({"ok": findings.iter().all(|f| f.state != State::Bad), "checks": rows}))
}

fn sources(settings: &Settings) -> Finding {
    let mut changed: Vec<String> =
        settings.layers().entries().map(|(_, e)| e.origin.to_string()).filter(|o| o != "default").collect();
    changed.sort();
    changed.dedup();
    let detail = if changed.is_empty() { "all defaults".to_owned() } else { format!("changed by {}", changed.join(", ")) };
    Finding::good("settings", detail)
}

fn listener(api: ApiSection) -> Finding {
    match api.check_listener() {
        Ok(()) => Finding::good("listener", api.listen.to_string()),
        Err(error) => Finding::bad("listener", error.to_string()),
    }
}

fn data_dir(dir: &Path) -> Finding {
    let shown = dir.display();
    if !dir.exists() {
        return Finding::off("data directory", format!("{shown} does not exist yet: `oms up` or `oms demo` makes it"));
    }
    let probe = dir.join(format!("doctor-{}", std::process::id()));
    match OpenOptions::new().write(true).create_new(true).open(&probe).and_then(|_| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::good("data directory", shown.to_string()),
        Err(e) => Finding::bad(
            "data directory",
            format!("{shown} is not writable ({e}): make it so, or choose another with OMS__DATA_DIR"),
        ),
    }
}

/// Where events go, each asked for itself.
async fn sinks(settings: &Settings) -> Vec<Finding> {
    let asked = wiring::sinks(settings).into_iter().map(|sink| async move {
        let subject = match sink.name() {
            "rabbitmq" => "events to RabbitMQ",
            "redis" => "events to Redis",
            "kafka" => "events to Kafka",
            // a file in the data directory, which has a line of its own
            _ => return None,
        };
        let answer = tokio::time::timeout(CHECK_MAX, sink.check()).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", CHECK_MAX.as_secs())));
        Some(match answer {
            Ok(()) => Finding::good(subject, "it answers"),
            Err(why) => Finding::bad(subject, format!("{why}: start it, or correct its settings; events wait meanwhile")),
        })
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// What replicas of the API share. Without it they go by themselves, so its absence is no failure.
async fn redis(settings: &Settings) -> Finding {
    let Some(redis) = &settings.redis else {
        return Finding::off("Redis", "not set: every API process goes by itself; REDIS_URL lets them share");
    };
    let shown = redacted("redis.url", &redis.url);
    match oms_gateways::replicas::check(&redis.url).await {
        Ok(()) => Finding::good("Redis", format!("{shown} answers")),
        Err(why) => Finding::warn("Redis", format!("{shown}: {why}: every API process goes by itself until it is started")),
    }
}

async fn sandbox(settings: &Settings) -> Vec<Finding> {
    let played = settings.sandboxed();
    if played.is_empty() {
        return Vec::new();
    }
    if !settings.data_dir.join(LEDGER_FILE).exists() {
        return vec![Finding::off("sandbox", "no ledger yet: the first start makes it")];
    }
    let sandbox = match Sandbox::open(&settings.data_dir).await {
        Ok(sandbox) => sandbox,
        Err(error) => return vec![Finding::bad("sandbox", error.to_string())],
    };
    let mut findings = Vec::new();
    for party in played {
        let name = match party {
            Party::Payment => "sandbox payment",
            Party::Carrier => "sandbox carrier",
            Party::Mail => "sandbox mail",
            Party::Sms => "sandbox sms",
        };
        findings.push(match sandbox.faults.get(party).await {
            Ok(fault) if fault.mode == FaultMode::None => Finding::good(name, "works"),
            Ok(fault) => {
                let remedy = format!("PUT /v1/sandbox/faults/{} {{\"mode\":\"none\"}} ends it", party.as_str());
                Finding::bad(name, format!("fault `{}` is switched on: {remedy}", fault.mode.as_str()))
            }
            Err(error) => Finding::bad(name, error.to_string()),
        });
    }
    sandbox.close().await;
    findings
}

async fn api(settings: &Settings) -> Finding {
    let base = settings.api_target(None).base_url;
    let answer = match reqwest::get(format!("{base}/readyz")).await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => {
            return Finding::off("API", format!("nobody listens at {base}: `oms up`, `oms demo` or `oms api` starts it"));
        }
        Err(error) => return Finding::bad("API", format!("{base} cannot be asked ({error}): see who listens there")),
    };
    if answer.status().is_success() {
        Finding::good("API", format!("{base} is ready"))
    } else {
        let status = answer.status().as_u16();
        Finding::bad("API", format!("{base}/readyz answers {status}: the lines above, or its log, tell why"))
    }
}

#[cfg(test)]
mod tests;
