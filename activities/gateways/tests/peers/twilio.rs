//! Twilio's own Python client and validator against what our side makes of its wire format.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use oms_domain::customer::Phone;
use oms_domain::ids::MessageId;
use oms_gateways::Delivery;
use oms_gateways::secret::Secret;
use oms_gateways::sms::twilio::{TwilioSettings, TwilioTexter, sign, verify};
use oms_gateways::sms::{Sms, Texter};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::peer::{needs_python, python, tls};

/// Sends one message to the given server instead of the real one.
const SEND: &str = r#"
import sys
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

class Here(TwilioHttpClient):
    def request(self, method, url, *more, **named):
        return super().request(method, url.replace("https://api.twilio.com", sys.argv[1]), *more, **named)

sent = Client("AC1", "hunter2", http_client=Here()).messages.create(
    to="+4930123456", from_="+15005550006", body="Grüße & mehr",
    status_callback="https://shop.example/v1/inbound/sms?message=sms-00000001")
assert sent.sid == "SM1" and sent.status == "queued", sent
"#;

/// Signs with the official validator, and checks our signatures with it.
const VALIDATE: &str = r#"
import json, sys
from twilio.request_validator import RequestValidator

for url, form, token, ours in json.loads(sys.argv[1]):
    assert RequestValidator(token).validate(url, form, ours), (url, form)
    print(RequestValidator(token).compute_signature(url, form))
"#;

/// A request as it came: path, credentials, fields.
type Seen = (String, String, BTreeSet<(String, String)>);

async fn serve(State(tell): State<UnboundedSender<Seen>>, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let form = reqwest::Url::parse(&format!("http://form.invalid/?{}", String::from_utf8_lossy(&body))).unwrap();
    let fields = form.query_pairs().into_owned().collect();
    tell.send((uri.path().to_owned(), headers["authorization"].to_str().unwrap().to_owned(), fields)).unwrap();
    (StatusCode::CREATED, r#"{"sid": "SM1", "status": "queued"}"#)
}

#[tokio::test]
#[ignore = "needs twilio's python client"]
async fn our_request_is_the_one_that_twilios_own_client_makes() {
    tls();
    needs_python("twilio");
    let (tell, mut told) = unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(serve).with_state(tell);
    tokio::spawn(async move { axum::serve(listener, router).await });
    python(SEND, &[&base_url]).await;
    let texter = TwilioTexter::new(TwilioSettings {
        account_sid: "AC1".into(),
        auth_token: Secret::new("hunter2"),
        from: "+15005550006".into(),
        base_url,
        status_callback: Some("https://shop.example/v1/inbound/sms".into()),
        timeout: Duration::from_secs(10),
    })
    .unwrap();
    let (message_id, to) = (MessageId::parse("sms-00000001").unwrap(), Phone::parse("+4930123456").unwrap());
    assert_eq!(texter.send(&Sms { message_id, to, text: "Grüße & mehr".into() }).await.unwrap(), Delivery::Taken);
    let (theirs, ours) = (told.recv().await.unwrap(), told.recv().await.unwrap());
    assert_eq!(theirs, ours);
    assert_eq!(ours.0, "/2010-04-01/Accounts/AC1/Messages.json");
}

#[tokio::test]
#[ignore = "needs twilio's python client"]
async fn callbacks_are_signed_as_twilios_validator_has_it() {
    needs_python("twilio");
    let cases = [
        (
            "https://shop.example/v1/inbound/sms",
            vec![("MessageStatus", "delivered"), ("MessageSid", "SM1"), ("Body", "Grüße & 1+1")],
        ),
        ("https://shop.example/cb?message=sms-1&b=2", vec![("a", "1"), ("B", ""), ("A", "2")]),
        ("https://shop.example/cb", vec![]),
    ];
    let token = Secret::new("an auth token");
    let owned = |form: &[(&str, &str)]| form.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let asked: Vec<_> = cases
        .iter()
        .map(|(url, form)| {
            let fields: serde_json::Map<_, _> = form.iter().map(|(n, v)| ((*n).to_owned(), (*v).into())).collect();
            serde_json::json!([url, fields, token.reveal(), sign(url, &owned(form), &token)])
        })
        .collect();
    let theirs = python(VALIDATE, &[&serde_json::Value::Array(asked).to_string()]).await;
    assert_eq!(theirs.lines().count(), cases.len());
    for ((url, form), signature) in cases.iter().zip(theirs.lines()) {
        assert!(verify(url, &owned(form), signature, &token), "{url}");
    }
}
