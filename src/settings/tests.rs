use super::*;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn load(file: Option<&str>, pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::write(folder.path().join("oms.toml"), text).unwrap();
    }
    Settings::load_from(folder.path(), &environment(pairs))
}

fn complaint(file: Option<&str>, pairs: &[(&str, &str)]) -> String {
    let text = load(file, pairs).unwrap_err().to_string();
    assert!(!text.contains('\n'), "one sentence: {text}");
    text
}

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = load(None, &[]).unwrap();
    assert_eq!(settings.deadlines, Deadlines::default());
    assert_eq!(settings.patience, Patience::default());
    assert_eq!(settings.database_bounds, Bounds::default());
    assert_eq!(settings.pricing, PriceRules::default());
    assert_eq!(settings.api.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.temporal.connect_settings(Path::new("absent")).address, "127.0.0.1:7233");
    assert_eq!(settings.database_url(), "sqlite:.oms/oms.db");
    assert!(settings.temporal.tls.is_none() && settings.log.filter_is_default);
}

#[test]
fn the_bounds_of_postgres_are_settings() {
    let asked = |most, least| load(None, &[("OMS__DATABASE__CONNECTIONS", most), ("OMS__DATABASE__CONNECTIONS_MIN", least)]);
    let bounds = asked("4", "4").unwrap().database_bounds;
    assert_eq!((bounds.connections, bounds.connections_min), (4, 4));
    for (most, least) in [("4", "5"), ("0", "0"), ("many", "0")] {
        assert!(asked(most, least).is_err(), "{most} {least}");
    }
    let told = complaint(None, &[("OMS__DATABASE__STATEMENT_TIMEOUT", "0s")]);
    assert!(told.contains("OMS__DATABASE__STATEMENT_TIMEOUT"), "{told}");
}

#[test]
fn the_environment_beats_the_file_and_the_file_the_defaults() {
    let file = "data_dir = \"/from/file\"\n[deadlines]\nstuck = \"20s\"\nno_scan = \"30d\"\n[pricing]\ntax_bps = 700\n";
    let settings = load(Some(file), &[("OMS__DEADLINES__STUCK", "21s")]).unwrap();
    assert_eq!(settings.deadlines.stuck, Duration::from_secs(21));
    assert_eq!(settings.deadlines.no_scan, Duration::from_secs(30 * 24 * 3600));
    assert_eq!((settings.pricing.tax_bps, settings.data_dir.to_str().unwrap()), (700, "/from/file"));
    let origins: Vec<String> = ["deadlines.stuck", "deadlines.no_scan", "deadlines.review"]
        .iter()
        .map(|wanted| settings.layers().entries().find(|(key, _)| key == wanted).unwrap().1.origin.to_string())
        .collect();
    assert_eq!(origins, ["OMS__DEADLINES__STUCK", "oms.toml", "default"]);
}

#[test]
fn rules_are_off_and_nothing_is_removed_until_set() {
    let settings = load(None, &[]).unwrap();
    assert_eq!((settings.policies, settings.strategy), (Policies::default(), Strategy::default()));
    assert!(settings.risk.is_off() && settings.handoff_max == Some(Duration::from_secs(24 * 3_600)));
    assert_eq!(settings.retention, RetentionSection { timeline: None, outbox: None, orders: None });
    let set = load(
        None,
        &[
            ("OMS__POLICIES__REVIEW", "approve"),
            ("OMS__POLICIES__SHORTAGE", "ship_available"),
            ("OMS__STOCK__STRATEGY", "priority"),
            ("OMS__RISK__AMOUNT_MIN", "50000"),
            ("OMS__RISK__VELOCITY_MAX", "3"),
            ("OMS__RISK__VELOCITY_WINDOW", "1h"),
            ("OMS__RISK__ADDRESS_MISMATCH", "true"),
            ("OMS__WAREHOUSE__HANDOFF_MAX", "8h"),
            ("OMS__RETENTION__ORDERS", "365d"),
            ("OMS__DEADLINES__BACKORDER_MAX", "20s"),
            ("OMS__DEADLINES__RETURN", "21s"),
        ],
    )
    .unwrap();
    assert_eq!((set.policies.review.as_str(), set.policies.shortage.as_str()), ("approve", "ship_available"));
    assert_eq!((set.strategy, set.risk.amount_min, set.risk.velocity_max), (Strategy::Priority, Some(50_000), Some(3)));
    assert_eq!((set.risk.window(), set.risk.address_mismatch), (Duration::from_secs(3_600), true));
    assert_eq!(set.handoff_max, Some(Duration::from_secs(8 * 3_600)));
    assert_eq!(set.retention.orders, Some(Duration::from_secs(365 * 24 * 3_600)));
    assert_eq!((set.deadlines.backorder_max.as_secs(), set.deadlines.return_.as_secs()), (20, 21));
}

