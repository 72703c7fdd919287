//! Namespace and search attributes on a fresh server.

use std::sync::Arc;
use std::time::Duration;

use oms_temporal::bootstrap::{AttributeType, BootstrapError, DEFAULT_RETENTION, bootstrap};
use oms_temporal::connect::connect_within;
use oms_temporal::server::DevServer;
use temporalio_client::callback_based::{CallbackBasedGrpcService, GrpcRequest, GrpcSuccessResponse};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, Url};
use tonic::Status;

use crate::{options, settings};

const LIST: [(&str, AttributeType); 5] = [
    ("OmsState", AttributeType::Keyword),
    ("OmsCustomer", AttributeType::Keyword),
    ("OmsSkus", AttributeType::KeywordList),
    ("OmsNeedsAttention", AttributeType::Bool),
    ("OmsAttempts", AttributeType::Int),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_starters_at_once_then_nothing_is_left_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let server = DevServer::start(options(dir.path())).await.unwrap();
    let client = connect_within(&settings(&server, "oms"), Duration::from_secs(10)).await.unwrap();
    let starters = (0..4).map(|_| bootstrap(&client, DEFAULT_RETENTION, &LIST));
    let reports: Vec<_> = futures::future::join_all(starters).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(reports.iter().filter(|r| r.namespace_created).count(), 1);
    assert!(reports.iter().all(|r| r.retention == DEFAULT_RETENTION));

    let again = bootstrap(&client, Duration::from_secs(3600), &LIST).await.unwrap();
    assert!(!again.namespace_created && again.attributes_created.is_empty());
    assert_eq!(again.retention, DEFAULT_RETENTION);

    let wrong = bootstrap(&client, DEFAULT_RETENTION, &[("OmsState", AttributeType::Int)]).await.unwrap_err();
    assert!(
        matches!(&wrong, BootstrapError::WrongType { name, found, .. } if name == "OmsState" && found == "Keyword"),
        "{wrong}"
    );
    server.stop().await;
}

/// A client of a server that answers every call in `refused` with "permission denied", every count with an attribute in
/// its query with "invalid argument", and the rest with an empty success; `absent` calls are "not found".
async fn strict_client(refused: &'static [&'static str], absent: &'static [&'static str]) -> Client {
    let answer = move |call: GrpcRequest| -> Result<GrpcSuccessResponse, Status> {
        let rpc = call.rpc.as_str();
        if refused.contains(&rpc) {
            return Err(Status::permission_denied("not yours"));
        }
        if absent.contains(&rpc) {
            return Err(Status::not_found("no such thing"));
        }
        if rpc == "CountWorkflowExecutions" && String::from_utf8_lossy(&call.proto).contains("IS NULL") {
            return Err(Status::invalid_argument("no mapping defined"));
        }
        Ok(GrpcSuccessResponse { headers: Default::default(), proto: Vec::new() })
    };
    let service = CallbackBasedGrpcService { callback: Arc::new(move |call| Box::pin(std::future::ready(answer(call)))) };
    let options = ConnectionOptions::new(Url::parse("http://127.0.0.1:1").unwrap())
        .dns_load_balancing(None)
        .service_override(service)
        .build();
    Client::new(Connection::connect(options).await.unwrap(), ClientOptions::new("oms").build()).unwrap()
}

#[tokio::test]
async fn what_may_not_be_created_is_listed_with_the_commands_that_create_it() {
    let list = [("OmsState", AttributeType::Keyword), ("OmsSkus", AttributeType::KeywordList)];
    let attribute = "temporal operator search-attribute create --namespace oms --name OmsSkus --type KeywordList";
    let namespace = "temporal operator namespace create --namespace oms --retention 720h";

    let client = strict_client(&["RegisterNamespace"], &["DescribeNamespace"]).await;
    let text = bootstrap(&client, DEFAULT_RETENTION, &list).await.unwrap_err().to_string();
    assert!(text.contains(namespace) && text.contains(attribute) && text.contains("not yours"), "{text}");

    for refused in [&["AddSearchAttributes"][..], &["ListSearchAttributes"][..]] {
        let client = strict_client(refused, &[]).await;
        let text = bootstrap(&client, DEFAULT_RETENTION, &list).await.unwrap_err().to_string();
        assert!(!text.contains(namespace) && text.contains(attribute), "{text}");
        assert!(text.contains("lacks search attribute OmsState (Keyword), search attribute OmsSkus (KeywordList)"), "{text}");
    }
}
