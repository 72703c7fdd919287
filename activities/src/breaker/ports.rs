//! The parties as they are called through a breaker.

use std::sync::Arc;

use async_trait::async_trait;
use oms_domain::Instant;
use oms_domain::payment::PaymentMethod;
use oms_domain::reconciliation::{CarrierBooking, GatewayPayment, Listed};
use oms_gateways::carrier::{BookRequest, Booking, Cancel, CancelRequest, Carrier, CarrierOperation};
use oms_gateways::mail::{MailMessage, Mailer};
use oms_gateways::payment::{
    Authorization, AuthorizeRequest, Capture, CaptureRequest, Operation, PaymentGateway, Refund, RefundRequest, Void, VoidRequest,
};
use oms_gateways::sms::{Sms, Texter};
use oms_gateways::{Delivery, GatewayError};

use super::Breaker;

/// A party behind its breaker.
pub struct Guarded<P: ?Sized> {
    party: Arc<P>,
    breaker: Breaker,
}

impl<P: ?Sized> Guarded<P> {
    /// Puts a breaker before a party.
    pub fn new(party: Arc<P>, breaker: Breaker) -> Self {
        Self { party, breaker }
    }
}

#[async_trait]
impl PaymentGateway for Guarded<dyn PaymentGateway> {
    async fn authorize(&self, request: AuthorizeRequest) -> Result<Authorization, GatewayError> {
        let (party, key) = (self.party.clone(), request.key.clone());
        self.breaker.call(Some(&key), Box::pin(async move { party.authorize(request).await })).await
    }

    async fn capture(&self, request: CaptureRequest) -> Result<Capture, GatewayError> {
        let (party, key) = (self.party.clone(), request.key.clone());
        self.breaker.call(Some(&key), Box::pin(async move { party.capture(request).await })).await
    }

    async fn void(&self, request: VoidRequest) -> Result<Void, GatewayError> {
        let (party, key) = (self.party.clone(), request.key.clone());
        self.breaker.call(Some(&key), Box::pin(async move { party.void(request).await })).await
    }

    async fn refund(&self, request: RefundRequest) -> Result<Refund, GatewayError> {
        let (party, key) = (self.party.clone(), request.key.clone());
        self.breaker.call(Some(&key), Box::pin(async move { party.refund(request).await })).await
    }

    async fn lookup(&self, key: &str) -> Result<Option<Operation>, GatewayError> {
        let (party, asked) = (self.party.clone(), key.to_owned());
        self.breaker.call(Some(key), Box::pin(async move { party.lookup(&asked).await })).await
    }

    async fn payments(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Listed<GatewayPayment>, GatewayError> {
        let (party, after) = (self.party.clone(), after.map(str::to_owned));
        self.breaker.call(None, Box::pin(async move { party.payments(since, after.as_deref(), limit).await })).await
    }

    fn is_sandbox(&self) -> bool {
        self.party.is_sandbox()
    }

    fn knows_method(&self, method: &PaymentMethod) -> bool {
        self.party.knows_method(method)
    }
}

#[async_trait]
impl Carrier for Guarded<dyn Carrier> {
    async fn book(&self, request: BookRequest) -> Result<Booking, GatewayError> {
        let (party, key) = (self.party.clone(), request.key.clone());
        self.breaker.call(Some(&key), Box::pin(async move { party.book(request).await })).await
    }

    async fn cancel(&self, request: CancelRequest) -> Result<Cancel, GatewayError> {
        let (party, key) = (self.party.clone(), request.key.clone());
        self.breaker.call(Some(&key), Box::pin(async move { party.cancel(request).await })).await
    }

    async fn lookup(&self, key: &str) -> Result<Option<CarrierOperation>, GatewayError> {
        let (party, asked) = (self.party.clone(), key.to_owned());
        self.breaker.call(Some(key), Box::pin(async move { party.lookup(&asked).await })).await
    }

    async fn bookings(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Listed<CarrierBooking>, GatewayError> {
        let (party, after) = (self.party.clone(), after.map(str::to_owned));
        self.breaker.call(None, Box::pin(async move { party.bookings(since, after.as_deref(), limit).await })).await
    }

    fn is_sandbox(&self) -> bool {
        self.party.is_sandbox()
    }
}

#[async_trait]
impl Mailer for Guarded<dyn Mailer> {
    async fn send(&self, message: &MailMessage) -> Result<Delivery, GatewayError> {
        let (party, message) = (self.party.clone(), message.clone());
        let key = message.message_id.to_string();
        self.breaker.call(Some(&key), Box::pin(async move { party.send(&message).await })).await
    }
}

#[async_trait]
impl Texter for Guarded<dyn Texter> {
    async fn send(&self, sms: &Sms) -> Result<Delivery, GatewayError> {
        let (party, sms) = (self.party.clone(), sms.clone());
        let key = sms.message_id.to_string();
        self.breaker.call(Some(&key), Box::pin(async move { party.send(&sms).await })).await
    }
}
