use super::*;
use std::collections::BTreeMap;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[test]
fn a_bad_line_makes_the_whole_bad_and_an_idle_one_does_not() {
    let mut findings = vec![Finding::good("a", "fine"), Finding::off("b", "idle")];
    assert!(as_document(&findings).contains("\"ok\": true"));
    findings.push(Finding::bad("c", "broken: mend it"));
    assert!(as_document(&findings).contains("\"ok\": false"));
    assert!(as_table(&findings).lines().any(|l| l.starts_with("FAIL  c") && l.ends_with("broken: mend it")));
}

#[tokio::test]
async fn a_mail_server_is_known_by_its_greeting() {
    for (greeting, good) in [("220 hello\r\n", true), ("HTTP/1.1 400\r\n", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut variables = BTreeMap::new();
        variables.insert("SMTP_URL".to_owned(), format!("smtp://user:hunter2@{}", listener.local_addr().unwrap()));
        let settings = Settings::load_from(Path::new("absent"), &variables).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting.as_bytes()).await.unwrap();
        };
        let (finding, ()) = tokio::join!(mail(&settings), serve);
        assert_eq!(finding.state == State::Good, good, "{finding:?}");
        assert!(!finding.detail.contains("hunter2"), "{finding:?}");
    }
}

#[tokio::test]
async fn looking_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let variables = [("OMS__DATA_DIR".to_owned(), data.display().to_string())].into_iter().collect();
    let settings = Settings::load_from(dir.path(), &variables).unwrap();
    assert_eq!(data_dir(&settings.data_dir).state, State::Off);
    assert_eq!(database(&settings).await.state, State::Off);
    assert_eq!(sandbox(&settings).await[0].state, State::Off);
    assert!(!data.exists());
}
