//! What `/metrics` tells of orders: counted from SQL at most every few seconds, and never a reason for a scrape to fail.

use std::fmt::{Display, Write};
use std::time::{Duration, Instant};

use oms_store::{CircuitState, Result, Store};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Counts are good for this long.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// A count may take this long; then the scrape gets the last ones.
const COUNT_MAX: Duration = Duration::from_secs(2);

/// The last counts, as Prometheus reads them.
#[derive(Default)]
pub(crate) struct Gauges {
    last: Mutex<Option<(Instant, String)>>,
}

impl Gauges {
    /// The counts, at most a few seconds old; older ones, or none, while the database does not answer.
    pub(crate) async fn render(&self, store: &Store, now: oms_domain::Instant) -> String {
        let mut last = self.last.lock().await;
        if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR) {
            return text.clone();
        }
        let text = match timeout(COUNT_MAX, count(store, now)).await {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                tracing::debug!(%error, "orders could not be counted");
                last.take().map(|(_, text)| text).unwrap_or_default()
            }
            Err(_) => last.take().map(|(_, text)| text).unwrap_or_default(),
        };
        // a database that is away is not asked at every scrape either
        *last = Some((Instant::now(), text.clone()));
        text
    }
}

async fn count(store: &Store, now: oms_domain::Instant) -> Result<String> {
    let mut text = String::new();
    let rows = store.count_orders_by_status().await?;
    family(&mut text, "oms_orders", "Orders by status", rows.iter().map(|(s, n)| (label("status", s), *n)));
    let rows = store.count_stuck_by_status().await?;
    let stuck = rows.iter().map(|(s, n)| (label("stage", s), *n));
    family(&mut text, "oms_orders_stuck", "Orders that stand still or that nobody answers for, by the status they are in", stuck);
    let rows = store.count_open_items().await?;
    family(&mut text, "oms_review_items_open", "Open review items by kind", rows.iter().map(|(k, n)| (label("kind", k), *n)));
    let rows = store.count_open_orders_by_shape_and_build().await?;
    let versions = rows.iter().map(|open| {
        let build = label("build", open.build.as_deref().unwrap_or("none"));
        (format!("{},{build}", label("shape", open.shape)), open.count)
    });
    family(
        &mut text,
        "oms_orders_open",
        "Open orders by the shape of their workflow and the build that wrote them last",
        versions,
    );
    let waiting = [(label("for", "sinks"), store.count_unpublished_events().await?)];
    family(&mut text, "oms_events_waiting", "Events that have not reached every sink yet", waiting.into_iter());
    let circuits = store.circuits(now).await?;
    let open = circuits.iter().map(|c| (label("party", c.party.as_str()), u64::from(c.state == CircuitState::Open)));
    family(&mut text, "oms_circuit_open", "Parties that are left alone because they fail", open);
    let parked = circuits.iter().map(|c| (label("party", c.party.as_str()), c.parked));
    family(&mut text, "oms_circuit_parked", "Calls that wait until their party may be called", parked);
    Ok(text)
}

fn family(text: &mut String, name: &str, help: &str, rows: impl Iterator<Item = (String, u64)>) {
    // writing to a text cannot fail
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, count) in rows {
        let _ = writeln!(text, "{name}{{{labels}}} {count}");
    }
}

fn label(name: &str, value: impl Display) -> String {
    let value = value.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(label("kind", "a\"b\\c\nd"), r#"kind="a\"b\\c\nd""#);
        let mut text = String::new();
        family(&mut text, "oms_x", "Xs", [(label("a", 1), 2)].into_iter());
        assert_eq!(text, "# HELP oms_x Xs\n# TYPE oms_x gauge\noms_x{a=\"1\"} 2\n");
    }
}
