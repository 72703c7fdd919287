//! Events to a Kafka broker that nobody here wrote, by the real binary. Run with `cargo test -- --ignored`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use oms_store::Store;
use rskafka::BackoffConfig;
use rskafka::client::partition::UnknownTopicHandling;
use rskafka::client::{Client, ClientBuilder};
use serde_json::Value;

use crate::events::Consumer;
use crate::support::broker::{Broker, kafka};
use crate::support::engine::{self, free_port};
use crate::support::roles::{Place, Process};
use crate::support::shop::{Fate, Shop};
use crate::support::until;
use crate::support::world::{PATIENT, uuid};

const TOPIC: &str = "oms.events";
const PARTITIONS: i32 = 6;
const FATES: [Fate; 4] = [Fate::Delivered, Fate::TwoParcels, Fate::CancelledAtOnce, Fate::SoldOut];

/// A broker without topics, and a client of it.
async fn broker(dir: &Path, port: u16) -> (Broker, Client) {
    let folder = dir.join("kafka");
    std::fs::create_dir(&folder).unwrap();
    let broker = kafka(folder, port);
    let once = BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() };
    let client = until("Kafka answers", PATIENT, || async {
        let client = ClientBuilder::new(vec![format!("127.0.0.1:{port}")]).backoff_config(once.clone()).build();
        tokio::time::timeout(Duration::from_secs(5), client).await.ok()?.ok()
    })
    .await;
    (broker, client)
}

async fn create_topic(client: &Client) {
    client.controller_client().unwrap().create_topic(TOPIC, PARTITIONS, 1, 5_000).await.unwrap();
}

/// Everything in the topic, key and value, one partition after the other.
async fn everything(client: &Client) -> Vec<(i32, String, String)> {
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap()).unwrap();
    let mut all = Vec::new();
    for number in 0..PARTITIONS {
        let partition = client.partition_client(TOPIC, number, UnknownTopicHandling::Error).await.unwrap();
        let mut at = 0;
        loop {
            let (found, end) = partition.fetch_records(at, 1..1_000_000, 500).await.unwrap();
            at += i64::try_from(found.len()).unwrap();
            all.extend(found.into_iter().map(|found| (number, text(found.record.key), text(found.record.value))));
            if at >= end {
                break;
            }
        }
    }
    all
}

