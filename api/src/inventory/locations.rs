//! `PUT /v1/locations/{location}` and `GET /v1/locations`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use oms_domain::customer::{Country, Line};
use oms_domain::ids::{Invalid, Location};
use oms_domain::stock::site::{Site, SiteAddress};
use oms_store::{Put, SiteChange};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Json, Path, Query};
use crate::page::{self, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::schema;
use crate::state::AppState;

/// Lowest rank of a place.
const PRIORITY_MAX: i64 = 1_000_000;

/// What to change of a place; what is not named stays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocationBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    name: Option<String>,
    /// Replaces the whole address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<LocationAddress>,
    /// The lowest gives first; 100 unless somebody said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000)]
    priority: Option<i64>,
}

/// Where a place is: what the strategy `nearest` compares with the customer's address.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocationAddress {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    line1: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    line2: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    city: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    region: Option<String>,
    #[schema(value_type = schema::Line)]
    postal_code: String,
    /// ISO 3166-1 alpha-2.
    #[schema(pattern = r"^[A-Z]{2}$", example = "DE")]
    country: String,
}

impl LocationAddress {
    fn parse(&self, findings: &mut Findings) -> Option<SiteAddress> {
        let mut optional =
            |field: &str, text: &Option<String>| findings.body_opt(&format!("/address/{field}"), text.clone().map(Line::parse));
        let (line1, line2) = (optional("line1", &self.line1), optional("line2", &self.line2));
        let (city, region) = (optional("city", &self.city), optional("region", &self.region));
        let postal_code = findings.body("/address/postal_code", Line::parse(&self.postal_code));
        let country = findings.body("/address/country", Country::parse(&self.country));
        Some(SiteAddress { line1, line2, city, region, postal_code: postal_code?, country: country? })
    }
}

/// A place that holds stock.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Location)]
pub(crate) struct PlaceView {
    location: String,
    name: Option<String>,
    address: Option<LocationAddress>,
    /// The lowest gives first.
    priority: u32,
}

impl From<&Site> for PlaceView {
    fn from(site: &Site) -> Self {
        let text = |line: &Option<Line>| line.as_ref().map(ToString::to_string);
        let address = site.address.as_ref().map(|a| LocationAddress {
            line1: text(&a.line1),
            line2: text(&a.line2),
            city: text(&a.city),
            region: text(&a.region),
            postal_code: a.postal_code.to_string(),
            country: a.country.to_string(),
        });
        Self { location: site.location.to_string(), name: text(&site.name), address, priority: site.priority }
    }
}

/// Describe a place, or make it
///
/// A place also comes into being with its first receipt, without an address.
#[utoipa::path(
    put,
    path = "/v1/locations/{location}",
    tag = "inventory",
    params(("location" = String, Path, description = "The place", pattern = r"^[A-Za-z0-9_-]{1,32}$")),
    request_body = LocationBody,
    responses(
        (status = 201, description = "New", body = PlaceView),
        (status = 200, description = "Changed", body = PlaceView),
    )
)]
pub(crate) async fn put(
    State(state): State<AppState>,
    Path(location): Path<String>,
    Json(body): Json<LocationBody>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let location = findings.parameter("location", Location::parse(location));
    let name = findings.body_opt("/name", body.name.map(Line::parse));
    let address = body.address.and_then(|address| address.parse(&mut findings));
    let priority = body.priority.map(|rank| {
        let fits = (0..=PRIORITY_MAX).contains(&rank).then_some(rank).and_then(|r| u32::try_from(r).ok());
        fits.ok_or_else(|| Invalid::new("priority is 0 to 1,000,000"))
    });
    let priority = findings.body_opt("/priority", priority);
    let Some(location) = location.filter(|_| findings.is_clean()) else { return Err(findings.into_problem()) };
    let change = SiteChange { name, address, priority };
    let (put, site) = state.store.put_location(&location, &change, state.now()).await?;
    let status = match put {
        Put::Created => StatusCode::CREATED,
        Put::Replaced => StatusCode::OK,
    };
    Ok((status, axum::Json(PlaceView::from(&site))).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListLocations {
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List the places that hold stock
#[utoipa::path(
    get,
    path = "/v1/locations",
    tag = "inventory",
    params(ListLocations),
    responses((status = 200, description = "One page, by id", body = Page<PlaceView>))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<ListLocations>,
) -> Result<axum::Json<Page<PlaceView>>, Problem> {
    let mut findings = Findings::default();
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let after: Option<Location> = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode));
    findings.check()?;
    let rows = state.store.locations(after.as_ref(), one_more(limit)).await?;
    Ok(axum::Json(Page::of(rows, limit, |row: &Site| page::encode(&row.location), |row| PlaceView::from(row))))
}
