use std::sync::Arc;

use oms_domain::payment::PaymentMethod;
use serde_json::json;

use super::*;

/// What becomes of a file that comes in pieces of `size` bytes.
fn read_all(format: Format, text: &[u8], size: usize) -> Result<Vec<NewImportRow>, Problem> {
    let (chunks, incoming) = mpsc::channel(4);
    let (batches, mut read_batches) = mpsc::channel(4);
    let text = text.to_vec();
    let feeder = std::thread::spawn(move || {
        for piece in text.chunks(size) {
            let _gone = chunks.blocking_send(Bytes::copy_from_slice(piece));
        }
    });
    let knows: KnowsMethod = Arc::new(|method: &PaymentMethod| method.0 == "pm_card_visa");
    let reader = std::thread::spawn(move || read(format, Incoming::new(incoming), &knows, &batches));
    let mut rows = Vec::new();
    while let Some(batch) = read_batches.blocking_recv() {
        rows.extend(batch);
    }
    feeder.join().unwrap();
    reader.join().unwrap().map(|()| rows)
}

fn good() -> Value {
    crate::tests::order_body()
}

/// Why a row was refused.
fn refusal(row: &NewImportRow) -> &str {
    row.content.as_ref().unwrap_err()
}

fn body(row: &NewImportRow) -> Value {
    serde_json::from_str(row.content.as_ref().unwrap()).unwrap()
}

