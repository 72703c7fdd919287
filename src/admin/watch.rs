//! `oms order watch`: an order's timeline as it grows, until the order ends.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::order::path;
use super::{render, say};
use crate::http::{Api, ApiError, Call, Order, Page, TimelineEntry};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many looks in a row may fail before the watch gives up: about a minute.
const FAILURES_MAX: u32 = 120;

/// Follows the order. On a terminal the last line shows where it stands; elsewhere only what happens is printed.
pub(super) async fn run(id: &str, api: &Api, json: bool) -> anyhow::Result<()> {
    let line = ProgressBar::no_length();
    if json || !std::io::stdout().is_terminal() {
        line.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        line.set_style(style);
    }
    line.enable_steady_tick(Duration::from_millis(120));
    let watched = follow(id, api, json, &line).await;
    line.finish_and_clear();
    let last = watched?;
    if !json {
        say(&render::order(&last));
    }
    Ok(())
}

async fn follow(id: &str, api: &Api, json: bool, line: &ProgressBar) -> Result<Order, ApiError> {
    let mut told = 0;
    let mut failures = 0;
    loop {
        match look(id, api).await {
            Ok((order, entries)) => {
                failures = 0;
                for entry in entries.iter().skip(told) {
                    tell(api, entry, json, line)?;
                }
                told = told.max(entries.len());
                line.set_message(format!("order {id}  {}", order.standing()));
                if order.has_ended() {
                    return Ok(order);
                }
            }
            Err(error) if error.may_pass() && failures < FAILURES_MAX => {
                failures += 1;
                line.set_message(format!("order {id}  no answer, looking again: {error}"));
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The order first and its timeline second: when the order has ended, its timeline is complete.
async fn look(id: &str, api: &Api) -> Result<(Order, Vec<Value>), ApiError> {
    let order = api.ask(Call::get(path(id))).await?;
    let timeline: Page<Value> = api.ask(Call::get(format!("{}/timeline", path(id)))).await?;
    Ok((order, timeline.data))
}

fn tell(api: &Api, entry: &Value, json: bool, line: &ProgressBar) -> Result<(), ApiError> {
    let text = if json { entry.to_string() } else { render::happening(&api.typed::<TimelineEntry>(entry.clone())?) };
    if line.is_hidden() {
        say(&text)
    } else {
        line.suspend(|| say(&text))
    }
    Ok(())
}
