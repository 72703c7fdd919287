//! Statements that gather what an order did to the world.

use oms_domain::Instant;
use oms_domain::event::FactKind;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::life::Life;
use oms_domain::order::Status;
use sqlx::types::Json;

use super::{Conn, Db, Pools, messages, payments};
use crate::Result;
use crate::effects::{Effect, EffectKind, UndoState, Waived};
use crate::payments::{CaptureOutcome, OperationKind, PaymentOperation};

pub(crate) async fn effects(pools: &Pools, order: &OrderId) -> Result<Vec<Effect>> {
    let mut connection = pools.read.acquire().await?;
    let life = sqlx::query_scalar::<Db, Json<Life>>("SELECT life FROM orders WHERE id = $1")
        .bind(order.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let life = life.map(|life| life.0);
    let taken_back = life.as_ref().is_some_and(|life| {
        matches!(life.status, Status::Cancelling | Status::Cancelled | Status::Rejected) || life.refusing.is_some()
    });
    let mut effects = reservations(&mut connection, order, taken_back).await?;
    effects.extend(departures(&mut connection, order).await?);
    let waivers = waivers(&mut connection, order).await?;
    effects.extend(bookings(&mut connection, order, life.as_ref(), taken_back, &waivers).await?);
    drop(connection);
    let operations = payments::operations(pools, order).await?;
    for operation in &operations {
        let waived = waivers.settlement(operation);
        effects.extend(payment(operation, &operations, taken_back).map(|effect| Effect { waived, ..effect }));
    }
    effects.extend(told(pools, order).await?);
    effects.sort_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
    Ok(effects)
}

/// What the timeline says of those who gave up on an effect, oldest first.
struct Waivers(Vec<WaiverRow>);

#[derive(sqlx::FromRow)]
struct WaiverRow {
    kind: String,
    shipment_id: Option<String>,
    actor: String,
    reason: Option<String>,
    at: Instant,
}

async fn waivers(connection: &mut Conn, order: &OrderId) -> Result<Waivers> {
    let rows = sqlx::query_as::<Db, WaiverRow>(
        "SELECT kind, shipment_id, actor, reason, at FROM timeline WHERE order_id = $1 AND kind IN ('shipment.shipped',
             'shipment.in_transit', 'shipment.lost', 'shipment.delivered', 'shipment.returned_to_sender', 'review.resolved',
             'payment.settled_outside') ORDER BY seq",
    )
    .bind(order.as_str())
    .fetch_all(connection)
    .await?;
    Ok(Waivers(rows))
}

impl Waivers {
    /// Who reported that the parcel has left.
    fn departure(&self, shipment: Option<&str>) -> Option<Waived> {
        let left = self.0.iter().find(|row| row.shipment_id.as_deref() == shipment && row.kind.starts_with("shipment."))?;
        Some(Waived { by: left.actor.clone(), reason: format!("the parcel has left: {}", left.kind), at: left.at })
    }

    /// Who settled outside what the gateway refused to take. The run tells of the settlement, the resolution before it of the person.
    fn settlement(&self, operation: &PaymentOperation) -> Option<Waived> {
        if operation.kind != OperationKind::Capture || operation.outcome != CaptureOutcome::Refused.as_str() {
            return None;
        }
        let shipment = operation.shipment_id.as_ref().map(ShipmentId::as_str);
        let about = |row: &&WaiverRow| row.shipment_id.as_deref() == shipment;
        let settled = self.0.iter().position(|row| about(&row) && row.kind == FactKind::PaymentSettledOutside.as_str())?;
        let resolved = self.0[..settled].iter().rev().find(|row| about(row) && row.kind == FactKind::ReviewResolved.as_str());
        let by = resolved.unwrap_or(&self.0[settled]);
        Some(Waived { by: by.actor.clone(), reason: by.reason.clone().unwrap_or_default(), at: self.0[settled].at })
    }
}

/// What is to be said of the undo of an effect that still stands.
fn standing(taken_back: bool) -> UndoState {
    if taken_back { UndoState::Pending } else { UndoState::None }
}

async fn reservations(connection: &mut Conn, order: &OrderId, taken_back: bool) -> Result<Vec<Effect>> {
    let rows = sqlx::query_as::<Db, (i64, String, Instant)>(
        "SELECT revision, state, updated_at FROM reservations WHERE order_id = $1 ORDER BY revision",
    )
    .bind(order.as_str())
    .fetch_all(connection)
    .await?;
    let effect = |(revision, state, at): (i64, String, Instant)| {
        let undo = match state.as_str() {
            "released" => UndoState::Done,
            // what ran out is back on the shelf, or counts as if it were
            "lapsed" => UndoState::None,
            _ => standing(taken_back),
        };
        Effect {
            key: format!("{order}/reserve/{revision}"),
            kind: EffectKind::Reserve,
            at,
            state,
            amount: None,
            reference: None,
            undo,
            undo_key: (undo != UndoState::None).then(|| format!("{order}/release")),
            waived: None,
        }
    };
    Ok(rows.into_iter().map(effect).collect())
}

