//! Who plays which outside party: the sandbox, or somebody real with an address and credentials.

use oms_domain::party::Party;
use oms_gateways::carrier::http::HttpCarrierSettings;
use oms_gateways::payment::stripe::StripeSettings;
use oms_gateways::secret::Secret;
use oms_gateways::sms::twilio::TwilioSettings;

use super::layers::Layers;
use super::read::{YES_OR_NO, duration, url_of, yes_or_no};
use super::{Settings, SettingsError};

/// Who holds and takes money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PaymentParty {
    /// The sandbox.
    Sandbox,
    /// Stripe, or a server that speaks its wire format.
    Stripe(StripeSettings),
}

/// Who may have signed what others report to us. Two secrets each during a rotation; without one no report is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReportSecrets {
    /// Of the payment gateway.
    pub(crate) payments: Vec<Secret>,
    /// Of the carrier.
    pub(crate) carrier: Vec<Secret>,
    /// What the carrier's reports call it.
    pub(crate) carrier_code: String,
}

/// Who sends text messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SmsParty {
    /// The sandbox.
    Sandbox,
    /// Twilio, or a server that speaks its wire format.
    Twilio(TwilioSettings),
}

/// Who carries parcels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CarrierParty {
    /// The sandbox.
    Sandbox,
    /// A carrier, or a service in front of many, over the protocol of docs/carrier.md.
    Http(HttpCarrierSettings),
}

impl Settings {
    /// Whether the sandbox plays a party.
    pub(crate) fn is_sandbox(&self, party: Party) -> bool {
        match party {
            Party::Payment => self.payment == PaymentParty::Sandbox,
            Party::Sms => self.sms == SmsParty::Sandbox,
            Party::Mail => self.smtp_url.is_none(),
            Party::Carrier => self.carrier == CarrierParty::Sandbox,
        }
    }

    /// The parties that the sandbox plays.
    pub(crate) fn sandboxed(&self) -> Vec<Party> {
        Party::ALL.into_iter().filter(|party| self.is_sandbox(*party)).collect()
    }

    /// What is wrong with a listener that others can reach while sandboxes stand behind it; none if that is not so.
    pub(crate) fn sandbox_in_public(&self) -> Option<String> {
        let played: Vec<&str> = self.sandboxed().into_iter().map(Party::as_str).collect();
        let public = !self.api.listen.ip().to_canonical().is_loopback();
        (public && !played.is_empty()).then(|| {
            format!(
                "{} reachable from elsewhere at {}, but played by the sandbox: {}; nothing real happens there, and anyone may switch its \
                 faults. Name a real party (payment.provider, carrier.provider, sms.provider, SMTP_URL), or listen on 127.0.0.1",
                if played.len() == 1 { "one party is" } else { "parties are" },
                self.api.listen,
                played.join(", ")
            )
        })
    }
}

pub(super) fn payment(layers: &Layers) -> Result<PaymentParty, SettingsError> {
    if !layers.value("payment.provider", "sandbox or stripe", |t| one_of(t, "stripe"))? {
        return Ok(PaymentParty::Sandbox);
    }
    Ok(PaymentParty::Stripe(StripeSettings {
        secret_key: layers.value(
            "payment.stripe.secret_key",
            "Stripe's secret key while payment.provider is stripe (conventional name STRIPE_SECRET_KEY)",
            secret,
        )?,
        base_url: base_url(layers, "payment.stripe.base_url")?,
        timeout: duration(layers, "payment.stripe.timeout")?,
        return_url: layers.optional(
            "payment.stripe.return_url",
            "a URL such as https://shop.example.com/paid",
            url_of(&["http://", "https://"]),
        )?,
        multicapture: layers.value("payment.stripe.multicapture", YES_OR_NO, yes_or_no)?,
    }))
}

/// Read whoever plays the parties: the sandbox speaks the same formats.
pub(super) fn report_secrets(layers: &Layers) -> Result<ReportSecrets, SettingsError> {
    let secrets = |key: &str| -> Vec<Secret> {
        let text = layers.text(key).unwrap_or_default();
        text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Secret::new).collect()
    };
    let code = |text: &str| {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        fits.then(|| text.to_owned())
    };
    Ok(ReportSecrets {
        payments: secrets("payment.stripe.webhook_secret"),
        carrier: secrets("carrier.http.webhook_secret"),
        carrier_code: layers.value("carrier.http.code", "1 to 32 characters of a-z 0-9 _ -, such as http", code)?,
    })
}

pub(super) fn sms(layers: &Layers) -> Result<SmsParty, SettingsError> {
    if !layers.value("sms.provider", "sandbox or twilio", |t| one_of(t, "twilio"))? {
        return Ok(SmsParty::Sandbox);
    }
    let plain = |text: &str| (!text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| text.to_owned());
    let number = |text: &str| text.strip_prefix('+').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    Ok(SmsParty::Twilio(TwilioSettings {
        account_sid: layers.value(
            "sms.twilio.account_sid",
            "Twilio's account SID, AC…, while sms.provider is twilio (conventional name TWILIO_ACCOUNT_SID)",
            plain,
        )?,
        auth_token: layers.value(
            "sms.twilio.auth_token",
            "Twilio's auth token while sms.provider is twilio (conventional name TWILIO_AUTH_TOKEN)",
            secret,
        )?,
        from: layers.value(
            "sms.twilio.from",
            "a number such as +15005550006, or the SID of a messaging service, MG…",
            |text| (number(text) || plain(text).is_some()).then(|| text.to_owned()),
        )?,
        base_url: base_url(layers, "sms.twilio.base_url")?,
        status_callback: layers.optional(
            "sms.twilio.status_callback",
            "a URL such as https://orders.example.com/v1/inbound/sms",
            url_of(&["http://", "https://"]),
        )?,
        timeout: duration(layers, "sms.twilio.timeout")?,
    }))
}

pub(super) fn carrier(layers: &Layers) -> Result<CarrierParty, SettingsError> {
    if !layers.value("carrier.provider", "sandbox or http", |t| one_of(t, "http"))? {
        return Ok(CarrierParty::Sandbox);
    }
    Ok(CarrierParty::Http(HttpCarrierSettings {
        base_url: base_url(layers, "carrier.http.base_url")?,
        token: layers.value("carrier.http.token", "the carrier's bearer token while carrier.provider is http", secret)?,
        service: layers.text("carrier.http.service").map(str::to_owned),
        timeout: duration(layers, "carrier.http.timeout")?,
    }))
}

/// Whether the text names the real party; nothing for one that nobody knows.
fn one_of(text: &str, real: &str) -> Option<bool> {
    match text {
        "sandbox" => Some(false),
        text => (text == real).then_some(true),
    }
}

fn secret(text: &str) -> Option<Secret> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| Secret::new(text))
}

/// Credentials travel there: encrypted, or not beyond this machine.
fn base_url(layers: &Layers, key: &str) -> Result<String, SettingsError> {
    layers.value(key, "an https:// URL, or http:// to a loopback address", |text| {
        let url = reqwest::Url::parse(text).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']);
        let near = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        (url.scheme() == "https" || (url.scheme() == "http" && near)).then(|| text.trim_end_matches('/').to_owned())
    })
}
