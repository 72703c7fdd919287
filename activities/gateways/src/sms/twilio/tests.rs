//! The adapter against a simulator; Twilio's own client and validator prove the format in `tests/peers`.

use super::*;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use oms_domain::customer::Phone;
use serde_json::json;

/// The fields of a request.
type Fields = Vec<(String, String)>;

/// Takes messages as Twilio does, or fails as told.
#[derive(Clone, Default)]
struct Simulator {
    taken: Arc<Mutex<Vec<Fields>>>,
    /// What the next POSTs come to: a status and Twilio's code; `taken` if the message is taken all the same.
    failures: Arc<Mutex<Vec<(u16, i64, bool)>>>,
    listed: Arc<Mutex<u32>>,
}

async fn serve(State(twilio): State<Simulator>, verb: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(uri.path(), "/2010-04-01/Accounts/AC1/Messages.json");
    let credentials = format!("Basic {}", STANDARD.encode("AC1:hunter2"));
    if headers["authorization"] != credentials {
        return (StatusCode::UNAUTHORIZED, json!({"code": 20003}).to_string()).into_response();
    }
    if verb == Method::GET {
        *twilio.listed.lock().unwrap() += 1;
        assert!(uri.query().unwrap().starts_with("To=%2B4930123456&"), "{uri}");
        let now = oms_domain::instant(SystemTime::now()).to_rfc2822();
        let text = |form: &[(String, String)]| form.iter().find(|(name, _)| name == "Body").unwrap().1.clone();
        let list: Vec<_> = twilio
            .taken
            .lock()
            .unwrap()
            .iter()
            .map(|f| json!({"body": text(f), "status": "sent", "date_created": now}))
            .collect();
        return json!({"messages": list}).to_string().into_response();
    }
    let failure = twilio.failures.lock().unwrap().pop();
    if failure.is_none_or(|(_, _, taken)| taken) {
        let url = reqwest::Url::parse(&format!("http://form.invalid/?{}", String::from_utf8_lossy(&body))).unwrap();
        twilio.taken.lock().unwrap().push(url.query_pairs().into_owned().collect());
    }
    match failure {
        Some((status, code, _)) => {
            let body = json!({"code": code, "message": "+4930123456 is bad", "status": status});
            (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
        }
        None => (StatusCode::CREATED, json!({"sid": "SM1", "status": "queued"}).to_string()).into_response(),
    }
}

async fn world() -> (Simulator, TwilioTexter) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let twilio = Simulator::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(serve).with_state(twilio.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let texter = TwilioTexter::new(settings(base_url, "hunter2")).unwrap();
    (twilio, texter)
}

fn settings(base_url: String, token: &str) -> TwilioSettings {
    TwilioSettings {
        account_sid: "AC1".into(),
        auth_token: Secret::new(token),
        from: "+15005550006".into(),
        base_url,
        status_callback: Some("https://shop.example/v1/inbound/sms".into()),
        timeout: Duration::from_secs(5),
    }
}

fn sms() -> Sms {
    Sms {
        message_id: MessageId::parse("sms-00000001").unwrap(),
        to: Phone::parse("+4930123456").unwrap(),
        text: "Grüße & mehr".into(),
    }
}

#[tokio::test]
async fn a_message_goes_out_in_twilios_form() {
    let (twilio, texter) = world().await;
    assert_eq!(texter.send(&sms()).await.unwrap(), Delivery::Taken);
    let taken = twilio.taken.lock().unwrap().clone();
    let expected = [
        ("To", "+4930123456"),
        ("Body", "Grüße & mehr"),
        ("From", "+15005550006"),
        ("StatusCallback", "https://shop.example/v1/inbound/sms?message=sms-00000001"),
    ];
    assert_eq!(taken, [expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()]);
    assert_eq!(*twilio.listed.lock().unwrap(), 0, "a first attempt costs one call");
    assert!(!format!("{texter:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_unknown_outcome_is_looked_at_before_the_repeat() {
    let (twilio, texter) = world().await;
    for taken in [true, false] {
        *twilio.failures.lock().unwrap() = vec![(500, 20500, taken)];
        let before = twilio.taken.lock().unwrap().len();
        let mut sms = sms();
        sms.message_id = MessageId::parse(format!("sms-doubt-{taken}")).unwrap();
        sms.text = format!("taken: {taken}");
        let error = texter.send(&sms).await.unwrap_err();
        assert!(matches!(error, GatewayError::UnknownOutcome { .. }), "{error}");
        assert_eq!(texter.send(&sms).await.unwrap(), Delivery::Taken);
        assert_eq!(twilio.taken.lock().unwrap().len(), before + 1, "exactly once");
    }
    // the same words once more, on purpose: no doubt, no comparison
    let again = Sms { message_id: MessageId::parse("sms-on-purpose").unwrap(), text: "taken: true".into(), ..sms() };
    assert_eq!(texter.send(&again).await.unwrap(), Delivery::Taken);
    assert_eq!(twilio.taken.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn refusals_are_final_and_faults_of_ours_are_not() {
    let (twilio, texter) = world().await;
    *twilio.failures.lock().unwrap() = vec![(400, 21211, false)];
    assert_eq!(texter.send(&sms()).await.unwrap(), Delivery::Refused { code: "21211".into() });
    for (status, code) in [(400, 21606), (404, 20404), (429, 20429), (503, 20503)] {
        *twilio.failures.lock().unwrap() = vec![(status, code, false)];
        let error = texter.send(&sms()).await.unwrap_err();
        let GatewayError::Unavailable { detail } = error else { panic!("{status}: {error}") };
        assert!(detail.contains(&code.to_string()) && !detail.contains("4930"), "{detail}");
    }
    let stranger = TwilioTexter::new(settings(texter.base.clone(), "wrong")).unwrap();
    let error = stranger.send(&sms()).await.unwrap_err();
    assert!(matches!(&error, GatewayError::Unavailable { detail } if detail.contains("TWILIO_AUTH_TOKEN")), "{error}");
    assert!(twilio.taken.lock().unwrap().is_empty());
}

/// The signature is the one that Twilio's own validator computes.
#[test]
fn callbacks_are_checked_by_their_signature() {
    let token = Secret::new("12345");
    let parameters = [("MessageSid", "SM1"), ("MessageStatus", "delivered"), ("To", "+4930123456")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let url = "https://shop.example/v1/inbound/sms?message=sms-00000001";
    let signature = sign(url, &parameters, &token).unwrap();
    assert_eq!(signature, "HLFKy5Zv3/MIuXBQI9YI+ytJhAU=");
    let mut shuffled = parameters.to_vec();
    shuffled.reverse();
    assert!(verify(url, &shuffled, &signature, &token));
    assert!(!verify(&url.replace("0001", "0002"), &parameters, &signature, &token));
    assert!(!verify(url, &parameters[1..], &signature, &token));
    assert!(!verify(url, &parameters, &signature, &Secret::new("54321")));
    assert!(!verify(url, &parameters, "not base64", &token));
}
