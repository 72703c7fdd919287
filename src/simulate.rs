//! The simulated warehouse and carrier: they see and act only through the public API, as their real counterparts would.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::http::{Api, ApiError, ApiTarget, Call, Order, Page, now, segment};

/// How long a parcel stays at one step.
const STEP: Duration = Duration::from_millis(1500);
/// Pause after a look that failed.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Reports under way at once.
const REPORTS_AT_ONCE: usize = 6;
/// Orders whose parcels may still move.
const MOVING: [&str; 3] = ["confirmed", "partially_shipped", "shipped"];
/// The channel of orders whose parcels the simulation leaves to others.
pub(crate) const LEFT_ALONE: &str = "demo-lost";
/// Pages looked at per status and round; what is beyond comes when the first have left.
const PAGES_MAX: usize = 10;

/// Plays warehouse and carrier at a human pace until stopped. Errors are logged and tried again, never the end of it.
pub(crate) async fn run(base_url: String, stop: CancellationToken) {
    run_paced(base_url, STEP, stop).await;
}

/// As [`run`], with `step` between two reports about one parcel.
pub(crate) async fn run_paced(base_url: String, step: Duration, stop: CancellationToken) {
    let api = match Api::new(&ApiTarget { base_url }) {
        Ok(api) => api,
        Err(error) => {
            tracing::error!(%error, "the simulated warehouse cannot start");
            return;
        }
    };
    let mut floor = Floor { step, since: BTreeMap::new() };
    let mut pause = step / 2;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        // a round that is cut off is harmless: event ids repeat
        let round = tokio::select! {
            () = stop.cancelled() => return,
            round = floor.round(&api) => round,
        };
        pause = match round {
            Ok(()) => step / 2,
            Err(error) => {
                tracing::debug!(%error, "the simulated warehouse looks again later");
                (pause * 2).min(PAUSE_MAX)
            }
        };
    }
}

/// What the warehouse remembers: since when each parcel is where it is.
struct Floor {
    step: Duration,
    since: BTreeMap<String, (String, Instant)>,
}

/// One report that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    shipment: String,
    kind: ScanType,
}

