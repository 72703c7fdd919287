//! What the sandbox gateway does with a request that reaches it: each in one transaction, once per key.

use oms_domain::Instant;
use oms_domain::ids::derive;
use oms_domain::money::Money;
use oms_domain::payment::PaymentStatus;
use sqlx::SqliteConnection;
use std::time::Duration;

use super::books::OperationResult;
use super::rows::{self, By, NewOperation, PaymentRow};
use super::{Method, Request};
use crate::ledger::LedgerError;
use crate::payment::{
    Authorization, AuthorizeRequest, Capture, CaptureRequest, Operation, Refund, RefundRequest, Void, VoidRequest,
};

/// Lets a request take effect. The caller has made sure that nothing took effect under its key before.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    request: Request<'_>,
    lifetime: Duration,
) -> Result<Operation, LedgerError> {
    match request {
        Request::Authorize(r) => authorize(connection, r, lifetime).await.map(Operation::Authorize),
        Request::Capture(r) => capture(connection, r).await,
        Request::Void(r) => void(connection, r).await,
        Request::Refund(r) => refund(connection, r).await,
    }
}

async fn authorize(
    connection: &mut SqliteConnection,
    request: &AuthorizeRequest,
    lifetime: Duration,
) -> Result<Authorization, LedgerError> {
    let zero = Money::zero(request.amount.currency);
    let mut payment = PaymentRow {
        payment_id: format!("pay_{}", derive(&["sandbox payment", &request.key]).simple()),
        order_id: request.order_id.clone(),
        authorize_key: request.key.clone(),
        method: request.method.0.clone(),
        status: PaymentStatus::RequiresAction,
        decline_code: None,
        requested: request.amount,
        authorized: zero,
        captured: zero,
        released: zero,
        refunded: zero,
        expires_at: None,
        created_at: request.now,
    };
    let method = Method::parse(&request.method.0);
    if rows::has_tombstone(connection, &request.key).await? {
        decline(&mut payment, "voided");
    } else if request.amount.minor <= 0 {
        decline(&mut payment, "amount_invalid");
    } else {
        match method {
            None => decline(&mut payment, "unknown_method"),
            Some(Method::ChargeDeclined) => decline(&mut payment, "card_declined"),
            Some(Method::AuthenticationRequired) => {}
            Some(Method::Visa | Method::Flaky | Method::CommitThenDrop | Method::Slow) => {
                hold(&mut payment, request.now, lifetime);
            }
        }
    }
    let declined = payment.status == PaymentStatus::Declined;
    rows::insert(connection, &payment).await?;
    let operation = NewOperation {
        request: Request::Authorize(request),
        authorize_key: Some(&request.key),
        amount: Some(request.amount),
        result: if declined { OperationResult::Declined } else { OperationResult::Ok },
        answer: None,
    };
    rows::record(connection, operation).await?;
    standing(&payment)
}

async fn capture(connection: &mut SqliteConnection, request: &CaptureRequest) -> Result<Operation, LedgerError> {
    let mut payment = rows::payment(connection, By::PaymentId(&request.payment_id)).await?;
    let refused = match &payment {
        None => Some("payment_not_found"),
        Some(payment) => capture_refusal(payment, request),
    };
    if let (None, Some(payment)) = (refused, &mut payment) {
        payment.captured.minor += request.amount.minor;
        payment.status = status(payment);
        rows::update(connection, payment).await?;
    }
    let answer = Operation::Capture(match refused {
        None => Capture::Taken { amount: request.amount },
        Some(code) => Capture::Refused { code: code.into() },
    });
    let operation = NewOperation {
        request: Request::Capture(request),
        authorize_key: payment.as_ref().map(|p| p.authorize_key.as_str()),
        amount: Some(request.amount),
        result: if refused.is_none() { OperationResult::Ok } else { OperationResult::Declined },
        answer: Some(&answer),
    };
    rows::record(connection, operation).await?;
    Ok(answer)
}

fn capture_refusal(payment: &PaymentRow, request: &CaptureRequest) -> Option<&'static str> {
    let amount = request.amount;
    match payment.status {
        PaymentStatus::RequiresAction | PaymentStatus::Declined => return Some("not_authorized"),
        PaymentStatus::Voided => return Some("voided"),
        _ => {}
    }
    if amount.currency != payment.authorized.currency {
        Some("currency_mismatch")
    } else if amount.minor < 0 {
        Some("amount_invalid")
    } else if payment.expires_at.is_some_and(|end| end <= request.now) {
        Some("authorization_expired")
    } else if amount.minor > payment.authorized.minor - payment.captured.minor {
        Some("amount_exceeds_authorized")
    } else if amount.minor > still_held(payment) {
        Some("voided")
    } else {
        None
    }
}

