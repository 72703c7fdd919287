//! The outside parties: whether each can be reached, and lets us in.

use oms_gateways::carrier::http::HttpCarrier;
use oms_gateways::mail::SmtpMailer;
use oms_gateways::payment::stripe::StripePayments;
use oms_gateways::sms::twilio::TwilioTexter;

use super::Finding;
use crate::settings::{CarrierParty, PaymentParty, Settings, SmsParty, redacted};

/// The payment gateway.
pub(super) async fn payment(settings: &Settings) -> Finding {
    let PaymentParty::Stripe(stripe) = &settings.payment else {
        return Finding::good("payment", "sandbox; payment.provider names a real gateway");
    };
    let shown = &stripe.base_url;
    let gateway = match StripePayments::new(stripe.clone()) {
        Ok(gateway) => gateway,
        Err(error) => return Finding::bad("payment", error.to_string()),
    };
    match gateway.check().await {
        Err(error) => Finding::bad("payment", format!("{shown}: {error}: see payment.stripe.* and STRIPE_SECRET_KEY")),
        Ok(()) if settings.reports.payments.is_empty() => {
            Finding::warn("payment", format!("{shown} lets us in, but its reports are not taken: set STRIPE_WEBHOOK_SECRET"))
        }
        Ok(()) => Finding::good("payment", format!("{shown} lets us in")),
    }
}

/// The carrier.
pub(super) async fn carrier(settings: &Settings) -> Finding {
    let CarrierParty::Http(http) = &settings.carrier else {
        return Finding::good("carrier", "sandbox; carrier.provider names a real one");
    };
    let shown = &http.base_url;
    let carrier = match HttpCarrier::new(http.clone()) {
        Ok(carrier) => carrier,
        Err(error) => return Finding::bad("carrier", error.to_string()),
    };
    match carrier.check().await {
        Ok(()) if settings.reports.carrier.is_empty() => Finding::warn(
            "carrier",
            format!("{shown} lets us in, but its reports are not taken: set carrier.http.webhook_secret"),
        ),
        Ok(()) => Finding::good("carrier", format!("{shown} lets us in")),
        Err(error) => Finding::bad("carrier", format!("{shown}: {error}: see carrier.http.*")),
    }
}

/// The mail server: connected to, encrypted and logged in to, as for a message.
pub(super) async fn mail(settings: &Settings) -> Finding {
    let Some(url) = &settings.smtp_url else {
        return Finding::good("mail", format!("sandbox, {}", settings.data_dir.join("mail").display()));
    };
    let shown = redacted("mail.smtp_url", url);
    let mailer = match SmtpMailer::from_url(url) {
        Ok(mailer) => mailer,
        Err(error) => return Finding::bad("mail", error.to_string()),
    };
    match mailer.check().await {
        Ok(()) => Finding::good("mail", format!("{shown} answers")),
        Err(error) => Finding::bad("mail", format!("{shown}: {error}: start the mail server or correct SMTP_URL")),
    }
}

/// The sender of text messages.
pub(super) async fn sms(settings: &Settings) -> Finding {
    let SmsParty::Twilio(twilio) = &settings.sms else {
        return Finding::good("sms", format!("sandbox, {}", settings.data_dir.join("sms").display()));
    };
    let shown = &twilio.base_url;
    let texter = match TwilioTexter::new(twilio.clone()) {
        Ok(texter) => texter,
        Err(error) => return Finding::bad("sms", error.to_string()),
    };
    match texter.check().await {
        Ok(()) => Finding::good("sms", format!("{shown} lets us in")),
        Err(error) => Finding::bad("sms", format!("{shown}: {error}: see sms.twilio.*")),
    }
}

/// The guard before going live.
pub(super) fn in_public(settings: &Settings) -> Option<Finding> {
    settings.sandbox_in_public().map(|warning| Finding::warn("sandbox", warning))
}
