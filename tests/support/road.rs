//! A road to a server, on which traffic can be cut, slowed, answered with errors, or robbed of its answers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens on the road.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Everything passes.
    Flows,
    /// Nobody gets through, and whoever was on the way is thrown off.
    Cut,
    /// Every answer takes so long.
    Slow(Duration),
    /// The server is not asked; the answer is HTTP's 500.
    Errors,
    /// The server acts, and its answer is lost.
    AnswersLost,
    /// The same with one answer in ten.
    SomeAnswersLost,
}

const ERROR: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The road. It ends with this value.
pub struct Road {
    /// Its near end, on the loopback interface.
    pub port: u16,
    traffic: watch::Sender<Traffic>,
    open: tokio::task::JoinHandle<()>,
}

impl Road {
    /// A road to a port of the loopback interface.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (traffic, state) = watch::channel(Traffic::Flows);
        let open = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let mut cut = state.clone();
                    tokio::select! {
                        _ = cut.wait_for(|traffic| *traffic == Traffic::Cut) => {}
                        () = carry(client, server, state) => {}
                    }
                });
            }
        });
        Self { port, traffic, open }
    }

    /// From now on.
    pub fn let_be(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.open.abort();
    }
}

/// Carries one connection until either side ends it.
async fn carry(client: TcpStream, server: u16, state: watch::Receiver<Traffic>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let ((mut from, mut to), (mut back, mut there)) = (client.into_split(), server.into_split());
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let now = || *state.borrow();
        tokio::select! {
            read = from.read(&mut request) => {
                let Ok(read @ 1..) = read else { return };
                if now() == Traffic::Errors {
                    let _ = to.write_all(ERROR).await;
                    return;
                }
                if there.write_all(&request[..read]).await.is_err() {
                    return;
                }
            }
            read = back.read(&mut answer) => {
                let Ok(read @ 1..) = read else { return };
                match now() {
                    Traffic::AnswersLost => return,
                    Traffic::SomeAnswersLost if rand::random_ratio(1, 10) => return,
                    Traffic::Slow(pause) => tokio::time::sleep(pause).await,
                    Traffic::Flows | Traffic::Cut | Traffic::Errors | Traffic::SomeAnswersLost => {}
                }
                if to.write_all(&answer[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
