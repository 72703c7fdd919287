use super::*;
use crate::faults::{Fault, FaultMode};
use crate::sandbox::Sandbox;
use oms_domain::party::Party;
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

fn message() -> MailMessage {
    MailMessage {
        message_id: MessageId::parse("0b5e8a52-message-1").unwrap(),
        to: MailAddress { name: "Zoë Müller".into(), email: Email::parse("zoe@example.com").unwrap() },
        from: MailAddress { name: "Grüner Laden".into(), email: Email::parse("orders@shop.example").unwrap() },
        reply_to: Some(Email::parse("hello@shop.example").unwrap()),
        subject: "Ihre Bestellung ist da – 12,00 €".into(),
        text: "Grüße, 東京\nzweite Zeile\n".into(),
        html: "<p>Grüße, <b>東京</b></p>".into(),
    }
}

fn emls(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// Header lines (unfolded) and body of a message or part.
fn split(raw: &str) -> (Vec<String>, &str) {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    (head.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n").map(str::to_owned).collect(), body)
}

fn header<'a>(headers: &'a [String], name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    let found: Vec<&String> = headers.iter().filter(|h| h.starts_with(&prefix)).collect();
    assert_eq!(found.len(), 1, "{name} in {headers:?}");
    &found[0][prefix.len()..]
}

/// Decodes quoted-printable or base64, whichever the part says.
fn decode(headers: &[String], body: &str) -> String {
    let bytes = match header(headers, "Content-Transfer-Encoding") {
        "quoted-printable" => {
            let joined = body.replace("=\r\n", "");
            let mut out = Vec::new();
            let mut bytes = joined.bytes();
            while let Some(b) = bytes.next() {
                if b == b'=' {
                    let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                    out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
                } else {
                    out.push(b);
                }
            }
            out
        }
        "base64" => {
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let (mut out, mut buffer, mut bits) = (Vec::new(), 0u32, 0);
            for b in body.bytes().filter(|b| ALPHABET.contains(b)) {
                buffer = (buffer << 6) | u32::try_from(ALPHABET.iter().position(|a| *a == b).unwrap()).unwrap();
                bits += 6;
                if bits >= 8 {
                    bits -= 8;
                    out.push(u8::try_from((buffer >> bits) & 0xff).unwrap());
                }
            }
            out
        }
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

#[tokio::test]
async fn the_file_is_mail_with_both_bodies_and_a_stable_id() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::open(dir.path()).await.unwrap();
    let folder = MailFolder::new(dir.path().join("mail"), sandbox.faults.clone());
    folder.send(&message()).await.unwrap();
    assert_eq!(emls(&dir.path().join("mail")), ["0b5e8a52-message-1.eml"]);

    let raw = std::fs::read_to_string(dir.path().join("mail/0b5e8a52-message-1.eml")).unwrap();
    let (headers, body) = split(&raw);
    assert_eq!(header(&headers, "Message-ID"), "<0b5e8a52-message-1@shop.example>");
    assert!(header(&headers, "To").ends_with("<zoe@example.com>"));
    assert!(header(&headers, "From").ends_with("<orders@shop.example>"));
    assert!(header(&headers, "Reply-To").ends_with("<hello@shop.example>"));
    assert!(!header(&headers, "Date").is_empty());
    assert_eq!(header(&headers, "Auto-Submitted"), "auto-generated");
    let kind = header(&headers, "Content-Type");
    assert!(kind.starts_with("multipart/alternative"), "{kind}");
    let boundary = kind.split("boundary=\"").nth(1).unwrap().trim_end_matches('"');
    let parts: Vec<_> = body.split(&format!("--{boundary}\r\n")).skip(1).map(split).collect();
    assert_eq!(parts.len(), 2);
    let text = |at: usize| decode(&parts[at].0, parts[at].1.split(&format!("\r\n--{boundary}--")).next().unwrap());
    assert_eq!(header(&parts[0].0, "Content-Type"), "text/plain; charset=utf-8");
    assert_eq!(header(&parts[1].0, "Content-Type"), "text/html; charset=utf-8");
    assert_eq!(text(0).trim_end(), message().text.trim_end());
    assert_eq!(text(1).trim_end(), message().html);

    let before = std::fs::read(dir.path().join("mail/0b5e8a52-message-1.eml")).unwrap();
    folder.send(&message()).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("mail/0b5e8a52-message-1.eml")).unwrap(), before, "a repeat changes nothing");
}