#[test]
fn lines_are_orders_however_they_come_in() {
    let mut keyed = good();
    keyed["idempotency_key"] = json!("k-1");
    let mut card = good();
    card["reference"] = json!("4111 1111 1111 1111");
    let mut bad_key = good();
    bad_key["idempotency_key"] = json!(7);
    let mut bad = good();
    bad["lines"][0]["quantity"] = json!(4111111111111111i64);
    let file = format!("\u{feff}{keyed}\r\n\n  \nnonsense\n{card}\n{bad_key}\n{bad}\n[1]");
    for size in [1, 7, 100_000] {
        let rows = read_all(Format::Ndjson, file.as_bytes(), size).unwrap();
        assert_eq!(rows.iter().map(|r| r.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert_eq!((rows[0].key.as_deref(), body(&rows[0])), (Some("k-1"), good()));
        let expected = ["malformed", "card_number_refused", "/idempotency_key", "/lines/0/quantity", "expected an object"];
        for (row, words) in rows[1..].iter().zip(expected) {
            assert!(refusal(row).contains(words) && !refusal(row).contains("1111"), "{row:?}");
        }
    }
}

#[test]
fn a_corrected_file_has_the_keys_of_the_rows_that_stay() {
    let keys = |rows: &[Value]| -> Vec<Option<String>> {
        let file: Vec<String> = rows.iter().map(Value::to_string).collect();
        read_all(Format::Ndjson, file.join("\n").as_bytes(), 1_000).unwrap().into_iter().map(|row| row.key).collect()
    };
    let (mut other, mut wrong, mut spelled) = (good(), good(), good());
    other["lines"][0]["quantity"] = json!(3);
    wrong["currency"] = json!("euro");
    spelled["on_shortage"] = json!({"policy": "reject"});
    let first = keys(&[good(), wrong, good(), other.clone()]);
    assert!(first[1].is_none() && first[0].is_some() && first[0] != first[2], "{first:?}");
    let mut right = good();
    right["reference"] = json!("mended");
    let second = keys(&[right, other, spelled, good()]);
    assert_eq!(second[1..], [first[3].clone(), first[0].clone(), first[2].clone()], "wherever they stand now");
    assert!(!first.contains(&second[0]));
}

#[test]
fn a_line_is_bounded_and_the_next_one_is_read() {
    let mut file = vec![b'x'; BODY_BYTES_MAX * 3];
    file.extend(format!("\n{}\n", good()).bytes());
    let rows = read_all(Format::Ndjson, &file, 10_000).unwrap();
    assert!(refusal(&rows[0]).contains("too_large"));
    assert_eq!((rows.len(), body(&rows[1])), (2, good()));
}

#[test]
fn too_many_and_none_end_the_file() {
    assert!(read_all(Format::Ndjson, b"\n \n", 10).is_err());
    let many = "1\n".repeat(100_001);
    assert_eq!(read_all(Format::Ndjson, many.as_bytes(), 4_096).unwrap_err().code(), Code::TooLarge);
    assert_eq!(read_all(Format::Ndjson, &many.as_bytes()[2..], 4_096).unwrap().len(), 100_000);
}

#[test]
fn formats_have_their_names() {
    assert_eq!(Format::of("text/csv; charset=utf-8"), Some(Format::Csv));
    assert_eq!(Format::of("Application/X-NDJSON"), Some(Format::Ndjson));
    assert_eq!(Format::of("application/json"), None);
}

const HEADER: &str = "order,idempotency_key,customer_id,customer_name,customer_email,customer_phone,currency,ship_to_name,\
                      ship_to_line1,ship_to_city,ship_to_postal_code,ship_to_country,method,sku,quantity";
const ADA: &str = "c-1,Ada,ada@example.com,+4930123456,EUR,Ada,Street 1,Berlin,10115,DE,pm_card_visa";

fn table(rows: &[String]) -> Result<Vec<NewImportRow>, Problem> {
    read_all(Format::Csv, format!("{HEADER}\n{}\n", rows.join("\n")).as_bytes(), 13)
}

#[test]
fn rows_that_follow_each_other_make_one_order() {
    let rows = table(&[
        format!("A,k-1,{ADA},MUG,2"),
        ",,,,,,,,,,,,,,".to_owned(),
        format!("B,,{ADA},MUG,1"),
        "B,,,,,,,,,,,,,PEN,3".to_owned(),
        format!(",,{ADA},MUG,2"),
        format!(",,{ADA},MUG,2"),
    ])
    .unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!((rows[0].key.as_deref(), body(&rows[0])), (Some("k-1"), good()));
    assert_eq!(body(&rows[1])["lines"], json!([{"sku": "MUG", "quantity": 1}, {"sku": "PEN", "quantity": 3}]));
    assert_eq!((body(&rows[2]), body(&rows[3])), (good(), good()));
}

#[test]
fn bad_rows_of_a_table_say_why() {
    let rows = table(&[
        format!("A,,{ADA},MUG,many"),
        format!("B,,{ADA},MUG"),
        format!("C,,{ADA},MUG,1"),
        format!("C,,{},PEN,3", ADA.replace("c-1", "c-2")),
        format!("A,,{ADA},MUG,1"),
        format!("D,,{},MUG,1", ADA.replace("DE,", ",")),
        format!("E,,{ADA},MUG,1"),
    ])
    .unwrap();
    let expected = ["/lines/0/quantity", "cells", "customer_id", "follow each other", "/ship_to/country"];
    for (row, words) in rows.iter().zip(expected) {
        assert!(refusal(row).contains(words), "{words}: {row:?}");
    }
    assert!(rows[5].content.is_ok() && rows.len() == 6);
}

#[test]
fn all_columns_find_their_place() {
    let head = "customer_id,customer_name,customer_email,customer_locale,customer_notify,currency,ship_to_name,ship_to_line1,\
                ship_to_line2,ship_to_city,ship_to_region,ship_to_postal_code,ship_to_country,bill_to_name,bill_to_line1,bill_to_line2,\
                bill_to_city,bill_to_region,bill_to_postal_code,bill_to_country,method,on_shortage,on_shortage_max,discount_code,\
                discount_amount,reference,channel,sku,quantity";
    let row = "c-1,Ada,ada@example.com,de,mail sms,EUR,Ada,\"Street, 1\",x,Berlin,x,10115,DE,Ada,Weg 2,x,Wien,x,1010,AT,pm_card_visa,\
               wait,P30D,SPRING,500,r-1,web,MUG,2";
    let rows = read_all(Format::Csv, format!("{head}\r\n{row}\r\n").as_bytes(), 1_000).unwrap();
    let body = body(&rows[0]);
    assert_eq!(body["ship_to"]["line1"], "Street, 1");
    assert_eq!((&body["bill_to"]["country"], &body["customer"]["notify"]), (&json!("AT"), &json!(["mail", "sms"])));
    assert_eq!(body["on_shortage"], json!({"policy": "wait", "max": "P30D"}));
    assert_eq!(body["discounts"], json!([{"code": "SPRING", "amount": {"amount": 500, "currency": "EUR"}}]));
    assert_eq!((&body["reference"], &body["channel"]), (&json!("r-1"), &json!("web")));
}

#[test]
fn a_header_must_serve_and_a_quote_must_end() {
    for (file, words) in [("sku\nMUG\n", "quantity"), ("sku,quantity,price\n", "column 3"), ("sku,quantity,sku\n", "column 3")] {
        let problem = read_all(Format::Csv, file.as_bytes(), 100).unwrap_err();
        assert_eq!(problem.errors()[0].parameter.as_deref(), Some(words), "{file}");
    }
    assert!(read_all(Format::Csv, b"", 100).is_err());
    let open = format!("sku,quantity\n\"{}", "x,1\n".repeat(200_000));
    assert_eq!(read_all(Format::Csv, open.as_bytes(), 4_096).unwrap_err().code(), Code::TooLarge);
}
