//! Answers that replicas keep for each other for less than a second, where they have a place for that.
//!
//! They are for shops that look and for nobody who decides: what comes from here is a response and never a number, and everything that
//! promises or books reads SQL in its own transaction.

use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use oms_domain::ids::Sku;
use serde::Serialize;

use crate::problem::Problem;

pub(crate) const ANSWERS: &str = "oms_answers_total";

/// What is kept under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// An answer that was read from SQL less than a second ago, and not changed since by a replica that could say so.
    Answer(String),
    /// None. By the clock of the place it is this instant: what is read from now on is not older.
    Nothing(u64),
}

/// A place where replicas keep answers. Every call ends within a few hundredths of a second.
pub trait SharedAnswers: Send + Sync {
    /// What is kept; `None` if nobody answers.
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Kept>>;

    /// Keeps an answer that was read at an instant of the place's clock or later, until less than a second after that instant: not at all
    /// if that has passed, and not over [`void`](Self::void).
    fn put<'a>(&'a self, name: &'a str, answer: &'a str, read: u64) -> BoxFuture<'a, ()>;

    /// Forgets answers, and keeps none that was read before now.
    fn void<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, ()>;
}

/// What answers are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Stock,
    Product,
}

impl Of {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Product => "product",
        }
    }

    fn name(self, sku: &Sku) -> String {
        format!("{}:{sku}", self.as_str())
    }
}

/// The place for answers; none by default, and then every answer is read.
#[derive(Clone, Default)]
pub struct Answers {
    place: Option<Arc<dyn SharedAnswers>>,
}

impl Answers {
    /// Answers kept in a place.
    pub fn kept_in(place: Arc<dyn SharedAnswers>) -> Self {
        Self { place: Some(place) }
    }

    /// The kept answer about an article, or the one that `read` brings, which is kept. Errors: those of `read`, which are never kept.
    pub(crate) async fn or_read<T: Serialize>(
        &self,
        of: Of,
        sku: &Sku,
        read: impl Future<Output = Result<T, Problem>>,
    ) -> Result<Response, Problem> {
        let Some(place) = &self.place else { return Ok(axum::Json(read.await?).into_response()) };
        let name = of.name(sku);
        let count = |from: &'static str| metrics::counter!(ANSWERS, "of" => of.as_str(), "from" => from).increment(1);
        // asked before the row is read: an answer's age is counted from here
        let since = match place.get(&name).await {
            Some(Kept::Answer(text)) => {
                count("kept");
                return Ok(json(text));
            }
            Some(Kept::Nothing(now)) => Some(now),
            None => None,
        };
        count(if since.is_some() { "read" } else { "alone" });
        let text = serde_json::to_string(&read.await?).map_err(|_| Problem::internal())?;
        if let Some(since) = since {
            let (place, text) = (place.clone(), text.clone());
            // nobody waits for that
            tokio::spawn(async move { place.put(&name, &text, since).await });
        }
        Ok(json(text))
    }

    /// Says that what answers about articles are made of may have changed. Called after the commit, before the client hears of it.
    pub(crate) async fn changed(&self, of: Of, skus: &[Sku]) {
        if let Some(place) = &self.place {
            let names: Vec<String> = skus.iter().map(|sku| of.name(sku)).collect();
            place.void(&names).await;
        }
    }
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
