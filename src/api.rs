//! `oms api`: serves the HTTP API, with the sandbox's routes beside it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use oms_api::doorbell::Doorbell;
use oms_api::inbound::{self, InboundPace};
use oms_api::{ApiSettings, AppState, Engine, ImportPace, WebhookRules, install_metrics, run_imports};
use oms_gateways::sandbox::Sandbox;
use oms_store::Store;
use oms_temporal::connect::ConnectSettings;
use temporalio_client::Client;
use tokio::net::TcpListener;

use crate::replicas::Replicas;
use crate::sandbox::{self, Herald};
use crate::settings::{Settings, base_url};
use crate::stack::{Service, listen};
use crate::{reporters, signals, wiring};

/// Open requests get this long at a stop: more than the API itself gives them.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(20);

/// What the API is built on.
pub(crate) struct Parts {
    /// The database.
    pub(crate) store: Store,
    /// The sandbox parties.
    pub(crate) sandbox: Sandbox,
    /// The order engine, if it is connected already; otherwise the API connects as soon as it can.
    pub(crate) client: Option<Client>,
    /// How to connect to the engine.
    pub(crate) connect: ConnectSettings,
    /// The Temporal Web UI, for links.
    pub(crate) temporal_ui: Option<String>,
}

/// Starts the API on `listener`. Must be called inside a tokio runtime, once per process.
///
/// # Errors
/// The metrics recorder is installed already, or the settings of the payment gateway or of Redis cannot be used.
pub(crate) fn service(settings: &Settings, parts: Parts, listener: TcpListener) -> anyhow::Result<Service> {
    let metrics = install_metrics()?;
    let (engine, herald) = match parts.client {
        Some(client) => (Engine::connected(client.clone()), Herald::connected(client, parts.connect)),
        None => (Engine::connect_lazily(parts.connect.clone()), Herald::connecting(parts.connect)),
    };
    let (replicas, doorbell) = (Replicas::of(settings)?, Doorbell::default());
    let payments = wiring::payments(settings, &parts.sandbox, &base_url(settings.api.listen))?;
    if let Some(warning) = settings.sandbox_in_public() {
        tracing::warn!("{warning}");
    }
    let api = ApiSettings {
        price_rules: settings.pricing,
        deadlines: settings.deadlines,
        strategy: settings.strategy,
        risk: settings.risk,
        policies: settings.policies,
        channels: settings.channels.clone(),
        patience: settings.patience,
        shop: wiring::shop_face(&settings.shop),
        ui_base: parts.temporal_ui,
        namespace: settings.temporal.namespace.clone(),
        test_orders: payments.is_sandbox(),
        reporters: reporters::of(&settings.reports),
        payment_methods: Arc::new(move |method| payments.knows_method(method)),
        search_attributes: true,
        event_source: settings.events.source.clone(),
        webhooks: WebhookRules { allow_private: settings.webhooks.policy.allow_private, overlap: settings.webhooks.overlap },
        limits: replicas.limits(settings),
        answers: replicas.answers(),
        doorbell: doorbell.clone(),
    };
    let extra = sandbox::router(parts.sandbox, herald, settings.sandboxed());
    let state = AppState::new(parts.store, engine, api, metrics);
    let router = oms_api::router(state.clone(), extra);
    Ok(Service::spawn(move |stop| async move {
        let imports = run_imports(state.clone(), ImportPace::default(), stop.clone().cancelled_owned());
        let inbound = inbound::run(state, InboundPace::default(), stop.clone().cancelled_owned());
        let rings = replicas.hear(doorbell, stop.clone());
        let served = oms_api::serve(listener, router, stop.cancelled_owned());
        let beside = async {
            tokio::join!(imports, inbound, rings);
            Ok(())
        };
        tokio::try_join!(beside, served)?;
        Ok(())
    }))
}

/// Serves until Ctrl-C or SIGTERM, then lets open requests end.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    settings.api.check_listener()?;
    let stop = signals::stop_token()?;
    wiring::make_data_dir(&settings.data_dir)?;
    let listener = listen(settings.api.listen).await?;
    let opened =
        async { tokio::try_join!(async { Ok(wiring::open_store_patiently(&settings).await?) }, wiring::open_sandbox(&settings)) };
    let (store, sandbox) = tokio::select! {
        opened = opened => opened?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let address = listener.local_addr()?;
    let parts = Parts {
        store: store.clone(),
        sandbox: sandbox.clone(),
        client: None,
        connect: settings.temporal.connect_settings(&settings.data_dir),
        temporal_ui: settings.temporal.ui(&settings.data_dir),
    };
    let mut api = service(&settings, parts, listener)?;
    tracing::info!("the API listens at {}", base_url(address));
    tokio::select! {
        error = api.failed() => return Err(error.context("the API has failed")),
        () = stop.cancelled() => {}
    }
    api.stop(DRAIN_MAX).await;
    store.close().await;
    sandbox.close().await;
    Ok(ExitCode::SUCCESS)
}
