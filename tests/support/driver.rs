//! Lives one order: acts out its fate, tells the model what was said and seen, and sees that the order comes to its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use oms_contract::command::*;
use oms_contract::names::order_workflow;
use oms_contract::start::OrderLine;
use oms_contract::workflow as mark;
use oms_domain::customer::Line;
use oms_domain::ids::{HoldId, OrderId, ShipmentId};
use oms_domain::life::{HoldKind, Refusal, RefusalCode, Why};
use oms_domain::order::Status;
use oms_domain::payment::PaymentStatus;
use oms_domain::pricing::PricedLine;
use oms_domain::refund::RefundState;
use oms_domain::review::{LOST, NO_SCAN, RETURNED_TO_SENDER, Resolution, ReviewDecision};
use oms_domain::shipment::{Scan, ScanType, Shipment, ShipmentStatus};
use oms_domain::shortage::Decision;
use oms_gateways::payment::Authentication;
use oms_store::StoredOrder;
use oms_temporal::replay::download_history;
use temporalio_client::WorkflowCancelOptions;
use temporalio_client::errors::{WorkflowInteractionError, WorkflowUpdateError};
use temporalio_common::UpdateDefinition;
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use tonic::Code;

use super::fate::{Act, Door, Fate, GARBAGE, Journey, Lines, Purse, RULES, Stage, price};
use super::model::{Answer, End, Model, Sent, number};
use super::world::{World, eur, now, sku};

mod afterwards;

/// Longest wait for a stage that may never come.
const STAGE_MAX: Duration = Duration::from_secs(3);
/// Longest wait for an answer: what a workflow task that failed had accepted is never answered.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Pause between two looks at the row.
const LOOK: Duration = Duration::from_millis(300);

type Told<T> = Result<T, String>;

/// One order, its fate and what is known of it.
pub struct Driver<'a> {
    world: &'a World,
    pub id: OrderId,
    pub model: Model,
    fate: Fate,
    changes: u32,
    /// Units that came back, by SKU.
    back: BTreeMap<String, u32>,
    /// Of these, what is on the shelf again.
    pub restocked: BTreeMap<String, i64>,
}

fn why() -> Why {
    Why::parse("as it was drawn").unwrap()
}

impl<'a> Driver<'a> {
    /// Places the order.
    pub async fn place(world: &'a World, fate: Fate) -> Self {
        let key = format!("life-{}", fate.seed);
        let id = world.place_under(&key, fate.purse.method(), &fate.lines, fate.shortage, |start| fate.terms(start)).await;
        Self { world, id, model: Model::new(fate.clone()), fate, changes: 0, back: BTreeMap::new(), restocked: BTreeMap::new() }
    }

    /// Acts the fate out, then brings the order to its end. Errors: what the model says is impossible.
    pub async fn live(&mut self) -> Told<End> {
        for act in self.fate.acts.clone() {
            self.act(act).await?;
        }
        loop {
            let row = self.look().await?;
            if row.life.status.is_terminal() {
                break;
            }
            self.bring_on(&row).await?;
            tokio::time::sleep(LOOK).await;
        }
        let answer = self.world.run(&self.id).get_result(Default::default()).await.map_err(|e| format!("its run: {e:?}"))?;
        self.afterwards().await?;
        let row = self.look().await?;
        if answer.status != row.life.status
            || answer.life.reason != row.life.reason
            || answer.life.shipments != row.life.shipments
        {
            return Err(format!("the run ended as {:?}, the row says {:?}", answer.life, row.life));
        }
        let told = self.world.store.timeline(&self.id).await.unwrap().into_iter().map(|e| e.kind).collect();
        Ok(End { row, told })
    }

    /// What the run of an order that does not end says of itself, and the last it did.
    pub async fn stands(&self) -> String {
        let run = self.world.run(&self.id);
        let said = tokio::time::timeout(Duration::from_secs(10), run.query(mark::StatusQuery, (), Default::default())).await;
        let said = match said {
            Ok(Ok(answer)) => format!("{} (rev {}) waits on {:?}", answer.status, answer.rev, answer.waiting_on),
            other => format!("{other:?}"),
        };
        let row = self.world.order(&self.id).await;
        let events = run.fetch_history(Default::default()).into_events().await.unwrap();
        let name = |e: &HistoryEvent| e.event_type().as_str_name().trim_start_matches("EVENT_TYPE_").to_owned();
        let last: Vec<_> = events[events.len().saturating_sub(30)..].iter().map(name).collect();
        let failed = events.iter().rev().find_map(|e| match &e.attributes {
            Some(Attributes::WorkflowTaskFailedEventAttributes(failed)) => failed.failure.as_ref(),
            _ => None,
        });
        let file = std::env::temp_dir().join(format!("life-{}.json", self.fate.seed));
        std::fs::write(&file, download_history(&self.world.client, &order_workflow(&self.id)).await.unwrap()).unwrap();
        format!(
            "the row is {} (rev {}); {said}; its history is in {}; its last failed task: {failed:?}; last events: {}",
            row.life.status,
            row.rev,
            file.display(),
            last.join(" ")
        )
    }

