//! When keys were used last: noted in memory by each request, written by a loop at most once a minute and key.

use crate::background::{Loop, Wake};
use crate::tenancy::Tenancy;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tenancy_core::apikey::ApiKey;
use tenancy_core::ids::KeyId;
use tenancy_core::{Error, Timestamp};

/// How much newer a use must be than the one that is written, in seconds.
pub const MIN_SECONDS: i64 = 60;

/// How often what was noted is written.
const PERIOD: Duration = Duration::from_secs(10);

/// Most keys that are written at once.
const MAX_KEYS: usize = 1000;

/// Uses that are not written yet.
#[derive(Debug, Default)]
pub struct KeyUsage(Mutex<HashMap<KeyId, Timestamp>>);

impl KeyUsage {
    /// Notes that a key was used, if what is known of it is a minute old.
    pub fn used(&self, key: &ApiKey, now: Timestamp) {
        let is_new = key.last_used_at.is_none_or(|at| now.as_second() - at.as_second() >= MIN_SECONDS);
        if !is_new {
            return;
        }
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() < MAX_KEYS || uses.contains_key(&key.key_id) {
            uses.insert(key.key_id.clone(), now);
        }
    }

    fn take(&self) -> Vec<(KeyId, Timestamp)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

/// The loop that writes what was noted.
pub fn as_loop() -> Loop {
    Loop {
        name: "key-usage",
        period: PERIOD,
        wake: Wake::Never,
        run: |tenancy, _| Box::pin(async move { run_once(&tenancy).await.map(drop) }),
    }
}

/// Writes what was noted; returns how many keys that were.
///
/// # Errors
/// [`Error::Unavailable`]. What was noted is lost then, and noted again with the next use.
pub async fn run_once(tenancy: &Tenancy) -> Result<usize, Error> {
    let uses = tenancy.key_usage.take();
    if !uses.is_empty() {
        tenancy.store.note_key_uses(&uses, MIN_SECONDS).await?;
    }
    Ok(uses.len())
}
