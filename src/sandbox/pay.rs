//! The page of the sandbox's bank: where a customer confirms a payment, and comes back from. It does what the `authenticate` route
//! does; of two that answer at once, one wins.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oms_api::extract::Path;
use oms_api::problem::{Code, Problem, ProblemBody};
use oms_domain::payment::PaymentStatus;
use oms_gateways::payment::{PAY_PATH, SandboxPayment};

use super::views::Authenticate;
use super::{Shared, find, outcome};

/// Nothing but the page's own style is loaded, it is framed by nobody, and its address is told to nobody.
const HEADERS: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-robots-tag", "noindex"),
    ("content-type", "text/html; charset=utf-8"),
];

const STYLE: &str = "body{font:1.125rem/1.5 system-ui,sans-serif;margin:0;color:#1a1a1a;background:#fff}\
main{max-width:34rem;margin:0 auto;padding:1.5rem}h1{font-size:1.5rem;line-height:1.25}button{font:inherit;display:block;width:100%;\
min-height:3rem;padding:.5rem 1rem;margin:0 0 1rem;border:2px solid #0b57d0;border-radius:.5rem;background:#fff;color:#0b57d0;\
cursor:pointer}button:hover{background:#0b57d0;color:#fff}button:focus-visible{outline:3px solid #1a1a1a;outline-offset:2px}\
@media(prefers-color-scheme:dark){body{background:#121212;color:#eee}button{background:#121212;color:#a8c7fa;border-color:#a8c7fa}\
button:hover{background:#a8c7fa;color:#121212}button:focus-visible{outline-color:#eee}}";

/// The customer's page of the sandbox's bank
///
/// Where `payment.action_url` of an order leads: two buttons while the payment waits for its customer, else where it stands.
#[utoipa::path(get, path = "/v1/sandbox/pay/{payment_id}", tag = "sandbox", operation_id = "showSandboxPayPage",
    params(("payment_id" = String, Path, description = "The gateway's id of the payment")),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 404, description = "A page that says that there is no such payment", body = String, content_type = "text/html")))]
pub(super) async fn show(State(shared): State<Shared>, Path(payment_id): Path<String>) -> Result<Response, Problem> {
    match find(&shared.sandbox, &payment_id).await {
        Ok(payment) if payment.status == PaymentStatus::RequiresAction => Ok(html(StatusCode::OK, &question(&payment))),
        Ok(payment) => Ok(html(StatusCode::OK, &settled(payment.status))),
        Err(problem) if problem.code() == Code::NotFound => Ok(unknown()),
        Err(problem) => Err(problem),
    }
}

/// The customer confirms, or does not
///
/// From the page's form; answers the page to come back to the shop from. The first answer counts.
#[utoipa::path(post, path = "/v1/sandbox/pay/{payment_id}", tag = "sandbox", operation_id = "answerSandboxPayPage",
    params(("payment_id" = String, Path, description = "The gateway's id of the payment")),
    request_body(content = Authenticate, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page to come back from", body = String, content_type = "text/html"),
        (status = 404, description = "A page that says that there is no such payment", body = String, content_type = "text/html"),
        (status = 409, description = "A page that says how it ended before", body = String, content_type = "text/html"),
        (status = 415, description = "It is not the page's form", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn act(
    State(shared): State<Shared>,
    Path(payment_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim() != "application/x-www-form-urlencoded" {
        return Err(Problem::new(Code::UnsupportedMediaType, "send the page's form"));
    }
    let text = std::str::from_utf8(&body).unwrap_or_default();
    let given = text.split('&').find_map(|field| field.strip_prefix("outcome=")).unwrap_or_default();
    match shared.authenticated(&payment_id, outcome(given)?).await {
        Ok((payment, _)) => Ok(html(StatusCode::OK, &settled(payment.status))),
        Err(problem) if problem.code() == Code::NotFound => Ok(unknown()),
        Err(problem) if problem.code() == Code::NotAllowedNow => {
            let payment = find(&shared.sandbox, &payment_id).await?;
            Ok(html(StatusCode::CONFLICT, &settled(payment.status)))
        }
        Err(problem) => Err(problem),
    }
}

fn question(payment: &SandboxPayment) -> String {
    let amount = payment.operations.first().map(|asked| asked.amount.to_string()).unwrap_or_default();
    frame(
        "Confirm your payment",
        &format!(
            "<p>This is the bank of the sandbox: no money moves. A shop wants to hold <strong>{amount}</strong>.</p>\n\
             <form method=\"post\" action=\"{PAY_PATH}/{id}\">\n\
             <button type=\"submit\" name=\"outcome\" value=\"succeed\">Confirm the payment</button>\n\
             <button type=\"submit\" name=\"outcome\" value=\"fail\">Do not confirm it</button>\n</form>",
            id = payment.payment_id,
        ),
    )
}

/// The page to come back to the shop from.
fn settled(status: PaymentStatus) -> String {
    let (title, told) = match status {
        PaymentStatus::Authorized | PaymentStatus::PartiallyCaptured | PaymentStatus::Captured => {
            ("Thank you", "Your payment is confirmed, and the shop goes on with your order. You can close this page.")
        }
        PaymentStatus::Declined => {
            ("The payment is not confirmed", "Nothing is charged, and the shop closes the order. You can close this page.")
        }
        _ => ("There is nothing to confirm", "This payment is over. You can close this page."),
    };
    frame(title, &format!("<p role=\"status\">{told}</p>"))
}

fn unknown() -> Response {
    let told = "<p role=\"status\">The link may be cut off. Please take the link of the message again.</p>";
    html(StatusCode::NOT_FOUND, &frame("This payment is not known", told))
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )
}

fn html(status: StatusCode, page: &str) -> Response {
    (status, HEADERS, page.to_owned()).into_response()
}
