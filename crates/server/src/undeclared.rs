//! Names that are in use but not declared, for example because a region was removed from the configuration. The server
//! looks for them when it starts and once an hour, and reports them in its log and as `warnings` of `/readyz`.

use crate::tenancy::Tenancy;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::declared::Declared;
use tenancy_store::names_in_use::NamesInUse;
use tokio_util::sync::CancellationToken;

/// Time between two checks.
const PERIOD: Duration = Duration::from_secs(3600);

/// Time until a check that failed is repeated.
const RETRY: Duration = Duration::from_secs(30);

/// Pause between two steps of a check, so that it does not slow down other reads.
const PAUSE: Duration = Duration::from_millis(20);

/// Maximum number of names that a warning lists.
const MAX_LISTED: usize = 10;

/// Result of the last check.
#[derive(Debug, Default)]
pub struct Undeclared(RwLock<Vec<String>>);

impl Undeclared {
    /// Returns a warning for each kind of name that is in use but not declared.
    pub fn warnings(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Checks until `stop` is cancelled.
pub async fn run(tenancy: Arc<Tenancy>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let checked = tokio::select! {
            checked = check(&tenancy) => checked,
            () = stop.cancelled() => return,
        };
        let wait = match checked {
            Ok(()) => PERIOD,
            Err(error) => {
                tracing::warn!(%error, "could not look for names that are not declared");
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Checks once. Logs the warnings that the last check did not have.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn check(tenancy: &Tenancy) -> Result<(), Error> {
    let used = tenancy.store.names_in_use(|| tokio::time::sleep(PAUSE)).await?;
    let found = warnings(&tenancy.declared, &used);
    let mut known = tenancy.undeclared.0.write().unwrap_or_else(PoisonError::into_inner);
    for warning in found.iter().filter(|warning| !known.contains(warning)) {
        tracing::warn!("{warning}");
    }
    *known = found;
    Ok(())
}

fn warnings(declared: &Declared, used: &NamesInUse) -> Vec<String> {
    let missing = |what: &str, used: &BTreeSet<String>, is_declared: &dyn Fn(&String) -> bool| {
        let names: Vec<_> = used.iter().filter(|name| !is_declared(name)).map(String::as_str).collect();
        let more = names.len().saturating_sub(MAX_LISTED);
        let listed = names[..names.len() - more].join(", ");
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        (!names.is_empty()).then(|| {
            format!("{what} in use but not declared: {listed}{more}; declare them in the configuration, or change what uses them")
        })
    };
    let incomplete: Vec<_> = used.incomplete.iter().copied().collect();
    let incomplete = (!incomplete.is_empty()).then(|| {
        format!("{} too large to be searched completely for names that are not declared", incomplete.join(", "))
    });
    [
        missing("regions", &used.regions, &|name| declared.regions.contains_key(name)),
        missing("environment names", &used.environments, &|name| declared.environments.contains(name)),
        missing("kinds of holds", &used.holds, &|name| declared.holds.contains_key(name)),
        missing("quotas", &used.quotas, &|name| declared.quotas.contains_key(name)),
        incomplete,
    ]
    .into_iter()
    .flatten()
    .collect()
}
