//! Orders as a table: a header with flat columns, one row per line of an order.

use std::collections::HashSet;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::file::{Incoming, Rows, at_root};
use crate::problem::{Code, FieldError, Problem};

/// Lines that are kept of an order: one more than it may have, so that it is refused for that.
const LINES_KEPT: usize = 101;

/// Columns that say something about the whole order, and where it stands in the body.
const COLUMNS: [(&str, &[&str]); 29] = [
    ("idempotency_key", &["idempotency_key"]),
    ("reference", &["reference"]),
    ("channel", &["channel"]),
    ("currency", &["currency"]),
    ("customer_id", &["customer", "id"]),
    ("customer_name", &["customer", "name"]),
    ("customer_email", &["customer", "email"]),
    ("customer_phone", &["customer", "phone"]),
    ("customer_locale", &["customer", "locale"]),
    ("customer_notify", &["customer", "notify"]),
    ("ship_to_name", &["ship_to", "name"]),
    ("ship_to_line1", &["ship_to", "line1"]),
    ("ship_to_line2", &["ship_to", "line2"]),
    ("ship_to_city", &["ship_to", "city"]),
    ("ship_to_region", &["ship_to", "region"]),
    ("ship_to_postal_code", &["ship_to", "postal_code"]),
    ("ship_to_country", &["ship_to", "country"]),
    ("bill_to_name", &["bill_to", "name"]),
    ("bill_to_line1", &["bill_to", "line1"]),
    ("bill_to_line2", &["bill_to", "line2"]),
    ("bill_to_city", &["bill_to", "city"]),
    ("bill_to_region", &["bill_to", "region"]),
    ("bill_to_postal_code", &["bill_to", "postal_code"]),
    ("bill_to_country", &["bill_to", "country"]),
    ("method", &["payment", "method"]),
    ("on_shortage", &["on_shortage", "policy"]),
    ("on_shortage_max", &["on_shortage", "max"]),
    ("discount_code", &[]),
    ("discount_amount", &[]),
];

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// Which rows make one order.
    Order,
    Sku,
    Quantity,
    /// At this place of [`COLUMNS`].
    Field(usize),
}

/// An order whose rows are being read.
struct Draft {
    /// What its rows have in common.
    name: Option<String>,
    /// Its fields, by their places in [`COLUMNS`].
    fields: Vec<Option<String>>,
    lines: Vec<Value>,
    broken: Option<Problem>,
}

/// Reads a table to its end. Errors: a header that does not serve, or a file that is no table.
pub(super) fn read(incoming: Incoming, rows: &mut Rows<'_>) -> Result<(), Problem> {
    let mut file = ReaderBuilder::new().flexible(true).has_headers(false).from_reader(incoming);
    let mut record = ByteRecord::new();
    if !next(&mut file, &mut record)? {
        return Err(Problem::new(Code::ValidationFailed, "the file has no header row"));
    }
    let columns = header(&record)?;
    let mut names = HashSet::new();
    let mut draft: Option<Draft> = None;
    while next(&mut file, &mut record)? {
        let name = cell(&columns, &record, Column::Order);
        match &mut draft {
            Some(same) if name.is_some() && same.name == name => same.add(&columns, &record),
            _ => {
                if let Some(done) = draft.take() {
                    rows.add(done.finish())?;
                }
                let again = name.as_ref().is_some_and(|name| !names.insert(short(name)));
                let mut fresh = Draft { name, fields: vec![None; COLUMNS.len()], lines: Vec::new(), broken: None };
                fresh.add(&columns, &record);
                if again {
                    fresh.refuse("rows of one order must follow each other");
                }
                draft = Some(fresh);
            }
        }
    }
    draft.map_or(Ok(()), |done| rows.add(done.finish()))
}

/// Reads the next row that is not empty; `false` at the end.
fn next(file: &mut csv::Reader<Incoming>, record: &mut ByteRecord) -> Result<bool, Problem> {
    loop {
        file.get_mut().row_begins();
        let more = file.read_byte_record(record).map_err(|error| match error.kind() {
            csv::ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => {
                Problem::new(Code::TooLarge, "a row is above 256 KiB; is a quote never closed?")
            }
            _ => Problem::new(Code::Malformed, "the file could not be read to its end"),
        })?;
        if !more {
            return Ok(false);
        }
        if record.iter().any(|cell| !cell.trim_ascii().is_empty()) {
            return Ok(true);
        }
    }
}

