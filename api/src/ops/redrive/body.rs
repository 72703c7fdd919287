//! What a re-drive is asked for.

use oms_domain::ids::{Invalid, OrderId};
use oms_domain::order::{Reason, Status};
use oms_store::{OrderFilter, RedriveFilter, RedriveFrom};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::page::instant;
use crate::problem::{Findings, Problem};

/// Orders per second unless asked otherwise.
const RATE: u32 = 10;

/// Orders per second at most.
const RATE_MAX: u32 = 100;

/// Orders named by id at most.
const IDS_MAX: usize = 1_000;

/// Which orders to set going again, and how.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskRedrive {
    filter: AskFilter,
    /// `last_task`: runs that cannot go on are reset to their last completed workflow task. `now`: none is reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(last_task|now)$", example = "last_task")]
    from: Option<String>,
    /// Only tell what would be done.
    #[serde(default)]
    dry_run: bool,
    /// Orders per second, 10 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    rate: Option<i64>,
}

/// Which orders: everything given must hold, and something must be given. Orders that have ended match only if they are named by id.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RedriveFilter)]
pub(crate) struct AskFilter {
    /// Where they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "confirmed")]
    status: Option<String>,
    /// Why they were rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// They need a person, or need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needs_attention: Option<bool>,
    /// An open review item of this kind is about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9_]{1,64}$", example = "silent")]
    kind: Option<String>,
    /// These, at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 1000)]
    order_ids: Option<Vec<String>>,
    /// Placed at or after this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    placed_after: Option<String>,
    /// Placed before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    placed_before: Option<String>,
}

/// A request that nothing is wrong with.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) filter: RedriveFilter,
    /// The filter as it came.
    pub(crate) told: Value,
    pub(crate) from: RedriveFrom,
    pub(crate) rate: u32,
    pub(crate) dry_run: bool,
}

impl AskRedrive {
    /// Errors: 422 with every broken rule.
    pub(crate) fn parse(&self) -> Result<Asked, Problem> {
        let mut findings = Findings::default();
        let filter = self.filter.parse(&mut findings);
        let from = self.from.as_deref().map_or(Ok(RedriveFrom::LastTask), |name| {
            RedriveFrom::parse(name).ok_or_else(|| Invalid::new("one of last_task, now"))
        });
        let from = findings.body("/from", from).unwrap_or(RedriveFrom::LastTask);
        let rate = self.rate.map(|rate| {
            let rate = u32::try_from(rate).ok().filter(|rate| (1..=RATE_MAX).contains(rate));
            rate.ok_or_else(|| Invalid::new("a rate is a whole number from 1 to 100"))
        });
        let rate = findings.body_opt("/rate", rate).unwrap_or(RATE);
        findings.check()?;
        let told = serde_json::to_value(&self.filter).map_err(|_| Problem::internal())?;
        Ok(Asked { filter, told, from, rate, dry_run: self.dry_run })
    }
}

impl AskFilter {
    fn parse(&self, findings: &mut Findings) -> RedriveFilter {
        let status = self.status.as_deref().map(|name| Status::parse(name).ok_or_else(|| Invalid::new("an unknown status")));
        let reason = self.reason.as_deref().map(|name| Reason::parse(name).ok_or_else(|| Invalid::new("an unknown reason")));
        let orders = OrderFilter {
            status: findings.body_opt("/filter/status", status),
            reason: findings.body_opt("/filter/reason", reason),
            needs_attention: self.needs_attention,
            placed_after: findings.body_opt("/filter/placed_after", self.placed_after.as_deref().map(instant)),
            placed_before: findings.body_opt("/filter/placed_before", self.placed_before.as_deref().map(instant)),
            ..OrderFilter::default()
        };
        let kind = findings.body_opt("/filter/kind", self.kind.as_deref().map(kind));
        let mut ids = Vec::new();
        if let Some(named) = &self.order_ids {
            if !(1..=IDS_MAX).contains(&named.len()) {
                findings.body::<()>("/filter/order_ids", Err(Invalid::new("1 to 1,000 orders are named by id")));
            }
            for (n, id) in named.iter().take(IDS_MAX).enumerate() {
                ids.extend(findings.body(format!("/filter/order_ids/{n}"), OrderId::parse(id)));
            }
        }
        let filter = RedriveFilter { orders, kind, ids };
        if filter == RedriveFilter::default() && findings.is_clean() {
            findings.body::<()>("/filter", Err(Invalid::new("say which orders: a filter has at least one condition")));
        }
        filter
    }
}

fn kind(text: &str) -> Result<String, Invalid> {
    let ok = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if ok { Ok(text.to_owned()) } else { Err(Invalid::new("a kind is 1 to 64 characters of a-z 0-9 _")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::shape;
    use serde_json::json;

    fn parse(body: Value) -> Result<Asked, Problem> {
        shape::<AskRedrive>(body).and_then(|ask| ask.parse())
    }

    #[test]
    fn a_redrive_is_checked() {
        let asked = parse(json!({"filter": {"status": "confirmed", "kind": "silent"}})).unwrap();
        assert_eq!((asked.from, asked.rate, asked.dry_run), (RedriveFrom::LastTask, 10, false));
        assert_eq!(asked.told, json!({"status": "confirmed", "kind": "silent"}));
        for (body, pointer) in [
            (json!({"filter": {}}), "/filter"),
            (json!({"filter": {"status": "teleported"}}), "/filter/status"),
            (json!({"filter": {"kind": "a b"}}), "/filter/kind"),
            (json!({"filter": {"order_ids": []}}), "/filter/order_ids"),
            (json!({"filter": {"order_ids": ["short"]}}), "/filter/order_ids/0"),
            (json!({"filter": {"placed_before": "yesterday"}}), "/filter/placed_before"),
            (json!({"filter": {"colour": "red"}}), "/filter/colour"),
            (json!({"filter": {"needs_attention": true}, "from": "start"}), "/from"),
            (json!({"filter": {"needs_attention": true}, "rate": 0}), "/rate"),
            (json!({"filter": {"needs_attention": true}, "rate": 101}), "/rate"),
            (json!({}), "/filter"),
        ] {
            let problem = parse(body.clone()).unwrap_err();
            assert_eq!(problem.errors()[0].pointer.as_deref(), Some(pointer), "{body}");
        }
    }
}
