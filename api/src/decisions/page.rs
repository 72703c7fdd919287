//! The words of the customer's page.

use oms_domain::Instant;
use oms_domain::shortage::Decision;
use oms_store::StoredOrder;

/// Asks what to do about the wait.
pub(super) fn question(order: &StoredOrder, token: &str) -> String {
    let name = |sku| order.lines.iter().find(|line| &line.sku == sku).map_or_else(|| "an article", |line| line.name.as_str());
    let missing: String = order
        .life
        .waiting
        .iter()
        .map(|line| format!("<li>{} &times; {}</li>\n", line.quantity, escape(name(&line.sku))))
        .collect();
    let deadline = order.life.question.as_ref().map(|question| {
        let default = match question.default {
            Decision::Wait => "we go on waiting",
            Decision::ShipAvailable => "we send what is there and drop the rest",
            Decision::Cancel => "we cancel what has not been sent",
        };
        format!("<p>If we do not hear from you by <strong>{}</strong>, {default}.</p>\n", day(question.until))
    });
    let body = format!(
        "<h1>Your order is waiting for goods</h1>\n<p>This is not in stock yet:</p>\n<ul>\n{missing}</ul>\n{deadline}\
         <form method=\"post\" action=\"/decide/{token}\">\n\
         <fieldset>\n<legend>What shall we do?</legend>\n{wait}{ship}{cancel}</fieldset>\n</form>",
        deadline = deadline.unwrap_or_default(),
        token = escape(token),
        wait = button(Decision::Wait, "Keep waiting", "We send everything as soon as it is there."),
        ship = button(Decision::ShipAvailable, "Send what is there", "The rest is dropped, and you do not pay for it."),
        cancel = button(Decision::Cancel, "Cancel", "What has not been sent is dropped, and you do not pay for it."),
    );
    frame("Your order is waiting for goods", &body)
}

/// Says thanks.
pub(super) fn decided(decision: Decision) -> String {
    let told = match decision {
        Decision::Wait => "We keep waiting, and send everything as soon as it is there.",
        Decision::ShipAvailable => "We send what is there and drop the rest. You do not pay for it.",
        Decision::Cancel => "We drop what has not been sent. You do not pay for it.",
    };
    frame("Thank you", &format!("<h1>Thank you</h1>\n<p role=\"status\">{told}</p>"))
}

/// Says that there is nothing to decide.
pub(super) fn over() -> String {
    frame(
        "This is already decided",
        "<h1>This is already decided</h1>\n<p role=\"status\">There is nothing to choose for this order now. If you got a newer message, \
         use the link in it.</p>",
    )
}

/// Says that the link leads nowhere.
pub(super) fn unknown() -> String {
    frame(
        "This link is not known",
        "<h1>This link is not known</h1>\n<p role=\"status\">It may be cut off. Please take the link of the newest message again.</p>",
    )
}

fn button(decision: Decision, label: &str, hint: &str) -> String {
    let value = decision.as_str();
    format!(
        "<p><button type=\"submit\" name=\"decision\" value=\"{value}\" aria-describedby=\"{value}\">{label}</button>\n\
         <span id=\"{value}\">{hint}</span></p>\n"
    )
}

fn day(at: Instant) -> String {
    at.format("%-d %B %Y, %H:%M UTC").to_string()
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
}

const STYLE: &str = "body{font:1.125rem/1.5 system-ui,sans-serif;margin:0;color:#1a1a1a;background:#fff}\
main{max-width:34rem;margin:0 auto;padding:1.5rem}h1{font-size:1.5rem;line-height:1.25}fieldset{border:0;padding:0;margin:1.5rem 0}\
legend{font-weight:600;padding:0}button{font:inherit;display:block;width:100%;min-height:3rem;padding:.5rem 1rem;margin:0 0 .25rem;\
border:2px solid #0b57d0;border-radius:.5rem;background:#fff;color:#0b57d0;cursor:pointer}button:hover{background:#0b57d0;color:#fff}\
button:focus-visible{outline:3px solid #1a1a1a;outline-offset:2px}span{color:#444;font-size:1rem}\
@media(prefers-color-scheme:dark){body{background:#121212;color:#eee}button{background:#121212;color:#a8c7fa;border-color:#a8c7fa}\
button:hover{background:#a8c7fa;color:#121212}button:focus-visible{outline-color:#eee}span{color:#bbb}}";

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_never_markup() {
        assert_eq!(escape("<b a=\"1\">Tom & 'Jerry'</b>"), "&lt;b a=&quot;1&quot;&gt;Tom &amp; &#39;Jerry&#39;&lt;/b&gt;");
    }

    #[test]
    fn every_decision_is_thanked_for() {
        for decision in Decision::ALL {
            let page = decided(decision);
            assert!(page.contains("<html lang=\"en\">") && page.contains("<title>Thank you</title>"));
        }
    }
}