/// What `oms doctor` says of the sink: its state and the detail.
async fn doctor(place: &Place) -> (String, String) {
    let said = place.run(&["doctor", "--json"]).await;
    let document: Value = serde_json::from_slice(&said.stdout).unwrap();
    let line = document["checks"].as_array().unwrap().iter().find(|line| line["subject"] == "events to Kafka").unwrap();
    (line["state"].as_str().unwrap().to_owned(), line["detail"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn kafka_hears_each_order_in_its_order_once_its_topic_is_there() {
    crate::support::tls();
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let (_broker, client) = broker(dir.path(), port).await;
    let namespace = format!("test-{}", uuid());
    engine::namespace(&namespace).await;
    let database = format!("sqlite:{}", dir.path().join("oms.db").display());
    let place =
        Place::new(dir.path(), engine::address(), &namespace, &database).with("KAFKA_URL", &format!("kafka://127.0.0.1:{port}"));
    let migrated = place.run(&["migrate"]).await;
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let (_worker, relay, other) = tokio::join!(place.worker(), place.relay(), place.relay());
    let (_api, url) = place.api().await;
    let shop = Shop::at(std::slice::from_ref(&url));
    shop.open().await;
    let first = shop.place("order-first", Fate::Delivered).await;
    until("the relay says what is missing", PATIENT, || async {
        [&relay, &other].iter().any(|relay| relay.said().contains("topic `oms.events` does not exist")).then_some(())
    })
    .await;
    let (state, detail) = doctor(&place).await;
    assert!(state == "fail" && detail.contains("create it"), "{state} {detail}");
    assert!(client.list_topics().await.unwrap().iter().all(|topic| topic.name != TOPIC), "nobody makes a topic by the way");
    create_topic(&client).await;
    shop.live(&first, Fate::Delivered).await;
    for (number, fate) in FATES.into_iter().enumerate() {
        let id = shop.place(&format!("order-{number}"), fate).await;
        shop.live(&id, fate).await;
    }
    let store = Store::connect(&database).await.unwrap();
    until("everything is published", PATIENT, || async { store.unpublished(1).await.unwrap().is_empty().then_some(()) }).await;
    assert_eq!(doctor(&place).await.0, "ok");
    let (mut consumer, mut homes) = (Consumer::default(), BTreeMap::new());
    let answer = reqwest::get(format!("{url}/v1/events?limit=1000")).await.unwrap();
    let told = String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap();
    for (partition, key, value) in everything(&client).await {
        consumer.take(&value);
        assert!(told.contains(&value), "the same bytes as in GET /v1/events: {value}");
        let event: Value = serde_json::from_str(&value).unwrap();
        assert_eq!(event["subject"], key.as_str());
        assert_eq!(*homes.entry(key).or_insert(partition), partition, "one partition for {}", event["subject"]);
    }
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(consumer.events(), told["data"].as_array().unwrap().len());
    assert!(homes.contains_key(&first) && consumer.events() > 20, "{} events of {homes:?}", consumer.events());
}

/// Stands before a broker: TLS, and SASL PLAIN for one user.
const GATE: &str = r#"
import asyncio, ssl, struct, sys
own, broker, certificate, login = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4].encode()
async def frame(reader):
    size, = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)
async def serve(reader, writer):
    inside, outside = await asyncio.open_connection("127.0.0.1", broker)
    let_in = False
    try:
        while True:
            request = await frame(reader)
            api, version, number = struct.unpack(">hhi", request[:8])
            if api == 17:
                answer = struct.pack(">ihih", number, 0, 1, 5) + b"PLAIN"
            elif api == 36:
                assert version == 2
                let_in = b"\0" + login.replace(b":", b"\0") in request
                # flexible: no message, no bytes, no tags
                answer = struct.pack(">ibhbbqb", number, 0, 0 if let_in else 58, 0, 1, 0, 0)
            elif let_in or api == 18:
                outside.write(struct.pack(">i", len(request)) + request)
                answer = await frame(inside)
            else:
                break
            writer.write(struct.pack(">i", len(answer)) + answer)
    finally:
        writer.close()
        outside.close()
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(serve, "127.0.0.1", own, ssl=context) as server:
        print("open", flush=True)
        await server.serve_forever()
asyncio.run(main())
"#;

/// An authority, and a certificate of it for 127.0.0.1 with its key in one file.
const CERTIFICATES: &str = "set -e; ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $ec -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem
openssl req $ec -subj /CN=127.0.0.1 -keyout own.key -out own.csr
printf 'subjectAltName=IP:127.0.0.1' > san
openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out own.crt
cat own.crt own.key > own.pem";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka, openssl"]
async fn kafka_behind_tls_and_a_login_lets_us_in_and_is_believed_only_with_a_known_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("sh").args(["-c", CERTIFICATES]).current_dir(dir.path()).output().unwrap();
    assert!(made.status.success(), "openssl is missing? {}", String::from_utf8_lossy(&made.stderr));
    let (port, open) = (free_port(), free_port());
    let (_broker, client) = broker(dir.path(), port).await;
    create_topic(&client).await;
    let mut command = Command::new("python3");
    command.args(["-c", GATE, &open.to_string(), &port.to_string()]).arg(dir.path().join("own.pem")).arg("oms:hunter@2");
    let mut gate = Process::spawn(command, dir.path().join("gate.log"));
    gate.says("open").await;
    let database = format!("sqlite:{}", dir.path().join("oms.db").display());
    let place = |login: &str, authority: &str| {
        Place::new(dir.path(), "127.0.0.1:9", "oms", &database)
            .with("KAFKA_URL", &format!("kafkas://{login}@127.0.0.1:{open}"))
            .with("SSL_CERT_FILE", &dir.path().join(authority).display().to_string())
    };
    let (state, detail) = doctor(&place("oms:hunter%402", "ca.pem")).await;
    assert_eq!(state, "ok", "{detail}");
    let (state, detail) = doctor(&place("oms:hunter3", "ca.pem")).await;
    assert!(state == "fail" && detail.contains("Sasl") && !detail.contains("hunter"), "{detail}");
    std::fs::copy(dir.path().join("own.crt"), dir.path().join("other.pem")).unwrap();
    let (state, detail) = doctor(&place("oms:hunter%402", "other.pem")).await;
    assert!(state == "fail" && detail.contains("certificate") && !detail.contains("hunter"), "{detail}");
}
