//! Signatures over time and body, in the header's form `t=SECONDS,v1=HEX[,v1=HEX]`: HMAC-SHA256 over `SECONDS.BODY`.

use hmac::{Hmac, KeyInit, Mac};
use oms_domain::Instant;
use sha2::Sha256;

use crate::secret::Secret;

/// How old, or how far ahead, a signed report may be.
pub const TOLERANCE: chrono::TimeDelta = chrono::TimeDelta::seconds(300);

/// Signatures of one report that are looked at: during a rotation there is one per secret.
const SIGNATURES_MAX: usize = 16;

/// Why a report is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is missing its time or its signatures.
    #[error("the signature's header cannot be read")]
    Unreadable,
    /// It was signed too long ago, or in the future: a replay, or a wrong clock.
    #[error("the report was signed more than {} s from now", TOLERANCE.num_seconds())]
    Stale,
    /// No signature is of one of our secrets.
    #[error("no signature fits: compare our secret with the sender's")]
    Forged,
}

/// Whether one of `secrets` signed `body`, recently. Any may have signed, so that a secret can be changed without losing reports. Compares
/// in constant time. Errors: [`SignatureError`].
pub fn verify(body: &[u8], header: &str, secrets: &[Secret], now: Instant) -> Result<(), SignatureError> {
    let mut at = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" => at = Some(value),
            "v1" if signatures.len() < SIGNATURES_MAX => signatures.push(value),
            // other schemes are older and weaker, or not known yet
            _ => {}
        }
    }
    let at = at.ok_or(SignatureError::Unreadable)?;
    let seconds: i64 = at.parse().map_err(|_| SignatureError::Unreadable)?;
    let signed_at = Instant::from_timestamp(seconds, 0).ok_or(SignatureError::Unreadable)?;
    if signatures.is_empty() {
        return Err(SignatureError::Unreadable);
    }
    let signatures: Vec<Vec<u8>> = signatures.into_iter().filter_map(|s| hex::decode(s).ok()).collect();
    let fits = |secret: &Secret, signature: &[u8]| mac(at, body, secret).is_some_and(|mac| mac.verify_slice(signature).is_ok());
    if !secrets.iter().any(|secret| signatures.iter().any(|signature| fits(secret, signature))) {
        return Err(SignatureError::Forged);
    }
    // last, so that only a holder of the secret learns what time it is here
    if (now - signed_at).abs() > TOLERANCE { Err(SignatureError::Stale) } else { Ok(()) }
}

/// The header that a report signed by `secret` at `now` carries.
pub fn sign(body: &[u8], secret: &Secret, now: Instant) -> String {
    let at = now.timestamp().to_string();
    let signature = mac(&at, body, secret).map(|mac| hex::encode(mac.finalize().into_bytes()));
    format!("t={at},v1={}", signature.unwrap_or_default())
}

fn mac(at: &str, body: &[u8], secret: &Secret) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of any length
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok()?;
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}
