//! The catalogue: what is sold and for how much.

mod batch;
mod put;
mod read;

use oms_domain::customer::Line;
use oms_domain::ids::{Invalid, Sku};
use oms_domain::money::{Currency, Money};
use oms_store::Product;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Findings;
use crate::schema;
use crate::state::AppState;

/// Largest price in minor units: the largest whole number that every JSON reader keeps exactly.
const PRICE_MAX: i64 = (1 << 53) - 1;

/// Heaviest article, in grams.
const WEIGHT_MAX: i64 = 100_000_000;

/// Largest threshold of an article that runs low, in units.
const LOW_STOCK_MAX: i64 = 1_000_000;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(put::put))
        .routes(routes!(read::list))
        .routes(routes!(read::read))
        .routes(routes!(batch::batch))
}

/// A price.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceBody {
    /// Minor units; zero is allowed, less is not.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991i64, example = 1999)]
    amount: i64,
    #[schema(value_type = schema::CurrencyCode)]
    currency: String,
}

impl PriceBody {
    fn parse(&self, findings: &mut Findings, at: &str) -> Option<Money> {
        let amount = (0..=PRICE_MAX).contains(&self.amount).then_some(self.amount);
        let amount = amount.ok_or_else(|| Invalid::new("a price is zero or more minor units, below 2^53"));
        let amount = findings.body(format!("{at}/amount"), amount);
        let currency = findings.body(format!("{at}/currency"), Currency::parse(&self.currency));
        Some(Money::new(amount?, currency?))
    }
}

/// Checks the fields that both ways of putting a product share; `at` is where they stand in the body.
fn product(
    findings: &mut Findings,
    at: &str,
    sku: Option<Sku>,
    (name, price, weight_g, low_stock_at): (&str, &PriceBody, Option<i64>, Option<i64>),
) -> Option<Product> {
    let name = findings.body(format!("{at}/name"), Line::parse(name));
    let price = price.parse(findings, &format!("{at}/price"));
    let weight = weight_g.map(|grams| {
        let fits = (0..=WEIGHT_MAX).contains(&grams).then_some(grams).and_then(|g| u32::try_from(g).ok());
        fits.ok_or_else(|| Invalid::new("weight_g is 0 to 100,000,000"))
    });
    let weight_g = findings.body_opt(&format!("{at}/weight_g"), weight);
    let threshold = low_stock_at.map(|units| {
        let fits = (0..=LOW_STOCK_MAX).contains(&units).then_some(units).and_then(|n| u32::try_from(n).ok());
        fits.ok_or_else(|| Invalid::new("low_stock_at is 0 to 1,000,000"))
    });
    let low_stock_at = findings.body_opt(&format!("{at}/low_stock_at"), threshold);
    Some(Product { sku: sku?, name: name?, price: price?, weight_g, low_stock_at })
}

/// A product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Product)]
pub(crate) struct ProductView {
    sku: String,
    name: String,
    price: schema::Money,
    weight_g: Option<u32>,
    /// An event tells when no more units than these can be sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    low_stock_at: Option<u32>,
}

impl From<&Product> for ProductView {
    fn from(product: &Product) -> Self {
        Self {
            sku: product.sku.to_string(),
            name: product.name.to_string(),
            price: product.price.into(),
            weight_g: product.weight_g,
            low_stock_at: product.low_stock_at,
        }
    }
}
