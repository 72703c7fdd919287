//! The commands and their arguments.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use oms_contract::names::Queue;

use crate::admin::{OrderArgs, ReviewArgs, ShipmentArgs, StockArgs};
use crate::audit::AuditArgs;
use crate::bench::BenchArgs;
use crate::demo::DemoArgs;
use crate::mail::MailArgs;
use crate::telemetry::Voice;

/// Order fulfilment on durable Temporal workflows.
#[derive(Debug, Parser)]
#[command(name = "oms", version, about, max_term_width = 120)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The API that admin commands speak to [default: the one of the settings]
    #[arg(long, global = true, value_name = "URL", env = "OMS_API_URL", value_parser = api_url)]
    pub(crate) api: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole stack with sample orders of every fate, and prove the books
    Demo(DemoArgs),
    /// Run the whole stack for development: API, workers, relay, database, Temporal dev server
    Up {
        /// A simulated warehouse and carrier act on the orders, through the API
        #[arg(long)]
        simulate: bool,
    },
    /// Serve the HTTP API
    Api,
    /// Work on task queues: all of them, or those named
    Worker {
        /// Task queues
        #[arg(value_parser = PossibleValuesParser::new(Queue::ALL.map(Queue::name)).try_map(role))]
        roles: Vec<Queue>,
    },
    /// Publish events from the outbox
    Relay,
    /// Bring the database's schema up to date
    Migrate,
    /// Say what is reachable and what is not, with the remedy
    Doctor,
    /// Settings
    Config {
        /// Which view
        #[command(subcommand)]
        view: ConfigView,
    },
    /// Print the OpenAPI document
    Openapi,
    /// Print the AsyncAPI document: every event type with its schema
    Asyncapi,
    /// Place, show, list, watch and steer orders, over the API
    Order(OrderArgs),
    /// What needs a person: list and resolve, over the API
    Review(ReviewArgs),
    /// Catalogue and stock, over the API
    Stock(StockArgs),
    /// Shipments and their events, over the API
    Shipment(ShipmentArgs),
    /// Messages to customers
    Mail(MailArgs),
    /// Prove the books
    Audit(AuditArgs),
    /// Load with figures
    Bench(BenchArgs),
}

/// Views of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum ConfigView {
    /// The settings in force and where they come from, secrets redacted
    Show,
    /// The commented defaults, as a start for a file of your own
    Default,
}

impl Command {
    /// How much the command says of itself beside the log.
    pub(crate) fn voice(&self) -> Voice {
        match self {
            Self::Demo(_) => Voice::Story,
            Self::Up { .. } => Voice::Progress,
            _ => Voice::Log,
        }
    }
}

fn role(name: String) -> Result<Queue, String> {
    Queue::parse(&name).ok_or_else(|| format!("no queue is named {name}"))
}

fn api_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err("it must look like http://127.0.0.1:8080".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn roles_are_the_queues() {
        let cli = Cli::try_parse_from(["oms", "worker", "orders", "payments"]).unwrap();
        let Command::Worker { roles } = cli.command else { panic!("not a worker") };
        assert_eq!(roles, [Queue::Orders, Queue::Payments]);
        assert!(Cli::try_parse_from(["oms", "worker", "warehouse"]).is_err());
        for line in ["oms --json audit", "oms audit --json"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.json || matches!(cli.command, Command::Audit(AuditArgs { json: true })), "{line}");
        }
        assert!(Cli::try_parse_from(["oms", "--api", "localhost", "up"]).is_err());
    }
}
