//! Mail against aiosmtpd: refusals, encryption, logins.

use std::path::Path;
use std::process::Command;

use oms_domain::customer::Email;
use oms_domain::ids::MessageId;
use oms_gateways::mail::{MailAddress, MailMessage, Mailer, SmtpMailer};
use oms_gateways::{Delivery, GatewayError};

use crate::peer::{Peer, free_port, needs_python};

/// Takes mail into files; how strictly, its arguments say.
const SERVE: &str = r#"
import asyncio, os, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

port, folder, wants = int(sys.argv[1]), sys.argv[2], set(sys.argv[3].split(","))

class Keep:
    async def handle_RCPT(self, server, session, envelope, address, options):
        for word in ("421", "451", "550", "552"):
            if address.startswith(f"no-{word}-"):
                return f"{word} 4.5.6 <{address}> says no"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        secured = "tls" if session.ssl else "plain"
        who = session.auth_data.login.decode() if session.auth_data else "nobody"
        with open(os.path.join(folder, f"{len(os.listdir(folder))}.eml"), "wb") as file:
            file.write(f"X-How: {secured} {who}\r\n".encode() + envelope.content)
        return "250 kept"

def login(server, session, envelope, mechanism, data):
    known = data.login == b"shop" and data.password == b"hunter2"
    return AuthResult(success=known, handled=known, auth_data=data)

context = None
if wants & {"starttls", "implicit"}:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4])

def smtp():
    return SMTP(Keep(), tls_context=context if "starttls" in wants else None, require_starttls="starttls" in wants,
        authenticator=login, auth_required="auth" in wants, auth_require_tls=False)

async def main():
    wrap = context if "implicit" in wants else None
    server = await asyncio.get_running_loop().create_server(smtp, "127.0.0.1", port, ssl=wrap)
    await server.serve_forever()

asyncio.run(main())
"#;

struct Server {
    port: u16,
    dir: tempfile::TempDir,
    _peer: Peer,
}

impl Server {
    async fn start(wants: &str) -> Self {
        needs_python("aiosmtpd");
        let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
        std::fs::create_dir(dir.path().join("mail")).unwrap();
        certificates(dir.path());
        let mut command = Command::new("python3");
        command.args(["-c", SERVE, &port.to_string()]).arg(dir.path().join("mail")).arg(wants).arg(dir.path().join("server.pem"));
        Self { port, _peer: Peer::start(command, port).await, dir }
    }

    fn url(&self, scheme: &str, login: &str, query: &str) -> String {
        let ca = self.dir.path().join("ca.pem");
        format!("{scheme}://{login}127.0.0.1:{}?{}", self.port, query.replace("CA", &ca.display().to_string()))
    }

    fn mails(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.dir.path().join("mail")).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }
}

/// An authority, and a certificate of it for 127.0.0.1 with its key in one file.
fn certificates(dir: &Path) {
    let script = "set -e; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-ca \
        -keyout ca.key -out ca.pem; openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=127.0.0.1 \
        -keyout server.key -out server.csr; printf 'subjectAltName=IP:127.0.0.1' > san; openssl x509 -req -in server.csr -CA ca.pem \
        -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.crt; cat server.crt server.key > server.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "openssl is missing? {}", String::from_utf8_lossy(&made.stderr));
}

async fn send(url: &str, to: &str) -> Result<Delivery, GatewayError> {
    let message = MailMessage {
        message_id: MessageId::parse("0b5e8a52-message-1").unwrap(),
        to: MailAddress { name: "Zoë".into(), email: Email::parse(to).unwrap() },
        from: MailAddress { name: "Shop".into(), email: Email::parse("orders@shop.example").unwrap() },
        reply_to: None,
        subject: "Hello".into(),
        text: "Hello".into(),
        html: "<p>Hello</p>".into(),
    };
    SmtpMailer::from_url(url).unwrap().send(&message).await
}

