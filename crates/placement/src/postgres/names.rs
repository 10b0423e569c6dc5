//! Names of what is made for an environment.

use tenancy_core::ids::EnvironmentId;
use tenancy_core::json::sha256_hex;

/// Maximum length of a name, in bytes: PostgreSQL cuts longer ones, so that two can become the same.
const MAX_NAME_BYTES: usize = 63;
/// Length of the part of a digest with which a shortened name ends.
const DIGEST_LENGTH: usize = 16;
/// How the name of each login begins that was given out.
pub const LOGIN: &str = "tenancy_login_";

/// Returns the name of the environment's database or schema.
pub fn place(env_id: &EnvironmentId) -> String {
    fitting("tenancy_", env_id.as_str(), "")
}

/// Returns the name of the role that owns what programs make. It cannot log in.
pub fn owner(env_id: &EnvironmentId) -> String {
    fitting("tenancy_owner_", env_id.as_str(), "")
}

/// Returns the name of the role that may read everything of the environment. It cannot log in.
pub fn reader(env_id: &EnvironmentId) -> String {
    fitting("tenancy_reader_", env_id.as_str(), "")
}

/// Returns the name of a login, which ends in random text.
pub fn login(env_id: &EnvironmentId, random: &str) -> String {
    fitting(LOGIN, env_id.as_str(), &format!("_{random}"))
}

/// Returns the name of the role that may connect to a database which environments share.
pub fn visitor(database: &str) -> String {
    fitting("tenancy_visitor_", database, "")
}

/// Returns the name of the role that may make temporary tables in a database which environments share.
pub fn temporary(database: &str) -> String {
    fitting("tenancy_temporary_", database, "")
}

/// A name that would be too long contains a digest of the whole id instead of its end.
fn fitting(prefix: &str, id: &str, suffix: &str) -> String {
    let whole = format!("{prefix}{id}{suffix}");
    if whole.len() <= MAX_NAME_BYTES {
        return whole;
    }
    let digest = sha256_hex(&[id.as_bytes()]);
    let kept = MAX_NAME_BYTES.saturating_sub(prefix.len() + 1 + DIGEST_LENGTH + suffix.len());
    let end = (0..=kept.min(id.len())).rev().find(|end| id.is_char_boundary(*end)).unwrap_or(0);
    format!("{prefix}{}_{}{suffix}", &id[..end], &digest[..DIGEST_LENGTH])
}

/// Returns an identifier of a statement.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a literal of a statement that takes no parameters.
pub fn literal(text: &str) -> String {
    // The result does not depend on the setting `standard_conforming_strings`.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_fit_and_keep_long_ids_apart() {
        let long = |last: char| EnvironmentId::known(format!("{}{last}", "e".repeat(63)));
        let wide = EnvironmentId::known("ü".repeat(60));
        let names = |id: &EnvironmentId| [place(id), owner(id), reader(id), login(id, "0123456789abcdef")];
        for id in [EnvironmentId::known("env_1"), long('a'), long('b'), wide] {
            let names = names(&id);
            assert!(names.iter().all(|name| name.len() <= MAX_NAME_BYTES), "{names:?}");
        }
        for (one, other) in names(&long('a')).iter().zip(&names(&long('b'))) {
            assert_ne!(one, other);
        }
        assert_eq!(reader(&EnvironmentId::known("env_1")), "tenancy_reader_env_1");
    }

    #[test]
    fn quotes_must_not_end_an_identifier_or_a_literal() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("a'b\\"), "E'a''b\\\\'");
    }
}
