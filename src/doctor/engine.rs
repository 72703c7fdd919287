//! Temporal: the CLI, the server, the namespace, the search attributes.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oms_temporal::cli::{TEMPORAL_CLI, find};
use oms_temporal::connect::connect;
use temporalio_client::request_extensions::RetryConfigForCall;
use temporalio_client::{Client, NamespacedClient, RetryOptions};
use temporalio_common::protos::temporal::api::operatorservice::v1::ListSearchAttributesRequest;
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;
use tonic::{Code, Request, Status};

use super::Finding;
use crate::settings::Settings;
use crate::wiring;

const SERVER: &str = "Temporal";
const NAMESPACE: &str = "namespace";
const ATTRIBUTES: &str = "search attributes";
const CLI: &str = "Temporal CLI";

/// One call may take this long.
const CALL_MAX: Duration = Duration::from_secs(3);

/// All lines about Temporal.
pub(super) async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if settings.temporal.address.is_none() {
        findings.push(cli(settings).await);
    }
    let connection = settings.temporal.connect_settings(&settings.data_dir);
    match connect(&connection).await {
        Ok(client) => {
            findings.push(Finding::good(SERVER, format!("{} answers", connection.address)));
            findings.push(namespace(&client).await);
            findings.push(attributes(&client).await);
        }
        Err(_) if settings.temporal.address.is_none() => {
            let detail = format!("no dev server at {}: `oms up` or `oms demo` starts it", connection.address);
            findings.push(Finding::off(SERVER, detail));
        }
        Err(error) => findings.push(Finding::bad(SERVER, error.to_string())),
    }
    findings
}

/// Fetches the CLI if it is nowhere yet, as the next start would.
async fn cli(settings: &Settings) -> Finding {
    let tools_dir = settings.temporal.tools_dir.clone();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let told = notes.clone();
    let note = move |line: &str| told.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    match tokio::task::spawn_blocking(move || find(&TEMPORAL_CLI, &tools_dir, &note)).await {
        Ok(Ok(_)) => {
            let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            Finding::good(CLI, notes.join("; "))
        }
        Ok(Err(error)) => Finding::bad(CLI, error.to_string()),
        Err(error) => Finding::bad(CLI, error.to_string()),
    }
}

async fn namespace(client: &Client) -> Finding {
    let name = client.namespace();
    let body = DescribeNamespaceRequest { namespace: name.clone(), ..Default::default() };
    match asked(client.connection().workflow_service().describe_namespace(request(body))).await {
        Ok(_) => Finding::good(NAMESPACE, name),
        Err(status) if status.code() == Code::NotFound => Finding::bad(
            NAMESPACE,
            format!(
                "{name} is not registered: `oms worker` or `oms up` registers it if allowed, or let an operator run `temporal operator \
                 namespace create --namespace {name} --retention 720h`"
            ),
        ),
        Err(status) if is_refusal(&status) => Finding::good(NAMESPACE, format!("{name}, which we may not describe")),
        Err(status) => Finding::bad(NAMESPACE, format!("{name}: {}: look at the server's log", status.message())),
    }
}

async fn attributes(client: &Client) -> Finding {
    let name = client.namespace();
    let body = ListSearchAttributesRequest { namespace: name.clone() };
    let known = match asked(client.connection().operator_service().list_search_attributes(request(body))).await {
        Ok(answer) => answer.into_inner().custom_attributes,
        Err(status) if is_refusal(&status) => return Finding::good(ATTRIBUTES, "the server does not let us list them"),
        Err(status) => return Finding::bad(ATTRIBUTES, format!("{}: look at the server's log", status.message())),
    };
    let wanted = wiring::attributes();
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(attribute, _)| !known.contains_key(*attribute))
        .map(|(attribute, kind)| format!("--name {attribute} --type {}", kind.name()))
        .collect();
    if missing.is_empty() {
        return Finding::good(ATTRIBUTES, format!("all {} registered", wanted.len()));
    }
    let remedy = "`oms worker` or `oms up` registers them if allowed, or let an operator run";
    let commands = missing.join(" ");
    Finding::bad(
        ATTRIBUTES,
        format!("{} missing: {remedy} `temporal operator search-attribute create --namespace {name} {commands}`", missing.len()),
    )
}

async fn asked<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(CALL_MAX, call).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
}

fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented)
}

fn request<T>(body: T) -> Request<T> {
    let mut request = Request::new(body);
    request.extensions_mut().insert(RetryConfigForCall(RetryOptions::no_retries()));
    request
}
