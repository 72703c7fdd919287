//! The demo's catalogue and stock, brought in through the API. Running it again tops up and changes nothing else.

use serde_json::json;

use super::plan::{ARTICLES, Article, Job, Supply, needed};
use crate::http::{Api, ApiError, Call, Stock};

/// Units beyond what the demo needs: for whoever orders by hand afterwards, and for orders that a demo left which was killed.
const SPARE: u64 = 100;

/// Puts the articles into the catalogue, so many units on the shelves that the orders' and some more are available, and takes what
/// is to be sold out off them; answers the units that were received. Errors: [`ApiError`].
pub(super) async fn stock_up(api: &Api, run: &str, jobs: &[Job]) -> Result<u64, ApiError> {
    let mut received = 0;
    let needed = needed(jobs);
    for article in ARTICLES {
        enter(api, article.sku, &article).await?;
        let stock: Stock = api.ask(Call::get(format!("/v1/inventory/{}", article.sku))).await?;
        if article.supply == Supply::Stocked {
            received += fill(api, run, &article, &stock, needed.get(article.sku).copied().unwrap_or_default()).await?;
        } else {
            clear(api, &stock).await?;
        }
    }
    for (sku, article) in jobs.iter().flat_map(|job| job.own(run)) {
        enter(api, &sku, article).await?;
    }
    Ok(received)
}

async fn enter(api: &Api, sku: &str, article: &Article) -> Result<(), ApiError> {
    let price = json!({"amount": article.price, "currency": "EUR"});
    let body = json!({"name": article.name, "price": price, "weight_g": article.weight_g});
    api.send(Call::put(format!("/v1/catalogue/{sku}"), body)).await.map(|_| ())
}

async fn fill(api: &Api, run: &str, article: &Article, stock: &Stock, needed: u64) -> Result<u64, ApiError> {
    let available = stock.locations.iter().find(|l| l.location == article.location).map_or(0, |l| l.available);
    let missing = (needed + SPARE).saturating_sub(available);
    if missing > 0 {
        let body = json!({"sku": article.sku, "location": article.location, "quantity": missing, "reason": "stock for the demo"});
        api.send(Call::post("/v1/inventory/receipts", body).keyed(format!("{run}-{}", article.sku))).await?;
    }
    Ok(missing)
}

/// What an earlier demo left.
async fn clear(api: &Api, stock: &Stock) -> Result<(), ApiError> {
    for shelf in stock.locations.iter().filter(|l| l.available > 0) {
        let body = json!({"on_hand": shelf.reserved, "reason": "left by an earlier demo"});
        api.send(Call::put(format!("/v1/inventory/{}/{}", stock.sku, shelf.location), body)).await?;
    }
    Ok(())
}
