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

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id": "evt_1"}"#;

    fn now() -> Instant {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn secret(word: &str) -> Secret {
        Secret::new(word)
    }

    /// The signature that Stripe's official Python client computes for this body, secret and time.
    #[test]
    fn the_signature_is_stripes() {
        let header = sign(b"{\"id\": \"evt_1\"}", &secret("whsec_test"), now());
        assert_eq!(header, "t=1767225600,v1=cadaa7d3969bfb3d2eb29334f30dba6a9887b21221ab72200cff0ad25e8a7bc0");
    }

    #[test]
    fn what_is_forged_old_or_unreadable_is_refused() {
        let ours = [secret("whsec_a")];
        let header = sign(BODY, &ours[0], now());
        let check = |body: &[u8], header: &str, now| verify(body, header, &ours, now);
        assert_eq!(check(BODY, &header, now()), Ok(()));
        let mut changed = BODY.to_vec();
        changed[0] ^= 1;
        assert_eq!(check(&changed, &header, now()), Err(SignatureError::Forged));
        assert_eq!(check(BODY, &sign(BODY, &secret("other"), now()), now()), Err(SignatureError::Forged));
        for (seconds, expected) in
            [(300, Ok(())), (-300, Ok(())), (301, Err(SignatureError::Stale)), (-301, Err(SignatureError::Stale))]
        {
            assert_eq!(check(BODY, &header, now() + chrono::TimeDelta::seconds(seconds)), expected, "{seconds}");
        }
        // another time with the old signature is a forgery, not a fresh report
        let moved = header.replace("t=1767225600", "t=1767226600");
        assert_eq!(check(BODY, &moved, now() + chrono::TimeDelta::seconds(1000)), Err(SignatureError::Forged));
        for unreadable in ["", "t=1", "v1=ab", "t=x,v1=ab", "t=99999999999999999,v1=ab", "nonsense"] {
            assert_eq!(check(BODY, unreadable, now()), Err(SignatureError::Unreadable), "{unreadable}");
        }
        assert_eq!(check(BODY, "t=1767225600,v1=zz", now()), Err(SignatureError::Forged));
        assert_eq!(
            check(BODY, &header.replace("v1", "v0"), now()),
            Err(SignatureError::Unreadable),
            "weaker schemes do not count"
        );
        assert_eq!(verify(BODY, &header, &[], now()), Err(SignatureError::Forged));
    }

    #[test]
    fn a_secret_is_changed_without_losing_reports() {
        let (old, new) = (secret("whsec_old"), secret("whsec_new"));
        let with_both = format!("{},{}", sign(BODY, &old, now()), sign(BODY, &new, now()).split_once(',').unwrap().1);
        assert_eq!(verify(BODY, &with_both, std::slice::from_ref(&new), now()), Ok(()));
        assert_eq!(verify(BODY, &with_both, std::slice::from_ref(&old), now()), Ok(()));
        assert_eq!(verify(BODY, &sign(BODY, &old, now()), &[new, old], now()), Ok(()));
    }
}
