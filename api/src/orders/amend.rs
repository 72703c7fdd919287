//! How an order's lines change, whoever asks: priced and proposed in SQL, carried out by the run, waited for here.

use std::collections::BTreeMap;
use std::time::Duration;

use oms_contract::command::Edit;
use oms_contract::start::OrderLine;
use oms_contract::workflow::EditUpdate;
use oms_domain::customer::Line;
use oms_domain::ids::{Invalid, OrderId, Sku};
use oms_domain::life::Why;
use oms_domain::money::Money;
use oms_domain::pricing::{PricedLine, Totals, reprice};
use oms_domain::stock::Quantity;
use oms_store::{ProposalState, StoredEdit, StoredOrder};
use tokio::time::{Instant, sleep};

use super::body::{LINES_MAX, LineBody, QUANTITY_MAX};
use super::command::{ACTOR, Verdict, ask, refused};
use super::edits::IfMatch;
use crate::problem::{Code, FieldError, Findings, Problem};
use crate::state::{AppState, SETTLE_MAX};

/// How long an answer waits for the edit's end: stock and the payment gateway are asked meanwhile.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);

/// Pause between two looks at the edit.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A change of lines that somebody asks for.
pub(crate) struct Amendment {
    /// Its id: the same one is carried out once.
    pub(crate) edit_id: String,
    /// The versions that it was made for; any without it.
    pub(crate) if_match: Option<IfMatch>,
    /// The version that it was worked out from: refused by the run if the order has changed since.
    pub(crate) if_rev: Option<u64>,
    /// Units are cancelled: also those in parcels that have a label and have not left.
    pub(crate) cancels: bool,
    /// Why.
    pub(crate) reason: Option<Why>,
}

/// What became of it.
pub(crate) enum Outcome {
    /// The order shows it.
    Applied(Box<StoredOrder>),
    /// Not decided yet.
    Pending,
}

/// Checks the lines of a body.
pub(crate) fn read_lines(lines: &[LineBody], findings: &mut Findings) -> Vec<Quantity> {
    if !(1..=LINES_MAX).contains(&lines.len()) {
        findings.push(FieldError::at("/lines", "invalid", "1 to 100 lines"));
    }
    let mut read = Vec::new();
    for (n, line) in lines.iter().enumerate().take(LINES_MAX) {
        let sku = findings.body(format!("/lines/{n}/sku"), Sku::parse(&line.sku));
        let quantity = Some(line.quantity).filter(|q| (1..=QUANTITY_MAX).contains(q)).and_then(|q| u32::try_from(q).ok());
        let quantity = quantity.ok_or_else(|| Invalid::new("a quantity is 1 to 10,000"));
        if let (Some(sku), Some(quantity)) = (sku, findings.body(format!("/lines/{n}/quantity"), quantity)) {
            read.push(Quantity { sku, quantity });
        }
    }
    read
}

/// Has the order's lines changed to those `wanted`, and waits for the outcome. An edit that is known goes on with
/// the lines it was proposed with. Errors: 412, 422 about the lines, 409 if the order refuses or the edit could not be carried out.
pub(crate) async fn carry_out(
    state: &AppState,
    order: StoredOrder,
    amendment: Amendment,
    wanted: Vec<Quantity>,
) -> Result<Outcome, Problem> {
    let Amendment { edit_id, if_match, if_rev, cancels, reason } = amendment;
    let id = order.id.clone();
    let known = state.store.edit(&edit_id).await?;
    let (lines, totals) = match known {
        Some(edit) => {
            if let Some(outcome) = decided(state, &edit).await? {
                return Ok(outcome);
            }
            (edit.lines, edit.totals)
        }
        None => {
            if let Some(if_match) = &if_match {
                if_match.check(&order)?;
            }
            if order.life.status.is_terminal() {
                check(&order, cancels)?;
            }
            let (lines, totals) = price(state, &order, &wanted).await?;
            state.store.propose_edit(&edit_id, &id, &lines, &totals, state.now()).await?;
            (lines, totals)
        }
    };
    let lines = lines.into_iter().map(|line| OrderLine { sku: line.sku, quantity: line.quantity, total: line.total }).collect();
    let command = Edit { edit_id: edit_id.clone(), lines, totals, cancels, if_rev, reason, actor: Some(ACTOR.to_owned()) };
    match ask(state, order, EditUpdate, command, format!("edit/{edit_id}")).await {
        Ok(Verdict::Run(_)) => await_end(state, &id, &edit_id).await,
        Ok(Verdict::Row(order)) => {
            check(&order, cancels)?;
            Err(Problem::unavailable("the order is not running; try again"))
        }
        Err(problem) => Err(problem),
    }
}

/// Whether the order, as its row shows it, could be changed so. Errors: 409.
fn check(order: &StoredOrder, cancels: bool) -> Result<(), Problem> {
    let judged = if cancels { order.life.check_partial_cancel() } else { order.life.check_edit() };
    judged.map_err(|refusal| refused(refusal, &order.life))
}

