//! Tables that operators read, compared with the code that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use oms_contract::failure::{FailureKind, RetryClass};
use oms_contract::names::Queue;
use oms_contract::start::{Deadlines, Patience};
use oms_workflows::policy;
use oms_workflows::saga::{Class, Step};
use temporalio_workflow::{RetryPolicy, WorkflowCancellationToken};

use crate::architecture::{table, text};

/// The last rows of docs/retries.md say how a retry policy repeats.
type Repeats = Vec<(String, String)>;

fn span(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn patience(name: &str, patience: &Patience) -> Duration {
    match name {
        "first" => patience.first,
        "most" => patience.most,
        "sql_attempt" => patience.sql_attempt,
        "gateway_attempt" => patience.gateway_attempt,
        "local_record" => patience.local_record,
        other => panic!("no such setting: {other}"),
    }
}

fn deadline(name: &str, deadlines: &Deadlines) -> Duration {
    match name {
        "reservation" => deadlines.reservation,
        "payment_action" => deadlines.payment_action,
        "no_scan" => deadlines.no_scan,
        "stuck" => deadlines.stuck,
        "hold" => deadlines.hold,
        "capture_retry" => deadlines.capture_retry,
        "defect_retry" => deadlines.defect_retry,
        "review" => deadlines.review,
        "backorder_max" => deadlines.backorder_max,
        "decision" => deadlines.decision,
        "change_window" => deadlines.change_window,
        "reauthorize_before" => deadlines.reauthorize_before,
        "return" => deadlines.return_,
        "unanswered" => deadlines.unanswered,
        other => panic!("no such setting: {other}"),
    }
}

/// The fields of a contract struct, so that a new one cannot be missing from a table.
fn fields(value: impl serde::Serialize) -> Vec<String> {
    serde_json::to_value(value).unwrap().as_object().unwrap().keys().cloned().collect()
}

/// The values of a section of the compiled-in settings.
fn settings(section: &str) -> BTreeMap<String, String> {
    let file = text("src/oms.default.toml");
    let lines = file.lines().skip_while(|line| *line != format!("[{section}]")).skip(1).take_while(|line| !line.starts_with('['));
    let pair = |line: &str| {
        let (key, value) = line.split_once(" = ")?;
        (!key.starts_with('#')).then(|| (key.to_owned(), value.trim_matches('"').to_owned()))
    };
    lines.filter_map(pair).collect()
}

#[test]
fn failure_kinds_are_the_documented_ones() {
    let rows = table(&text("docs/retries.md"), &["Failure", "When", "What the engine does"]);
    let documented: Vec<(&str, &str)> = rows.iter().map(|row| (row[0].as_str(), row[2].as_str())).collect();
    let known = FailureKind::ALL.map(|kind| {
        let does = match kind.retry() {
            RetryClass::WithoutEnd => "tries again, without end",
            RetryClass::AfterAPerson => "stops; needs_attention; asked again after defect_retry",
        };
        (kind.name(), does)
    });
    assert_eq!(documented, known);
}

#[test]
fn queues_are_as_patient_as_documented() {
    let rows = table(&text("docs/retries.md"), &["Queue", "Activities", "One attempt may take", "Setting"]);
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, Queue::ALL.map(Queue::name));
    for row in &rows {
        let (queue, defaults) = (Queue::parse(&row[0]).unwrap(), Patience::default());
        assert_eq!(policy::attempt(queue, &defaults), span(&row[2]), "{row:?}");
        let setting = row[3].trim_start_matches("retry.");
        assert_eq!(policy::attempt(queue, &defaults), patience(setting, &defaults), "{row:?}");
        // the setting that is named is the one that counts, not one with the same default
        let mut slow = defaults;
        match setting {
            "sql_attempt" => slow.sql_attempt = Duration::from_secs(99),
            "gateway_attempt" => slow.gateway_attempt = Duration::from_secs(99),
            other => panic!("{other} is no attempt limit"),
        }
        assert_eq!(policy::attempt(queue, &slow), Duration::from_secs(99), "{row:?}");
    }
}

