//! `oms shipment`: what waits to leave, and reports of what left.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{render, show};
use crate::http::{Api, Call, Page, Shipment, now, segment};

/// Shipments: list, report.
#[derive(Debug, Args)]
pub(crate) struct ShipmentArgs {
    #[command(subcommand)]
    command: ShipmentCommand,
}

#[derive(Debug, Subcommand)]
enum ShipmentCommand {
    /// List shipments.
    List {
        /// Only shipments of this status.
        #[arg(long)]
        status: Option<String>,
        /// Only shipments from this location.
        #[arg(long)]
        location: Option<String>,
        /// At most so many, 1 to 100.
        #[arg(long)]
        limit: Option<u32>,
        /// Go on after the page that ended with this cursor.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Report what happened to a shipment.
    Event {
        /// The shipment's id.
        shipment: String,
        /// `picked`, `packed`, `shipped`, `in_transit`, `delivered`, `lost` or `returned_to_sender`.
        #[arg(value_name = "TYPE")]
        kind: String,
        /// The report's id, unique per shipment: a repeat is a duplicate. Unless given, one per type.
        #[arg(long)]
        event_id: Option<String>,
        /// The carrier.
        #[arg(long)]
        carrier: Option<String>,
        /// The package's number.
        #[arg(long)]
        tracking: Option<String>,
    },
}

pub(super) async fn run(args: ShipmentArgs, api: &Api, json: bool) -> anyhow::Result<()> {
    match args.command {
        ShipmentCommand::List { status, location, limit, cursor } => {
            let mut call = Call::get("/v1/shipments");
            let limit = limit.map(|l| l.to_string());
            for (name, value) in [("status", status), ("location", location), ("limit", limit), ("cursor", cursor)] {
                if let Some(value) = value {
                    call = call.with(name, value);
                }
            }
            let value = api.send(call).await?;
            show(value, json, |v| Ok(render::shipments(&api.typed::<Page<Shipment>>(v)?)))
        }
        ShipmentCommand::Event { shipment, kind, event_id, carrier, tracking } => {
            let event_id = event_id.unwrap_or_else(|| format!("cli-{kind}"));
            let mut body = json!({"event_id": event_id, "type": kind, "occurred_at": now()});
            for (name, value) in [("carrier", carrier), ("tracking_number", tracking)] {
                if let Some(value) = value {
                    body[name] = json!(value);
                }
            }
            let value = api.send(Call::post(format!("/v1/shipments/{}/events", segment(&shipment)), body)).await?;
            show(value, json, |v| Ok(format!("shipment {shipment}: {kind} {}", v["result"].as_str().unwrap_or("accepted"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        shipment: ShipmentArgs,
    }

    #[test]
    fn a_report_needs_a_shipment_and_a_type() {
        let parse = |line: &str| Cli::try_parse_from(["shipment"].into_iter().chain(line.split(' '))).map(|c| c.shipment.command);
        let event = parse("event s-1 shipped --tracking 123").unwrap();
        assert!(matches!(event, ShipmentCommand::Event { event_id: None, tracking: Some(_), .. }));
        assert!(parse("event s-1").is_err());
    }
}