#[test]
fn clients_are_limited_only_when_it_is_asked_for() {
    let settings = load(None, &[]).unwrap();
    assert!(settings.limits.is_none() && settings.redis.is_none());
    let rate = |pairs: &[(&str, &str)]| {
        let LimitsSection { rate, proxies } = load(None, pairs).unwrap().limits.unwrap();
        (rate.per_second.get(), rate.burst.get(), proxies)
    };
    assert_eq!(rate(&[("OMS__LIMITS__PER_SECOND", "20")]), (20, 20, 0));
    let all = [("OMS__LIMITS__PER_SECOND", "20"), ("OMS__LIMITS__BURST", "100"), ("OMS__LIMITS__PROXIES", "1")];
    assert_eq!(rate(&all), (20, 100, 1));
    assert!(complaint(None, &[("OMS__LIMITS__BURST", "5")]).contains("limits.per_second"));
    assert!(complaint(None, &[("OMS__LIMITS__PER_SECOND", "0")]).contains("limits.per_second"));
    let redis = load(None, &[("REDIS_URL", "redis://h"), ("OMS__REDIS__PREFIX", "shop-2:")]).unwrap().redis.unwrap();
    assert_eq!((redis.url.as_str(), redis.prefix.as_str()), ("redis://h", "shop-2:"));
}

#[test]
fn kafka_is_named_by_its_brokers_and_a_topic() {
    assert!(load(None, &[]).unwrap().events.kafka.is_none());
    let named = [("KAFKA_URL", "kafka://k1:9092,k2:9092"), ("OMS__KAFKA__TOPIC", "shop-2.events")];
    if cfg!(feature = "kafka") {
        let (address, topic) = load(None, &named).unwrap().events.kafka.unwrap();
        assert_eq!((address.brokers, topic.as_str()), (vec!["k1:9092".to_owned(), "k2:9092".to_owned()], "shop-2.events"));
    } else {
        let text = complaint(None, &named);
        assert!(text.contains("KAFKA_URL") && text.contains("feature `kafka`"), "{text}");
    }
    for url in ["k1:9092", "oms:hunter2@k1:9092", "kafka://oms:hunter2@k1", "kafka://k1:9092,,k2:9092"] {
        let text = complaint(None, &[("KAFKA_URL", url)]);
        assert!(text.contains("`kafka.url`") && text.contains("kafka://HOST:PORT") && !text.contains("hunter2"), "{text}");
    }
    for topic in ["", "..", "oms events", "oms/events"] {
        assert!(complaint(None, &[("OMS__KAFKA__TOPIC", topic)]).contains("kafka.topic"), "{topic}");
    }
}

#[test]
fn a_named_file_must_exist() {
    assert!(complaint(None, &[("OMS_CONFIG", "absent.toml")]).contains("absent.toml"));
    let broken = complaint(Some("[api\nlisten = 1"), &[]);
    assert!(broken.contains("oms.toml"), "{broken}");
}

