//! Processes that tests start on free ports and end again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What may take long on a busy machine.
pub(crate) const PATIENT: Duration = Duration::from_secs(60);

/// A process that ends with its test.
pub(crate) struct Peer {
    child: Child,
}

impl Peer {
    /// Starts a command and waits until it listens on `port`.
    pub(crate) async fn start(mut command: Command, port: u16) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut peer =
            Self { child: child.unwrap_or_else(|e| panic!("{command:?} cannot be started ({e}): run .ci/install-peers")) };
        let listening = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                assert!(peer.child.try_wait().unwrap().is_none(), "{command:?} ended: run .ci/install-peers");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENT, listening).await.expect("the peer listens");
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Fails unless Python has a module.
pub(crate) fn needs_python(module: &str) {
    let there = Command::new("python3").args(["-c", &format!("import {module}")]).output();
    assert!(there.is_ok_and(|out| out.status.success()), "Python's `{module}` is missing: run .ci/install-peers");
}

/// HTTP needs a TLS provider, even where no TLS is spoken.
pub(crate) fn tls() {
    // the second test of this process finds it installed
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Waits until something is there.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENT, looking).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// A road to a server on which the answer to a request can be lost after the server has acted.
pub(crate) struct Road {
    pub(crate) port: u16,
    losing: Arc<Mutex<Option<String>>>,
}

impl Road {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, losing) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(None)));
        let shared = losing.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                tokio::spawn(carry(client, server, shared.clone()));
            }
        });
        Self { port, losing }
    }

    /// The answer to the next request that begins so is lost.
    pub(crate) fn lose(&self, request: &str) {
        *self.losing.lock().unwrap() = Some(request.to_owned());
    }

    /// Whether that request has come.
    pub(crate) fn has_lost(&self) -> bool {
        self.losing.lock().unwrap().is_none()
    }
}

/// Carries one connection; ends it instead of carrying an answer that is to be lost.
async fn carry(client: TcpStream, server: TcpStream, losing: Arc<Mutex<Option<String>>>) {
    let ((mut from, mut to), (mut back, mut there)) = (client.into_split(), server.into_split());
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut lost = false;
    loop {
        tokio::select! {
            read = from.read(&mut request) => {
                let Ok(read @ 1..) = read else { return };
                let mut losing = losing.lock().unwrap().take_if(|start| request[..read].starts_with(start.as_bytes()));
                lost |= losing.take().is_some();
                if there.write_all(&request[..read]).await.is_err() {
                    return;
                }
            }
            read = back.read(&mut answer) => {
                let Ok(read @ 1..) = read else { return };
                if lost || to.write_all(&answer[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Runs a Python program and answers what it printed; fails with what it complained about.
pub(crate) async fn python(program: &str, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new("python3");
    command.arg("-c").arg(program).args(arguments).kill_on_drop(true);
    let out = tokio::time::timeout(PATIENT, command.output()).await.expect("the program ends").unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
