//! What an intent's metadata says of us. The first intent of an authorization is its ledger: every operation leaves a note there under its
//! key, so the key's fate can be read from the server itself.

use oms_domain::ids::derive;

use super::objects::Intent;

/// The order that is paid for.
pub(super) const ORDER: &str = "oms_order";
/// The key under which an intent was made.
pub(super) const KEY: &str = "oms_key";
/// On an intent that takes a later share: the first intent.
pub(super) const OF: &str = "oms_of";
/// On an intent that only marks a void that came before its authorization.
pub(super) const TOMBSTONE: &str = "oms_tombstone";

/// The field of a key's note; names of fields may not be as long as our keys.
pub(super) fn field(key: &str) -> String {
    format!("oms_{}", derive(&["stripe note", key]).simple())
}

/// What became of an operation, or is becoming of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    /// A capture of the held funds.
    Taken(i64),
    /// A capture of the held funds that was begun, on a server that cannot note and capture in one request.
    Taking(i64),
    /// A capture by an intent of its own, once that is known.
    Later(i64, Option<String>),
    /// A void, and whether something was held.
    Void(bool),
    /// A refund that was begun.
    Refund(i64),
    /// A refused capture or refund, and why.
    Refused(String),
}

impl Note {
    /// The note as it is written.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Taken(amount) => format!("taken {amount}"),
            Self::Taking(amount) => format!("taking {amount}"),
            Self::Later(amount, intent) => format!("later {amount} {}", intent.as_deref().unwrap_or_default()),
            Self::Void(held) => format!("void {}", if *held { "released" } else { "nothing" }),
            Self::Refund(amount) => format!("refund {amount}"),
            Self::Refused(code) => format!("refused {code}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (kind, subject) = (words.next()?, words.next()?);
        let intent = words.next().filter(|w| !w.is_empty()).map(str::to_owned);
        Some(match kind {
            "taken" => Self::Taken(subject.parse().ok()?),
            "taking" => Self::Taking(subject.parse().ok()?),
            "later" => Self::Later(subject.parse().ok()?, intent),
            "void" => Self::Void(subject == "released"),
            "refund" => Self::Refund(subject.parse().ok()?),
            "refused" => Self::Refused(subject.to_owned()),
            _ => return None,
        })
    }
}

impl Intent {
    /// The note of a key.
    pub(super) fn note(&self, key: &str) -> Option<Note> {
        self.metadata.get(&field(key)).and_then(|text| Note::parse(text))
    }

    fn notes(&self) -> impl Iterator<Item = Note> {
        self.metadata.iter().filter(|(name, _)| name.starts_with("oms_")).filter_map(|(_, text)| Note::parse(text))
    }

    /// What captures took or are about to take, those by other intents included.
    pub(super) fn noted(&self) -> i64 {
        let amounts = self.notes().map(|note| match note {
            Note::Taken(amount) | Note::Taking(amount) | Note::Later(amount, _) => amount,
            Note::Void(_) | Note::Refund(_) | Note::Refused(_) => 0,
        });
        amounts.fold(0, i64::saturating_add)
    }

    /// What captures of this very intent took.
    fn taken(&self) -> i64 {
        let amounts = self.notes().map(|note| if let Note::Taken(amount) = note { amount } else { 0 });
        amounts.fold(0, i64::saturating_add)
    }

    /// The intents that took, or are taking, later shares.
    pub(super) fn later(&self) -> Vec<String> {
        let of = |note| if let Note::Later(_, intent) = note { intent } else { None };
        self.notes().filter_map(of).collect()
    }

    /// Whether nothing may be taken any more.
    pub(super) fn is_voided(&self) -> bool {
        self.notes().any(|note| matches!(note, Note::Void(_)))
    }

    /// Whether refunds were begun.
    pub(super) fn has_refunds(&self) -> bool {
        self.notes().any(|note| matches!(note, Note::Refund(_)))
    }

    /// What was taken through this very intent. A server that does not say counts by our notes.
    pub(super) fn received(&self) -> i64 {
        if let Some(received) = self.amount_received.or(self.charge().and_then(|c| c.amount_captured)) {
            return received;
        }
        match (self.status.as_str(), self.taken()) {
            // nothing is returned before a capture is confirmed: what is gone was released by the capture
            ("succeeded", 0) if self.notes().any(|note| matches!(note, Note::Taking(_))) => {
                self.amount - self.charge().map_or(0, |c| c.amount_refunded)
            }
            ("succeeded", 0) => self.amount,
            ("succeeded", taken) => taken.min(self.amount),
            _ => 0,
        }
    }

