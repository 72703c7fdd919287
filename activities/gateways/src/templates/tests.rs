use super::*;
use oms_domain::money::Currency;

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}

fn context() -> MessageContext {
    MessageContext {
        shop_name: "Müller & Söhne".into(),
        customer_name: "<b>Zoë</b> 東京".into(),
        order: "A-1001".into(),
        lines: vec![
            MessageLine { name: "Teapot \"Größe L\"".into(), quantity: 1, total: eur(2_999) },
            MessageLine { name: "Cup <i>blue</i>".into(), quantity: 4, total: eur(3_200) },
        ],
        totals: MessageTotals { subtotal: eur(6_199), shipping: eur(490), tax: eur(1_271), total: eur(7_960) },
        shipment: Some(MessageShipment { carrier: Some("sandbox".into()), tracking_number: Some("SBX123".into()) }),
        reason: Some(Reason::PaymentDeclined),
    }
}

fn golden(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/golden").join(name)
}

/// Compares with the committed file, or writes it when `UPDATE_GOLDEN` is set.
fn compare(name: &str, actual: &str) {
    let path = golden(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{name} differs; if that is meant, run with UPDATE_GOLDEN=1 and read the diff. Now:\n{actual}");
}

#[test]
fn every_message_reads_as_committed() {
    for topic in Topic::ALL {
        for channel in topic.channels(true) {
            let rendered = render(topic, *channel, &context()).unwrap();
            match channel {
                Channel::Mail => {
                    compare(&format!("{}.txt", topic.as_str()), &format!("{}\n\n{}", rendered.subject, rendered.text));
                    compare(&format!("{}.html", topic.as_str()), &rendered.html);
                }
                Channel::Sms => compare(&format!("{}.sms.txt", topic.as_str()), &rendered.text),
            }
        }
    }
}

#[test]
fn html_is_escaped_and_text_is_not() {
    for topic in Topic::ALL {
        let rendered = render(topic, Channel::Mail, &context()).unwrap();
        assert!(!rendered.html.contains("<b>Zo"), "{topic:?}");
        assert!(
            rendered.html.contains("&lt;b&gt;Zoë&lt;&#x2f;b&gt; 東京") && rendered.html.contains("Cup &lt;i&gt;"),
            "{topic:?}"
        );
        assert!(!rendered.html.contains("&amp;lt;"), "{topic:?} is escaped twice");
        assert!(rendered.text.contains("<b>Zoë</b> 東京") && rendered.text.contains("Teapot \"Größe L\""), "{topic:?}");
    }
}

#[test]
fn every_reason_and_every_gap_renders() {
    let mut bare = context();
    bare.shipment = None;
    bare.lines.clear();
    for reason in Reason::ALL.into_iter().map(Some).chain([None]) {
        bare.reason = reason;
        for topic in Topic::ALL {
            for channel in topic.channels(true) {
                let rendered = render(topic, *channel, &bare).unwrap();
                assert!(!rendered.text.contains("none") && !rendered.text.contains("{{"), "{}", rendered.text);
            }
        }
    }
    let said =
        |reason| render(Topic::Rejected, Channel::Mail, &MessageContext { reason: Some(reason), ..context() }).unwrap().text;
    assert!(said(Reason::OutOfStock).contains("no longer in stock"));
    assert!(said(Reason::PaymentActionExpired).contains("in time"));
    assert!(said(Reason::ReviewRejected).contains("unable to fulfil"));
}

#[test]
fn a_subject_is_one_short_line() {
    let mut context = context();
    context.shop_name = "Shop\r\nBcc: evil@example.org\u{2028}x".into();
    context.order = "9".repeat(200);
    for topic in Topic::ALL {
        let subject = render(topic, Channel::Mail, &context).unwrap().subject;
        assert!(!subject.chars().any(|c| c.is_control() || c == '\u{2028}'), "{subject:?}");
        assert!(subject.chars().count() <= SUBJECT_MAX && subject.ends_with('…'), "{subject:?}");
    }
    let sms = render(Topic::Shipped, Channel::Sms, &context).unwrap().text;
    assert!(sms.chars().count() <= SMS_MAX && !sms.contains('\n'));
}

#[test]
fn nobody_is_texted_about_a_refusal() {
    let error = render(Topic::Rejected, Channel::Sms, &context()).unwrap_err();
    assert_eq!(error, TemplateError::NoSuchMessage { topic: Topic::Rejected, channel: Channel::Sms });
}