#[test]
fn pauses_and_deadlines_default_to_what_is_documented_and_to_what_is_compiled_in() {
    let document = text("docs/retries.md");
    let (retry, deadlines) = (settings("retry"), settings("deadlines"));
    let rows = table(&document, &["Retry setting", "Default", "Meaning"]);
    let mut named: Vec<String> = Vec::new();
    for row in &rows {
        let name = row[0].trim_start_matches("retry.");
        let default = patience(name, &Patience::default());
        assert_eq!(default, span(&row[1]), "{row:?}");
        assert_eq!(default, span(&retry[name]), "{name} in src/oms.default.toml");
        named.push(name.to_owned());
    }
    named.sort();
    assert_eq!(named, fields(Patience::default()));
    let rows = table(&document, &["Deadline", "Default", "What happens then"]);
    let mut named: Vec<String> = Vec::new();
    for row in &rows {
        let name = row[0].trim_start_matches("deadlines.");
        let default = deadline(name, &Deadlines::default());
        assert_eq!(default, span(&row[1]), "{row:?}");
        assert_eq!(default, span(&deadlines[name]), "{name} in src/oms.default.toml");
        named.push(name.to_owned());
    }
    named.sort();
    assert_eq!(named, fields(Deadlines::default()));
}

/// A retry policy in the words of the document.
fn told(policy: &RetryPolicy) -> Repeats {
    let most = policy.maximum_interval().map_or_else(|| "none".to_owned(), |most| humantime::format_duration(most).to_string());
    let attempts = match policy.maximum_attempts() {
        0 => "no limit".to_owned(),
        n => n.to_string(),
    };
    [
        ("first pause", humantime::format_duration(policy.initial_interval()).to_string()),
        ("growth", policy.backoff_coefficient().to_string()),
        ("longest pause", most),
        ("attempts", attempts),
        ("never repeated", policy.non_retryable_error_types().join(", ")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

#[test]
fn retry_policies_are_the_documented_ones() {
    let rows = table(&text("docs/retries.md"), &["Policy", "On a queue", "Local record"]);
    let column = |at: usize| -> Repeats { rows.iter().map(|row| (row[0].clone(), row[at].clone())).collect() };
    let defaults = Patience::default();
    for queue in Queue::ALL {
        let options = policy::activity(queue, &defaults, String::new(), WorkflowCancellationToken::new());
        assert_eq!(column(1), told(options.retry_policy.as_ref().unwrap()), "{}", queue.name());
        assert_eq!(options.task_queue.as_deref(), Some(queue.name()));
    }
    let local = policy::local_record(&defaults, WorkflowCancellationToken::new());
    assert_eq!(column(2), told(&local.retry_policy));
    assert_eq!(local.schedule_to_close_timeout, Some(defaults.local_record));
}

#[test]
fn the_saga_is_the_documented_one() {
    let header = ["Step", "Activity", "Queue", "Class", "Undo", "Waits for holds"];
    let documented = table(&text("ARCHITECTURE.md"), &header);
    let known: Vec<Vec<String>> = Step::ALL
        .map(|step| {
            let class = match step.class() {
                Class::Compensable => "compensable",
                Class::Pivot => "pivot",
                Class::Retriable => "retriable",
            };
            // the pivot is reported, not done by us
            let queue = if step.activity().is_some() { step.queue().name() } else { "-" };
            let undo = step.undo().map_or("-", |undo| undo.activity());
            let waits = if step.waits_for_holds() { "yes" } else { "no" };
            [&*format!("{step:?}"), step.activity().unwrap_or("-"), queue, class, undo, waits].map(ToOwned::to_owned).to_vec()
        })
        .to_vec();
    assert_eq!(documented, known);
    for undo in Step::ALL.into_iter().filter_map(|step| Some((step.queue(), step.undo()?))) {
        assert_eq!(undo.0, undo.1.queue(), "a step and its undo meet the same party");
    }
}
