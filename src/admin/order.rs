//! `oms order`: look at orders and steer them.

use clap::{Args, Subcommand};
use oms_domain::Instant;
use serde_json::json;

use super::place::PlaceArgs;
use super::{place, render, say, show, watch};
use crate::http::{Api, Call, Order, Page, now, segment};

/// Orders: place, look, steer.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    #[command(subcommand)]
    command: OrderCommand,
}

#[derive(Debug, Subcommand)]
enum OrderCommand {
    /// Place an order, from articles on the command line or from a JSON body.
    Place(Box<PlaceArgs>),
    /// Show an order.
    Show {
        /// The order's id.
        id: String,
        /// Ask the workflow instead of the projection.
        #[arg(long)]
        consistent: bool,
    },
    /// List orders, newest first.
    List(Box<ListArgs>),
    /// Follow an order until it ends.
    Watch {
        /// The order's id.
        id: String,
    },
    /// Stop an order for good.
    Cancel {
        /// The order's id.
        id: String,
        /// Why; stays on the timeline.
        #[arg(long)]
        reason: String,
    },
    /// Stop an order for a while.
    Hold {
        /// The order's id.
        id: String,
        /// What kind of hold, such as `fraud` or `address`.
        #[arg(long)]
        kind: String,
        /// Why; stays on the timeline.
        #[arg(long)]
        reason: String,
        /// When it ends by itself: an instant (`2026-01-31T12:00:00Z`) or a time from now (`2h`).
        #[arg(long, value_parser = until)]
        until: Option<Instant>,
    },
    /// Let an order go on.
    Release {
        /// The order's id.
        id: String,
        /// The hold's id, as `oms order show` tells it.
        hold: String,
    },
    /// Say what an order waits on, since when and until when.
    Why {
        /// The order's id.
        id: String,
    },
    /// Let an order in review go on.
    Approve(VerdictArgs),
    /// Refuse an order in review.
    Reject(VerdictArgs),
    /// Decide about a long wait for stock, for the customer.
    Decide {
        /// The order's id.
        id: String,
        /// As long again; what is there and no more; or nothing that has not shipped.
        #[arg(value_parser = ["wait", "ship_available", "cancel"])]
        decision: String,
    },
    /// Give money back: units, a sum, the shipping fee, or all that is left.
    Refund(RefundArgs),
    /// Try again whatever is stuck or paused, without repeating an effect.
    Redrive(RedriveArgs),
}

