//! A client within a bounded time, and the call options of a request path.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use temporalio_client::errors::ClientConnectError;
use temporalio_client::{
    Client, ClientOptions, ClientTlsOptions, Connection, ConnectionOptions, GrpcCompression, RetryOptions, RpcOptions,
    TlsOptions, Url,
};
use thiserror::Error;

/// One attempt to connect may take this long; the SDK itself sets no limit.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// How to reach a Temporal server. The caller fills it, usually from the `TEMPORAL_*` environment variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectSettings {
    /// `host:port`, or a URL with `http` or `https`.
    pub address: String,
    /// Namespace that every call names.
    pub namespace: String,
    /// Who we are, as shown in histories and to operators.
    pub identity: String,
    /// API key; setting it switches TLS on.
    pub api_key: Option<ApiKey>,
    /// TLS; `None` means plain text unless the address says `https` or an API key is set.
    pub tls: Option<TlsSettings>,
}

/// A secret that does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(pub String);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// Files and names for TLS. All empty means TLS with the system's roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM file of the certificate authority that signed the server's certificate.
    pub ca_path: Option<PathBuf>,
    /// PEM file of our certificate; needs `key_path`.
    pub cert_path: Option<PathBuf>,
    /// PEM file of our private key; needs `cert_path`.
    pub key_path: Option<PathBuf>,
    /// Name to expect in the server's certificate, if it is not the host of the address.
    pub server_name: Option<String>,
}

/// Why there is no client. Every message is one sentence with the remedy.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address cannot be read.
    #[error("the Temporal address `{address}` is not `host:port` or a URL ({reason}): correct TEMPORAL_ADDRESS")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A TLS file cannot be read.
    #[error("the Temporal TLS file `{path}` cannot be read ({source}): correct the TEMPORAL_TLS_* setting that names it")]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A client certificate without its key, or the other way round.
    #[error("a Temporal client certificate needs its key and the key its certificate: set both TLS paths or neither")]
    HalfIdentity,
    /// The server answered and refused us; waiting does not help.
    #[error(
        "the Temporal server at {address} refused us ({reason}): check TEMPORAL_API_KEY, the TLS files and TEMPORAL_NAMESPACE"
    )]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        reason: String,
    },
    /// Nothing answered in time.
    #[error(
        "no Temporal server answered at {address} within {waited_s} s ({reason}): start it or correct TEMPORAL_ADDRESS; unset \
         TEMPORAL_ADDRESS to use the embedded one"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// Seconds waited.
        waited_s: u64,
        /// The last failure.
        reason: String,
    },
}

/// Connects once, waiting at most five seconds.
///
/// # Errors
/// [`ConnectError`], see its variants.
pub async fn connect(settings: &ConnectSettings) -> Result<Client, ConnectError> {
    let options = connection_options(settings)?;
    attempt(settings, options, ATTEMPT_MAX).await
}

/// Connects, trying again until `limit` has passed. What no waiting can mend is reported at once.
///
/// # Errors
/// [`ConnectError`], see its variants.
pub async fn connect_within(settings: &ConnectSettings, limit: Duration) -> Result<Client, ConnectError> {
    let options = connection_options(settings)?;
    let started = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let left = limit.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
        match attempt(settings, options.clone(), left.min(ATTEMPT_MAX)).await {
            Err(ConnectError::Unreachable { address, reason, .. }) => {
                if started.elapsed() + pause >= limit {
                    return Err(ConnectError::Unreachable { address, waited_s: started.elapsed().as_secs(), reason });
                }
            }
            settled => return settled,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Call options for a request path: one attempt of at most a second, so that a dead or a silent server becomes an error
/// about a second later instead of the SDK's ten.
pub fn quick_rpc() -> RpcOptions {
    RpcOptions::builder().timeout(Duration::from_secs(1)).retry_options(RetryOptions::no_retries()).build()
}

async fn attempt(settings: &ConnectSettings, options: ConnectionOptions, limit: Duration) -> Result<Client, ConnectError> {
    let unreachable =
        |reason: String| ConnectError::Unreachable { address: settings.address.clone(), waited_s: limit.as_secs(), reason };
    let connection = match tokio::time::timeout(limit, Connection::connect(options)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(explain(settings, error, unreachable)),
        Err(_) => return Err(unreachable("no answer".to_owned())),
    };
    let options = ClientOptions::new(settings.namespace.clone()).build();
    Client::new(connection, options).map_err(|e| unreachable(e.to_string()))
}

fn explain(settings: &ConnectSettings, error: ClientConnectError, unreachable: impl Fn(String) -> ConnectError) -> ConnectError {
    use tonic::Code;
    match error {
        ClientConnectError::InvalidUri(_) | ClientConnectError::InvalidConfig(_) => {
            ConnectError::Address { address: settings.address.clone(), reason: error.to_string() }
        }
        ClientConnectError::SystemInfoCallError(status)
            if matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented) =>
        {
            ConnectError::Refused { address: settings.address.clone(), reason: status.message().to_owned() }
        }
        other => unreachable(innermost(&other)),
    }
}

/// The deepest cause says what happened ("connection refused"); the layers above only say that something did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn connection_options(settings: &ConnectSettings) -> Result<ConnectionOptions, ConnectError> {
    let bad = |reason: String| ConnectError::Address { address: settings.address.clone(), reason };
    let secure = settings.tls.is_some() || settings.api_key.is_some();
    let text = match settings.address.trim() {
        "" => return Err(bad("it is empty".to_owned())),
        url if url.contains("://") => url.to_owned(),
        host_port if secure => format!("https://{host_port}"),
        host_port => format!("http://{host_port}"),
    };
    let url = Url::parse(&text).map_err(|e| bad(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it has no host, or another scheme than http and https".to_owned()));
    }
    let encrypted = secure || url.scheme() == "https";
    let tls = if encrypted { Some(tls_options(settings.tls.as_ref())?) } else { None };
    // Compression on the loopback only costs CPU.
    let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    Ok(ConnectionOptions::new(url)
        .identity(settings.identity.clone())
        .connect_timeout(ATTEMPT_MAX)
        .maybe_api_key(settings.api_key.as_ref().map(|k| k.0.clone()))
        .maybe_tls_options(tls)
        .grpc_compression(if local { GrpcCompression::None } else { GrpcCompression::Gzip })
        .build())
}

fn tls_options(settings: Option<&TlsSettings>) -> Result<TlsOptions, ConnectError> {
    let Some(settings) = settings else { return Ok(TlsOptions::default()) };
    let read = |path: &PathBuf| fs::read(path).map_err(|source| ConnectError::TlsFile { path: path.clone(), source });
    let identity = match (&settings.cert_path, &settings.key_path) {
        (Some(cert), Some(key)) => {
            Some(ClientTlsOptions::builder().client_cert(read(cert)?).client_private_key(read(key)?).build())
        }
        (None, None) => None,
        _ => return Err(ConnectError::HalfIdentity),
    };
    Ok(TlsOptions::builder()
        .maybe_server_root_ca_cert(settings.ca_path.as_ref().map(read).transpose()?)
        .maybe_domain(settings.server_name.clone())
        .maybe_client_tls_options(identity)
        .build())
}
