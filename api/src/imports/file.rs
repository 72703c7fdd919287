//! A file of orders, from bytes to rows: one after the other, each bounded.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use axum::body::Bytes;
use oms_store::NewImportRow;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{kept, table};
use crate::card::refuse_cards;
use crate::extract::{BODY_BYTES_MAX, shape};
use crate::idempotency;
use crate::orders::body::PlaceOrder;
use crate::problem::{Code, FieldError, Problem};
use crate::state::KnowsMethod;

/// Orders of a file at most.
const ORDERS_MAX: u64 = 100_000;

/// Rows that are stored at once, and about how many bytes of them.
const BATCH_ROWS: usize = 500;
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON document per line.
    Ndjson,
    /// A table with a header.
    Csv,
}

impl Format {
    /// The format that a content type names.
    pub(super) fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/x-ndjson" => Some(Self::Ndjson),
            "text/csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// The bytes that come in, for a reader on a thread of its own.
pub(super) struct Incoming {
    chunks: mpsc::Receiver<Bytes>,
    rest: Bytes,
    /// Bytes that may still be read before the row must end; without end where whoever reads counts itself.
    left: Option<usize>,
}

impl Incoming {
    pub(super) fn new(chunks: mpsc::Receiver<Bytes>) -> Self {
        Self { chunks, rest: Bytes::new(), left: None }
    }

    /// Bounds the next row: a quote that is never closed must not bring the whole file into memory.
    pub(super) fn row_begins(&mut self) {
        self.left = Some(BODY_BYTES_MAX);
    }
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk,
                None => return Ok(0),
            }
        }
        let size = into.len().min(self.rest.len());
        into[..size].copy_from_slice(&self.rest.split_to(size));
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(size).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        }
        Ok(size)
    }
}

/// Rows on their way to the store.
pub(super) struct Rows<'a> {
    batches: &'a mpsc::Sender<Vec<NewImportRow>>,
    knows: &'a KnowsMethod,
    batch: Vec<NewImportRow>,
    bytes: usize,
    count: u64,
    /// How many rows without a key have had this content so far, by its digest.
    seen: HashMap<String, u32>,
}

impl Rows<'_> {
    /// The number of the next row.
    pub(super) fn next(&self) -> u64 {
        self.count + 1
    }

    /// Adds an order, or why it is none. Errors: too many; or nobody listens any more, which whoever stopped listening explains.
    pub(super) fn add(&mut self, order: Result<Value, Problem>) -> Result<(), Problem> {
        self.count += 1;
        if self.count > ORDERS_MAX {
            return Err(Problem::new(Code::TooLarge, "a file has at most 100,000 orders; split it"));
        }
        let row = row(self.count, order, self.knows, &mut self.seen);
        self.bytes += row.content.as_ref().map_or_else(String::len, String::len);
        self.batch.push(row);
        if self.batch.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Problem> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.batches.blocking_send(batch).map_err(|_| Problem::unavailable("the rows could not be stored; send the file again"))
    }
}

/// Reads the file to its end. Errors: what ends the file as a whole; a bad order is a row that says so.
pub(super) fn read(
    format: Format,
    incoming: Incoming,
    knows: &KnowsMethod,
    batches: &mpsc::Sender<Vec<NewImportRow>>,
) -> Result<(), Problem> {
    let mut rows = Rows { batches, knows, batch: Vec::new(), bytes: 0, count: 0, seen: HashMap::new() };
    match format {
        Format::Ndjson => lines(BufReader::new(incoming), &mut rows)?,
        Format::Csv => table::read(incoming, &mut rows)?,
    }
    if rows.count == 0 {
        return Err(Problem::new(Code::ValidationFailed, "the file has no orders"));
    }
    rows.flush()
}

fn lines(mut file: impl BufRead, rows: &mut Rows<'_>) -> Result<(), Problem> {
    let broken = |_| Problem::new(Code::Malformed, "the file could not be read to its end");
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = BODY_BYTES_MAX as u64 + 1;
        if file.by_ref().take(most).read_until(b'\n', &mut line).map_err(broken)? == 0 {
            return Ok(());
        }
        if line.len() > BODY_BYTES_MAX && line.last() != Some(&b'\n') {
            skip_line(&mut file).map_err(broken)?;
            rows.add(Err(Problem::invalid(Code::TooLarge, vec![at_root("too_large", "an order is at most 256 KiB")])))?;
            continue;
        }
        let text = line.strip_prefix("\u{feff}".as_bytes()).filter(|_| rows.next() == 1).unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            continue;
        }
        rows.add(serde_json::from_slice(text).map_err(|e| {
            let rule = format!("the line is no JSON at column {}", e.column());
            Problem::invalid(Code::Malformed, vec![at_root("malformed", &rule)])
        }))?;
    }
}

fn skip_line(file: &mut impl BufRead) -> io::Result<()> {
    loop {
        let piece = file.fill_buf()?;
        let (size, ended) = match piece.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (piece.len(), piece.is_empty()),
        };
        file.consume(size);
        if ended {
            return Ok(());
        }
    }
}

/// A broken rule of a row as a whole.
pub(super) fn at_root(code: &'static str, rule: &str) -> FieldError {
    FieldError::at("", code, rule)
}

/// A row as it is stored. What is no valid order is refused here, so that nothing of it reaches the database, least of all a card
/// number. One without a key gets one of what it orders, and of how many rows before it order the same: in a corrected file it finds
/// what the file before it has placed.
fn row(number: u64, order: Result<Value, Problem>, knows: &KnowsMethod, seen: &mut HashMap<String, u32>) -> NewImportRow {
    let checked = order.and_then(|mut order| {
        refuse_cards(&order)?;
        let key = match order.as_object_mut().and_then(|fields| fields.remove("idempotency_key")) {
            None | Some(Value::Null) => None,
            Some(Value::String(key)) if idempotency::is_key(key.as_bytes()) => Some(key),
            Some(_) => {
                let rule = "a key is 1 to 255 visible ASCII characters";
                return Err(Problem::at("/idempotency_key", Code::ValidationFailed, rule));
            }
        };
        let content = order.to_string();
        let body = shape::<PlaceOrder>(order)?;
        body.parse(knows)?;
        let key = match key {
            Some(key) => key,
            None => {
                let digest = idempotency::fingerprint("import row", &body.canonical())?;
                let occurrence = seen.entry(digest.clone()).and_modify(|count| *count += 1).or_insert(1);
                format!("import-row/{digest}/{occurrence}")
            }
        };
        Ok((Some(key), content))
    });
    match checked {
        Ok((key, content)) => NewImportRow { number, key, content: Ok(content) },
        Err(problem) => NewImportRow { number, key: None, content: Err(kept(&problem)) },
    }
}

#[cfg(test)]
mod tests;
