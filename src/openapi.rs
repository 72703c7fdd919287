//! `oms openapi` and `oms asyncapi`: print the documents that the running API serves at `/openapi.json` and `/asyncapi.json`.

use std::process::ExitCode;

use crate::sandbox;

/// Prints the document about the API.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    crate::print(&format!("{}\n", oms_api::openapi(sandbox::described()).to_pretty_json()?))
}

/// Prints the document about events.
pub(crate) fn run_asyncapi() -> anyhow::Result<ExitCode> {
    crate::print(&format!("{:#}\n", oms_api::events::asyncapi()))
}
