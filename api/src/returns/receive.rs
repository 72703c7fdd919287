//! `POST /v1/returns/{id}/receive`.

use axum::extract::State;
use axum::response::Response;
use oms_contract::returning::ReceiveReturn;
use oms_contract::workflow::ReceiveReturnUpdate;
use oms_domain::ids::{Invalid, Location, Sku};
use oms_domain::life::Why;
use oms_domain::returning::{Condition, Inspected};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ReturnView, decide};
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::orders::body::{LINES_MAX, QUANTITY_MAX};
use crate::problem::{Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::AppState;

/// What came back, as it was inspected.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiveBody {
    #[serde(default)]
    #[schema(max_items = 100)]
    units: Vec<UnitBody>,
    /// Nothing more will come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Reason>)]
    reason: Option<String>,
}

/// Units in one condition.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitBody {
    #[schema(value_type = schema::SkuText)]
    sku: String,
    #[schema(minimum = 1, maximum = 10000)]
    quantity: i64,
    /// `restock`: sold again. `scrap`: thrown away. Both are paid back. `rejected`: neither taken nor paid back.
    #[schema(pattern = "^(restock|scrap|rejected)$", example = "restock")]
    condition: String,
    /// Where the units lie now; needed to restock them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::LocationText>)]
    location: Option<String>,
}

/// Receive goods of a return
///
/// May be sent for each parcel: the return completes when all units are inspected, or with `complete`.
#[utoipa::path(
    post,
    path = "/v1/returns/{id}/receive",
    tag = "returns",
    params(("id" = String, Path, description = "The return's id"), KeyHeader),
    request_body = ReceiveBody,
    responses(
        (status = 200, description = "Received; stock and refund follow", body = ReturnView),
        (status = 409, description = "`not_allowed_now`: it is not approved, or over",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn receive(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<ReceiveBody>,
) -> Result<Response, Problem> {
    let (units, reason) = body.parse()?;
    let complete = body.complete.unwrap_or(false);
    let stored = state.stored_return(&id).await?;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/returns/{id}/receive"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, ReturnView::from(&stored))),
    };
    let update = (ReceiveReturnUpdate, ticket.update_id("receive", &id));
    let command = ReceiveReturn { units: units.clone(), complete, reason, actor: Some("api".to_owned()) };
    let judged = state.steer_return(stored, update, command, |body| body.check_receive(&units, complete)).await;
    decide::settle(&state, ticket, judged).await
}

impl ReceiveBody {
    fn parse(&self) -> Result<(Vec<Inspected>, Option<Why>), Problem> {
        let mut findings = Findings::default();
        let reason = findings.body_opt("/reason", self.reason.as_deref().map(Why::parse));
        if self.units.len() > LINES_MAX {
            findings.body::<()>("/units", Err(Invalid::new("at most 100 entries")));
        }
        if self.units.is_empty() && self.complete != Some(true) {
            findings.body::<()>("/units", Err(Invalid::new("name the units that came, or say complete")));
        }
        let mut units = Vec::with_capacity(self.units.len());
        for (n, unit) in self.units.iter().enumerate().take(LINES_MAX) {
            units.extend(unit.parse(n, &mut findings));
        }
        if findings.is_clean() { Ok((units, reason)) } else { Err(findings.into_problem()) }
    }
}

impl UnitBody {
    fn parse(&self, n: usize, findings: &mut Findings) -> Option<Inspected> {
        let at = |field: &str| format!("/units/{n}/{field}");
        let sku = findings.body(at("sku"), Sku::parse(self.sku.clone()));
        let quantity = u32::try_from(self.quantity).ok().filter(|q| (1..=QUANTITY_MAX).contains(&i64::from(*q)));
        let rule = || Invalid::new("a quantity is a whole number from 1 to 10000");
        let quantity = findings.body(at("quantity"), quantity.ok_or_else(rule));
        let condition = Condition::parse(&self.condition).ok_or_else(|| Invalid::new("one of restock, scrap, rejected"));
        let condition = findings.body(at("condition"), condition);
        let location = findings.body_opt(&at("location"), self.location.clone().map(Location::parse));
        if condition == Some(Condition::Restock) && self.location.is_none() {
            findings.body::<()>(at("location"), Err(Invalid::new("units to restock need a location")));
        }
        Some(Inspected { sku: sku?, quantity: quantity?, condition: condition?, location })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::shape;
    use serde_json::json;

    #[test]
    fn receipts_are_checked() {
        let parse = |body: serde_json::Value| shape::<ReceiveBody>(body).and_then(|body| body.parse());
        let unit = |patch: serde_json::Value| {
            let mut unit = json!({"sku": "a", "quantity": 1, "condition": "restock", "location": "berlin"});
            unit.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
            json!({"units": [unit]})
        };
        assert_eq!(parse(unit(json!({}))).unwrap().0.len(), 1);
        assert!(parse(json!({"complete": true})).unwrap().0.is_empty());
        for (body, pointer) in [
            (json!({}), "/units"),
            (unit(json!({"sku": ""})), "/units/0/sku"),
            (unit(json!({"quantity": 0})), "/units/0/quantity"),
            (unit(json!({"condition": "new"})), "/units/0/condition"),
            (unit(json!({"location": "a b"})), "/units/0/location"),
            (unit(json!({"location": null})), "/units/0/location"),
        ] {
            assert_eq!(parse(body.clone()).unwrap_err().errors()[0].pointer.as_deref(), Some(pointer), "{body}");
        }
    }
}
