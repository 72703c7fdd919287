//! A line to Redis on which nobody waits long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, Pipeline};
use tokio::time::{sleep, timeout};

/// A call may take this long: somebody's request waits for it.
const CALL_MAX: Duration = Duration::from_millis(50);

/// Connecting may take this long: nobody waits for it.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// After a failure nobody calls for so long.
const REST: Duration = Duration::from_secs(1);

/// Hears once whenever the line comes up, and with the reason whenever it goes down.
pub type Told = Arc<dyn Fn(Result<(), &str>) + Send + Sync>;

/// The URL of Redis cannot be used. Says nothing of it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URL of Redis cannot be used: it must be like redis://HOST:PORT or rediss://USER:PASSWORD@HOST/0")]
pub struct Unusable;

/// A line to one Redis server. Cheap to clone; connects by itself, again after every failure.
#[derive(Clone)]
pub struct Line {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    told: Told,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The connection, while it was well when it was used last.
    up: Option<MultiplexedConnection>,
    /// Connections so far.
    number: u64,
    /// What was told last.
    well: Option<bool>,
}

impl Line {
    /// A line to the server at a `redis:` or `rediss:` URL. Must be called inside a tokio runtime: it begins to connect.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(url: &str, told: Told) -> Result<Self, Unusable> {
        let client = Client::open(url).map_err(|_| Unusable)?;
        let inner = Arc::new(Inner { client, told, state: Mutex::default() });
        tokio::spawn(mend(Arc::downgrade(&inner), Duration::ZERO));
        Ok(Self { inner })
    }

    /// Sends a command or a few at once; `None` if there is no good answer in time.
    pub(super) async fn call<T: FromRedisValue>(&self, commands: &Pipeline) -> Option<T> {
        let (mut connection, number) = self.inner.connection()?;
        match timeout(CALL_MAX, commands.query_async(&mut connection)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => self.fell(number, &error.to_string()),
            Err(_) => self.fell(number, "it does not answer in time"),
        }
        None
    }

    /// Gives a connection up, unless another has taken its place.
    fn fell(&self, number: u64, reason: &str) {
        let mut state = self.inner.lock();
        if state.number == number && state.up.take().is_some() {
            tokio::spawn(mend(Arc::downgrade(&self.inner), REST));
            self.inner.tell(state, Err(reason));
        }
    }
}

/// Connects after a pause, and tries again until it has, or nobody has the line any more.
async fn mend(line: Weak<Inner>, pause: Duration) {
    sleep(pause).await;
    while let Some(inner) = line.upgrade() {
        let made = connect(&inner.client).await;
        let mut state = inner.lock();
        match made {
            Ok(connection) => {
                state.up = Some(connection);
                state.number += 1;
                inner.tell(state, Ok(()));
                return;
            }
            Err(reason) => inner.tell(state, Err(&reason)),
        }
        drop(inner);
        sleep(REST).await;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection and its number, if there is one.
    fn connection(&self) -> Option<(MultiplexedConnection, u64)> {
        let state = self.lock();
        state.up.clone().map(|connection| (connection, state.number))
    }

    /// Tells how the line is, if that is news.
    fn tell(&self, mut state: MutexGuard<'_, State>, how: Result<(), &str>) {
        let changed = state.well.replace(how.is_ok()) != Some(how.is_ok());
        drop(state);
        if changed {
            (self.told)(how);
        }
    }
}

/// Whether the server at a URL answers as fast as it must, for operators.
///
/// # Errors
/// What is wrong.
pub async fn check(url: &str) -> Result<(), String> {
    let client = Client::open(url).map_err(|_| Unusable.to_string())?;
    connect(&client).await.map(drop)
}

/// A server that accepts and says nothing, or takes long, is as bad as none.
async fn connect(client: &Client) -> Result<MultiplexedConnection, String> {
    let made = timeout(CONNECT_MAX, client.get_multiplexed_async_connection()).await;
    let mut connection = made.map_err(|_| "connecting takes too long".to_owned())?.map_err(|e| e.to_string())?;
    match timeout(CALL_MAX, redis::cmd("PING").query_async::<()>(&mut connection)).await {
        Ok(answer) => answer.map(|()| connection).map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {} ms", CALL_MAX.as_millis())),
    }
}