    async fn look(&mut self) -> Told<StoredOrder> {
        let row = self.world.order(&self.id).await;
        self.model.see(&row)?;
        Ok(row)
    }

    async fn ask<U>(&mut self, sent: Sent, update: fn() -> U, input: U::Input, read: fn(U::Output) -> Answer) -> Told<Answer>
    where
        U: UpdateDefinition<Workflow = mark::Order>,
        U::Input: Send + Clone,
        U::Output: 'static,
    {
        let mut lost = false;
        let answer = loop {
            let run = self.world.run(&self.id);
            let asked = run.execute_update(update(), input.clone(), Default::default());
            match tokio::time::timeout(ANSWER_MAX, asked).await {
                Err(_) => {
                    lost = true;
                    self.model.log.push(format!("no answer to {sent:?}"));
                    continue;
                }
                Ok(Ok(output)) => break read(output),
                // the run took another turn while it answered; whether it has obeyed, only asking again tells
                Ok(Err(WorkflowUpdateError::Rpc(status))) if status.code() == Code::FailedPrecondition => lost = true,
                Ok(Err(error)) => break refusal(error)?,
            }
            tokio::time::sleep(LOOK).await;
        };
        let heard = if lost { self.model.hear_again(&sent, answer) } else { self.model.hear(&sent, answer) };
        heard.map_err(|wrong| format!("{sent:?}: {wrong} ({answer:?})"))?;
        Ok(answer)
    }

