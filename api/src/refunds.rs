//! Refunds: money that goes back.

mod read;
mod request;

use chrono::{DateTime, Utc};
use oms_contract::refund::{Part, RefundStart, STORY_SHAPE, Terms};
use oms_domain::ids::{Invalid, Sku};
use oms_domain::money::Money as Amount;
use oms_domain::stock::Quantity;
use oms_store::StoredRefund;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::orders::body::{LINES_MAX, LineBody, QUANTITY_MAX};
use crate::problem::Findings;
use crate::schema::Money;
use crate::state::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(request::request, read::of_order)).routes(routes!(read::read))
}

/// Money that goes back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refund)]
pub(crate) struct RefundView {
    id: String,
    order_id: String,
    /// `requested`: on its way. `returned`: the gateway returned it. `refused`: the gateway refused, it is asked again or a person
    /// settles it. `closed`: returned outside, see `reference`.
    #[schema(example = "requested")]
    state: String,
    /// All that goes back.
    amount: Money,
    /// What the gateway has returned of it.
    returned: Money,
    /// For these units.
    lines: Vec<RefundLineView>,
    /// For the shipping fee.
    shipping: Money,
    reason: String,
    actor: String,
    /// The gateway's word for its last refusal.
    code: Option<String>,
    /// Where it was returned outside.
    reference: Option<String>,
    requested_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Since when nothing is owed any more.
    settled_at: Option<DateTime<Utc>>,
}

/// Units and their share of what was paid, tax included.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefundLine)]
pub(crate) struct RefundLineView {
    sku: String,
    quantity: u32,
    amount: Money,
}

impl From<&StoredRefund> for RefundView {
    fn from(refund: &StoredRefund) -> Self {
        let line = |l: &oms_domain::refund::RefundedLine| RefundLineView {
            sku: l.sku.to_string(),
            quantity: l.quantity,
            amount: l.amount.into(),
        };
        Self {
            id: refund.id.to_string(),
            order_id: refund.order_id.to_string(),
            state: refund.state.as_str().to_owned(),
            amount: refund.amount.into(),
            returned: refund.returned.into(),
            lines: refund.breakdown.lines.iter().map(line).collect(),
            shipping: refund.breakdown.shipping.unwrap_or(Amount::zero(refund.amount.currency)).into(),
            reason: refund.reason.clone(),
            actor: refund.actor.clone(),
            code: refund.code.clone(),
            reference: refund.reference.clone(),
            requested_at: refund.created_at,
            updated_at: refund.updated_at,
            settled_at: refund.settled_at,
        }
    }
}

/// The input of a refund's run.
fn start_of(refund: &StoredRefund) -> RefundStart {
    let part = |p: &oms_store::RefundPart| Part { part: p.part, payment_id: p.payment_id.clone(), amount: p.amount };
    RefundStart {
        refund_id: refund.id.clone(),
        order_id: refund.order_id.clone(),
        amount: refund.amount,
        parts: refund.parts.iter().map(part).collect(),
        requested_at: refund.created_at,
        reason: refund.reason.clone(),
        actor: refund.actor.clone(),
        terms: Terms::read(&refund.terms),
        shape: STORY_SHAPE,
    }
}

/// Units of articles in a body, at `/lines`.
pub(crate) fn quantities(findings: &mut Findings, lines: &[LineBody]) -> Vec<Quantity> {
    if lines.len() > LINES_MAX {
        findings.body::<()>("/lines", Err(Invalid::new("at most 100 lines")));
        return Vec::new();
    }
    let mut read = Vec::with_capacity(lines.len());
    for (n, line) in lines.iter().enumerate() {
        let sku = findings.body(format!("/lines/{n}/sku"), Sku::parse(line.sku.clone()));
        let quantity = u32::try_from(line.quantity).ok().filter(|q| (1..=QUANTITY_MAX).contains(&i64::from(*q)));
        let rule = || Invalid::new("a quantity is a whole number from 1 to 10000");
        let quantity = findings.body(format!("/lines/{n}/quantity"), quantity.ok_or_else(rule));
        if let (Some(sku), Some(quantity)) = (sku, quantity) {
            read.push(Quantity { sku, quantity });
        }
    }
    read
}