fn unavailable(answer: Result<Delivery, GatewayError>) -> String {
    match answer {
        Err(GatewayError::Unavailable { detail }) => detail,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs aiosmtpd"]
async fn what_bounces_for_good_is_final_and_what_may_pass_is_tried_again() {
    let server = Server::start("nothing").await;
    let url = server.url("smtp", "", "tls=none");
    for code in ["550", "552"] {
        let answer = send(&url, &format!("no-{code}-thanks@example.com")).await.unwrap();
        assert_eq!(answer, Delivery::Refused { code: code.into() });
    }
    for code in ["421", "451"] {
        let detail = unavailable(send(&url, &format!("no-{code}-thanks@example.com")).await);
        assert!(detail.contains(code) && !detail.contains('@'), "{detail}");
    }
    assert_eq!(send(&url, "zoe@example.com").await.unwrap(), Delivery::Taken);
    let mails = server.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert!(
        mails[0].contains("X-How: plain nobody") && mails[0].contains("Message-ID: <0b5e8a52-message-1@shop.example>"),
        "{mails:?}"
    );
}

#[tokio::test]
#[ignore = "needs aiosmtpd"]
async fn a_login_is_asked_for_and_a_wrong_one_is_not_the_messages_fault() {
    let server = Server::start("auth").await;
    let detail = unavailable(send(&server.url("smtp", "", ""), "zoe@example.com").await);
    assert!(detail.contains("530"), "{detail}");
    let detail = unavailable(send(&server.url("smtp", "shop:wrong@", ""), "zoe@example.com").await);
    assert!(detail.contains("535") && !detail.contains("wrong"), "{detail}");
    let error = SmtpMailer::from_url(&server.url("smtp", "shop:wrong@", "")).unwrap().check().await.unwrap_err();
    assert!(error.to_string().contains("535"), "{error}");
    assert!(server.mails().is_empty());
    let url = server.url("smtp", "shop:hunter2@", "");
    SmtpMailer::from_url(&url).unwrap().check().await.unwrap();
    assert_eq!(send(&url, "zoe@example.com").await.unwrap(), Delivery::Taken);
    assert!(server.mails()[0].contains("X-How: plain shop"), "{:?}", server.mails());
}

#[tokio::test]
#[ignore = "needs aiosmtpd"]
async fn encryption_is_as_the_url_says_and_never_less() {
    let strict = Server::start("starttls,auth").await;
    let url = strict.url("smtp", "shop:hunter2@", "tls=required&ca=CA");
    SmtpMailer::from_url(&url).unwrap().check().await.unwrap();
    assert_eq!(send(&url, "zoe@example.com").await.unwrap(), Delivery::Taken);
    assert_eq!(
        send(&strict.url("smtp", "shop:hunter2@", "tls=opportunistic&ca=CA"), "zoe@example.com").await.unwrap(),
        Delivery::Taken
    );
    // an authority that nobody knows; no encryption where it is demanded
    unavailable(send(&strict.url("smtp", "shop:hunter2@", "tls=required"), "zoe@example.com").await);
    unavailable(send(&strict.url("smtp", "", "tls=none"), "zoe@example.com").await);
    let mails = strict.mails();
    assert!(mails.len() == 2 && mails.iter().all(|m| m.contains("X-How: tls shop")), "{mails:?}");

    let implicit = Server::start("implicit").await;
    assert_eq!(send(&implicit.url("smtps", "", "ca=CA"), "zoe@example.com").await.unwrap(), Delivery::Taken);
    unavailable(send(&implicit.url("smtps", "", ""), "zoe@example.com").await);
    assert_eq!(implicit.mails().len(), 1);

    // a server, or somebody in between, that offers no encryption
    let plain = Server::start("nothing").await;
    unavailable(send(&plain.url("smtp", "", "tls=required"), "zoe@example.com").await);
    assert!(plain.mails().is_empty());
    assert_eq!(send(&plain.url("smtp", "", "tls=opportunistic"), "zoe@example.com").await.unwrap(), Delivery::Taken);
}
