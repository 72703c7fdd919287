//! `GET /v1/shipments/{id}/packing-slip`.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use oms_domain::customer::Address;
use oms_domain::ids::ShipmentId;
use oms_domain::message::Locale;
use oms_domain::shipment::Shipment;
use oms_store::StoredOrder;

use super::label::NOTHING_RUNS;
use crate::extract::Path;
use crate::problem::Problem;
use crate::state::AppState;

const STYLE: &str = "body{font:14px/1.5 Helvetica,Arial,sans-serif;color:#111;background:#fff;margin:0 auto;max-width:42rem;padding:2rem}\
    h1{font-size:22px;margin:0 0 1.5rem}table{border-collapse:collapse;width:100%;margin-top:1.5rem}\
    th,td{text-align:left;padding:.5rem 0;border-bottom:1px solid #ccc}.n{text-align:right}address{font-style:normal}\
    dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem;margin:1.5rem 0 0}dt{color:#555}dd{margin:0}\
    @page{margin:18mm}@media print{body{padding:0;max-width:none}}";

/// The slip's words in a language: title, order, shipment, article, SKU, quantity.
fn words(locale: Locale) -> [&'static str; 6] {
    match locale {
        Locale::En => ["Packing slip", "Order", "Shipment", "Article", "SKU", "Quantity"],
        Locale::De => ["Lieferschein", "Bestellung", "Sendung", "Artikel", "Artikelnummer", "Menge"],
        Locale::Es => ["Albarán", "Pedido", "Envío", "Artículo", "Referencia", "Cantidad"],
    }
}

/// Print a shipment's packing slip
///
/// In the customer's language.
#[utoipa::path(
    get,
    path = "/v1/shipments/{id}/packing-slip",
    tag = "shipments",
    params(("id" = String, Path, description = "The shipment's id")),
    responses((status = 200, description = "A page to print", body = String, content_type = "text/html"))
)]
pub(crate) async fn packing_slip(State(state): State<AppState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let missing = || Problem::not_found("shipment");
    let id = ShipmentId::parse(id).map_err(|_| missing())?;
    let stored = state.store.shipment(&id).await?.ok_or_else(missing)?;
    let order = state.store.order(&stored.order_id).await?.ok_or_else(missing)?;
    let page = page(&order, &stored.shipment);
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8"), NOTHING_RUNS], page).into_response())
}

fn page(order: &StoredOrder, shipment: &Shipment) -> String {
    let locale = order.customer.locale.unwrap_or_default();
    let [title, of, parcel, article, sku, quantity] = words(locale);
    let reference = order.reference.as_ref().map_or(order.id.as_str(), |r| r.as_str());
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title} {}</title><style>{STYLE}</style></head>\n<body>\n\
         <h1>{title}</h1>\n<address>{}</address>\n<dl><dt>{of}</dt><dd>{}</dd><dt>{parcel}</dt><dd>{}</dd></dl>\n\
         <table>\n<tr><th>{article}</th><th>{sku}</th><th class=\"n\">{quantity}</th></tr>\n",
        locale.as_str(),
        escape(shipment.id.as_str()),
        address(&order.ship_to),
        escape(reference),
        escape(shipment.id.as_str()),
    );
    for inside in &shipment.lines {
        let name = order.lines.iter().find(|line| line.sku == inside.sku).map_or(inside.sku.as_str(), |line| line.name.as_str());
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            escape(name),
            escape(inside.sku.as_str()),
            inside.quantity
        );
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}

fn address(to: &Address) -> String {
    let region = to.region.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
    let place = format!("{} {}{region}", to.postal_code, to.city);
    let lines = [Some(to.name.as_str()), Some(to.line1.as_str()), to.line2.as_ref().map(|l| l.as_str())];
    let lines = lines.into_iter().flatten().chain([place.as_str(), to.country.as_str()]);
    lines.map(escape).collect::<Vec<_>>().join("<br>")
}

/// The text as it may stand in HTML.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_customer_writes_becomes_markup() {
        assert_eq!(escape("<b>Zoë & \"O'Neil\"</b>"), "&lt;b&gt;Zoë &amp; &quot;O&#39;Neil&quot;&lt;/b&gt;");
        for locale in Locale::ALL {
            assert!(words(locale).iter().all(|word| escape(word) == *word));
        }
    }
}
