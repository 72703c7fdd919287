use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[test]
fn a_bad_line_makes_the_whole_bad_and_an_idle_one_does_not() {
    let mut findings = vec![Finding::good("a", "fine"), Finding::off("b", "idle")];
    assert!(as_document(&findings).contains("\"ok\": true"));
    findings.push(Finding::bad("c", "broken: mend it"));
    assert!(as_document(&findings).contains("\"ok\": false"));
    assert!(as_table(&findings).lines().any(|l| l.starts_with("FAIL  c") && l.ends_with("broken: mend it")));
}

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::load_from(Path::new("absent"), &variables).unwrap()
}

/// A server that says one thing to whoever comes, and goes. `listens`: only after it has heard something, as servers of HTTP do.
async fn says(words: &'static str, listens: bool) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if listens {
                let _ = stream.read(&mut [0; 4_096]).await.unwrap();
            }
            stream.write_all(words.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            // what is left unread would end the connection before its words are heard
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    address
}

#[tokio::test]
async fn a_mail_server_that_is_none_is_told_without_the_password() {
    let address = says("HTTP/1.1 400\r\n", false).await;
    let settings = settings(&[("SMTP_URL", &format!("smtp://user:hunter2@{address}"))]);
    let finding = parties::mail(&settings).await;
    assert_eq!(finding.state, State::Bad, "{finding:?}");
    assert!(finding.detail.contains("SMTP_URL") && !finding.detail.contains("hunter2"), "{finding:?}");
}

#[tokio::test]
async fn each_configured_party_is_asked_and_its_refusal_names_the_remedy() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let url = format!("http://{}", says(REFUSED, true).await);
    let stranger = settings(&[
        ("OMS__PAYMENT__PROVIDER", "stripe"),
        ("STRIPE_SECRET_KEY", "sk_hunter2"),
        ("OMS__PAYMENT__STRIPE__BASE_URL", &url),
        ("OMS__CARRIER__PROVIDER", "http"),
        ("OMS__CARRIER__HTTP__BASE_URL", &url),
        ("OMS__CARRIER__HTTP__TOKEN", "hunter2"),
        ("OMS__SMS__PROVIDER", "twilio"),
        ("TWILIO_ACCOUNT_SID", "AC1"),
        ("TWILIO_AUTH_TOKEN", "hunter2"),
        ("OMS__SMS__TWILIO__FROM", "+15005550006"),
        ("OMS__SMS__TWILIO__BASE_URL", &url),
    ]);
    for (finding, remedy) in [
        (parties::payment(&stranger).await, "STRIPE_SECRET_KEY"),
        (parties::carrier(&stranger).await, "OMS__CARRIER__HTTP__TOKEN"),
        (parties::sms(&stranger).await, "TWILIO_AUTH_TOKEN"),
    ] {
        assert_eq!(finding.state, State::Bad, "{finding:?}");
        assert!(finding.detail.contains(remedy) && !finding.detail.contains("hunter2"), "{finding:?}");
    }
    assert_eq!(stranger.sandboxed(), [Party::Mail]);
}

#[test]
fn a_sandbox_in_public_is_a_warning() {
    let loopback = settings(&[]);
    assert_eq!(parties::in_public(&loopback), None);
    let public = settings(&[("OMS__API__LISTEN", "0.0.0.0:8080"), ("SMTP_URL", "smtp://127.0.0.1:25")]);
    let finding = parties::in_public(&public).unwrap();
    assert_eq!(finding.state, State::Warn);
    assert!(finding.detail.contains("payment, carrier, sms") && finding.detail.contains("0.0.0.0:8080"), "{finding:?}");
    assert!(as_document(&[finding]).contains("\"ok\": true"), "it works, so no start is prevented");
}

#[tokio::test]
async fn redis_is_missed_but_nothing_fails_without_it() {
    assert_eq!(redis(&settings(&[])).await.state, State::Off);
    // nothing listens on port 9 of the loopback
    let finding = redis(&settings(&[("REDIS_URL", "redis://:hunter2@127.0.0.1:9")])).await;
    assert_eq!(finding.state, State::Warn, "{finding:?}");
    assert!(!finding.detail.contains("hunter2"), "{finding:?}");
}

#[tokio::test]
async fn looking_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let variables = [("OMS__DATA_DIR".to_owned(), data.display().to_string())].into_iter().collect();
    let settings = Settings::load_from(dir.path(), &variables).unwrap();
    assert_eq!(data_dir(&settings.data_dir).state, State::Off);
    assert_eq!(database::examine(&settings).await.state, State::Off);
    assert_eq!(sandbox(&settings).await[0].state, State::Off);
    assert!(!data.exists());
}