#[tokio::test]
async fn a_subject_or_a_name_cannot_add_headers() {
    let mut message = message();
    message.subject = "Hello\r\nBcc: evil@example.org".into();
    message.to.name = "A\r\nX-Injected: 1".into();
    let raw = String::from_utf8(build(&message).unwrap().formatted()).unwrap();
    let (headers, _) = split(&raw);
    assert_eq!(header(&headers, "Subject"), "Hello Bcc: evil@example.org");
    assert!(!headers.iter().any(|h| h.starts_with("Bcc") || h.starts_with("X-Injected")));
}

#[tokio::test]
async fn the_folder_obeys_the_faults_of_mail() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::open(dir.path()).await.unwrap();
    let folder = MailFolder::new(dir.path().join("mail"), sandbox.faults.clone());
    for mode in [FaultMode::Down, FaultMode::Error] {
        sandbox.faults.set(Party::Mail, &Fault::lasting(mode)).await.unwrap();
        assert!(matches!(folder.send(&message()).await, Err(GatewayError::Unavailable { .. })));
        assert!(emls(&dir.path().join("mail")).is_empty());
    }
    sandbox.faults.set(Party::Mail, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
    assert!(matches!(folder.send(&message()).await, Err(GatewayError::UnknownOutcome { .. })));
    assert_eq!(emls(&dir.path().join("mail")).len(), 1);
    folder.send(&message()).await.unwrap();
    assert_eq!(emls(&dir.path().join("mail")).len(), 1);
}

/// A server of one connection that answers RCPT with `answer`, and hangs up after DATA if told so. Returns its port.
async fn server(answer: &'static str, hang_up: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test\r\n").await.unwrap();
        let mut in_data = false;
        while let Ok(Some(line)) = lines.next_line().await {
            if in_data {
                if line != "." {
                    continue;
                }
                if hang_up {
                    return;
                }
                in_data = false;
            }
            let reply = match line.get(..4).unwrap_or_default() {
                "RCPT" => answer,
                "DATA" => {
                    in_data = true;
                    "354 go on"
                }
                _ => "250 ok",
            };
            write.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        }
    });
    port
}

async fn send_to(port: u16) -> Result<Delivery, GatewayError> {
    SmtpMailer::from_url(&format!("smtp://127.0.0.1:{port}")).unwrap().send(&message()).await
}

#[tokio::test]
async fn smtp_answers_become_outcomes_that_name_nobody() {
    assert_eq!(send_to(server("250 ok", false).await).await.unwrap(), Delivery::Taken);
    for (answer, code) in [("550 5.1.1 <zoe@example.com>: no such user", "550"), ("554 5.7.1 rejected", "554")] {
        assert_eq!(send_to(server(answer, false).await).await.unwrap(), Delivery::Refused { code: code.into() });
    }
    for answer in ["451 4.3.0 Mailbox zoe busy", "530 5.7.0 zoe must log in first"] {
        let error = send_to(server(answer, false).await).await.unwrap_err();
        let GatewayError::Unavailable { detail } = error else { panic!("{error}") };
        assert!(detail.contains(&answer[..3]) && !detail.contains("zoe"), "{detail}");
    }
    let error = send_to(server("250 ok", true).await).await.unwrap_err();
    assert!(matches!(error, GatewayError::UnknownOutcome { .. }), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = send_to(port).await.unwrap_err();
    assert!(matches!(error, GatewayError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn an_url_that_would_give_a_password_away_is_refused_without_repeating_it() {
    let refusal = |url: &str| SmtpMailer::from_url(url).err();
    for (url, error) in [
        ("http://user:hunter2@host", SmtpUrlError::Unreadable),
        ("smtp://user:hunter2@host?tls=perhaps", SmtpUrlError::Unreadable),
        ("hunter2", SmtpUrlError::Unreadable),
        ("smtp://user:hunter2@host:25", SmtpUrlError::PlainPassword),
        ("smtps://user:hunter2@host?ca=/nowhere/hunter2.pem", SmtpUrlError::BadAuthority),
    ] {
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(refusal(url), Some(error), "{url}");
    }
    for url in [
        "smtp://user:hunter2@127.0.0.1:25",
        "smtp://user:hunter2@[::1]:25",
        "smtp://user:hunter2@host:587?tls=required",
        "smtp://user:hunter2@host:587?tls=opportunistic",
        "smtp://user:hunter2@host:25?tls=none",
        "smtps://user:hunter2@host",
        "smtp://host",
    ] {
        assert_eq!(refusal(url), None, "{url}");
    }
}