    async fn act(&mut self, act: Act) -> Told<()> {
        match act {
            Act::Pause(span) => tokio::time::sleep(span).await,
            Act::Await(stage) => self.come_to(stage).await?,
            Act::Cancel(door) => self.cancel(door).await?,
            Act::Hold { ends } => self.hold(ends).await?,
            Act::Release => {
                if let Some(hold) = self.model.open_holds().pop() {
                    self.release(hold).await?;
                }
            }
            Act::ReleaseUnknown => self.release(HoldId::from_key(&self.id, "nobody's").as_str().to_owned()).await?,
            Act::Review(decision) => self.review(decision).await?,
            Act::Address => self.readdress().await?,
            Act::Edit { lines, stale } => self.edit(lines, stale).await?,
            Act::Decide(decision) => self.decide(decision).await?,
            Act::Authenticate(passes) => self.authenticate(passes).await,
            Act::Receive(name, quantity) => self.world.receive(name, "berlin", quantity).await,
            Act::Report { parcel, kind, event } => self.report(parcel, kind, format!("event-{event}")).await?,
            Act::Garbage { signal, payload } => drop(self.world.signal(&self.id, signal, GARBAGE[payload]).await),
            Act::Tap(signal) => drop(self.world.signal(&self.id, signal, b"null").await),
            Act::Refund(minor) => self.refund(minor, None).await?,
            Act::Resolve { action, referenced } => {
                let row = self.look().await?;
                let flag = row.life.attention.into_iter().find(|flag| flag.shipment.is_some());
                if let Some(flag) = flag {
                    self.resolve(flag.item(&self.id), &flag.code, flag.shipment.as_ref(), action, referenced).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits for a stage, but not for ever: it may never come.
    async fn come_to(&mut self, stage: Stage) -> Told<()> {
        let began = Instant::now();
        while began.elapsed() < STAGE_MAX {
            let life = self.look().await?.life;
            let there = match stage {
                Stage::Confirmed => life.status.rank() >= Status::Confirmed.rank(),
                Stage::Booked => life.live_shipments().any(|s| s.status == ShipmentStatus::Booked),
                Stage::Departed => life.departed(),
            };
            if there || life.status.is_terminal() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn cancel(&mut self, door: Door) -> Told<()> {
        let command = Cancel { reason: why(), actor: None };
        match door {
            Door::Update => {
                self.ask(Sent::Cancel, || mark::CancelUpdate, command, |answer| Answer::Cancel(answer.result)).await?;
            }
            Door::Signal => {
                self.model.asked_to_cancel();
                self.world.signal(&self.id, "cancel", b"{\"reason\":\"as it was drawn\"}").await;
            }
            Door::Native => {
                self.model.asked_to_cancel();
                match self.world.run(&self.id).cancel(WorkflowCancelOptions::default()).await {
                    Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => {}
                    Err(error) => return Err(format!("native cancel: {error:?}")),
                }
            }
        }
        Ok(())
    }

    async fn hold(&mut self, ends: Option<Duration>) -> Told<()> {
        self.changes += 1;
        let id = HoldId::from_key(&self.id, &format!("hold-{}", self.changes));
        let sent = Sent::Hold { id: id.as_str().to_owned(), ends: ends.is_some() };
        let kind = HoldKind::parse("drawn").unwrap();
        let command = PlaceHold { id: Some(id), kind, reason: why(), until: ends.map(|span| now() + span), actor: None };
        self.ask(sent, || mark::PlaceHoldUpdate, command, |_| Answer::Done).await.map(drop)
    }

    async fn release(&mut self, hold: String) -> Told<()> {
        let command = ReleaseHold { id: HoldId::parse(hold.as_str()).unwrap(), reason: None, actor: None };
        self.ask(Sent::Release { id: hold }, || mark::ReleaseHoldUpdate, command, |_| Answer::Done).await.map(drop)
    }

    async fn review(&mut self, decision: ReviewDecision) -> Told<()> {
        let command = Review { decision, reason: why(), actor: None };
        self.ask(Sent::Review(decision), || mark::ReviewUpdate, command, |_| Answer::Done).await.map(drop)
    }

    async fn readdress(&mut self) -> Told<()> {
        self.changes += 1;
        let change_id = format!("address-{}-{}", self.fate.seed, self.changes);
        let mut address = self.world.order(&self.id).await.ship_to;
        address.line1 = Line::parse(format!("Elsewhere {}", self.changes)).unwrap();
        self.world.store.propose_address(&change_id, &self.id, &address, now()).await.unwrap();
        let command = ChangeAddress { change_id, reason: None, actor: None };
        self.ask(Sent::Address, || mark::ChangeAddressUpdate, command, |_| Answer::Done).await.map(drop)
    }

    async fn edit(&mut self, lines: Lines, stale: bool) -> Told<()> {
        self.changes += 1;
        let edit_id = format!("edit-{}-{}", self.fate.seed, self.changes);
        let priced: Vec<PricedLine> = lines
            .iter()
            .map(|(name, quantity)| {
                let unit_price = eur(price(name));
                let total = unit_price.times(*quantity).unwrap();
                PricedLine {
                    sku: sku(name),
                    name: Line::parse(*name).unwrap(),
                    quantity: *quantity,
                    unit_price,
                    discount: None,
                    total,
                }
            })
            .collect();
        let totals = RULES.totals(&priced, eur(0).currency).unwrap();
        self.world.store.propose_edit(&edit_id, &self.id, &priced, &totals, now()).await.unwrap();
        let ordered = priced.iter().map(|l| OrderLine { sku: l.sku.clone(), quantity: l.quantity, total: l.total }).collect();
        let if_rev = stale.then_some(9_999);
        let command = Edit { edit_id, lines: ordered, totals, cancels: false, if_rev, reason: None, actor: None };
        self.ask(Sent::Edit { lines, stale }, || mark::EditUpdate, command, |_| Answer::Done).await.map(drop)
    }

    async fn decide(&mut self, decision: Decision) -> Told<()> {
        let command = Decide { decision, round: None, actor: None };
        self.ask(Sent::Decide, || mark::DecideUpdate, command, |_| Answer::Done).await.map(drop)
    }

    /// The customer, if anybody asks.
    async fn authenticate(&mut self, passes: bool) {
        // whose purse never answers does not answer here either
        if self.fate.purse != Purse::Asked(Some(passes)) {
            return;
        }
        let outcome = if passes { Authentication::Succeed } else { Authentication::Fail };
        for payment in self.world.sandbox.payments.payments(Some(&self.id)).await.unwrap() {
            let _ = self.world.sandbox.payments.authenticate(&payment.payment_id, outcome, now()).await;
        }
        self.world.signal(&self.id, "payment_news", b"{}").await;
    }

    async fn report(&mut self, parcel: u32, kind: ScanType, event: String) -> Told<()> {
        let shipment = ShipmentId::of(&self.id, parcel);
        let sent = Sent::Report { parcel, event: event.clone(), kind };
        let scan = Scan { shipment, event_id: event, kind, occurred_at: now(), carrier: None, tracking_number: None };
        let command = ShipmentEvent { scan, actor: None };
        self.ask(sent, || mark::ShipmentEventUpdate, command, |answer| Answer::Scan(answer.result)).await.map(drop)
    }

    async fn resolve(
        &mut self,
        item: String,
        code: &str,
        about: Option<&ShipmentId>,
        action: Resolution,
        referenced: bool,
    ) -> Told<()> {
        let parcel = about.map(|id| number(id.as_str()));
        let sent = Sent::Resolve { item: item.clone(), code: code.to_owned(), parcel, action, referenced };
        let reference = referenced.then(|| "elsewhere-1".to_owned());
        let command = Resolve { item, action, reference, reason: why(), actor: None };
        self.ask(sent, || mark::ResolveUpdate, command, |_| Answer::Done).await.map(drop)
    }

    /// Does for the order whatever it waits for.
    async fn bring_on(&mut self, row: &StoredOrder) -> Told<()> {
        let life = &row.life;
        for hold in self.model.open_holds() {
            self.release(hold).await?;
        }
        if let Some(Some(decision)) = self.fate.review.filter(|_| life.review.is_some()) {
            self.review(decision).await?;
        }
        if let Purse::Asked(Some(passes)) = self.fate.purse
            && life.payment.status == PaymentStatus::RequiresAction
        {
            self.authenticate(passes).await;
        }
        if let Some(decision) = self.fate.says.filter(|_| life.question.is_some()) {
            self.decide(decision).await?;
        }
        if self.fate.patient {
            for line in &life.waiting {
                self.world.receive(line.sku.as_str(), "berlin", i64::from(line.quantity)).await;
            }
        }
        if life.status == Status::Cancelling {
            return Ok(());
        }
        for shipment in life.live_shipments() {
            self.carry(row, shipment).await?;
        }
        Ok(())
    }

    /// One parcel a step further on its journey.
    async fn carry(&mut self, row: &StoredOrder, shipment: &Shipment) -> Told<()> {
        let parcel = number(shipment.id.as_str());
        let journey = self.fate.journeys[parcel as usize % self.fate.journeys.len()];
        let kind = match shipment.status {
            _ if self.model.is_closed(parcel) => return Ok(()),
            ShipmentStatus::Pending | ShipmentStatus::Delivered | ShipmentStatus::Cancelled => return Ok(()),
            ShipmentStatus::Booked | ShipmentStatus::Picked | ShipmentStatus::Packed
                if journey == Journey::ArrivesUnannounced =>
            {
                ScanType::Delivered
            }
            ShipmentStatus::Booked | ShipmentStatus::Picked | ShipmentStatus::Packed => ScanType::Shipped,
            ShipmentStatus::Shipped | ShipmentStatus::InTransit => match journey {
                Journey::Arrives | Journey::ArrivesUnannounced => ScanType::Delivered,
                Journey::TurnsUp | Journey::Lost(_) => ScanType::Lost,
                Journey::ComesBack(_) => ScanType::ReturnedToSender,
            },
            ShipmentStatus::Lost | ShipmentStatus::ReturnedToSender => {
                let flagged = |code: &str| {
                    row.life.attention.iter().find(|flag| flag.code == code && flag.shipment.as_ref() == Some(&shipment.id))
                };
                let action = match journey {
                    Journey::Lost(action) | Journey::ComesBack(action) => action,
                    _ => Resolution::UseExternalReference,
                };
                // a flag that was resolved by "retry" is gone: nobody hears of the parcel, which in time is a flag of its own
                let flag = flagged(LOST).or_else(|| flagged(RETURNED_TO_SENDER)).or_else(|| flagged(NO_SCAN));
                return match flag {
                    _ if journey == Journey::TurnsUp && shipment.status == ShipmentStatus::Lost => {
                        self.report(parcel, ScanType::Delivered, "turned-up".into()).await
                    }
                    Some(flag) => self.resolve(flag.item(&self.id), &flag.code, Some(&shipment.id), action, true).await,
                    None => Ok(()),
                };
            }
        };
        self.report(parcel, kind, format!("{}-{parcel}", kind.as_str())).await
    }
}

/// What a failed update says.
fn refusal(error: WorkflowUpdateError) -> Told<Answer> {
    match error {
        WorkflowUpdateError::NotFound(_) => Ok(Answer::Over),
        WorkflowUpdateError::Failed(failure) => match code(&failure) {
            Some(code) => Ok(Answer::Refused(code)),
            None if failure.message.contains("completed") => Ok(Answer::Over),
            None => Err(format!("an update failed: {failure:?}")),
        },
        other => Err(format!("an update failed: {other:?}")),
    }
}

fn code(failure: &Failure) -> Option<RefusalCode> {
    let words = &failure.message;
    let at = std::iter::once(0).chain(words.match_indices(": ").map(|(at, _)| at + 2));
    let own = at.filter_map(|at| Refusal::parse(&words[at..])).next().map(|refusal| refusal.code);
    own.or_else(|| failure.cause.as_deref().and_then(code))
}
