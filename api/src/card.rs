//! The card scan: a payment card number has no place in an order, and must not reach our database or logs.

use serde_json::Value;

use crate::extract::escape;
use crate::problem::{Code, Problem};

/// Digits of a card number, shortest and longest.
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// The one place where a long number is expected.
const PHONE: &str = "/customer/phone";

/// Refuses a body that holds a card number in any text but `customer.phone`. Errors: 422 `card_number_refused`, which names the
/// place and does not repeat the number.
pub(crate) fn refuse_cards(body: &Value) -> Result<(), Problem> {
    match find(body, "") {
        None => Ok(()),
        Some(pointer) => Err(Problem::at(
            pointer,
            Code::CardNumberRefused,
            "this looks like a payment card number; send the token of the payment gateway as payment.method instead",
        )),
    }
}

/// The pointer of the first text that holds a card number. A field's name is text too; then it is the object that is pointed at.
fn find(value: &Value, at: &str) -> Option<String> {
    match value {
        Value::String(text) if at != PHONE && holds_card(text) => Some(at.to_owned()),
        Value::Array(items) => items.iter().enumerate().find_map(|(n, item)| find(item, &format!("{at}/{n}"))),
        Value::Object(fields) => {
            if fields.keys().any(|key| holds_card(key)) {
                return Some(at.to_owned());
            }
            fields.iter().find_map(|(key, field)| find(field, &format!("{at}/{}", escape(key))))
        }
        _ => None,
    }
}

/// Whether the text holds 13 to 19 digits, in groups parted by single spaces or dashes, that start with 2 to 6 and pass Luhn.
pub(crate) fn holds_card(text: &str) -> bool {
    runs(text).iter().any(|groups| {
        (0..groups.len()).any(|from| {
            let mut digits = String::new();
            groups[from..].iter().any(|group| {
                digits.push_str(group);
                DIGITS.contains(&digits.len()) && matches!(digits.as_bytes()[0], b'2'..=b'6') && luhn(&digits)
            })
        })
    })
}

/// Groups of digits that stand next to each other, parted by one space or dash.
fn runs(text: &str) -> Vec<Vec<&str>> {
    let mut runs: Vec<Vec<&str>> = Vec::new();
    let mut last_end = None;
    for group in text.split(|c: char| !c.is_ascii_digit()).filter(|g| !g.is_empty()) {
        let start = group.as_ptr() as usize - text.as_ptr() as usize;
        let joined = last_end.is_some_and(|end: usize| matches!(&text[end..start], " " | "-"));
        match runs.last_mut() {
            Some(run) if joined => run.push(group),
            _ => runs.push(vec![group]),
        }
        last_end = Some(start + group.len());
    }
    runs
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(n, byte)| {
            let digit = u32::from(byte - b'0');
            if n % 2 == 0 {
                digit
            } else if digit > 4 {
                digit * 2 - 9
            } else {
                digit * 2
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn card_numbers_are_found() {
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "my card is 5555555555554444, thanks",
            "12 4111 1111 1111 1111 99",
            "x4111111111111111y",
            "2223003122003222",
            "378282246310005",
            "6011000990139424",
        ] {
            assert!(holds_card(card), "{card}");
        }
    }

    #[test]
    fn other_numbers_are_not() {
        for text in [
            "",
            "4111111111111112",
            "4111  1111 1111 1111",
            "4111.1111.1111.1111",
            "1234567890123",
            "+491711234567",
            "9780306406157",
            "41111111111111110000000000",
            "2026-11-22",
        ] {
            assert!(!holds_card(text), "{text}");
        }
    }

    #[test]
    fn the_place_is_named_and_the_number_is_not() {
        let card = "4111 1111 1111 1111";
        let body = json!({"customer": {"phone": card, "name": "a"}, "lines": [{"sku": "a"}, {"sku": card}]});
        let problem = refuse_cards(&body).unwrap_err();
        assert_eq!(problem.code(), Code::CardNumberRefused);
        assert_eq!(problem.errors()[0].pointer.as_deref(), Some("/lines/1/sku"));
        assert!(!format!("{problem:?}").contains("1111"));
        assert!(refuse_cards(&json!({"customer": {"phone": card}})).is_ok());
        let key = refuse_cards(&json!({"customer": {(card): 1}})).unwrap_err();
        assert_eq!(key.errors()[0].pointer.as_deref(), Some("/customer"));
        assert!(refuse_cards(&json!({"phone": card})).is_err());
    }
}
