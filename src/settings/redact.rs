//! What must not be shown: keys that are secrets, and passwords within URLs.

/// What is shown instead.
const HIDDEN: &str = "***";

/// The value of `key` as it may be printed.
pub(crate) fn redacted(key: &str, value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    if ["api_key", "secret_key", "secret", "token", "password"].iter().any(|end| key.ends_with(end)) {
        return HIDDEN.to_owned();
    }
    redacted_url(value)
}

/// A URL without its password, wherever it stands: before the host or among the query's parameters. Other texts are unchanged.
pub(crate) fn redacted_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return without_scheme(text) };
    // A password may hold `/` or `?` unescaped; the last `@` ends it, whatever comes before.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let user = match user.map(|u| u.split_once(':').map_or((u, false), |(name, _)| (name, true))) {
        Some((name, true)) => format!("{name}:{HIDDEN}@"),
        Some((name, false)) => format!("{name}@"),
        None => String::new(),
    };
    let rest = match rest.split_once('?') {
        Some((path, query)) => format!("{path}?{}", query.split('&').map(redacted_parameter).collect::<Vec<_>>().join("&")),
        None => rest.to_owned(),
    };
    format!("{scheme}://{user}{rest}")
}

/// A text that may be a URL whose scheme was forgotten.
fn without_scheme(text: &str) -> String {
    let user = text.rsplit_once('@').and_then(|(login, rest)| Some((login.split_once(':')?.0, rest)));
    match user {
        Some((user, rest)) if !user.contains('/') => format!("{user}:{HIDDEN}@{rest}"),
        _ => text.to_owned(),
    }
}

fn redacted_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if name.to_lowercase().contains("password") => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_never_show() {
        assert_eq!(redacted("database.url", "postgres://oms:s3cr3t@db/oms"), "postgres://oms:***@db/oms");
        assert_eq!(redacted("database.url", "postgres://oms:a@b/c?d@db/oms"), "postgres://oms:***@db/oms");
        assert_eq!(redacted("database.url", "postgres://db/oms?user=u&password=s3cr3t"), "postgres://db/oms?user=u&password=***");
        assert_eq!(redacted("mail.smtp_url", "smtp://u@h:25"), "smtp://u@h:25");
        assert_eq!(redacted("kafka.url", "kafkas://u:s3cr3t@k1:9093,k2:9093"), "kafkas://u:***@k1:9093,k2:9093");
        assert_eq!(redacted("kafka.url", "u:s3cr3t@k1:9093"), "u:***@k1:9093", "without the scheme that it must have");
        assert_eq!(redacted("shop.sender", "a@example.com"), "a@example.com");
        assert_eq!(redacted("temporal.api_key", "abc"), "***");
        assert_eq!(redacted("temporal.api_key", ""), "");
        for key in
            ["payment.stripe.secret_key", "payment.stripe.webhook_secret", "carrier.http.webhook_secret", "sms.twilio.auth_token"]
        {
            assert_eq!(redacted(key, "hunter2"), "***");
        }
        assert_eq!(redacted("database.url", "sqlite:/data/oms.db"), "sqlite:/data/oms.db");
    }
}