#[test]
fn conventional_names_are_honoured_and_ours_beat_them() {
    let settings = load(
        None,
        &[
            ("DATABASE_URL", "postgres://u:p@h/d"),
            ("TEMPORAL_ADDRESS", "t:7233"),
            ("TEMPORAL_API_KEY", "k"),
            ("SMTP_URL", "smtp://h:25"),
            ("RUST_LOG", "debug"),
            ("OMS__LOG__FILTER", "info"),
            ("TEMPORAL_NAMESPACE", ""),
        ],
    )
    .unwrap();
    assert_eq!(settings.database_url(), "postgres://u:p@h/d");
    let temporal = settings.temporal.connect_settings(Path::new("absent"));
    assert_eq!((temporal.address.as_str(), temporal.namespace.as_str()), ("t:7233", "oms"));
    assert_eq!(temporal.api_key, Some(ApiKey("k".to_owned())));
    assert_eq!((settings.smtp_url.as_deref(), settings.log.filter.as_str()), (Some("smtp://h:25"), "info"));
}

#[test]
fn an_unknown_key_names_itself_and_the_nearest() {
    let text = complaint(None, &[("OMS__API__LISTN", "127.0.0.1:1")]);
    assert!(text.contains("OMS__API__LISTN") && text.contains("`OMS__API__LISTEN`"), "{text}");
    let text = complaint(Some("[deadline]\nstuck = \"1s\""), &[]);
    assert!(text.contains("`deadline.stuck` in oms.toml") && text.contains("`deadlines.stuck`"), "{text}");
    assert!(complaint(None, &[("OMS__API", "x")]).contains("OMS__API"));
    assert!(complaint(Some("api = 3"), &[]).contains("`api`"));
}