    /// Captures under other keys that were begun, by the names of their notes.
    fn others_taking(&self, key: &str) -> impl Iterator<Item = (&str, i64)> {
        let mine = field(key);
        self.metadata.iter().filter(move |(name, _)| **name != mine).filter_map(|(name, text)| match Note::parse(text) {
            Some(Note::Taking(amount)) => Some((name.as_str(), amount)),
            _ => None,
        })
    }

    /// Whether a capture under another key was begun, and whether this one must give way to it.
    pub(super) fn contended(&self, key: &str) -> Option<bool> {
        self.others_taking(key).map(|(name, _)| name < field(key).as_str()).reduce(|a, b| a || b)
    }

    /// Whether the capture that was begun under this key is the one that took: an intent is captured once. Where amounts do not tell, any rule
    /// will do that is the same for all, because whoever has answered for it has confirmed it before.
    pub(super) fn took(&self, key: &str, amount: i64) -> bool {
        let received = self.received();
        let rank = |name: &str, amount: i64| (amount != received, name.to_owned());
        let mine = rank(&field(key), amount);
        self.taken() == 0 && self.others_taking(key).all(|(name, other)| mine < rank(name, other))
    }

    /// What is held and can still be taken.
    pub(super) fn held(&self) -> i64 {
        if self.status == "requires_capture" { (self.amount - self.received()).max(0) } else { 0 }
    }

    /// A field of ours.
    pub(super) fn says(&self, field: &str) -> Option<&str> {
        self.metadata.get(field).map(String::as_str).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_captures_that_were_begun_one_took() {
        let begun = |notes: &[(&str, i64)], refunded: i64| {
            let latest_charge = format!(r#"{{"amount_refunded": {refunded}}}"#);
            let mut intent: Intent =
                serde_json::from_str(&format!(r#"{{"amount": 30, "status": "succeeded", "latest_charge": {latest_charge}}}"#))
                    .unwrap();
            intent.metadata = notes.iter().map(|(key, amount)| (field(key), Note::Taking(*amount).text())).collect();
            intent
        };
        let differing = begun(&[("a", 10), ("b", 20)], 20);
        assert_eq!((differing.received(), differing.took("a", 10), differing.took("b", 20)), (10, true, false));
        let equal = begun(&[("a", 10), ("b", 10)], 20);
        assert_ne!(equal.took("a", 10), equal.took("b", 10));
        assert!(begun(&[("a", 10)], 20).took("a", 10));
        let mut confirmed = begun(&[("a", 10)], 20);
        confirmed.metadata.insert(field("b"), Note::Taken(10).text());
        assert!(!confirmed.took("a", 10), "another one has answered for it");
        let first = [field("a"), field("b")].into_iter().min().unwrap() == field("a");
        assert_eq!((differing.contended("a"), differing.contended("b")), (Some(!first), Some(first)), "one of two gives way");
        assert_eq!(begun(&[("a", 10)], 20).contended("a"), None);
    }

    #[test]
    fn notes_read_back_and_add_up() {
        let all = [
            Note::Taken(5),
            Note::Taking(4),
            Note::Later(7, None),
            Note::Later(7, Some("pi_2".into())),
            Note::Void(true),
            Note::Void(false),
            Note::Refund(3),
            Note::Refused("card_declined".into()),
        ];
        let mut intent = Intent { amount: 30, status: "succeeded".into(), ..Intent::default() };
        for (n, note) in all.iter().enumerate() {
            assert_eq!(Note::parse(&note.text()).as_ref(), Some(note));
            intent.metadata.insert(field(&n.to_string()), note.text());
        }
        intent.metadata.insert("oms_order".into(), "taken 900".replace("taken", "x"));
        assert_eq!((intent.noted(), intent.taken(), intent.later()), (23, 5, vec!["pi_2".to_owned()]));
        assert_eq!((intent.received(), intent.held(), intent.is_voided()), (5, 0, true));
        assert!(field(&"k".repeat(200)).len() <= 40, "longer names are refused");
    }
}
