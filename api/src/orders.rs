//! Orders: one file per endpoint, plus how an order is read from a body (`body`) and shown (`view`).

mod body;
mod cancel;
mod command;
mod holds;
mod list;
mod place;
mod read;
mod timeline;
pub(crate) mod view;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(place::place, list::list))
        .routes(routes!(read::read))
        .routes(routes!(timeline::timeline))
        .routes(routes!(cancel::cancel))
        .routes(routes!(holds::hold))
        .routes(routes!(holds::release))
}