/// What an edit's row says of its end. `None`: not decided. Errors: 409 `edit_refused`.
async fn decided(state: &AppState, edit: &StoredEdit) -> Result<Option<Outcome>, Problem> {
    match edit.state {
        ProposalState::Proposed => Ok(None),
        // the lines are the new ones; the shipments follow in a moment
        ProposalState::Applied => {
            let order = state.watch(&edit.order_id, SETTLE_MAX, |order| !order.life.editing).await?;
            Ok(Some(Outcome::Applied(Box::new(order))))
        }
        ProposalState::Refused => {
            let allowed = state.order(edit.order_id.as_str()).await?.life.allowed_actions();
            Err(put_back(edit.reason.as_deref()).with_allowed(allowed))
        }
    }
}

/// The change could not be made, and everything was put back.
fn put_back(reason: Option<&str>) -> Problem {
    let (code, detail) = match reason {
        Some("out_of_stock") => ("out_of_stock", "not enough is in stock; the order stands as it was"),
        Some("payment_declined") => ("payment_declined", "the new total was declined; the order stands as it was"),
        Some("cancelled") => ("cancelled", "the order was cancelled meanwhile"),
        _ => (Code::EditRefused.as_str(), "the change could not be carried out; the order stands as it was"),
    };
    Problem::invalid(Code::EditRefused, vec![FieldError::at("/lines", code, detail)])
}

async fn await_end(state: &AppState, order: &OrderId, edit_id: &str) -> Result<Outcome, Problem> {
    let until = Instant::now() + DECIDED_WITHIN;
    loop {
        // the run goes on with it; a row that cannot be read now does not change that
        match state.store.edit(edit_id).await {
            Ok(Some(edit)) => {
                if let Some(outcome) = decided(state, &edit).await? {
                    return Ok(outcome);
                }
            }
            Ok(None) => return Err(Problem::internal()),
            Err(error) => tracing::debug!(%error, "an edit could not be read while waiting"),
        }
        if Instant::now() >= until {
            return Ok(Outcome::Pending);
        }
        sleep(LOOK_EVERY).await;
        if let Ok(Some(order)) = state.store.order(order).await
            && order.life.status.is_terminal()
            && state.store.edit(edit_id).await?.is_some_and(|edit| edit.state == ProposalState::Proposed)
        {
            return Err(put_back(None).with_allowed(order.life.allowed_actions()));
        }
    }
}

/// Prices lines for an order: what it has already at the price it was ordered at, anything else from the catalogue. The order's
/// discounts and price rules stay. Errors: 422 `unknown_sku`, `currency_mismatch`, or a total that is too large.
async fn price(state: &AppState, order: &StoredOrder, lines: &[Quantity]) -> Result<(Vec<PricedLine>, Totals), Problem> {
    let mut prices: BTreeMap<&Sku, (Line, Money)> = BTreeMap::new();
    for line in order.lines.iter().rev() {
        prices.insert(&line.sku, (line.name.clone(), line.unit_price));
    }
    let (mut unknown, mut foreign) = (Vec::new(), Vec::new());
    for (n, line) in lines.iter().enumerate() {
        if prices.contains_key(&line.sku) {
            continue;
        }
        let at = |code: Code, detail: String| FieldError::at(format!("/lines/{n}/sku"), code.as_str(), detail);
        match state.store.product(&line.sku).await? {
            None => unknown.push(at(Code::UnknownSku, "this SKU is not in the catalogue".to_owned())),
            Some(product) if product.price.currency != order.currency => {
                let detail = format!("priced in {}, not in the order's currency", product.price.currency);
                foreign.push(at(Code::CurrencyMismatch, detail));
            }
            Some(product) => {
                prices.insert(&line.sku, (product.name, product.price));
            }
        }
    }
    if !unknown.is_empty() {
        return Err(Problem::invalid(Code::UnknownSku, unknown));
    }
    if !foreign.is_empty() {
        return Err(Problem::invalid(Code::CurrencyMismatch, foreign));
    }
    let too_large = || Problem::at("/lines", Code::ValidationFailed, "the order's total is too large");
    let mut priced = Vec::with_capacity(lines.len());
    for line in lines {
        let Some((name, unit_price)) = prices.get(&line.sku) else { continue };
        let total = unit_price.times(line.quantity).map_err(|_| too_large())?;
        let (sku, name) = (line.sku.clone(), name.clone());
        priced.push(PricedLine { sku, name, quantity: line.quantity, unit_price: *unit_price, discount: None, total });
    }
    let rules = order.price_rules.unwrap_or(state.settings.price_rules);
    reprice(&priced, &order.discounts, &rules, order.currency).map_err(|_| too_large())
}

/// The order's lines without these units, taken off from the last line of an article on. `None`: nothing would be left.
/// Errors: 422 for units that the order does not have.
pub(crate) fn without(order: &StoredOrder, off: &[Quantity]) -> Result<Option<Vec<Quantity>>, Problem> {
    let mut left: Vec<Quantity> =
        order.lines.iter().map(|line| Quantity { sku: line.sku.clone(), quantity: line.quantity }).collect();
    let mut findings = Findings::default();
    for (n, line) in off.iter().enumerate() {
        let mut rest = line.quantity;
        for kept in left.iter_mut().rev().filter(|kept| kept.sku == line.sku) {
            let taken = rest.min(kept.quantity);
            kept.quantity -= taken;
            rest -= taken;
        }
        if rest > 0 {
            let detail = "the order does not have so many units of this article";
            findings.push(FieldError::at(format!("/lines/{n}"), "invalid", detail));
        }
    }
    findings.check()?;
    left.retain(|line| line.quantity > 0);
    Ok(Some(left).filter(|left| !left.is_empty()))
}
