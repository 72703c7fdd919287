use super::*;
use oms_domain::ids::Sku;
use oms_domain::money::{Currency, Money};
use oms_domain::order::Reason;
use oms_domain::shortage::Decision;

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}

fn context() -> MessageContext {
    let line = |sku: &str, name: &str, quantity, total| MessageLine {
        sku: Sku::parse(sku).unwrap(),
        name: name.into(),
        quantity,
        total: eur(total),
    };
    MessageContext {
        shop_name: "Müller & Söhne".into(),
        logo: None,
        time_zone: TimeZone::parse("Europe/Berlin").unwrap(),
        customer_name: "<b>Zoë</b> 東京".into(),
        order: "A-1001".into(),
        placed_at: "2026-03-05T09:30:00Z".parse().unwrap(),
        lines: vec![line("TEAPOT", "Teapot \"Größe L\"", 1, 102_999), line("CUP", "Cup <i>blue</i>", 4, 3_200)],
        totals: MessageTotals {
            subtotal: eur(106_199),
            discount: Some(eur(500)),
            shipping: eur(490),
            tax: eur(20_271),
            total: eur(126_960),
        },
        shipment: Some(MessageShipment { carrier: Some("sandbox".into()), tracking_number: Some("SBX123".into()) }),
        reason: Some(Reason::PaymentDeclined),
        amount: None,
        link: Some("https://shop.example.com/decide/t?a=1&b=\"2\"".into()),
        until: Some("2026-03-08T09:30:00Z".parse().unwrap()),
        default: Some(Decision::ShipAvailable),
        number: Some("RET1".into()),
    }
}

fn context_of(topic: Topic) -> MessageContext {
    MessageContext { amount: (topic == Topic::Refunded).then(|| eur(3_200)), ..context() }
}

fn templates() -> Templates {
    Templates::built_in().unwrap()
}

fn mail(topic: Topic, locale: Locale, context: &MessageContext) -> Rendered {
    templates().render(topic, Channel::Mail, locale, context).unwrap()
}

/// Compares with the committed file, or writes it when `UPDATE_GOLDEN` is set.
fn compare(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{name} differs; if that is meant, run with UPDATE_GOLDEN=1 and read the diff. Now:\n{actual}");
}

#[test]
fn every_message_reads_as_committed() {
    let templates = templates();
    for (locale, topic, channel) in every_message() {
        let rendered = templates.render(topic, channel, locale, &context_of(topic)).unwrap();
        let name = format!("{}/{}", locale.as_str(), topic.as_str());
        match channel {
            Channel::Mail => {
                compare(&format!("{name}.txt"), &format!("{}\n\n{}", rendered.subject, rendered.text));
                compare(&format!("{name}.html"), &rendered.html);
            }
            Channel::Sms => compare(&format!("{name}.sms.txt"), &rendered.text),
        }
    }
}

#[test]
fn html_is_escaped_and_text_is_not() {
    for (locale, topic, _) in every_message().filter(|(_, _, channel)| *channel == Channel::Mail) {
        let rendered = mail(topic, locale, &context_of(topic));
        assert!(!rendered.html.contains("<b>Zo") && !rendered.html.contains("<i>blue"), "{topic:?}");
        assert!(rendered.html.contains("&lt;b&gt;Zoë&lt;&#x2f;b&gt; 東京"), "{topic:?}");
        assert!(!rendered.html.contains("&amp;lt;"), "{topic:?} is escaped twice");
        assert!(rendered.text.contains("<b>Zoë</b> 東京") && !rendered.text.contains("&amp;"), "{topic:?}");
        let lines = !matches!(topic, Topic::ActionRequired | Topic::PaymentFailed | Topic::Refunded | Topic::ReturnApproved);
        assert_eq!(rendered.html.contains("Cup &lt;i&gt;"), lines, "{topic:?}");
        assert_eq!(rendered.text.contains("Teapot \"Größe L\""), lines, "{topic:?}");
        assert!(rendered.html.contains(&format!("<html lang=\"{}\">", locale.as_str())));
    }
    let question = mail(Topic::Question, Locale::De, &context()).html;
    assert!(question.contains("href=\"https:&#x2f;&#x2f;shop.example.com&#x2f;decide&#x2f;t?a=1&amp;b=&quot;2&quot;\""));
}

