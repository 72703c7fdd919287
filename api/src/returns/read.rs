//! `GET /v1/returns`, `GET /v1/returns/{id}` and `GET /v1/orders/{id}/returns`.

use axum::Json;
use axum::extract::State;
use oms_domain::ids::Invalid;
use oms_domain::returning::{ReturnId, ReturnState};
use oms_store::{ReturnCursor, StoredReturn};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ReturnView;
use crate::extract::{Path, Query};
use crate::page::{self, CursorKey, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::state::AppState;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListReturns {
    /// Where it stands.
    #[param(example = "requested")]
    state: Option<String>,
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// An order's returns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Returns)]
pub(crate) struct ReturnsView {
    /// Oldest first.
    data: Vec<ReturnView>,
}

impl CursorKey for ReturnCursor {
    const KIND: &'static str = "return";
    fn write(&self) -> String {
        format!("{}|{}", self.created_at.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true), self.id)
    }
    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('|')?;
        Some(Self { created_at: page::instant(at).ok()?, id: ReturnId::parse(id).ok()? })
    }
}

/// List returns
#[utoipa::path(
    get,
    path = "/v1/returns",
    tag = "returns",
    params(ListReturns),
    responses((status = 200, description = "One page, newest first", body = Page<ReturnView>))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<ListReturns>,
) -> Result<Json<Page<ReturnView>>, Problem> {
    let mut findings = Findings::default();
    let wanted = query.state.map(|name| ReturnState::parse(&name).ok_or_else(|| Invalid::new("an unknown state")));
    let wanted = findings.parameter_opt("state", wanted);
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let after: Option<ReturnCursor> = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode));
    findings.check()?;
    let rows = state.store.returns(wanted, after.as_ref(), one_more(limit)).await?;
    Ok(Json(Page::of(rows, limit, |row: &StoredReturn| page::encode(&row.cursor()), |row| ReturnView::from(row))))
}

/// Read a return
#[utoipa::path(
    get,
    path = "/v1/returns/{id}",
    tag = "returns",
    params(("id" = String, Path, description = "The return's id")),
    responses((status = 200, description = "The return", body = ReturnView))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<ReturnView>, Problem> {
    Ok(Json(ReturnView::from(&state.stored_return(&id).await?)))
}

/// List an order's returns
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/returns",
    tag = "returns",
    params(("id" = String, Path, description = "The order's id")),
    responses((status = 200, description = "All of them, oldest first", body = ReturnsView))
)]
pub(crate) async fn of_order(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<ReturnsView>, Problem> {
    let order = state.order(&id).await?;
    let returns = state.store.returns_of(&order.id).await?;
    Ok(Json(ReturnsView { data: returns.iter().map(ReturnView::from).collect() }))
}
