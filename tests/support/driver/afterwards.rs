//! What happens once the order has ended: the customer wants money back, or sends goods back.

use oms_contract::names::return_workflow;
use oms_contract::refund::Terms;
use oms_contract::returning::{ApproveReturn, ReceiveReturn, RejectReturn};
use oms_domain::ids::Location;
use oms_domain::refund::{Ask, RefundId};
use oms_domain::returning::{Condition, Inspected, ReturnId, ReturnState};
use oms_domain::stock::Quantity;
use oms_store::{NewRefund, NewReturn, RefundRequested, ReturnRequested};
use temporalio_client::WorkflowHandle;

use super::*;
use crate::support::fate::Wish;
use crate::support::model::RefundAnswer;

impl Driver<'_> {
    pub(super) async fn afterwards(&mut self) -> Told<()> {
        self.settle_refunds().await;
        for wish in self.fate.afterwards.clone() {
            match wish {
                Wish::Money { permille } => {
                    let rest = self.rest().await?;
                    self.refund((rest * permille / 1_000).max(1), Some(rest)).await?;
                }
                Wish::Goods { quantity, verdict } => self.send_back(quantity, verdict).await?,
            }
            self.settle_refunds().await;
        }
        Ok(())
    }

    /// Money on its way back arrives.
    async fn settle_refunds(&self) {
        loop {
            let refunds = self.world.store.refunds(&self.id).await.unwrap();
            if refunds.iter().all(|refund| refund.state == RefundState::Returned) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What was taken and has not gone back, in cents.
    async fn rest(&mut self) -> Told<i64> {
        let payment = self.look().await?.life.payment;
        Ok(payment.captured.minor - payment.refunded.minor)
    }

    /// A sum is wanted back, twice under one key. `rest`: what there is, if nothing can change it meanwhile.
    pub(super) async fn refund(&mut self, minor: i64, rest: Option<i64>) -> Told<()> {
        self.changes += 1;
        let new = NewRefund {
            id: RefundId::from_key(self.id.as_str(), &format!("wish-{}", self.changes)),
            order_id: self.id.clone(),
            ask: Ask { amount: Some(eur(minor)), ..Ask::default() },
            reason: "as it was drawn".into(),
            actor: "driver".into(),
            terms: self.terms().keep(),
        };
        let mut accepted = false;
        for _ in 0..2 {
            let answer = match self.world.store.request_refund(&new, now()).await.unwrap() {
                RefundRequested::Accepted(refund) if !accepted && refund.amount.minor == minor => RefundAnswer::Accepted,
                RefundRequested::Known(refund) if accepted && refund.amount.minor == minor => continue,
                RefundRequested::TooMuch(excess) if !accepted => RefundAnswer::TooMuch { left: excess.refundable.minor },
                other => return Err(format!("a refund of {minor}: {other:?}")),
            };
            accepted = answer == RefundAnswer::Accepted;
            self.model.hear_refund(minor, answer, rest)?;
        }
        Ok(())
    }

    fn terms(&self) -> Terms {
        Terms { deadlines: self.world.deadlines, patience: self.world.patience }
    }

    /// Units of the first parcel that arrived come back, and the shop judges them.
    async fn send_back(&mut self, quantity: u32, verdict: Option<Condition>) -> Told<()> {
        let row = self.look().await?;
        if row.life.shipments.iter().any(|s| s.stray) {
            // a parcel that an edit had replaced and that left all the same: nothing was paid for its goods
            return Ok(());
        }
        let delivered = |s: &&Shipment| s.status == ShipmentStatus::Delivered;
        let arrived: Vec<_> = row.life.shipments.iter().filter(delivered).flat_map(|s| &s.lines).collect();
        let Some(line) = arrived.first() else { return Ok(()) };
        let there: u32 = arrived.iter().filter(|l| l.sku == line.sku).map(|l| l.quantity).sum();
        let before = self.back.get(line.sku.as_str()).copied().unwrap_or(0);
        self.changes += 1;
        let id = ReturnId::from_key(&self.id, &format!("wish-{}", self.changes));
        let new = NewReturn {
            id: id.clone(),
            order_id: self.id.clone(),
            lines: vec![Quantity { sku: line.sku.clone(), quantity }],
            refund_shipping: false,
            auto_approve: false,
            arrived: false,
            reason: "as it was drawn".into(),
            actor: "driver".into(),
            terms: self.terms().keep(),
        };
        let fits = quantity <= there - before;
        match self.world.store.request_return(&new, now()).await.unwrap() {
            ReturnRequested::Accepted(_) if fits => {}
            ReturnRequested::TooMany { returnable, .. } if !fits && returnable == there - before => return Ok(()),
            other => return Err(format!("{quantity} of {there} come back, {before} have before: {other:?}")),
        }
        self.model.log.push(format!("return of {quantity} {}: {verdict:?}", line.sku));
        let rest = self.rest().await?;
        let unit = Inspected {
            sku: line.sku.clone(),
            quantity,
            condition: verdict.unwrap_or(Condition::Rejected),
            location: Some(Location::parse("berlin").unwrap()),
        };
        let state = self.judge_goods(&id, unit, verdict.is_none()).await?;
        let expected = if verdict.is_some() { ReturnState::Completed } else { ReturnState::Rejected };
        if state != expected {
            return Err(format!("the return ended {state:?}, not {expected:?}"));
        }
        if verdict.is_some() {
            *self.back.entry(line.sku.as_str().to_owned()).or_default() += quantity;
        }
        if verdict == Some(Condition::Restock) {
            *self.restocked.entry(line.sku.as_str().to_owned()).or_default() += i64::from(quantity);
        }
        self.settle_refunds().await;
        let given = rest - self.rest().await?;
        let pays = verdict.is_some_and(|condition| condition != Condition::Rejected);
        self.model.hear_goods(given, rest, if pays { Some((price(line.sku.as_str()), quantity)) } else { None }, &row.totals)
    }

    /// The shop says no, or yes and inspects what comes. Gives how the return ended.
    async fn judge_goods(&self, id: &ReturnId, unit: Inspected, rejected: bool) -> Told<ReturnState> {
        loop {
            match self.world.store.return_(id).await.unwrap() {
                Some(stored) if stored.body.state.is_terminal() => break,
                Some(stored) if stored.rev > 0 => self.press(id, stored.body.state, &unit, rejected).await?,
                _ => {}
            }
            tokio::time::sleep(LOOK).await;
        }
        let run: WorkflowHandle<_, mark::Return> = self.world.client.get_workflow_handle(return_workflow(id));
        let answer = run.get_result(Default::default()).await.map_err(|e| format!("the return's run: {e:?}"))?;
        Ok(answer.state)
    }

    /// The next word on a return. One that is refused came twice.
    async fn press(&self, id: &ReturnId, state: ReturnState, unit: &Inspected, rejected: bool) -> Told<()> {
        let run: WorkflowHandle<_, mark::Return> = self.world.client.get_workflow_handle(return_workflow(id));
        let asked = async {
            match state {
                ReturnState::Requested if rejected => {
                    let command = RejectReturn { reason: why(), actor: None };
                    run.execute_update(mark::RejectReturnUpdate, command, Default::default()).await.map(drop)
                }
                ReturnState::Requested => {
                    let command = ApproveReturn { reason: None, actor: None };
                    run.execute_update(mark::ApproveReturnUpdate, command, Default::default()).await.map(drop)
                }
                ReturnState::Approved => {
                    let command = ReceiveReturn { units: vec![unit.clone()], complete: true, reason: None, actor: None };
                    run.execute_update(mark::ReceiveReturnUpdate, command, Default::default()).await.map(drop)
                }
                _ => Ok(()),
            }
        };
        match tokio::time::timeout(ANSWER_MAX, asked).await {
            Err(_) | Ok(Ok(())) => Ok(()),
            Ok(Err(WorkflowUpdateError::Rpc(status))) if status.code() == Code::FailedPrecondition => Ok(()),
            Ok(Err(error)) => refusal(error).map(drop),
        }
    }
}
