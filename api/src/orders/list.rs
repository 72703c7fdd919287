//! `GET /v1/orders`.

use axum::Json;
use axum::extract::State;
use oms_domain::ids::{CustomerId, Invalid, Sku};
use oms_domain::order::{Reason, Status};
use oms_store::{Cursor, OrderFilter, StoredOrder};
use serde::Deserialize;
use utoipa::IntoParams;

use super::view::OrderView;
use crate::extract::Query;
use crate::page::{self, Page, boolean, instant, one_more};
use crate::problem::{Findings, Problem};
use crate::state::AppState;

/// Longest text to filter by; nothing that is stored is longer.
const TEXT_MAX: usize = 254;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListOrders {
    /// Where it stands.
    #[param(example = "confirmed")]
    status: Option<String>,
    /// Why it was rejected.
    reason: Option<String>,
    /// The shop's own id of the customer.
    #[param(pattern = r"^[A-Za-z0-9_.:-]{1,64}$")]
    customer: Option<String>,
    /// It has a line of this article.
    #[param(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sku: Option<String>,
    /// The shop's own reference, exactly.
    #[param(min_length = 1, max_length = 254)]
    reference: Option<String>,
    /// The customer's e-mail address, without regard to case.
    #[param(min_length = 1, max_length = 254)]
    email: Option<String>,
    /// One of its packages has this number.
    #[param(min_length = 1, max_length = 254)]
    tracking_number: Option<String>,
    /// It has an open hold of this kind.
    #[param(min_length = 1, max_length = 254)]
    hold: Option<String>,
    /// It needs a person, or needs none.
    #[param(value_type = Option<bool>)]
    needs_attention: Option<String>,
    /// Placed at or after this instant.
    #[param(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    placed_after: Option<String>,
    /// Placed before this instant.
    #[param(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    placed_before: Option<String>,
    /// Its total is at least this, in minor units of its currency.
    #[param(value_type = Option<u64>)]
    total_min: Option<String>,
    /// Its total is at most this, in minor units of its currency.
    #[param(value_type = Option<u64>)]
    total_max: Option<String>,
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List orders, newest first
#[utoipa::path(
    get,
    path = "/v1/orders",
    tag = "orders",
    params(ListOrders),
    responses((status = 200, description = "One page", body = Page<OrderView>))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<ListOrders>,
) -> Result<Json<Page<OrderView>>, Problem> {
    let (filter, limit, after) = query.parse()?;
    let rows = state.store.orders(&filter, after.as_ref(), one_more(limit)).await?;
    let cursor = |order: &StoredOrder| page::encode(&order.cursor());
    Ok(Json(Page::of(rows, limit, cursor, |order| OrderView::of(order, order.updated_at, &state.settings))))
}

impl ListOrders {
    fn parse(self) -> Result<(OrderFilter, u32, Option<Cursor>), Problem> {
        let mut findings = Findings::default();
        let status = self.status.map(|name| Status::parse(&name).ok_or_else(|| Invalid::new("an unknown status")));
        let reason = self.reason.map(|name| Reason::parse(&name).ok_or_else(|| Invalid::new("an unknown reason")));
        let filter = OrderFilter {
            status: findings.parameter_opt("status", status),
            reason: findings.parameter_opt("reason", reason),
            customer: findings.parameter_opt("customer", self.customer.map(CustomerId::parse)),
            sku: findings.parameter_opt("sku", self.sku.map(Sku::parse)),
            reference: findings.parameter_opt("reference", self.reference.map(text)),
            email: findings.parameter_opt("email", self.email.map(text)),
            tracking_number: findings.parameter_opt("tracking_number", self.tracking_number.map(text)),
            hold: findings.parameter_opt("hold", self.hold.map(text)),
            needs_attention: findings.parameter_opt("needs_attention", self.needs_attention.as_deref().map(boolean)),
            placed_after: findings.parameter_opt("placed_after", self.placed_after.as_deref().map(instant)),
            placed_before: findings.parameter_opt("placed_before", self.placed_before.as_deref().map(instant)),
            total_min: findings.parameter_opt("total_min", self.total_min.as_deref().map(minor)),
            total_max: findings.parameter_opt("total_max", self.total_max.as_deref().map(minor)),
        };
        let limit = page::limit(&mut findings, self.limit.as_deref());
        let after = findings.parameter_opt("cursor", self.cursor.as_deref().map(page::decode));
        findings.check()?;
        Ok((filter, limit, after))
    }
}

/// An amount in minor units.
fn minor(text: &str) -> Result<i64, Invalid> {
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| Invalid::new("an amount is a whole number of minor units, such as 1999"))
}

/// A text to look for. Postgres cannot be asked for a zero byte, and nothing stored holds control characters.
fn text(text: String) -> Result<String, Invalid> {
    let length = text.chars().count();
    if (1..=TEXT_MAX).contains(&length) && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(Invalid::new("1 to 254 characters, no control characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_checked_under_its_name() {
        let bad = || Some("\u{0}".to_owned());
        let query = ListOrders {
            status: bad(),
            reason: bad(),
            customer: bad(),
            sku: bad(),
            reference: bad(),
            email: bad(),
            tracking_number: bad(),
            hold: bad(),
            needs_attention: bad(),
            placed_after: bad(),
            placed_before: bad(),
            total_min: bad(),
            total_max: Some("-1".to_owned()),
            limit: bad(),
            cursor: bad(),
        };
        let problem = query.parse().unwrap_err();
        let names: Vec<_> = problem.errors().iter().filter_map(|e| e.parameter.as_deref()).collect();
        assert_eq!(
            names,
            [
                "status",
                "reason",
                "customer",
                "sku",
                "reference",
                "email",
                "tracking_number",
                "hold",
                "needs_attention",
                "placed_after",
                "placed_before",
                "total_min",
                "total_max",
                "limit",
                "cursor"
            ]
        );
        assert!(ListOrders::default().parse().is_ok());
    }
}
