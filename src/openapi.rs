//! `oms openapi`: prints the OpenAPI document, which the running API serves at `/openapi.json`.

use std::process::ExitCode;

use crate::sandbox;

/// Prints the document.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    crate::print(&format!("{}\n", oms_api::openapi(sandbox::described()).to_pretty_json()?))
}