async fn departures(connection: &mut Conn, order: &OrderId) -> Result<Vec<Effect>> {
    let rows = sqlx::query_as::<Db, (String, String, Instant)>(
        "SELECT shipment_id, kind, MIN(at) FROM movements
         WHERE order_id = $1 AND shipment_id IS NOT NULL AND kind IN ('commit', 'departure') GROUP BY shipment_id, kind",
    )
    .bind(order.as_str())
    .fetch_all(connection)
    .await?;
    let effect = |(shipment, kind, at): (String, String, Instant)| Effect {
        key: format!("{shipment}/{kind}"),
        kind: EffectKind::Commit,
        at,
        state: if kind == "commit" { "committed" } else { "departed" }.to_owned(),
        amount: None,
        reference: Some(shipment),
        undo: UndoState::None,
        undo_key: None,
        waived: None,
    };
    Ok(rows.into_iter().map(effect).collect())
}

#[derive(sqlx::FromRow)]
struct BookedRow {
    key: String,
    shipment_id: Option<String>,
    tracking_number: Option<String>,
    booked_at: Option<Instant>,
    cancelled_at: Option<Instant>,
}

async fn bookings(
    connection: &mut Conn,
    order: &OrderId,
    life: Option<&Life>,
    taken_back: bool,
    waivers: &Waivers,
) -> Result<Vec<Effect>> {
    let rows = sqlx::query_as::<Db, BookedRow>(
        "SELECT key, shipment_id, tracking_number, booked_at, cancelled_at FROM bookings WHERE order_id = $1 ORDER BY key",
    )
    .bind(order.as_str())
    .fetch_all(connection)
    .await?;
    let left = |id: Option<&str>| {
        life.is_some_and(|life| life.shipments.iter().any(|s| Some(s.id.as_str()) == id && s.status.departed()))
    };
    let mut effects = Vec::new();
    for row in rows {
        let undo_key = row.key.replace("/book/", "/cancel/");
        let undo = match row.cancelled_at {
            Some(_) => UndoState::Done,
            None if taken_back && left(row.shipment_id.as_deref()) => UndoState::Waived,
            None => standing(taken_back),
        };
        let reference = row.tracking_number;
        if let Some(at) = row.booked_at {
            effects.push(Effect {
                key: row.key,
                kind: EffectKind::Book,
                at,
                state: if row.cancelled_at.is_some() { "cancelled" } else { "booked" }.to_owned(),
                amount: None,
                reference: reference.clone(),
                undo,
                undo_key: (undo != UndoState::None).then(|| undo_key.clone()),
                waived: waivers.departure(row.shipment_id.as_deref()).filter(|_| undo == UndoState::Waived),
            });
        }
        if let Some(at) = row.cancelled_at {
            effects.push(Effect {
                key: undo_key,
                kind: EffectKind::CancelBooking,
                at,
                state: "cancelled".to_owned(),
                amount: None,
                reference,
                undo: UndoState::None,
                undo_key: None,
                waived: None,
            });
        }
    }
    Ok(effects)
}

fn payment(operation: &PaymentOperation, all: &[PaymentOperation], taken_back: bool) -> Option<Effect> {
    let kind = EffectKind::parse(operation.kind.as_str())?;
    let mut effect = Effect {
        key: operation.key.clone(),
        kind,
        at: operation.at,
        state: operation.outcome.clone(),
        amount: operation.amount,
        reference: operation.payment_id.clone(),
        undo: UndoState::None,
        undo_key: None,
        waived: None,
    };
    if kind == EffectKind::Authorize {
        let void = operation.key.replace("/authorize/", "/void/");
        let taken = |other: &&PaymentOperation| {
            other.kind.as_str() == EffectKind::Capture.as_str()
                && other.outcome == "captured"
                && other.payment_id == operation.payment_id
        };
        effect.undo = match operation.outcome.as_str() {
            "declined" => UndoState::None,
            _ if all.iter().any(|other| other.key == void) => UndoState::Done,
            // taken money is given back by refunds, not by letting go of the hold
            _ if all.iter().find(taken).is_some() => UndoState::None,
            _ => standing(taken_back),
        };
        if effect.undo == UndoState::Done {
            effect.state = "voided".to_owned();
        }
        effect.undo_key = (effect.undo != UndoState::None).then_some(void);
    }
    Some(effect)
}

async fn told(pools: &Pools, order: &OrderId) -> Result<Vec<Effect>> {
    let messages = messages::messages_of(pools, order).await?;
    let effect = |message: crate::messages::MessageRow| Effect {
        key: message.id.to_string(),
        kind: EffectKind::Message,
        at: message.settled_at.unwrap_or(message.fact_at),
        state: message.state.as_str().to_owned(),
        amount: None,
        reference: Some(format!("{}/{}", message.topic.as_str(), message.channel.as_str())),
        undo: UndoState::None,
        undo_key: None,
        waived: None,
    };
    Ok(messages.into_iter().map(effect).collect())
}
