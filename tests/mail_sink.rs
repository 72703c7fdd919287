//! Mail against a sink that nobody here wrote, read back by a reader that nobody here wrote.
//! Run with `cargo test -- --ignored`; needs Python 3 with aiosmtpd.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use oms_domain::ids::OrderId;
use oms_domain::order::Status;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_store::MessageState;
use oms_temporal::worker::WorkerTuning;
use serde::Deserialize;

use crate::support::books;
use crate::support::engine::free_port;
use crate::support::roles::{Place, Process};
use crate::support::until;
use crate::support::world::{PATIENT, World};

/// Keeps each message it takes in a file of its own.
const KEEP: &str = r#"
import itertools, os

class Keep:
    def __init__(self, folder):
        self.folder, self.numbers = folder, itertools.count()

    @classmethod
    def from_cli(cls, parser, *arguments):
        return cls(*arguments)

    async def handle_DATA(self, server, session, envelope):
        path = os.path.join(self.folder, f"{os.getpid()}-{next(self.numbers)}")
        with open(path + ".part", "wb") as file:
            file.write(envelope.content)
        os.rename(path + ".part", path + ".eml")
        return "250 kept"
"#;

/// Reads what was kept.
const READ: &str = r#"
import email, email.policy, json, pathlib, sys

def read(path):
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    parts = list(mail.iter_parts())
    return {
        "id": mail["Message-ID"], "from": mail["From"], "to": mail["To"], "subject": mail["Subject"],
        "kind": mail.get_content_type(),
        "parts": {part.get_content_type(): part.get_content() for part in parts},
        "charsets": [part.get_content_charset() for part in parts],
        "defects": [str(d) for part in [mail, *parts] for d in part.defects],
    }

