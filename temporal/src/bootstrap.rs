//! Namespace and search attributes: registered if missing, usable when this returns.
//!
//! Several processes may do this at once. Where the server does not permit it, the error says what is missing and which
//! commands an operator runs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use temporalio_client::request_extensions::RetryConfigForCall;
use temporalio_client::{Client, NamespacedClient, RetryOptions};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::IndexedValueType;
use temporalio_common::protos::temporal::api::operatorservice::v1::{AddSearchAttributesRequest, ListSearchAttributesRequest};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    CountWorkflowExecutionsRequest, DescribeNamespaceRequest, DescribeNamespaceResponse, DescribeWorkflowExecutionRequest,
    RegisterNamespaceRequest,
};
use thiserror::Error;
use tonic::{Code, Request, Status};

/// Retention of closed runs when nothing else is asked for: 30 days.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// The whole bootstrap may take this long; a fresh dev server needs about two seconds.
const BOOTSTRAP_MAX: Duration = Duration::from_secs(30);

/// One call may take this long; failed ones are repeated until [`BOOTSTRAP_MAX`].
const CALL_MAX: Duration = Duration::from_secs(3);

/// Pause between two looks at a server that is not ready yet.
const POLL: Duration = Duration::from_millis(50);

/// Type of a search attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeType {
    /// One exact string.
    Keyword,
    /// A set of exact strings.
    KeywordList,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
}

impl AttributeType {
    /// The name that the `temporal` command line uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyword => "Keyword",
            Self::KeywordList => "KeywordList",
            Self::Bool => "Bool",
            Self::Int => "Int",
        }
    }

    fn indexed(self) -> IndexedValueType {
        match self {
            Self::Keyword => IndexedValueType::Keyword,
            Self::KeywordList => IndexedValueType::KeywordList,
            Self::Bool => IndexedValueType::Bool,
            Self::Int => IndexedValueType::Int,
        }
    }
}

/// What had to be created; on every start but the first, nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bootstrapped {
    /// True if this call registered the namespace.
    pub namespace_created: bool,
    /// Names of the search attributes that this call asked the server to register.
    pub attributes_created: Vec<String>,
    /// Retention of closed runs that the namespace has; an existing namespace keeps its own.
    pub retention: Duration,
}

/// Why the server cannot be used as it is.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// Something is missing and we may not create it.
    #[error(
        "the Temporal server lacks {} and does not let us create it ({reason}): let an operator run `{}`, then start again",
        what.join(", "), commands.join("` and `")
    )]
    Missing {
        /// What is missing, in words.
        what: Vec<String>,
        /// The commands that create it.
        commands: Vec<String>,
        /// What the server said.
        reason: String,
    },
    /// A search attribute exists with another type.
    #[error(
        "search attribute {name} of namespace {namespace} has type {found} but {wanted} is needed: let an operator run `temporal \
         operator search-attribute remove --namespace {namespace} --name {name}`, then start again"
    )]
    WrongType {
        /// Attribute.
        name: String,
        /// Namespace.
        namespace: String,
        /// Type on the server.
        found: String,
        /// Type needed.
        wanted: &'static str,
    },
    /// The server failed or did not become ready in time.
    #[error(
        "the Temporal server did not get namespace {namespace} ready within {waited_s} s ({reason}): look at its log, then start again"
    )]
    NotReady {
        /// Namespace.
        namespace: String,
        /// Seconds waited.
        waited_s: u64,
        /// The last failure.
        reason: String,
    },
}

/// Makes sure that the client's namespace exists (registered with `retention` if it does not) and that every attribute
/// can be used in starts and queries. Idempotent; takes at most 30 seconds.
///
/// # Errors
/// [`BootstrapError`], see its variants.
pub async fn bootstrap(
    client: &Client,
    retention: Duration,
    attributes: &[(&str, AttributeType)],
) -> Result<Bootstrapped, BootstrapError> {
    let work = Bootstrap { client, namespace: client.namespace(), retention, attributes, started: Instant::now() };
    let namespace_created = work.ensure_namespace().await?;
    work.until_usable("").await?;
    let attributes_created = work.ensure_attributes().await?;
    for (name, _) in attributes {
        work.until_usable(&format!("{name} IS NULL")).await?;
    }
    work.until_history_answers().await?;
    let retention = work.retention_in_force().await?;
    Ok(Bootstrapped { namespace_created, attributes_created, retention })
}

