//! The demo's catalogue and stock, brought in through the API. Running it again tops up and changes nothing else.

use std::collections::BTreeMap;

use serde_json::json;

use super::plan::ARTICLES;
use crate::http::{Api, ApiError, Call, Stock};

/// Units beyond what the demo needs, for whoever orders by hand afterwards.
const SPARE: u64 = 20;

/// Puts the articles into the catalogue and so many units on the shelves that `needed` and some more are available; answers the
/// units that were received. Errors: [`ApiError`].
pub(super) async fn stock_up(api: &Api, run: &str, needed: &BTreeMap<&'static str, u64>) -> Result<u64, ApiError> {
    let mut received = 0;
    for article in ARTICLES {
        let price = json!({"amount": article.price, "currency": "EUR"});
        let body = json!({"name": article.name, "price": price, "weight_g": article.weight_g});
        api.send(Call::put(format!("/v1/catalogue/{}", article.sku), body)).await?;
        let Some(location) = article.location else { continue };
        let stock: Stock = api.ask(Call::get(format!("/v1/inventory/{}", article.sku))).await?;
        let available = stock.locations.iter().find(|l| l.location == location).map_or(0, |l| l.available);
        let wanted = needed.get(article.sku).copied().unwrap_or_default() + SPARE;
        let missing = wanted.saturating_sub(available);
        if missing > 0 {
            let body = json!({"sku": article.sku, "location": location, "quantity": missing, "reason": "stock for the demo"});
            api.send(Call::post("/v1/inventory/receipts", body).keyed(format!("{run}-{}", article.sku))).await?;
            received += missing;
        }
    }
    Ok(received)
}