print(json.dumps([read(path) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.eml"))]))
"#;

/// A message as Python's email package reads it.
#[derive(Debug, Deserialize)]
struct Mail {
    id: String,
    from: String,
    to: String,
    subject: String,
    kind: String,
    parts: BTreeMap<String, String>,
    charsets: Vec<String>,
    defects: Vec<String>,
}

/// A place for mail, whether or not somebody takes it there.
pub struct Sink {
    port: u16,
    dir: PathBuf,
}

impl Sink {
    pub fn in_directory(dir: &Path) -> Self {
        let sink = Self { port: free_port(), dir: dir.join("sink") };
        std::fs::create_dir(&sink.dir).unwrap();
        std::fs::write(sink.dir.join("keep.py"), KEEP).unwrap();
        sink
    }

    /// Where it takes mail.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The Message-IDs of what was taken so far.
    pub fn ids(&self) -> BTreeSet<String> {
        let files = std::fs::read_dir(&self.dir).unwrap().map(|file| file.unwrap().path());
        let mails = files.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
        mails.map(|path| message_id(&String::from_utf8_lossy(&std::fs::read(path).unwrap()))).collect()
    }

    fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// From now on mail is taken.
    pub async fn open(&self) -> Process {
        let there = Command::new("python3").args(["-c", "import aiosmtpd"]).output();
        assert!(there.is_ok_and(|out| out.status.success()), "no mail sink found: install it (python3 -m pip install aiosmtpd)");
        let mut command = Command::new("python3");
        command.args(["-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{}", self.port), "-c", "keep.Keep"]).arg(&self.dir);
        command.env("PYTHONPATH", &self.dir).current_dir(&self.dir);
        let sink = Process::spawn(command, self.dir.join("log"));
        until("the sink listens", PATIENT, || async { tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.ok() })
            .await;
        sink
    }

    /// What was taken so far, by its Message-ID. Nothing may have come twice.
    fn mails(&self) -> BTreeMap<String, Mail> {
        let read = Command::new("python3").args(["-c", READ]).arg(&self.dir).output().unwrap();
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        let mails: Vec<Mail> = serde_json::from_slice(&read.stdout).unwrap();
        let count = mails.len();
        let mails: BTreeMap<String, Mail> = mails.into_iter().map(|mail| (mail.id.clone(), mail)).collect();
        assert_eq!(mails.len(), count, "a message came twice");
        mails
    }
}

fn message_id(mail: &str) -> String {
    let id = mail.lines().find_map(|line| line.strip_prefix("Message-ID:"));
    id.expect("a mail without an id").trim().to_owned()
}

async fn booked(world: &World, id: &OrderId) {
    until("a courier is booked", PATIENT, || async {
        let shipments = world.order(id).await.life.shipments;
        (!shipments.is_empty() && shipments.iter().all(|s| s.status == ShipmentStatus::Booked)).then_some(())
    })
    .await;
}

async fn delivered(world: &World, key: &str) -> OrderId {
    let id = world.place(key, "pm_card_visa", &[("mug", 1)]).await;
    booked(world, &id).await;
    world.scan(&id, 1, ScanType::Shipped).await;
    world.scan(&id, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    id
}

/// Waits until the order's messages are settled; answers topics of the mails that are said to be sent, and those that were dropped.
async fn settled(world: &World, id: &OrderId, messages: usize) -> (Vec<(String, &'static str)>, Vec<&'static str>) {
    let rows = until(&format!("the {messages} messages of {id} are settled"), PATIENT, || async {
        let rows = world.store.messages_of(id).await.unwrap();
        let open = rows.iter().any(|m| !matches!(m.state, MessageState::Sent | MessageState::Dropped));
        (rows.len() == messages && !open).then_some(rows)
    })
    .await;
    let mails = rows.iter().filter(|m| m.channel == oms_domain::message::Channel::Mail);
    let (sent, dropped): (Vec<_>, Vec<_>) = mails.partition(|m| m.state == MessageState::Sent);
    (sent.iter().map(|m| (m.id.to_string(), m.topic.as_str())).collect(), dropped.iter().map(|m| m.topic.as_str()).collect())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs aiosmtpd"]
async fn a_delivered_order_sends_three_mails_that_others_can_read() {
    let world = World::idle(WorkerTuning::default()).await;
    let sink = Sink::in_directory(world.dir.path());
    let _open = sink.open().await;
    let place = Place::of(&world).with("SMTP_URL", &sink.url()).with("OMS__SHOP__NAME", "Käse & Brüder");
    let _worker = place.worker().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = delivered(&world, "one").await;
    // confirmed by mail; shipped and delivered by mail and text message
    let (sent, dropped) = settled(&world, &id, 5).await;
    assert!(dropped.is_empty(), "{dropped:?}");
    let mut topics: Vec<_> = sent.iter().map(|(_, topic)| *topic).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["confirmed", "delivered", "shipped"]);
    let mails = sink.mails();
    assert_eq!(mails.len(), 3, "{mails:#?}");
    let tracking = world.order(&id).await.life.shipments[0].tracking_number.clone().unwrap();
    for (message, topic) in &sent {
        let mail = &mails[&format!("<{message}@shop.invalid>")];
        assert_eq!(mail.kind, "multipart/alternative");
        assert_eq!(mail.parts.keys().collect::<Vec<_>>(), ["text/html", "text/plain"]);
        assert!(mail.charsets.iter().all(|c| c == "utf-8") && mail.defects.is_empty(), "{mail:#?}");
        assert!(mail.to.contains("Canary Wharfinger") && mail.to.contains("canary@example.com"), "{}", mail.to);
        assert!(mail.from.contains("Käse & Brüder"), "{}", mail.from);
        assert!(!mail.subject.is_empty() && !mail.subject.contains("=?"), "{}", mail.subject);
        assert!(mail.parts["text/html"].contains("Käse &amp; Brüder"), "{mail:#?}");
        assert!(mail.parts["text/plain"].contains("Käse & Brüder"), "{mail:#?}");
        for part in mail.parts.values() {
            assert!(part.contains("Canary Wharfinger") && part.contains(id.as_str()), "{part}");
            assert!(*topic == "delivered" || part.contains("The mug"), "{part}");
            assert!(*topic != "shipped" || part.contains(&tracking), "{part}");
        }
    }
    let subjects: std::collections::BTreeSet<_> = mails.values().map(|m| &m.subject).collect();
    assert_eq!(subjects.len(), 3, "{subjects:?}");
    assert!(!world.dir.path().join("mail").exists(), "nothing goes to the folder beside it");
    books::balanced(&world).await;
    place.audit().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs aiosmtpd"]
async fn orders_complete_without_the_mail_server_and_their_mails_follow() {
    let world = World::idle(WorkerTuning::default()).await;
    let sink = Sink::in_directory(world.dir.path());
    let place = Place::of(&world).with("SMTP_URL", &sink.url());
    let worker = place.worker().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    // nobody takes mail: one order completes, one is cancelled after it was confirmed
    let id = delivered(&world, "delivered").await;
    let gone = world.place("cancelled", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &gone).await;
    world.cancel(&gone).await.unwrap();
    assert_eq!(world.ends(&gone).await.status, Status::Cancelled);
    until("sending has failed", PATIENT, || async { worker.said().contains("SMTP").then_some(()) }).await;
    assert!(sink.mails().is_empty());

    let open = sink.open().await;
    let (sent, dropped) = settled(&world, &id, 5).await;
    assert_eq!((sent.len(), dropped.len()), (3, 0));
    // what the cancelled order was promised is no longer true and is not told
    let (sent, dropped) = settled(&world, &gone, 2).await;
    assert_eq!((sent.iter().map(|(_, topic)| *topic).collect::<Vec<_>>(), dropped), (vec!["cancelled"], vec!["confirmed"]));
    assert_eq!(sink.mails().len(), 4);

    // it goes and comes back between the mails of one order
    let third = world.place("between", "pm_card_visa", &[("mug", 1)]).await;
    until("the first mail is there", PATIENT, || async { (sink.mails().len() == 5).then_some(()) }).await;
    open.kill();
    booked(&world, &third).await;
    world.scan(&third, 1, ScanType::Shipped).await;
    world.scan(&third, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&third).await.status, Status::Completed);
    let _open = sink.open().await;
    assert_eq!(settled(&world, &third, 5).await.0.len(), 3);
    assert_eq!(sink.mails().len(), 7);
    books::balanced(&world).await;
    place.audit().await;
    world.end().await;
}
