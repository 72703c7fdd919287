//! Orders: one file per endpoint, plus how an order is read from a body (`body`) and shown (`view`).

mod address;
mod amend;
pub(crate) mod body;
mod cancel;
pub(crate) mod command;
pub(crate) mod decide;
mod edits;
mod effects;
mod events;
mod holds;
mod list;
pub(crate) mod place;
mod read;
mod review;
mod timeline;
pub(crate) mod view;
mod why;

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
        .routes(routes!(review::review))
        .routes(routes!(address::address))
        .routes(routes!(edits::edit))
        .routes(routes!(edits::read))
        .routes(routes!(decide::decide))
        .routes(routes!(why::why))
        .routes(routes!(effects::effects))
        .routes(routes!(events::events))
}
