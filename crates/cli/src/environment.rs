//! Environment variables of this program. A misspelt one would otherwise be ignored without a word.

use crate::failure::Failure;
use crate::terminal::remark;
use tenancy_core::nearest::nearest;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const PREFIX: &str = "TENANCY_";
/// Variables that are no settings of the server's configuration. The last three are for tests of this project.
const OTHERS: [&str; 8] = [
    "TENANCY_URL",
    "TENANCY_TOKEN",
    "TENANCY_CONFIG",
    "TENANCY_LOG",
    "TENANCY_WEBHOOK_SECRET",
    "TENANCY_SEED",
    "TENANCY_PG_BINDIR",
    "TENANCY_WRITE_OPENAPI",
];

/// Checks the names of all variables that begin with `TENANCY_`, and says which are ignored.
///
/// # Errors
/// Fails for a variable that is probably a misspelt setting, if a server is about to start.
pub fn check(is_server: bool) -> Result<(), Failure> {
    let names: Vec<_> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    for (name, meant) in unknown(&names) {
        match meant {
            Some(meant) if is_server => {
                let message = format!("the environment variable {name} is not a setting of this program");
                return Err(Failure::usage(message).and(format!("did you mean {meant}?")));
            }
            Some(meant) => remark(&format!("the environment variable {name} is ignored; did you mean {meant}?")),
            None if is_server => {
                remark(&format!("the environment variable {name} is ignored: it is not a setting of this program"));
            }
            None => {}
        }
    }
    Ok(())
}

/// Returns the names that this program does not know, each with the variable that was probably meant.
fn unknown(names: &[String]) -> Vec<(&str, Option<String>)> {
    let settings = tenancy_server::config::variables();
    let known: Vec<_> = settings.iter().map(String::as_str).chain(OTHERS).collect();
    let rest = |name: &'_ str| name.strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let all: Vec<_> = known.iter().map(|name| rest(name)).collect();
    let strange = names
        .iter()
        .filter(|name| name.starts_with(PREFIX) && !known.contains(&name.as_str()) && !is_kubernetes(&rest(name)));
    let meant = |name: &str| nearest(&rest(name), all.iter().map(String::as_str)).map(|name| format!("{PREFIX}{name}"));
    strange.map(|name| (name.as_str(), meant(name))).collect()
}

/// Whether Kubernetes sets the variable in every container beside a service whose name begins with `tenancy`:
/// `TENANCY_PORT`, `TENANCY_SERVICE_HOST`, `TENANCY_API_PORT_7300_TCP_ADDR`.
fn is_kubernetes(rest: &str) -> bool {
    let words: Vec<_> = rest.split('_').collect();
    words.ends_with(&["PORT"])
        || words.windows(2).any(|pair| {
            matches!(pair, ["SERVICE", "HOST" | "PORT"]) || (pair[0] == "PORT" && pair[1].parse::<u16>().is_ok())
        })
}

/// Parses the value of `TENANCY_LOG`.
///
/// # Errors
/// Fails if a part is neither a level nor `TARGET=LEVEL`. The library would read a misspelt level as a target, and log
/// nothing else.
pub fn log_filter(text: &str) -> Result<EnvFilter, Failure> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let wrong = |part: &str| {
        let message = format!("TENANCY_LOG has the value {text:?}, and {part:?} is neither a level nor TARGET=LEVEL");
        let meant = nearest(part, LEVELS).map(|level| format!("did you mean {level}? "));
        let next = "use off, error, warn, info, debug or trace, such as info,tenancy_server=debug";
        Failure::usage(message).and(format!("{}{next}", meant.unwrap_or_default()))
    };
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let level = match part.rsplit_once('=') {
            Some((target, level)) if !target.is_empty() => level,
            Some(_) => return Err(wrong(part)),
            None => part,
        };
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(wrong(part));
        }
    }
    EnvFilter::try_new(text).map_err(|_| wrong(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_name_what_a_misspelt_variable_means_and_leave_those_of_kubernetes() {
        let names = [
            "TENANCY_LISTN",
            "TENANCY_LIMITS_MAX_BODY_BYTE",
            "TENANCY_TOKN",
            "TENANCY_OTHER_THING",
            "TENANCY_LISTEN",
            "TENANCY_JOBS_ENABLED",
            "TENANCY_DATABASE_FILE",
            "TENANCY_PORT",
            "TENANCY_PORT_7300_TCP",
            "TENANCY_SERVICE_HOST",
            "TENANCY_SERVICE_PORT_HTTP",
            "TENANCY_API_PORT_7300_TCP_ADDR",
            "PATH",
        ];
        let names = names.map(str::to_owned);
        let found = unknown(&names);
        let shown: Vec<_> = found.iter().map(|(name, meant)| (*name, meant.as_deref())).collect();
        assert_eq!(
            shown,
            [
                ("TENANCY_LISTN", Some("TENANCY_LISTEN")),
                ("TENANCY_LIMITS_MAX_BODY_BYTE", Some("TENANCY_LIMITS_MAX_BODY_BYTES")),
                ("TENANCY_TOKN", Some("TENANCY_TOKEN")),
                ("TENANCY_OTHER_THING", None),
            ]
        );
    }

    #[test]
    fn must_refuse_a_log_filter_that_would_turn_logging_off() {
        for wrong in ["debgu", "info;debug", "trace=", "=debug", "tenancy_server=debgu", "info,debgu"] {
            assert!(log_filter(wrong).is_err(), "{wrong}");
        }
        let next = log_filter("debgu").expect_err("misspelt").next.expect("a hint");
        assert!(next.starts_with("did you mean debug?"), "{next}");
        for good in ["", "info", "DEBUG", "off", "info,tenancy_server=debug", "tenancy_store::postgres=trace, warn"] {
            assert!(log_filter(good).is_ok(), "{good}");
        }
    }
}
