//! Why a Postgres server does not let us in, in words that name the remedy. The driver's own words are in them, which never hold a password.

use std::io::ErrorKind;

/// What a URL should look like.
const URL: &str =
    "write postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, special characters in a password as %XX";
/// What to do about a certificate that is not trusted.
const CERTIFICATE: &str = "sslrootcert in DATABASE_URL must name the PEM file of the authority that signed it, and the host must be a name \
     that it holds";

/// A URL that cannot be read.
pub(crate) fn of_url(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(why) => format!("{why}: {URL}"),
        other => format!("{other}: {URL}"),
    }
}

/// What is in the way and what to do about it; `None`: the driver's words must do.
pub(crate) fn of(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(error) => of_server(error.code().as_deref()?, error.message()),
        sqlx::Error::Tls(why) => Some(of_tls(&why.to_string())),
        sqlx::Error::Io(why) => of_road(why.kind(), &why.to_string()),
        _ => None,
    }
}

/// By the server's SQLSTATE.
fn of_server(code: &str, message: &str) -> Option<String> {
    let remedy = match code {
        "28P01" => "correct user and password in DATABASE_URL",
        // pg_hba.conf has no line for us
        "28000" if message.contains("no encryption") => "the server wants TLS: add sslmode=verify-full to DATABASE_URL",
        "28000" if message.contains("certificate") => {
            "the server wants a certificate of ours: name its PEM files with sslcert and sslkey in DATABASE_URL"
        }
        "28000" => "correct the user in DATABASE_URL, or let the server's pg_hba.conf admit it from here",
        "3D000" => "create it (CREATE DATABASE), or correct the database's name in DATABASE_URL",
        "42501" => "grant it: docs/postgres.md lists the rights that are needed",
        "53300" => "raise the server's max_connections, or lower OMS__DATABASE__CONNECTIONS of every process",
        "57P03" => "wait until the server has started",
        "25006" => "this is a replica: let DATABASE_URL name the primary",
        _ => return None,
    };
    Some(format!("{message} ({code}): {remedy}"))
}

fn of_tls(why: &str) -> String {
    if why.contains("does not support TLS") {
        return "the server does not offer TLS, which sslmode in DATABASE_URL demands: switch it on there (ssl = on), or, where nobody \
                else can listen, say sslmode=disable"
            .to_owned();
    }
    format!("no TLS with the server ({why}): {CERTIFICATE}")
}

/// What happened on the way there.
fn of_road(kind: ErrorKind, why: &str) -> Option<String> {
    Some(match kind {
        // the TLS library's errors come as those of the stream
        ErrorKind::InvalidData if why.contains("certificate") => {
            format!("the server's certificate is not trusted ({why}): {CERTIFICATE}")
        }
        ErrorKind::InvalidData => format!("no TLS with the server ({why}): look at the server's log"),
        ErrorKind::NotFound | ErrorKind::PermissionDenied => format!(
            "a file that DATABASE_URL names (sslrootcert, sslcert, sslkey or a socket) cannot be opened ({why}): correct its path or rights"
        ),
        ErrorKind::ConnectionRefused => {
            format!("nobody listens there ({why}): start Postgres, or correct host and port in DATABASE_URL")
        }
        _ if why.contains("lookup address") => format!("its host is not known ({why}): correct the host in DATABASE_URL"),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::TimedOut => {
            format!("it cannot be reached ({why}): correct host and port in DATABASE_URL, or look what is in between")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_its_remedy() {
        for (code, message, remedy) in [
            ("28P01", "password authentication failed for user \"oms\"", "user and password"),
            (
                "28000",
                "no pg_hba.conf entry for host \"10.0.0.7\", user \"oms\", database \"oms\", no encryption",
                "sslmode=verify-full",
            ),
            ("28000", "connection requires a valid client certificate", "sslcert"),
            ("28000", "role \"oms\" does not exist", "correct the user"),
            ("3D000", "database \"oms\" does not exist", "CREATE DATABASE"),
            ("42501", "permission denied for schema public", "grant"),
            ("53300", "sorry, too many clients already", "OMS__DATABASE__CONNECTIONS"),
            ("57P03", "the database system is starting up", "wait"),
            ("25006", "cannot execute INSERT in a read-only transaction", "primary"),
        ] {
            let told = of_server(code, message).unwrap();
            assert!(told.starts_with(message) && told.contains(remedy), "{told}");
        }
        assert_eq!(of_server("57014", "canceling statement due to statement timeout"), None, "not a refusal");
        assert!(of_tls("server does not support TLS").contains("ssl = on"));
        for (kind, why, remedy) in [
            (ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer", "sslrootcert"),
            (ErrorKind::ConnectionRefused, "Connection refused (os error 111)", "start Postgres"),
            (ErrorKind::NotFound, "No such file or directory (os error 2)", "sslrootcert"),
            (ErrorKind::Other, "failed to lookup address information: Name or service not known", "correct the host"),
        ] {
            let told = of_road(kind, why).unwrap();
            assert!(told.contains(why) && told.contains(remedy), "{told}");
        }
        assert_eq!(of_road(ErrorKind::UnexpectedEof, "early eof"), None);
    }
}
