//! `oms order place`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::{render, show};
use crate::exit::Blocked;
use crate::http::{Api, Call, Order};

/// What to order. The customer's fields have sample values, so that a try needs nothing but an article.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// An article and how many of it; repeat for more lines.
    #[arg(long = "sku", value_name = "SKU=QUANTITY", value_parser = line, required_unless_present = "file", conflicts_with = "file")]
    lines: Vec<(String, u64)>,
    /// The whole body as a JSON file; `-` reads standard input.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The customer's id.
    #[arg(long, default_value = "sample-customer")]
    customer: String,
    /// The customer's and recipient's name.
    #[arg(long, default_value = "Sample Customer")]
    name: String,
    /// Where mail goes.
    #[arg(long, default_value = "customer@example.com")]
    email: String,
    /// Where text messages go, in E.164.
    #[arg(long)]
    phone: Option<String>,
    /// Street and number.
    #[arg(long, default_value = "Sample Street 1")]
    line1: String,
    /// City.
    #[arg(long, default_value = "Berlin")]
    city: String,
    /// Postal code.
    #[arg(long, default_value = "10115")]
    postal_code: String,
    /// ISO 3166-1 code of the country.
    #[arg(long, default_value = "DE")]
    country: String,
    /// Currency of the articles' prices.
    #[arg(long, default_value = "EUR")]
    currency: String,
    /// The gateway's token of the payment method.
    #[arg(long, default_value = "pm_card_visa")]
    payment: String,
    /// Your own reference.
    #[arg(long)]
    reference: Option<String>,
    /// Where the order comes from.
    #[arg(long)]
    channel: Option<String>,
    /// Idempotency-Key: the same key and body again is the same order.
    #[arg(long)]
    key: Option<String>,
    /// Seconds to wait until the order is decided, at most 30; 0 answers at once.
    #[arg(long, default_value_t = 5)]
    wait: u64,
}

fn line(text: &str) -> Result<(String, u64), String> {
    let rule = || "an article and a quantity, such as MUG=2".to_owned();
    let (sku, quantity) = text.split_once('=').unwrap_or((text, "1"));
    if sku.is_empty() {
        return Err(rule());
    }
    quantity.parse().map(|q| (sku.to_owned(), q)).map_err(|_| rule())
}

impl PlaceArgs {
    fn body(&self) -> Value {
        let mut body = Map::new();
        let mut customer = json!({"id": self.customer, "name": self.name, "email": self.email});
        if let Some(phone) = &self.phone {
            customer["phone"] = json!(phone);
        }
        let lines: Vec<Value> = self.lines.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
        body.insert("customer".to_owned(), customer);
        body.insert("currency".to_owned(), json!(self.currency));
        body.insert("lines".to_owned(), json!(lines));
        body.insert(
            "ship_to".to_owned(),
            json!({"name": self.name, "line1": self.line1, "city": self.city, "postal_code": self.postal_code, "country": self.country}),
        );
        body.insert("payment".to_owned(), json!({"method": self.payment}));
        for (name, value) in [("reference", &self.reference), ("channel", &self.channel)] {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        Value::Object(body)
    }
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(path)
            .map_err(|e| Blocked(format!("{} cannot be read ({e}): name another file", path.display())))?
    };
    serde_json::from_str(&text).map_err(|e| Blocked(format!("{} is not JSON ({e}): correct it", path.display())).into())
}

pub(super) async fn run(args: PlaceArgs, api: &Api, json: bool) -> anyhow::Result<()> {
    let body = match &args.file {
        Some(path) => read(path)?,
        None => args.body(),
    };
    let mut call = Call::post("/v1/orders", body).waiting(args.wait);
    if let Some(key) = args.key {
        call = call.keyed(key);
    }
    let value = api.send(call).await?;
    show(value, json, |v| Ok(render::order(&api.typed::<Order>(v)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        place: PlaceArgs,
    }

    #[test]
    fn articles_become_lines() {
        let args =
            Cli::try_parse_from(["place", "--sku", "MUG=2", "--sku", "TEE", "--phone", "+4930123456", "--reference", "r-1"]);
        let body = args.unwrap().place.body();
        assert_eq!(body["lines"], json!([{"sku": "MUG", "quantity": 2}, {"sku": "TEE", "quantity": 1}]));
        assert_eq!((&body["reference"], &body["customer"]["phone"]), (&json!("r-1"), &json!("+4930123456")));
        assert!(body.get("channel").is_none(), "what was not given is not sent");
    }

    #[test]
    fn something_must_be_ordered() {
        for bad in
            [&["place"][..], &["place", "--sku", "MUG=x"], &["place", "--sku", "=2"], &["place", "--sku", "A=1", "--file", "b"]]
        {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
        assert!(Cli::try_parse_from(["place", "--file", "body.json"]).is_ok());
    }
}
