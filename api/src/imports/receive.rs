//! `POST /v1/imports`: a file of orders, read as it comes in and never held as a whole.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::StreamExt;
use oms_domain::ids::derive;
use oms_store::{Import, NewImportRow, StoreError};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::file::{self, Format, Incoming};
use super::{ImportView, find, path};
use crate::idempotency::{Begun, CLIENT, IdempotencyKey, TENANT, answer, begin, claim};
use crate::problem::{Code, Problem};
use crate::schema::KeyHeader;
use crate::state::AppState;

/// Largest file in bytes.
const FILE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Pieces of the file and batches of rows that wait at once: all that is held of a file.
const WAITING_MAX: usize = 4;

/// Import a file of orders
///
/// Each line of NDJSON is the body of `POST /v1/orders`, with its key as `idempotency_key` if it has one. CSV has a header row with
/// flat columns (`customer_id`, `customer_name`, `customer_email`, `ship_to_line1`, …, `method`, `sku`, `quantity`); rows that follow
/// each other with the same `order` make one order of several lines. At most 100,000 orders and 512 MiB. Orders are placed in the
/// background, each as if it had been posted. The same file sent again adds nothing and finds the import of the first time. A row
/// without a key has one that follows from what it orders and from how many rows before it in the file order the same: of a corrected
/// file only the corrected rows are placed. Give rows keys of your own to order the same once more by another file.
#[utoipa::path(
    post,
    path = "/v1/imports",
    tag = "imports",
    params(KeyHeader),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 202, description = "The whole file was taken in", body = ImportView, headers(
            ("Location" = String, description = "The import's path"))),
        (status = 200, description = "This content was taken in before", body = ImportView, headers(
            ("Location" = String, description = "The import's path"),
            ("Idempotency-Replayed" = String, description = "`true`"))),
        (status = 400, description = "`malformed`: the file broke off; nothing of it is placed"),
        (status = 413, description = "`too_large`: the file is above 512 MiB"),
        (status = 415, description = "`unsupported_media_type`: neither `application/x-ndjson` nor `text/csv`"),
    )
)]
pub(crate) async fn receive(
    State(state): State<AppState>,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let format = kind.and_then(Format::of).ok_or_else(|| {
        Problem::new(Code::UnsupportedMediaType, "send a file as content-type application/x-ndjson or text/csv")
    })?;
    let upload = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    state.store.begin_import(&upload, CLIENT, state.now()).await?;
    let received = async {
        let digest = take_in(&state, &upload, format, body).await?;
        seal(&state, &key, &upload, &digest).await
    };
    match received.await {
        Ok((import, replayed)) => {
            state.imports.notify_one();
            let status = if replayed { StatusCode::OK } else { StatusCode::ACCEPTED };
            let mut response = answer(status, replayed, ImportView::of(&import, state.now()));
            if let Ok(location) = HeaderValue::from_str(&path(&import)) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
        Err(problem) => {
            // what stays behind is removed once nothing has come for a while
            if let Err(error) = state.store.drop_upload(&upload).await {
                tracing::warn!(%error, "an upload was not removed yet");
            }
            Err(problem)
        }
    }
}

/// Stores the file's rows as they come in; answers the digest of its content.
async fn take_in(state: &AppState, upload: &str, format: Format, body: Body) -> Result<String, Problem> {
    let (chunks, incoming) = mpsc::channel(WAITING_MAX);
    let (batches, read) = mpsc::channel(WAITING_MAX);
    let knows = state.settings.payment_methods.clone();
    let reader = tokio::task::spawn_blocking(move || file::read(format, Incoming::new(incoming), &knows, &batches));
    let (digest, ()) = tokio::try_join!(feed(format, body, chunks), store(state, upload, read))?;
    reader.await.map_err(|_| Problem::internal())??;
    Ok(digest)
}

/// Hands the body on, piece by piece.
async fn feed(format: Format, body: Body, chunks: mpsc::Sender<Bytes>) -> Result<String, Problem> {
    let mut digest = Sha256::new();
    digest.update(format.name());
    digest.update("\n");
    let (mut size, mut body) = (0usize, body.into_data_stream());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Problem::new(Code::Malformed, "the file broke off; nothing of it is placed"))?;
        size += chunk.len();
        if size > FILE_BYTES_MAX {
            return Err(Problem::new(Code::TooLarge, "a file is at most 512 MiB; split it"));
        }
        digest.update(&chunk);
        // a reader that has given up says why once all has come: a client that is still sending would not hear it
        let _gone = chunks.send(chunk).await;
    }
    Ok(hex::encode(digest.finalize()))
}

async fn store(state: &AppState, upload: &str, mut batches: mpsc::Receiver<Vec<NewImportRow>>) -> Result<(), Problem> {
    while let Some(batch) = batches.recv().await {
        state.store.add_import_rows(upload, &batch, state.now()).await.map_err(given_up)?;
    }
    Ok(())
}

/// Lets the import run under the id of its content, or finds the one that does.
async fn seal(state: &AppState, key: &IdempotencyKey, upload: &str, digest: &str) -> Result<(Import, bool), Problem> {
    let ticket = match begin(state, claim(key, "POST /v1/imports", &digest)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { subject, .. } => {
            let known = find(state, &subject).await?;
            state.store.drop_upload(upload).await?;
            return Ok((known, true));
        }
    };
    let id = derive(&["import", TENANT, CLIENT, digest]).to_string();
    match state.store.seal_import(upload, &id, state.now()).await.map_err(given_up) {
        Ok((import, replayed)) => {
            ticket.finish(state, StatusCode::ACCEPTED, &import.id).await;
            Ok((import, replayed))
        }
        Err(problem) => Err(ticket.refused(state, problem).await),
    }
}

/// An upload that was silent for so long that it was removed.
fn given_up(error: StoreError) -> Problem {
    match error {
        StoreError::Conflict { .. } => Problem::unavailable("the file came in too slowly and was given up; send it again"),
        other => other.into(),
    }
}