impl Floor {
    async fn round(&mut self, api: &Api) -> Result<(), ApiError> {
        let mut orders = Vec::new();
        for status in MOVING {
            let mut cursor: Option<String> = None;
            for _ in 0..PAGES_MAX {
                let mut call = Call::get("/v1/orders").with("status", status).with("limit", 100);
                if let Some(cursor) = &cursor {
                    call = call.with("cursor", cursor);
                }
                let page: Page<Order> = api.ask(call).await?;
                orders.extend(page.data);
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let due = self.due(&orders, Instant::now());
        futures::stream::iter(due)
            .for_each_concurrent(REPORTS_AT_ONCE, |report| async move {
                if let Err(error) = send(api, &report).await {
                    tracing::debug!(%error, shipment = report.shipment, "a report was not taken; it is made again");
                }
            })
            .await;
        Ok(())
    }

    /// The reports that are due: each parcel stays `step` at each place, and nothing moves under a hold or on a channel that is left
    /// alone.
    fn due(&mut self, orders: &[Order], at: Instant) -> Vec<Report> {
        let mut seen = BTreeMap::new();
        let mut due = Vec::new();
        let ours = |o: &&Order| o.holds.is_empty() && o.channel.as_deref() != Some(LEFT_ALONE);
        for shipment in orders.iter().filter(ours).flat_map(|o| &o.shipments) {
            let Some(kind) = next(&shipment.status) else { continue };
            let since = match self.since.get(&shipment.id) {
                Some((status, since)) if *status == shipment.status => *since,
                _ => at,
            };
            seen.insert(shipment.id.clone(), (shipment.status.clone(), since));
            if at.duration_since(since) >= self.step {
                due.push(Report { shipment: shipment.id.clone(), kind });
            }
        }
        self.since = seen;
        due
    }
}

/// What is reported next of a parcel with this status. A parcel without a courier waits for one; a lost one stays lost.
fn next(status: &str) -> Option<ScanType> {
    match ShipmentStatus::parse(status)? {
        ShipmentStatus::Booked => Some(ScanType::Picked),
        ShipmentStatus::Picked => Some(ScanType::Packed),
        ShipmentStatus::Packed => Some(ScanType::Shipped),
        ShipmentStatus::Shipped => Some(ScanType::InTransit),
        ShipmentStatus::InTransit => Some(ScanType::Delivered),
        ShipmentStatus::Pending
        | ShipmentStatus::Lost
        | ShipmentStatus::Delivered
        | ShipmentStatus::ReturnedToSender
        | ShipmentStatus::Cancelled => None,
    }
}

async fn send(api: &Api, report: &Report) -> Result<(), ApiError> {
    let kind = report.kind.as_str();
    let path = format!("/v1/shipments/{}/events", segment(&report.shipment));
    // the same report has the same id in every life of the simulator, so a repeat is a duplicate
    let body = json!({"event_id": format!("simulator-{kind}"), "type": kind, "occurred_at": now()});
    api.send(Call::post(path, body)).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::{RawQuery, State};
    use axum::http::StatusCode;
    use serde_json::Value;
    use std::sync::{Arc, Mutex};

    fn order(status: &str, held: bool) -> Order {
        serde_json::from_value(body(status, held)).unwrap()
    }

    fn body(status: &str, held: bool) -> Value {
        let eur = json!({"amount": 1, "currency": "EUR"});
        let holds = if held { json!([{"id": "h", "kind": "fraud", "reason": "r"}]) } else { json!([]) };
        json!({
            "id": "o", "status": "confirmed", "placed_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
            "totals": {"subtotal": eur, "shipping": eur, "tax": eur, "total": eur, "authorized": eur, "captured": eur, "refunded": eur},
            "shipments": [{"id": "o-1", "location": "berlin", "status": status}], "holds": holds
        })
    }

    #[test]
    fn a_parcel_moves_one_step_at_a_time_and_stays_at_each() {
        let mut floor = Floor { step: Duration::from_secs(1), since: BTreeMap::new() };
        let start = Instant::now();
        assert!(floor.due(&[order("booked", false)], start).is_empty(), "it was only seen now");
        let after = |s: u64| start + Duration::from_secs(s);
        let picked = vec![Report { shipment: "o-1".to_owned(), kind: ScanType::Picked }];
        assert_eq!(floor.due(&[order("booked", false)], after(1)), picked);
        assert_eq!(floor.due(&[order("booked", false)], after(2)), picked, "a lost report is made again");
        assert!(floor.due(&[order("picked", false)], after(2)).is_empty());
        assert_eq!(floor.due(&[order("picked", false)], after(3))[0].kind, ScanType::Packed);
    }

    #[test]
    fn nothing_moves_under_a_hold_or_without_a_courier() {
        let mut floor = Floor { step: Duration::ZERO, since: BTreeMap::new() };
        for (status, held) in [("booked", true), ("shipped", true), ("pending", false), ("lost", false), ("delivered", false)] {
            assert!(floor.due(&[order(status, held)], Instant::now()).is_empty(), "{status}");
        }
        assert_eq!(floor.due(&[order("in_transit", false)], Instant::now())[0].kind, ScanType::Delivered);
        let left_alone = Order { channel: Some(LEFT_ALONE.to_owned()), ..order("in_transit", false) };
        assert!(floor.due(&[left_alone], Instant::now()).is_empty());
    }

    /// An API with one booked parcel; its first answer is an error, and it forgets to answer the first report.
    #[derive(Default)]
    struct Shelf {
        looks: u32,
        reports: Vec<(String, String)>,
    }

    const STEPS: [&str; 6] = ["booked", "picked", "packed", "shipped", "in_transit", "delivered"];

    async fn fake_api(shelf: Arc<Mutex<Shelf>>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let list = |State(shelf): State<Arc<Mutex<Shelf>>>, RawQuery(query): RawQuery| async move {
            let mut shelf = shelf.lock().unwrap();
            shelf.looks += 1;
            if shelf.looks == 1 {
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            let applied = shelf.reports.len().saturating_sub(1);
            let here = query.unwrap_or_default().contains("status=confirmed");
            let orders = if here { vec![body(STEPS[applied], false)] } else { Vec::new() };
            Ok(axum::Json(json!({"data": orders, "next_cursor": null})))
        };
        let report = |State(shelf): State<Arc<Mutex<Shelf>>>, axum::Json(body): axum::Json<Value>| async move {
            let mut shelf = shelf.lock().unwrap();
            let text = |name: &str| body[name].as_str().unwrap().to_owned();
            shelf.reports.push((text("type"), text("event_id")));
            if shelf.reports.len() == 1 { Err(StatusCode::BAD_GATEWAY) } else { Ok(axum::Json(json!({"result": "applied"}))) }
        };
        let app = axum::Router::new()
            .route("/v1/orders", axum::routing::get(list))
            .route("/v1/shipments/o-1/events", axum::routing::post(report))
            .with_state(shelf);
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    #[tokio::test]
    async fn a_parcel_arrives_although_the_api_stumbles() {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let stop = CancellationToken::new();
        let url = fake_api(shelf.clone()).await;
        let running = tokio::spawn(run_paced(url, Duration::from_millis(10), stop.clone()));
        let arrived = async {
            while shelf.lock().unwrap().reports.len() < STEPS.len() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("every step within 20 s");
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), running).await.expect("it stops when told").unwrap();
        let reports = shelf.lock().unwrap().reports.clone();
        let kinds: Vec<&str> = reports.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["picked", "picked", "packed", "shipped", "in_transit", "delivered"]);
        assert_eq!(reports[0].1, reports[1].1, "the repeat is a duplicate by its id");
    }
}