#[test]
fn a_bad_value_names_key_origin_and_remedy_without_secrets() {
    for (name, value, key) in [
        ("OMS__API__LISTEN", "8080", "api.listen"),
        ("OMS__DEADLINES__STUCK", "soon", "deadlines.stuck"),
        ("OMS__DEADLINES__REVIEW", "0s", "deadlines.review"),
        ("OMS__DEADLINES__RETURN", "99999999999999d", "deadlines.return"),
        ("OMS__DEADLINES__CHANGE_WINDOW", "a while", "deadlines.change_window"),
        ("OMS__POLICIES__REVIEW", "maybe", "policies.review"),
        ("OMS__POLICIES__SHORTAGE", "reject", "policies.shortage"),
        ("OMS__POLICIES__REAUTHORIZATION", "ask", "policies.reauthorization"),
        ("OMS__WEBHOOKS__GIVE_UP_AFTER", "23h", "webhooks.give_up_after"),
        ("OMS__STOCK__STRATEGY", "cheapest", "stock.strategy"),
        ("OMS__RISK__AMOUNT_MIN", "0", "risk.amount_min"),
        ("OMS__RISK__VELOCITY_MAX", "many", "risk.velocity_max"),
        ("OMS__RISK__VELOCITY_WINDOW", "0s", "risk.velocity_window"),
        ("OMS__RISK__ADDRESS_MISMATCH", "perhaps", "risk.address_mismatch"),
        ("OMS__WAREHOUSE__HANDOFF_MAX", "soon", "warehouse.handoff_max"),
        ("OMS__RETENTION__TIMELINE", "29d", "retention.timeline"),
        ("OMS__RETENTION__OUTBOX", "30days 1banana", "retention.outbox"),
        ("OMS__RETENTION__ORDERS", "", "retention.orders"),
        ("OMS__PRICING__TAX_BPS", "-1", "pricing.tax_bps"),
        ("OMS__TEMPORAL__PORT", "70000", "temporal.port"),
        ("OMS__API__ALLOW_UNAUTHENTICATED_PUBLIC_LISTENER", "maybe", "api.allow_unauthenticated_public_listener"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d", "database.url"),
        ("SMTP_URL", "h:25", "mail.smtp_url"),
        ("RUST_LOG", "oms=loud", "log.filter"),
        ("OMS__LOG__FORMAT", "xml", "log.format"),
        ("OMS__SHOP__NAME", "", "shop.name"),
        ("OMS__SHOP__SENDER", "nobody", "shop.sender"),
        ("OMS__SHOP__REPLY_TO", "nobody", "shop.reply_to"),
        ("OMS__SHOP__LOGO", "logo.png", "shop.logo"),
        ("OMS__SHOP__TIME_ZONE", "Europe/Atlantis", "shop.time_zone"),
        ("OMS__SHOP__LOCALE", "fr", "shop.locale"),
        ("OMS__SHOP__BASE_URL", "shop.example.com", "shop.base_url"),
        ("OMS__ALERTS__MAIL", "nobody", "alerts.mail"),
        ("OMS__ALERTS__WEBHOOK", "ftp://h/", "alerts.webhook"),
        ("OMS__ALERTS__WINDOW", "soon", "alerts.window"),
        ("OMS__DATA_DIR", "", "data_dir"),
    ] {
        let text = complaint(None, &[(name, value)]);
        assert!(text.contains(&format!("`{key}`")) && text.contains(name) && text.contains("must be"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let both = complaint(None, &[("TEMPORAL_API_KEY", "k"), ("TEMPORAL_TLS", "false")]);
    assert!(both.contains("temporal.tls"), "{both}");
    assert!(complaint(None, &[("TEMPORAL_TLS_CLIENT_KEY_DATA", "x")]).contains("TEMPORAL_TLS_CLIENT_KEY_PATH"));
}

#[test]
fn only_loopback_or_an_explicit_yes_may_be_listened_on() {
    let checked = |listen: &str, allow: &str| {
        let pairs = [("OMS__API__LISTEN", listen), ("OMS__API__ALLOW_UNAUTHENTICATED_PUBLIC_LISTENER", allow)];
        load(None, &pairs).unwrap().api.check_listener()
    };
    for open in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        let refused = checked(open, "false").unwrap_err().to_string();
        assert!(refused.contains("OMS__API__ALLOW_UNAUTHENTICATED_PUBLIC_LISTENER"), "{refused}");
        checked(open, "true").unwrap();
    }
    for closed in ["127.0.0.1:0", "localhost:1", "[::1]:8080", "127.8.9.10:80", "[::ffff:127.0.0.1]:80"] {
        checked(closed, "false").unwrap();
    }
}

#[test]
fn clients_of_an_unspecified_address_use_the_loopback() {
    let pairs = [("OMS__API__LISTEN", "0.0.0.0:81")];
    let settings = load(None, &pairs).unwrap();
    assert_eq!(settings.api_target(None).base_url, "http://127.0.0.1:81");
    assert_eq!(settings.api_target(Some("http://h:1/")).base_url, "http://h:1");
}

#[test]
fn tls_files_switch_tls_on() {
    let settings = load(None, &[("TEMPORAL_TLS_SERVER_CA_CERT_PATH", "/ca.pem")]).unwrap();
    assert_eq!(settings.temporal.tls.unwrap().ca_path, Some(PathBuf::from("/ca.pem")));
    assert_eq!(load(None, &[("TEMPORAL_TLS", "true")]).unwrap().temporal.tls, Some(TlsSettings::default()));
    assert!(load(None, &[("TEMPORAL_TLS", "false")]).unwrap().temporal.tls.is_none());
}

#[test]
fn settings_alone_choose_each_party() {
    let sandbox = load(None, &[]).unwrap();
    assert_eq!((&sandbox.payment, &sandbox.sms), (&PaymentParty::Sandbox, &SmsParty::Sandbox));
    let real = load(
        None,
        &[
            ("OMS__PAYMENT__PROVIDER", "stripe"),
            ("STRIPE_SECRET_KEY", "sk_live_hunter2"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_new, whsec_old"),
            ("OMS__SMS__PROVIDER", "twilio"),
            ("TWILIO_ACCOUNT_SID", "AC1"),
            ("TWILIO_AUTH_TOKEN", "hunter2"),
            ("OMS__SMS__TWILIO__FROM", "MG1"),
        ],
    )
    .unwrap();
    let PaymentParty::Stripe(stripe) = &real.payment else { panic!("{:?}", real.payment) };
    assert_eq!(
        (stripe.base_url.as_str(), stripe.multicapture, real.reports.payments.len()),
        ("https://api.stripe.com", false, 2)
    );
    assert!(matches!(&real.sms, SmsParty::Twilio(twilio) if twilio.from == "MG1"));
    assert!(!format!("{:?}", (&real.payment, &real.sms)).contains("hunter2"));
    // the sandbox speaks the same formats, so a secret is heeded whoever plays the party
    let reported = load(None, &[("OMS__CARRIER__HTTP__WEBHOOK_SECRET", "hunter2"), ("OMS__CARRIER__HTTP__CODE", "dhl")]).unwrap();
    assert_eq!((reported.reports.carrier.len(), reported.reports.carrier_code.as_str()), (1, "dhl"));
    assert!(reported.reports.payments.is_empty() && !format!("{:?}", reported.reports).contains("hunter2"));
    for (pairs, key) in [
        (vec![("OMS__PAYMENT__PROVIDER", "paypal")], "payment.provider"),
        (vec![("OMS__PAYMENT__PROVIDER", "stripe")], "payment.stripe.secret_key"),
        (
            vec![
                ("OMS__PAYMENT__PROVIDER", "stripe"),
                ("STRIPE_SECRET_KEY", "hunter2"),
                ("OMS__PAYMENT__STRIPE__BASE_URL", "http://far.example"),
            ],
            "payment.stripe.base_url",
        ),
        (vec![("OMS__CARRIER__PROVIDER", "http")], "carrier.http.base_url"),
        (vec![("OMS__CARRIER__PROVIDER", "http"), ("OMS__CARRIER__HTTP__BASE_URL", "https://c.example")], "carrier.http.token"),
        (vec![("OMS__CARRIER__HTTP__CODE", "a/b")], "carrier.http.code"),
        (vec![("OMS__SMS__PROVIDER", "twilio")], "sms.twilio.account_sid"),
        (
            vec![
                ("OMS__SMS__PROVIDER", "twilio"),
                ("TWILIO_ACCOUNT_SID", "AC1"),
                ("TWILIO_AUTH_TOKEN", "hunter2"),
                ("OMS__SMS__TWILIO__FROM", "+49 30"),
            ],
            "sms.twilio.from",
        ),
    ] {
        let text = complaint(None, &pairs);
        assert!(text.contains(key) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_channel_may_have_deadlines_and_policies_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = "[deadlines]\nreview = \"5h\"\n[channels.phone.deadlines]\ndecision = \"7d\"\n[channels.phone.policies]\nshortage = \"wait\"\n";
    std::fs::write(dir.path().join("oms.toml"), file).unwrap();
    let variable = ("OMS__CHANNELS__KIOSK__DEADLINES__REVIEW".to_owned(), "10m".to_owned());
    let settings = Settings::load_from(dir.path(), &[variable].into_iter().collect()).unwrap();
    let hours = |n: u64| std::time::Duration::from_secs(n * 3_600);
    let (deadlines, policies) = settings.channels["phone"];
    assert_eq!((deadlines.decision, deadlines.review), (hours(7 * 24), hours(5)), "what is not set there is everybody's");
    assert_eq!((policies.shortage.as_str(), settings.policies.shortage.as_str()), ("wait", "cancel"));
    assert_eq!(settings.channels["kiosk"].0.review, std::time::Duration::from_secs(600));
    assert_eq!(settings.deadlines.decision, hours(3 * 24));
    for key in ["OMS__CHANNELS__KIOSK__DEADLINES__REVEIW", "OMS__CHANNELS__KIOSK__API__LISTEN", "OMS__CHANNELS__KIOSK"] {
        let variable = (key.to_owned(), "10m".to_owned());
        assert!(Settings::load_from(dir.path(), &[variable].into_iter().collect()).is_err(), "{key}");
    }
}