/// How long the client's namespace keeps closed runs; `None` if the server does not tell.
pub async fn retention(client: &Client) -> Option<Duration> {
    let body = DescribeNamespaceRequest { namespace: client.namespace(), ..Default::default() };
    let described = client.connection().workflow_service().describe_namespace(request(body)).await.ok()?.into_inner();
    described.config?.workflow_execution_retention_ttl?.try_into().ok()
}

struct Bootstrap<'a> {
    client: &'a Client,
    namespace: String,
    retention: Duration,
    attributes: &'a [(&'a str, AttributeType)],
    started: Instant,
}

impl Bootstrap<'_> {
    /// Returns true if it registered the namespace.
    async fn ensure_namespace(&self) -> Result<bool, BootstrapError> {
        loop {
            let status = match self.describe_namespace().await {
                Ok(_) => return Ok(false),
                Err(status) => status,
            };
            match status.code() {
                Code::NotFound => match self.register_namespace().await {
                    Ok(()) => return Ok(true),
                    Err(status) if status.code() == Code::AlreadyExists => return Ok(false),
                    Err(status) if is_refusal(&status) => return Err(self.missing(true, self.attributes, &status)),
                    Err(status) => self.pause_after(&status).await?,
                },
                // Some servers let a client use a namespace without letting it describe one.
                _ if is_refusal(&status) => return Ok(false),
                _ => self.pause_after(&status).await?,
            }
        }
    }

    async fn describe_namespace(&self) -> Result<DescribeNamespaceResponse, Status> {
        let body = DescribeNamespaceRequest { namespace: self.namespace.clone(), ..Default::default() };
        Ok(self.client.connection().workflow_service().describe_namespace(request(body)).await?.into_inner())
    }

    async fn register_namespace(&self) -> Result<(), Status> {
        let body = RegisterNamespaceRequest {
            namespace: self.namespace.clone(),
            workflow_execution_retention_period: self.retention.try_into().ok(),
            ..Default::default()
        };
        self.client.connection().workflow_service().register_namespace(request(body)).await?;
        Ok(())
    }

    /// Registers what is missing until the server lists everything. Two starters may overwrite each other's
    /// registration, so this looks again after each attempt. Returns what it asked for.
    async fn ensure_attributes(&self) -> Result<Vec<String>, BootstrapError> {
        let mut created = Vec::new();
        loop {
            let known = match self.list_attributes().await {
                Ok(known) => known,
                Err(status) if is_refusal(&status) => return self.probe_attributes(&status).await.map(|()| created),
                Err(status) => {
                    self.pause_after(&status).await?;
                    continue;
                }
            };
            let absent = self.absent(&known)?;
            if absent.is_empty() {
                return Ok(created);
            }
            match self.add_attributes(&absent).await {
                Ok(()) => created.extend(absent.iter().map(|(name, _)| (*name).to_owned())),
                Err(status) if status.code() == Code::AlreadyExists => {}
                Err(status) if is_refusal(&status) => return Err(self.missing(false, &absent, &status)),
                Err(status) => self.pause_after(&status).await?,
            }
            self.pause_after(&Status::unavailable("search attributes are not listed yet")).await?;
        }
    }

    async fn list_attributes(&self) -> Result<HashMap<String, i32>, Status> {
        let body = ListSearchAttributesRequest { namespace: self.namespace.clone() };
        let answer = self.client.connection().operator_service().list_search_attributes(request(body)).await?;
        Ok(answer.into_inner().custom_attributes)
    }

    fn absent(&self, known: &HashMap<String, i32>) -> Result<Vec<(&str, AttributeType)>, BootstrapError> {
        let mut absent = Vec::new();
        for (name, wanted) in self.attributes {
            match known.get(*name) {
                None => absent.push((*name, *wanted)),
                Some(found) if *found == wanted.indexed() as i32 => {}
                Some(found) => {
                    let found =
                        IndexedValueType::try_from(*found).map(|t| format!("{t:?}")).unwrap_or_else(|_| found.to_string());
                    return Err(BootstrapError::WrongType {
                        name: (*name).to_owned(),
                        namespace: self.namespace.clone(),
                        found,
                        wanted: wanted.name(),
                    });
                }
            }
        }
        Ok(absent)
    }

    async fn add_attributes(&self, absent: &[(&str, AttributeType)]) -> Result<(), Status> {
        let search_attributes = absent.iter().map(|(name, kind)| ((*name).to_owned(), kind.indexed() as i32)).collect();
        let body = AddSearchAttributesRequest { search_attributes, namespace: self.namespace.clone() };
        self.client.connection().operator_service().add_search_attributes(request(body)).await?;
        Ok(())
    }

    /// Where listing is not permitted, a query tells whether an attribute exists.
    async fn probe_attributes(&self, refusal: &Status) -> Result<(), BootstrapError> {
        let mut absent = Vec::new();
        for (name, kind) in self.attributes {
            match self.count(&format!("{name} IS NULL")).await {
                Ok(()) => {}
                Err(status) if status.code() == Code::InvalidArgument => absent.push((*name, *kind)),
                Err(status) => return Err(self.not_ready(&status)),
            }
        }
        if absent.is_empty() { Ok(()) } else { Err(self.missing(false, &absent, refusal)) }
    }

    /// The server caches namespaces and attributes for a while: only a call that uses them tells that they arrived.
    async fn until_usable(&self, query: &str) -> Result<(), BootstrapError> {
        loop {
            match self.count(query).await {
                Ok(()) => return Ok(()),
                Err(status) => self.pause_after(&status).await?,
            }
        }
    }

    async fn count(&self, query: &str) -> Result<(), Status> {
        let body = CountWorkflowExecutionsRequest { namespace: self.namespace.clone(), query: query.to_owned() };
        self.client.connection().workflow_service().count_workflow_executions(request(body)).await?;
        Ok(())
    }

    /// Asks for a run that does not exist: "not found" comes from the part of the server that keeps histories, so it is up.
    async fn until_history_answers(&self) -> Result<(), BootstrapError> {
        loop {
            let execution = WorkflowExecution { workflow_id: "no-such-run".to_owned(), run_id: String::new() };
            let body = DescribeWorkflowExecutionRequest { namespace: self.namespace.clone(), execution: Some(execution) };
            match self.client.connection().workflow_service().describe_workflow_execution(request(body)).await {
                Ok(_) => return Ok(()),
                Err(status) if is_refusal(&status) => return Ok(()),
                Err(status) if status.code() == Code::NotFound && !status.message().contains("Namespace") => return Ok(()),
                Err(status) => self.pause_after(&status).await?,
            }
        }
    }

    async fn retention_in_force(&self) -> Result<Duration, BootstrapError> {
        match self.describe_namespace().await {
            Ok(described) => {
                let period = described.config.and_then(|c| c.workflow_execution_retention_ttl);
                Ok(period.and_then(|p| p.try_into().ok()).unwrap_or(self.retention))
            }
            Err(status) if is_refusal(&status) => Ok(self.retention),
            Err(status) => Err(self.not_ready(&status)),
        }
    }

    async fn pause_after(&self, status: &Status) -> Result<(), BootstrapError> {
        if is_refusal(status) || self.started.elapsed() > BOOTSTRAP_MAX {
            return Err(self.not_ready(status));
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }

    fn not_ready(&self, status: &Status) -> BootstrapError {
        BootstrapError::NotReady {
            namespace: self.namespace.clone(),
            waited_s: self.started.elapsed().as_secs(),
            reason: format!("{:?}: {}", status.code(), status.message()),
        }
    }

    fn missing(&self, with_namespace: bool, attributes: &[(&str, AttributeType)], status: &Status) -> BootstrapError {
        let namespace = &self.namespace;
        let (mut what, mut commands) = (Vec::new(), Vec::new());
        if with_namespace {
            what.push(format!("namespace {namespace}"));
            let hours = self.retention.as_secs() / 3600;
            commands.push(format!("temporal operator namespace create --namespace {namespace} --retention {hours}h"));
        }
        for (name, kind) in attributes {
            let kind = kind.name();
            what.push(format!("search attribute {name} ({kind})"));
            commands
                .push(format!("temporal operator search-attribute create --namespace {namespace} --name {name} --type {kind}"));
        }
        BootstrapError::Missing { what, commands, reason: status.message().to_owned() }
    }
}

fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented)
}

fn request<T>(body: T) -> Request<T> {
    let mut request = Request::new(body);
    request.set_timeout(CALL_MAX);
    request.extensions_mut().insert(RetryConfigForCall(RetryOptions::no_retries()));
    request
}
