//! Where Kafka is: brokers to ask first, whether to encrypt, and who we are.

use crate::secret::Secret;

/// What a Kafka URL says: `kafka://[USER:PASSWORD@]HOST:PORT[,HOST:PORT]`, or `kafkas:` with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaAddress {
    /// Brokers that are asked for all others, `HOST:PORT` each.
    pub brokers: Vec<String>,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// User and password for SASL PLAIN, if brokers ask for them.
    pub login: Option<(String, Secret)>,
}

impl KafkaAddress {
    /// What serves, for whoever gave something else.
    pub const WANTED: &str = "kafka://HOST:PORT[,HOST:PORT], kafkas:// for TLS, with USER:PASSWORD@ before the first host where brokers ask for it \
         (each percent-encoded)";

    /// Reads a URL; nothing for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme {
            "kafka" => false,
            "kafkas" => true,
            _ => return None,
        };
        let (login, hosts) = match rest.rsplit_once('@') {
            Some((login, hosts)) => (Some(login_of(login)?), hosts),
            None => (None, rest),
        };
        let brokers = hosts.trim_end_matches('/').split(',').map(broker).collect::<Option<Vec<String>>>()?;
        Some(Self { brokers, tls, login })
    }
}

fn login_of(text: &str) -> Option<(String, Secret)> {
    let (user, password) = text.split_once(':')?;
    let (user, password) = (decoded(user)?, decoded(password)?);
    (!user.is_empty() && !password.is_empty()).then(|| (user, Secret::new(password)))
}

/// A host and its port. An IPv6 address stands in brackets.
fn broker(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let fits = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    (fits && port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| text.to_owned())
}

/// Without percent-encoding.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((plain, encoded)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        bytes.extend(hex::decode(encoded.get(..2)?).ok()?);
        rest = &encoded[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_brokers_encryption_and_who_we_are() {
        let plain = KafkaAddress::parse("kafka://k1.example:9092,10.0.0.2:9093,[::1]:9094").unwrap();
        assert_eq!(plain.brokers, ["k1.example:9092", "10.0.0.2:9093", "[::1]:9094"]);
        assert!(!plain.tls && plain.login.is_none());
        let safe = KafkaAddress::parse("kafkas://oms:hunter%402%2f@k1:9093/").unwrap();
        assert_eq!((safe.brokers[0].as_str(), safe.tls), ("k1:9093", true));
        let (user, password) = safe.login.clone().unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("oms", "hunter@2/"));
        assert!(!format!("{safe:?}").contains("hunter"));
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "k1:9092",
            "kafka://",
            "kafka://k1",
            "kafka://k1:",
            "kafka://k1:0",
            "kafka://k1:70000",
            "kafka://k1:9092,",
            "kafka://k1:9092/topic",
            "kafka://::1:9092",
            "kafka://oms@k1:9092",
            "kafka://:hunter2@k1:9092",
            "kafka://oms:%zz@k1:9092",
            "kafka://oms:%2@k1:9092",
            "http://k1:9092",
        ] {
            assert!(KafkaAddress::parse(text).is_none(), "{text}");
        }
    }
}