async fn void(connection: &mut SqliteConnection, request: &VoidRequest) -> Result<Operation, LedgerError> {
    let payment = rows::payment(connection, By::AuthorizeKey(&request.authorize_key)).await?;
    let mut released = None;
    let mut answer = Void::Nothing;
    if let Some(mut payment) = payment {
        let held = still_held(&payment);
        if held > 0 || payment.status == PaymentStatus::RequiresAction {
            payment.released.minor += held;
            payment.status = if payment.captured.is_zero() { PaymentStatus::Voided } else { status(&payment) };
            rows::update(connection, &payment).await?;
            released = Some(Money::new(held, payment.authorized.currency));
            answer = Void::Released { payment_id: payment.payment_id };
        }
    }
    let answer = Operation::Void(answer);
    let operation = NewOperation {
        request: Request::Void(request),
        authorize_key: Some(&request.authorize_key),
        amount: released,
        result: OperationResult::Ok,
        answer: Some(&answer),
    };
    rows::record(connection, operation).await?;
    Ok(answer)
}

async fn refund(connection: &mut SqliteConnection, request: &RefundRequest) -> Result<Operation, LedgerError> {
    let mut payment = rows::payment(connection, By::PaymentId(&request.payment_id)).await?;
    let refused = match &payment {
        None => Some("payment_not_found"),
        Some(payment) if request.amount.currency != payment.captured.currency => Some("currency_mismatch"),
        Some(_) if request.amount.minor <= 0 => Some("amount_invalid"),
        Some(payment) if request.amount.minor > payment.captured.minor - payment.refunded.minor => {
            Some("amount_exceeds_captured")
        }
        Some(_) => None,
    };
    if let (None, Some(payment)) = (refused, &mut payment) {
        payment.refunded.minor += request.amount.minor;
        payment.status = status(payment);
        rows::update(connection, payment).await?;
    }
    let answer = Operation::Refund(match refused {
        None => Refund::Returned { amount: request.amount },
        Some(code) => Refund::Refused { code: code.into() },
    });
    let operation = NewOperation {
        request: Request::Refund(request),
        authorize_key: payment.as_ref().map(|p| p.authorize_key.as_str()),
        amount: Some(request.amount),
        result: if refused.is_none() { OperationResult::Ok } else { OperationResult::Declined },
        answer: Some(&answer),
    };
    rows::record(connection, operation).await?;
    Ok(answer)
}

/// Funds are held from now on.
pub(super) fn hold(payment: &mut PaymentRow, now: Instant, lifetime: Duration) {
    payment.status = PaymentStatus::Authorized;
    payment.authorized = payment.requested;
    // a lifetime beyond the calendar's end is no end
    payment.expires_at =
        chrono::TimeDelta::from_std(lifetime).ok().and_then(|l| now.checked_add_signed(l)).or(Some(Instant::MAX_UTC));
}

/// Nothing is held, and never will be.
pub(super) fn decline(payment: &mut PaymentRow, code: &str) {
    payment.status = PaymentStatus::Declined;
    payment.decline_code = Some(code.into());
}

/// Held, neither taken nor released. The checks of the table keep these differences from overflowing.
fn still_held(payment: &PaymentRow) -> i64 {
    payment.authorized.minor - payment.captured.minor - payment.released.minor
}

/// The status of a payment of which something was taken; one of which nothing was taken keeps its own.
fn status(payment: &PaymentRow) -> PaymentStatus {
    if payment.captured.is_zero() {
        payment.status
    } else if payment.refunded == payment.captured {
        PaymentStatus::Refunded
    } else if still_held(payment) == 0 {
        // all of it was taken, or the rest was released
        PaymentStatus::Captured
    } else {
        PaymentStatus::PartiallyCaptured
    }
}

/// How an authorization stands, as it is answered to whoever asks under its key. One that was voided whole is declined:
/// a late repeat must not believe that funds are held.
pub(super) fn standing(payment: &PaymentRow) -> Result<Authorization, LedgerError> {
    let payment_id = payment.payment_id.clone();
    let declined = |code: &str| Authorization::Declined { payment_id: Some(payment.payment_id.clone()), code: code.into() };
    Ok(match payment.status {
        PaymentStatus::RequiresAction => Authorization::ActionRequired { payment_id, action_url: None },
        PaymentStatus::Declined => declined(payment.decline_code.as_deref().unwrap_or("declined")),
        PaymentStatus::Voided => declined("voided"),
        _ => {
            let expires_at = payment.expires_at.ok_or(LedgerError::Unreadable("expiry"))?;
            Authorization::Held { payment_id, amount: payment.authorized, expires_at }
        }
    })
}
