//! Speaks HTTP: parses, translates, and nothing else. One file per endpoint; every error leaves through [`problem`].
//!
//! The API decides nothing about an order. It takes orders in and starts their runs ([`engine`]), sends commands to them, and reads
//! rows. `GET /openapi.json` is generated from the handlers and is the contract.

pub mod answers;
mod card;
mod catalogue;
mod decisions;
mod document;
pub mod doorbell;
pub mod engine;
pub mod events;
pub mod extract;
pub mod idempotency;
mod imports;
pub mod inbound;
mod inventory;
pub mod limits;
mod messages;
mod ops;
mod orders;
pub mod page;
pub mod problem;
mod reconciliations;
mod refunds;
mod returns;
mod review_items;
mod schema;
mod shipments;
mod state;
mod telemetry;
#[cfg(test)]
mod tests;
mod webhooks;

pub use engine::Engine;
pub use imports::{ImportPace, run as run_imports};
pub use state::{ApiSettings, AppState, KnowsMethod, SayDate, ShopFace, WebhookRules};
pub use telemetry::install_metrics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// Open requests may take this long to end after a stop was asked for.
const DRAIN_MAX: Duration = Duration::from_secs(15);

fn endpoints() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(document::frame())
        .merge(orders::router())
        .merge(messages::router())
        .merge(imports::router())
        .merge(review_items::router())
        .merge(decisions::router())
        .merge(refunds::router())
        .merge(returns::router())
        .merge(shipments::router())
        .merge(inbound::router())
        .merge(inventory::router())
        .merge(catalogue::router())
        .merge(events::router())
        .merge(webhooks::router())
        .merge(ops::router())
        .merge(reconciliations::router())
}

/// The whole API. `extra` are routes of others (the sandbox's): problem documents, limits, metrics and the document apply to them.
pub fn router(state: AppState, extra: OpenApiRouter) -> Router {
    let limits = state.settings.limits.clone();
    let (routes, document) = endpoints().with_state(state).merge(extra).split_for_parts();
    routes
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document::complete(document)))
        .layer(DefaultBodyLimit::max(extract::BODY_BYTES_MAX))
        .layer(from_fn(telemetry::as_problem))
        .layer(CatchPanicLayer::custom(telemetry::panicked))
        .layer(from_fn_with_state(Arc::new(Semaphore::new(telemetry::IN_FLIGHT_MAX)), telemetry::limit))
        .layer(from_fn_with_state(limits, limits::guard))
        .layer(from_fn(telemetry::observe))
}

/// The OpenAPI document, without serving it.
pub fn openapi(extra: OpenApiRouter) -> utoipa::openapi::OpenApi {
    let own = endpoints().into_openapi();
    document::complete(own.merge_from(extra.into_openapi()))
}

/// Serves until `shutdown` completes, then lets open requests end, at most fifteen seconds.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (asked, mut stopping) = tokio::sync::watch::channel(false);
    let served = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            shutdown.await;
            asked.send_replace(true);
        })
        .into_future();
    let overdue = async move {
        if stopping.wait_for(|stop| *stop).await.is_ok() {
            tokio::time::sleep(DRAIN_MAX).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = served => ended,
        () = overdue => {
            tracing::warn!("some requests did not end in time and are dropped");
            Ok(())
        }
    }
}