fn header(record: &ByteRecord) -> Result<Vec<Column>, Problem> {
    let mut columns = Vec::new();
    for (at, name) in record.iter().enumerate() {
        let name = std::str::from_utf8(name).unwrap_or_default().trim().trim_start_matches('\u{feff}');
        let column = match name {
            "order" => Some(Column::Order),
            "sku" => Some(Column::Sku),
            "quantity" => Some(Column::Quantity),
            name => COLUMNS.iter().position(|(known, _)| *known == name).map(Column::Field),
        };
        let place = format!("column {}", at + 1);
        let refuse =
            |code, rule: String| Problem::invalid(Code::ValidationFailed, vec![FieldError::of(place.clone(), code, rule)]);
        let Some(column) = column else {
            let known: Vec<&str> = COLUMNS.iter().map(|(known, _)| *known).collect();
            let rule = format!("unknown column; expected one of order, sku, quantity, {}", known.join(", "));
            return Err(refuse("unknown_field", rule));
        };
        if columns.contains(&column) {
            return Err(refuse("invalid", "this column is given twice".to_owned()));
        }
        columns.push(column);
    }
    match [(Column::Sku, "sku"), (Column::Quantity, "quantity")].into_iter().find(|(column, _)| !columns.contains(column)) {
        None => Ok(columns),
        Some((_, name)) => {
            Err(Problem::invalid(Code::ValidationFailed, vec![FieldError::of(name, "missing", "this column is required")]))
        }
    }
}

/// The text of a cell, if it has any.
fn cell(columns: &[Column], record: &ByteRecord, column: Column) -> Option<String> {
    let at = columns.iter().position(|c| *c == column)?;
    let text = String::from_utf8_lossy(record.get(at)?).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Tells order names apart in few bytes: a file may have a hundred thousand of any length.
fn short(name: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&Sha256::digest(name)[..16]);
    key
}

impl Draft {
    fn refuse(&mut self, rule: &str) {
        self.broken.get_or_insert_with(|| Problem::invalid(Code::ValidationFailed, vec![at_root("invalid", rule)]));
    }

    fn add(&mut self, columns: &[Column], record: &ByteRecord) {
        if record.len() != columns.len() {
            return self.refuse("a row has another number of cells than the header");
        }
        if record.iter().any(|cell| std::str::from_utf8(cell).is_err()) {
            return self.refuse("a row is not UTF-8");
        }
        let first = self.lines.is_empty();
        for column in columns {
            let Column::Field(at) = *column else { continue };
            let Some(text) = cell(columns, record, *column) else { continue };
            if first {
                self.fields[at] = Some(text);
            } else if self.fields[at].as_ref() != Some(&text) {
                self.refuse(&format!("rows of one order must agree in {}, or leave it empty after the first", COLUMNS[at].0));
            }
        }
        if self.lines.len() < LINES_KEPT {
            let mut line = Map::new();
            if let Some(sku) = cell(columns, record, Column::Sku) {
                line.insert("sku".to_owned(), sku.into());
            }
            if let Some(quantity) = cell(columns, record, Column::Quantity) {
                line.insert("quantity".to_owned(), number(&quantity));
            }
            self.lines.push(line.into());
        }
    }

    /// The order's body.
    fn finish(mut self) -> Result<Value, Problem> {
        if let Some(problem) = self.broken {
            return Err(problem);
        }
        let mut body = Map::new();
        for ((name, place), text) in COLUMNS.iter().zip(&self.fields) {
            let (Some(text), [at @ .., field]) = (text, *place) else { continue };
            let value = match *name {
                "customer_notify" => text.split([' ', ';', '|']).filter(|t| !t.is_empty()).collect::<Vec<_>>().into(),
                _ => Value::from(text.as_str()),
            };
            let into = match at {
                [outer] => body.entry(*outer).or_insert_with(|| json!({})).as_object_mut(),
                _ => Some(&mut body),
            };
            if let Some(fields) = into {
                fields.insert((*field).to_owned(), value);
            }
        }
        let mut take = |wanted: &str| COLUMNS.iter().position(|(n, _)| *n == wanted).and_then(|at| self.fields[at].take());
        // of the whole order's goods, in its currency
        let (code, amount, currency) = (take("discount_code"), take("discount_amount"), take("currency"));
        if code.is_some() || amount.is_some() {
            let mut discount = json!({"amount": {"currency": currency}});
            if let Some(code) = code {
                discount["code"] = code.into();
            }
            if let Some(amount) = amount {
                discount["amount"]["amount"] = number(&amount);
            }
            body.insert("discounts".to_owned(), json!([discount]));
        }
        body.insert("lines".to_owned(), self.lines.into());
        Ok(body.into())
    }
}

/// A whole number; any other text stays one, and is refused as such.
fn number(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Into::into)
}
