//! What the carrier reports by webhook: whether it is genuine, and where the parcel is. No state: who calls keeps what it has seen.

use oms_domain::Instant;
use oms_domain::ids::ShipmentId;
use oms_domain::shipment::ScanType;
use serde::Deserialize;

use crate::secret::Secret;
use crate::signature::{self, SignatureError};

/// Why a report is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrackingError {
    /// It is not genuine.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Signed well, but no report of the protocol.
    #[error("the report lacks its id, its code or its time")]
    NotAReport,
}

/// A report about a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackingEvent {
    /// The report's id: the same in every delivery.
    pub id: String,
    /// The carrier's word for what happened, as it came.
    pub code: String,
    /// What that means here; none for a word that decides nothing or is not known.
    pub scan: Option<ScanType>,
    /// The parcel's number.
    pub tracking_number: Option<String>,
    /// Our shipment, if the report names its label's reference.
    pub shipment: Option<ShipmentId>,
    /// When it happened.
    pub at: Instant,
}

#[derive(Debug, Deserialize)]
struct Report {
    id: String,
    code: String,
    occurred_at: Instant,
    #[serde(default)]
    tracking_number: Option<String>,
    #[serde(default)]
    reference: Option<String>,
}

/// Checks a report's signature (header `Carrier-Signature`, see [`signature`]) and reads it. Errors: [`TrackingError`].
pub fn receive(body: &[u8], header: &str, secrets: &[Secret], now: Instant) -> Result<TrackingEvent, TrackingError> {
    signature::verify(body, header, secrets, now)?;
    parse(body)
}

/// Reads a report. Errors: [`TrackingError::NotAReport`].
pub fn parse(body: &[u8]) -> Result<TrackingEvent, TrackingError> {
    let report: Report = serde_json::from_slice(body).map_err(|_| TrackingError::NotAReport)?;
    if [&report.id, &report.code].iter().any(|text| text.is_empty() || text.len() > 128) {
        return Err(TrackingError::NotAReport);
    }
    let shipment = report.reference.as_deref().and_then(|r| ShipmentId::parse(r.split('/').next()?).ok());
    let (scan, tracking_number) = (scan_of(&report.code), report.tracking_number.filter(|n| !n.is_empty()));
    Ok(TrackingEvent { id: report.id, code: report.code, scan, tracking_number, shipment, at: report.occurred_at })
}

/// What a carrier's word means. Carriers have hundreds; those that only inform keep their word and decide nothing.
pub fn scan_of(code: &str) -> Option<ScanType> {
    Some(match code.to_ascii_lowercase().as_str() {
        "picked_up" | "accepted" | "shipped" => ScanType::Shipped,
        "in_transit" | "out_for_delivery" | "available_for_pickup" => ScanType::InTransit,
        "delivered" => ScanType::Delivered,
        "lost" => ScanType::Lost,
        "returned" | "return_to_sender" | "returned_to_sender" => ScanType::ReturnedToSender,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"id": "ev-1", "code": "OUT_FOR_DELIVERY", "occurred_at": "2026-03-01T10:00:00Z", "tracking_number": "T1",
        "reference": "order-0001-1/book/1", "new": {}}"#;

    #[test]
    fn a_genuine_report_is_read_and_a_forged_one_is_not() {
        let (now, secret) = ("2026-03-01T10:01:00Z".parse().unwrap(), Secret::new("whsec"));
        let header = signature::sign(BODY, &secret, now);
        let event = receive(BODY, &header, std::slice::from_ref(&secret), now).unwrap();
        assert_eq!((event.id.as_str(), event.code.as_str(), event.scan), ("ev-1", "OUT_FOR_DELIVERY", Some(ScanType::InTransit)));
        assert_eq!(event.shipment.map(|s| s.to_string()).as_deref(), Some("order-0001-1"));
        let forged = receive(BODY, &header, &[Secret::new("other")], now);
        assert_eq!(forged, Err(TrackingError::Signature(SignatureError::Forged)));
        assert_eq!(receive(BODY, &header, &[secret], now + chrono::TimeDelta::seconds(301)), Err(SignatureError::Stale.into()));
    }

    #[test]
    fn unknown_words_are_kept_and_decide_nothing() {
        let event = parse(br#"{"id": "1", "code": "held_by_customs", "occurred_at": "2026-03-01T10:00:00Z"}"#).unwrap();
        assert_eq!((event.code.as_str(), event.scan, event.shipment), ("held_by_customs", None, None));
        assert_eq!(scan_of("Returned"), Some(ScanType::ReturnedToSender));
        for bad in
            ["{}", "[]", r#"{"id": "", "code": "x", "occurred_at": "2026-03-01T10:00:00Z"}"#, r#"{"id": "1", "code": "x"}"#]
        {
            assert_eq!(parse(bad.as_bytes()), Err(TrackingError::NotAReport), "{bad}");
        }
    }
}