#[derive(Debug, Args)]
struct VerdictArgs {
    /// The order's id.
    id: String,
    /// Why; stays on the timeline.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
struct RefundArgs {
    /// The order's id.
    id: String,
    /// Units of an article, such as `MUG=2`; may be repeated.
    #[arg(long = "sku", value_name = "SKU=QUANTITY", value_parser = units)]
    units: Vec<(String, u32)>,
    /// A sum in minor units of the order's currency.
    #[arg(long, conflicts_with_all = ["units", "shipping"])]
    amount: Option<i64>,
    /// The shipping fee.
    #[arg(long)]
    shipping: bool,
    /// Why; stays on the timeline.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
struct RedriveArgs {
    /// These orders only.
    ids: Vec<String>,
    /// Only orders of this status.
    #[arg(long)]
    status: Option<String>,
    /// Only orders that need a person (or, with `=false`, that need none).
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    needs_attention: Option<bool>,
    /// Only orders with an open review item of this kind, such as `silent`.
    #[arg(long)]
    kind: Option<String>,
    /// `last_task` (the default): runs that cannot go on are reset to their last good workflow task; `now`: none is reset.
    #[arg(long, value_parser = ["last_task", "now"])]
    from: Option<String>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Orders per second at most.
    #[arg(long, default_value_t = 10)]
    rate: u32,
}

impl RedriveArgs {
    fn call(&self) -> Call {
        let mut filter = serde_json::Map::new();
        if !self.ids.is_empty() {
            filter.insert("order_ids".to_owned(), json!(self.ids));
        }
        if let Some(status) = &self.status {
            filter.insert("status".to_owned(), json!(status));
        }
        if let Some(flag) = self.needs_attention {
            filter.insert("needs_attention".to_owned(), json!(flag));
        }
        if let Some(kind) = &self.kind {
            filter.insert("kind".to_owned(), json!(kind));
        }
        let mut body = json!({"filter": filter, "dry_run": self.dry_run, "rate": self.rate});
        if let Some(from) = &self.from {
            body["from"] = json!(from);
        }
        Call::post("/v1/ops/redrive", body)
    }
}

/// Reads `SKU=QUANTITY`.
fn units(text: &str) -> Result<(String, u32), String> {
    let read = text.split_once('=').and_then(|(sku, quantity)| Some((sku.to_owned(), quantity.parse().ok()?)));
    read.ok_or_else(|| "an article and a number of units, such as MUG=2".to_owned())
}

#[derive(Debug, Default, Args)]
struct ListArgs {
    /// Only orders of this status.
    #[arg(long)]
    status: Option<String>,
    /// Only orders refused for this reason.
    #[arg(long)]
    reason: Option<String>,
    /// Only orders of this customer's id.
    #[arg(long)]
    customer: Option<String>,
    /// Only orders with this article.
    #[arg(long)]
    sku: Option<String>,
    /// Only orders with this reference.
    #[arg(long)]
    reference: Option<String>,
    /// Only orders of this e-mail address.
    #[arg(long)]
    email: Option<String>,
    /// Only the order of this parcel.
    #[arg(long)]
    tracking_number: Option<String>,
    /// Only orders with an open hold of this kind.
    #[arg(long)]
    hold: Option<String>,
    /// Only orders that need a person (or, with `=false`, that need none).
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    needs_attention: Option<bool>,
    /// Only orders placed at or after this instant.
    #[arg(long)]
    placed_after: Option<String>,
    /// Only orders placed before this instant.
    #[arg(long)]
    placed_before: Option<String>,
    /// Only orders whose total is at least this, in minor units.
    #[arg(long)]
    total_min: Option<u64>,
    /// Only orders whose total is at most this, in minor units.
    #[arg(long)]
    total_max: Option<u64>,
    /// At most so many, 1 to 100.
    #[arg(long)]
    limit: Option<u32>,
    /// Go on after the page that ended with this cursor.
    #[arg(long)]
    cursor: Option<String>,
}

impl ListArgs {
    fn call(&self) -> Call {
        let filters = [
            ("status", &self.status),
            ("reason", &self.reason),
            ("customer", &self.customer),
            ("sku", &self.sku),
            ("reference", &self.reference),
            ("email", &self.email),
            ("tracking_number", &self.tracking_number),
            ("hold", &self.hold),
            ("placed_after", &self.placed_after),
            ("placed_before", &self.placed_before),
            ("cursor", &self.cursor),
        ];
        let mut call = Call::get("/v1/orders");
        for (name, value) in filters {
            if let Some(value) = value {
                call = call.with(name, value);
            }
        }
        if let Some(flag) = self.needs_attention {
            call = call.with("needs_attention", flag);
        }
        for (name, minor) in [("total_min", self.total_min), ("total_max", self.total_max)] {
            if let Some(minor) = minor {
                call = call.with(name, minor);
            }
        }
        if let Some(limit) = self.limit {
            call = call.with("limit", limit);
        }
        call
    }
}

/// Reads an instant, or a time from now.
fn until(text: &str) -> Result<Instant, String> {
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let ahead = humantime::parse_duration(text).ok().and_then(|d| chrono::TimeDelta::from_std(d).ok());
    let at = ahead.and_then(|d| now().checked_add_signed(d));
    at.ok_or_else(|| "an instant such as 2026-01-31T12:00:00Z, or a time from now such as 2h".to_owned())
}

/// The path of an order.
pub(super) fn path(id: &str) -> String {
    format!("/v1/orders/{}", segment(id))
}

pub(super) async fn run(args: OrderArgs, api: &Api, json: bool) -> anyhow::Result<()> {
    match args.command {
        OrderCommand::Place(args) => place::run(*args, api, json).await,
        OrderCommand::Show { id, consistent } => {
            let call = Call::get(path(&id));
            let call = if consistent { call.with("consistent", true) } else { call };
            let value = api.send(call).await?;
            show(value, json, |v| Ok(render::order(&api.typed::<Order>(v)?)))
        }
        OrderCommand::List(args) => {
            let value = api.send(args.call()).await?;
            show(value, json, |v| Ok(render::orders(&api.typed::<Page<Order>>(v)?)))
        }
        OrderCommand::Watch { id } => watch::run(&id, api, json).await,
        OrderCommand::Cancel { id, reason } => {
            let value = api.send(Call::post(format!("{}/cancel", path(&id)), json!({"reason": reason}))).await?;
            show(value, json, |v| Ok(format!("order {id}: {}", v["result"].as_str().unwrap_or("accepted"))))
        }
        OrderCommand::Hold { id, kind, reason, until } => {
            let mut body = json!({"kind": kind, "reason": reason});
            if let Some(until) = until {
                body["until"] = json!(until);
            }
            let value = api.send(Call::post(format!("{}/holds", path(&id)), body)).await?;
            show(value, json, |v| {
                let hold = [&v["hold_id"], &v["id"]].into_iter().find_map(|h| h.as_str()).unwrap_or("");
                Ok(format!("order {id} is held: release it with `oms order release {id} {hold}`"))
            })
        }
        OrderCommand::Why { id } => {
            let value = api.send(Call::get(format!("{}/why", path(&id)))).await?;
            show(value, json, |v| Ok(render::why(&id, &v)))
        }
        OrderCommand::Approve(args) => decide(args, "approve", api, json).await,
        OrderCommand::Reject(args) => decide(args, "reject", api, json).await,
        OrderCommand::Decide { id, decision } => {
            let value = api.send(Call::post(format!("{}/decision", path(&id)), json!({"decision": decision}))).await?;
            show(value, json, |_| Ok(format!("order {id}: decided, {decision}")))
        }
        OrderCommand::Refund(args) => refund(args, api, json).await,
        OrderCommand::Redrive(args) => {
            let value = api.send(args.call()).await?;
            show(value, json, |v| Ok(render::redrive(&v)))
        }
        OrderCommand::Release { id, hold } => {
            let value = api.send(Call::delete(format!("{}/holds/{}", path(&id), segment(&hold)))).await?;
            if value.is_null() && !json {
                say(&format!("order {id}: hold {hold} is released"));
                return Ok(());
            }
            show(value, json, |_| Ok(format!("order {id}: hold {hold} is released")))
        }
    }
}

async fn decide(args: VerdictArgs, decision: &str, api: &Api, json: bool) -> anyhow::Result<()> {
    let body = json!({"decision": decision, "reason": args.reason});
    let value = api.send(Call::post(format!("{}/review", path(&args.id)), body)).await?;
    show(value, json, |v| Ok(format!("order {}: {}", args.id, v["result"].as_str().unwrap_or("decided"))))
}

async fn refund(args: RefundArgs, api: &Api, json: bool) -> anyhow::Result<()> {
    let mut body = json!({"reason": args.reason});
    if !args.units.is_empty() {
        body["lines"] = args.units.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
    }
    if args.shipping {
        body["shipping"] = json!(true);
    }
    if let Some(minor) = args.amount {
        let order: Order = api.ask(Call::get(path(&args.id))).await?;
        body["amount"] = json!({"amount": minor, "currency": order.totals.total.currency});
    }
    let value = api.send(Call::post(format!("{}/refunds", path(&args.id)), body)).await?;
    show(value, json, |v| {
        let text = |name: &str| v[name].as_str().unwrap_or_default().to_owned();
        Ok(format!("order {}: refund {} is {}", args.id, text("id"), text("state")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        order: OrderArgs,
    }

    fn parse(line: &str) -> Result<OrderCommand, clap::Error> {
        Cli::try_parse_from(["order"].into_iter().chain(line.split(' '))).map(|c| c.order.command)
    }

    #[test]
    fn commands_read_as_the_readme_writes_them() {
        assert!(matches!(parse("show abc").unwrap(), OrderCommand::Show { consistent: false, .. }));
        assert!(matches!(parse("cancel abc --reason late").unwrap(), OrderCommand::Cancel { .. }));
        assert!(matches!(parse("release abc h1").unwrap(), OrderCommand::Release { .. }));
        assert!(matches!(parse("place --sku A=2").unwrap(), OrderCommand::Place(_)));
        assert!(matches!(parse("why abc").unwrap(), OrderCommand::Why { .. }));
        assert!(matches!(parse("approve abc --reason fine").unwrap(), OrderCommand::Approve(_)));
        assert!(matches!(parse("refund abc --sku MUG=2 --shipping --reason broken").unwrap(), OrderCommand::Refund(_)));
        assert!(matches!(parse("redrive a b --dry-run").unwrap(), OrderCommand::Redrive(_)));
        assert!(matches!(parse("decide abc ship_available").unwrap(), OrderCommand::Decide { .. }));
        assert!(parse("decide abc perhaps").is_err());
        assert!(parse("refund abc --sku MUG --reason r").is_err());
        for bad in ["cancel abc", "hold abc --kind fraud", "release abc", "show", "hold a --kind k --reason r --until soon"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn holds_end_at_an_instant_or_after_a_while() {
        let OrderCommand::Hold { until, .. } = parse("hold a --kind k --reason r --until 2h").unwrap() else { panic!("a hold") };
        let ahead = until.unwrap() - now();
        assert!((7_100..=7_200).contains(&ahead.num_seconds()), "{ahead}");
        assert_eq!(super::until("2026-01-31T12:00:00+01:00").unwrap().to_rfc3339(), "2026-01-31T11:00:00+00:00");
    }

    #[test]
    fn filters_become_query_parameters() {
        let OrderCommand::List(args) = parse("list --status confirmed --needs-attention --limit 5").unwrap() else {
            panic!("a list")
        };
        let call = format!("{:?}", args.call());
        for part in [r#"("status", "confirmed")"#, r#"("needs_attention", "true")"#, r#"("limit", "5")"#] {
            assert!(call.contains(part), "{call}");
        }
    }
}
