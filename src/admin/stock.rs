//! `oms stock`: what is on the shelves, and movements onto and off them.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::show;
use super::table::Table;
use crate::http::{Api, ApiError, Call, Page, Stock, segment};

/// Stock: look, receive, adjust, count.
#[derive(Debug, Args)]
pub(crate) struct StockArgs {
    #[command(subcommand)]
    command: StockCommand,
}

#[derive(Debug, Subcommand)]
enum StockCommand {
    /// Show an article's stock by location.
    Show {
        /// The article.
        sku: String,
    },
    /// List the stock of all articles.
    List {
        /// At most so many, 1 to 100.
        #[arg(long)]
        limit: Option<u32>,
        /// Go on after the page that ended with this cursor.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Goods arrived.
    Receive(Movement),
    /// Book a difference, such as breakage (-2) or a find (+1).
    Adjust(Movement),
    /// Book an absolute count.
    Count {
        /// The article.
        sku: String,
        /// Where it was counted.
        location: String,
        /// Units on the shelf.
        on_hand: u64,
        /// Why; stays on the movement.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct Movement {
    /// The article.
    sku: String,
    /// Where; a location exists from its first receipt.
    location: String,
    /// How many.
    #[arg(allow_negative_numbers = true)]
    quantity: i64,
    /// Why; stays on the movement.
    #[arg(long)]
    reason: String,
    /// Idempotency-Key: the same key and body again is the same movement.
    #[arg(long)]
    key: Option<String>,
}

impl Movement {
    fn call(self, path: &str) -> Call {
        let body = json!({"sku": self.sku, "location": self.location, "quantity": self.quantity, "reason": self.reason});
        let call = Call::post(path, body);
        match self.key {
            Some(key) => call.keyed(key),
            None => call,
        }
    }
}

pub(super) async fn run(args: StockArgs, api: &Api, json: bool) -> anyhow::Result<()> {
    let call = match args.command {
        StockCommand::List { limit, cursor } => {
            let mut call = Call::get("/v1/inventory");
            if let Some(limit) = limit {
                call = call.with("limit", limit);
            }
            if let Some(cursor) = cursor {
                call = call.with("cursor", cursor);
            }
            let value = api.send(call).await?;
            return show(value, json, |v| Ok(list(&api.typed::<Page<Stock>>(v)?)));
        }
        StockCommand::Show { sku } => Call::get(format!("/v1/inventory/{}", segment(&sku))),
        StockCommand::Receive(movement) => movement.call("/v1/inventory/receipts"),
        StockCommand::Adjust(movement) => movement.call("/v1/inventory/adjustments"),
        StockCommand::Count { sku, location, on_hand, reason } => {
            let path = format!("/v1/inventory/{}/{}", segment(&sku), segment(&location));
            Call::put(path, json!({"on_hand": on_hand, "reason": reason}))
        }
    };
    let value = api.send(call).await?;
    show(value, json, |v| one(api, v))
}

fn one(api: &Api, value: Value) -> Result<String, ApiError> {
    let stock: Stock = api.typed(value)?;
    let mut table = Table::new(&["location", ">on hand", ">reserved", ">available"]);
    for at in &stock.locations {
        table.row([at.location.clone(), at.on_hand.to_string(), at.reserved.to_string(), at.available.to_string()]);
    }
    table.row(["all".to_owned(), stock.on_hand.to_string(), stock.reserved.to_string(), stock.available.to_string()]);
    let waiting = if stock.waiting > 0 { format!("orders wait for {}\n", stock.waiting) } else { String::new() };
    Ok(format!("{}\n{}{waiting}", stock.sku, table.render()))
}

fn list(page: &Page<Stock>) -> String {
    let mut table = Table::new(&["sku", ">on hand", ">reserved", ">available", ">waiting", "locations"]);
    for stock in &page.data {
        let places: Vec<String> = stock.locations.iter().map(|l| format!("{} {}", l.location, l.on_hand)).collect();
        table.row([
            stock.sku.clone(),
            stock.on_hand.to_string(),
            stock.reserved.to_string(),
            stock.available.to_string(),
            stock.waiting.to_string(),
            places.join(", "),
        ]);
    }
    match &page.next_cursor {
        _ if table.is_empty() => "nothing in the catalogue\n".to_owned(),
        Some(cursor) => format!("{}more: --cursor {cursor}\n", table.render()),
        None => table.render(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ApiTarget;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        stock: StockArgs,
    }

    #[test]
    fn movements_may_be_negative_and_need_a_reason() {
        let parse = |line: &str| Cli::try_parse_from(["stock"].into_iter().chain(line.split(' '))).map(|c| c.stock.command);
        let Ok(StockCommand::Adjust(movement)) = parse("adjust MUG berlin -2 --reason broken") else { panic!("an adjustment") };
        assert_eq!(movement.quantity, -2);
        assert!(format!("{:?}", movement.call("/v1/inventory/adjustments")).contains("Number(-2)"));
        assert!(parse("receive MUG berlin 5").is_err());
        assert!(parse("count MUG berlin -1 --reason r").is_err());
    }

    #[test]
    fn stock_is_shown_by_location() {
        let api = Api::new(&ApiTarget { base_url: "http://127.0.0.1:1".to_owned() }).unwrap();
        let value = json!({"sku": "MUG", "on_hand": 5, "reserved": 2, "available": 3,
                           "locations": [{"location": "berlin", "on_hand": 5, "reserved": 2, "available": 3}]});
        assert_eq!(
            one(&api, value.clone()).unwrap(),
            "MUG\nlocation  on hand  reserved  available\nberlin          5         2          3\nall             5         2          3\n"
        );
        let waiting = Stock { waiting: 4, ..api.typed(value).unwrap() };
        let value = json!({"sku": "MUG", "on_hand": 0, "reserved": 0, "available": 0, "waiting": 4});
        assert!(one(&api, value).unwrap().ends_with("orders wait for 4\n"));
        assert!(list(&Page { data: vec![waiting], next_cursor: None }).contains("3        4  berlin 5"));
    }
}