#[test]
fn every_reason_and_every_gap_renders() {
    let bare =
        MessageContext { shipment: None, lines: vec![], link: None, until: None, default: None, number: None, ..context() };
    let templates = templates();
    for reason in Reason::ALL.into_iter().map(Some).chain([None]) {
        let bare = MessageContext { reason, ..bare.clone() };
        for (locale, topic, channel) in every_message() {
            let rendered = templates.render(topic, channel, locale, &bare).unwrap();
            for text in [&rendered.subject, &rendered.text, &rendered.html] {
                assert!(!text.contains(">none<") && !text.contains(" none") && !text.contains("{{"), "{text}");
            }
        }
    }
    let said = |reason| mail(Topic::Rejected, Locale::En, &MessageContext { reason: Some(reason), ..context() }).text;
    assert!(said(Reason::OutOfStock).contains("no longer in stock"));
    assert!(said(Reason::PaymentActionExpired).contains("in time"));
    assert!(said(Reason::ReviewRejected).contains("unable to fulfil"));
    let asked = |default| mail(Topic::Question, Locale::Es, &MessageContext { default: Some(default), ..context() }).text;
    assert!(asked(Decision::Wait).contains("seguiremos esperando") && asked(Decision::Cancel).contains("cancelaremos lo que no"));
}

#[test]
fn money_and_dates_are_the_languages_own() {
    assert!(mail(Topic::Confirmed, Locale::En, &context()).text.contains("1,269.60\u{a0}EUR"));
    assert!(mail(Topic::Confirmed, Locale::De, &context()).html.contains("1.269,60\u{a0}EUR"));
    assert!(mail(Topic::Question, Locale::Es, &context()).text.contains("8 de marzo de 2026, 10:30 CET"));
    assert!(mail(Topic::Refunded, Locale::De, &context_of(Topic::Refunded)).text.contains("32,00\u{a0}EUR"));
}

#[test]
fn a_subject_is_one_short_line() {
    let mut context = context();
    context.shop_name = "Shop\r\nBcc: evil@example.org\u{2028}x".into();
    context.order = "9".repeat(200);
    for (locale, topic, channel) in every_message() {
        let rendered = templates().render(topic, channel, locale, &context).unwrap();
        let (line, max) = if channel == Channel::Mail { (rendered.subject, SUBJECT_MAX) } else { (rendered.text, SMS_MAX) };
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}'), "{line:?}");
        assert!(line.chars().count() <= max && line.ends_with('…'), "{line:?}");
    }
}

#[test]
fn nobody_is_texted_about_a_refusal() {
    let error = templates().render(Topic::Rejected, Channel::Sms, Locale::En, &context()).unwrap_err();
    assert_eq!(error, TemplateError::NoSuchMessage { topic: Topic::Rejected, channel: Channel::Sms });
}

#[test]
fn a_shops_folder_replaces_what_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("de/confirmed.subject.txt", "Danke, {{ customer_name }}!");
    put("de/_sign.txt", "Ihr Team");
    put("de/confirmed.txt", "{% include \"de/_sign.txt\" %}");
    put("README.md", "not a template");
    let templates = Templates::with_folder(dir.path()).unwrap();
    let rendered = templates.render(Topic::Confirmed, Channel::Mail, Locale::De, &context()).unwrap();
    assert_eq!((rendered.subject.as_str(), rendered.text.as_str()), ("Danke, <b>Zoë</b> 東京!", "Ihr Team"));
    assert!(rendered.html.contains("Vielen Dank für Ihre Bestellung"), "the rest stays as it was");
}

#[test]
fn a_broken_template_is_one_sentence_with_file_and_line() {
    let complaint = |name: &str, text: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("de")).unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
        let sentence = Templates::with_folder(dir.path()).unwrap_err().to_string();
        assert!(!sentence.contains('\n'), "{sentence}");
        sentence
    };
    let syntax = complaint("de/shipped.txt", "one\ntwo {% if %}\n");
    assert!(syntax.contains("de/shipped.txt") && syntax.contains("line 2"), "{syntax}");
    let unknown = complaint("de/shipped.html", "\n\n{{ customer_nmae }}");
    assert!(unknown.contains("de/shipped.html") && unknown.contains("line 3"), "{unknown}");
    let missing = complaint("base.html", "{% extends \"nothing.html\" %}");
    assert!(missing.contains("template"), "{missing}");
    assert!(complaint("de/shiped.txt", "x").contains("`de/shiped.txt` replaces no template"));
    assert!(Templates::with_folder(Path::new("/absent/folder")).unwrap_err().to_string().contains("cannot be read"));
}
