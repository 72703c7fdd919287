//! `oms review`: what needs a person, and what that person decides.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{render, show};
use crate::http::{Api, Call, segment};

/// The review queue: list, resolve.
#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    #[command(subcommand)]
    command: ReviewCommand,
}

#[derive(Debug, Subcommand)]
enum ReviewCommand {
    /// List what needs a person, oldest first.
    List {
        /// Only items of this kind, such as `lost`.
        #[arg(long)]
        kind: Option<String>,
        /// `open` (the default), `resolved` or `settled`.
        #[arg(long)]
        state: Option<String>,
        /// Only items of this order.
        #[arg(long)]
        order: Option<String>,
        /// Only items that were opened at least so long ago, such as `4h` or `2d`.
        #[arg(long)]
        age: Option<String>,
        /// Go on after the page that ended with this cursor.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Resolve an item, once.
    Resolve {
        /// The item's id.
        id: String,
        /// `retry`, `use_external_reference`, `refund_and_close`, `cancel` or `open_return`.
        #[arg(long)]
        action: String,
        /// Where it was settled outside.
        #[arg(long)]
        reference: Option<String>,
        /// Why; stays on the timeline.
        #[arg(long)]
        reason: String,
    },
}

pub(super) async fn run(args: ReviewArgs, api: &Api, json: bool) -> anyhow::Result<()> {
    match args.command {
        ReviewCommand::List { kind, state, order, age, cursor } => {
            let mut call = Call::get("/v1/review-items");
            for (name, value) in [("kind", kind), ("state", state), ("order", order), ("age", age), ("cursor", cursor)] {
                if let Some(value) = value {
                    call = call.with(name, value);
                }
            }
            let value = api.send(call).await?;
            show(value, json, |v| Ok(render::items(&v)))
        }
        ReviewCommand::Resolve { id, action, reference, reason } => {
            let mut body = json!({"action": action, "reason": reason});
            if let Some(reference) = reference {
                body["reference"] = json!(reference);
            }
            let value = api.send(Call::post(format!("/v1/review-items/{}/resolve", segment(&id)), body)).await?;
            show(value, json, |_| Ok(format!("item {id} is resolved: {action}")))
        }
    }
}
