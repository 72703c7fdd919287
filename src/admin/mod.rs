//! Admin commands: orders, stock and shipments over the HTTP API. They hold no knowledge of their own; the API decides.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::http::{Api, ApiError, ApiTarget};

mod order;
mod place;
mod render;
mod review;
mod shipment;
mod stock;
pub(crate) mod table;
mod watch;

pub(crate) use order::OrderArgs;
pub(crate) use render::story;
pub(crate) use review::ReviewArgs;
pub(crate) use shipment::ShipmentArgs;
pub(crate) use stock::StockArgs;

/// `oms order …`. Errors: input that this machine cannot read; what the API says is printed and becomes the exit code.
pub(crate) async fn order(args: OrderArgs, api: ApiTarget, json: bool) -> anyhow::Result<ExitCode> {
    let api = Api::new(&api)?;
    settle(order::run(args, &api, json).await)
}

/// `oms review …`. Errors: as [`order`].
pub(crate) async fn review(args: ReviewArgs, api: ApiTarget, json: bool) -> anyhow::Result<ExitCode> {
    let api = Api::new(&api)?;
    settle(review::run(args, &api, json).await)
}

/// `oms stock …`. Errors: as [`order`].
pub(crate) async fn stock(args: StockArgs, api: ApiTarget, json: bool) -> anyhow::Result<ExitCode> {
    let api = Api::new(&api)?;
    settle(stock::run(args, &api, json).await)
}

/// `oms shipment …`. Errors: as [`order`].
pub(crate) async fn shipment(args: ShipmentArgs, api: ApiTarget, json: bool) -> anyhow::Result<ExitCode> {
    let api = Api::new(&api)?;
    settle(shipment::run(args, &api, json).await)
}

/// A refusal by the API is exit code 1; nobody there, or somebody else, is 2.
fn settle(done: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let Err(error) = done else { return Ok(ExitCode::SUCCESS) };
    let error = error.downcast::<ApiError>()?;
    eprintln!("{error}");
    for line in error.lines() {
        eprintln!("  {line}");
    }
    Ok(ExitCode::from(if matches!(error, ApiError::Refused(_)) { 1 } else { 2 }))
}

/// Prints to stdout; a reader that has gone (`| head`) is no error.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    let _ = out.flush();
}

/// Prints the API's JSON as it is, or what `render` makes of it.
fn show(value: Value, json: bool, render: impl FnOnce(Value) -> Result<String, ApiError>) -> anyhow::Result<()> {
    if json {
        say(&serde_json::to_string_pretty(&value)?);
    } else {
        say(&render(value)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Problem;

    #[test]
    fn exit_codes_tell_refused_from_unreachable() {
        let refused = ApiError::Refused(Box::new(Problem { status: 409, code: "too_late".to_owned(), ..Problem::default() }));
        let silent = ApiError::Unreachable { base_url: "http://x".to_owned(), detail: "refused".to_owned() };
        let code = |done| format!("{:?}", settle(done).unwrap());
        assert_eq!(code(Ok(())), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(Err(refused.into())), format!("{:?}", ExitCode::from(1)));
        assert_eq!(code(Err(silent.into())), format!("{:?}", ExitCode::from(2)));
        assert!(settle(Err(anyhow::anyhow!("no such file"))).is_err());
    }
}
