//! Last use of keys: each request records it in memory; a loop writes it at most once a minute for each key.

use crate::background::{Loop, Wake};
use crate::tenancy::Tenancy;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tenancy_core::apikey::ApiKey;
use tenancy_core::ids::KeyId;
use tenancy_core::{Error, Timestamp};

/// Minimum age of the stored last use before it is updated, in seconds.
pub const MIN_SECONDS: i64 = 60;

/// Interval at which recorded uses are written.
const PERIOD: Duration = Duration::from_secs(10);

/// Maximum number of keys written at once.
const MAX_KEYS: usize = 1000;

/// Recorded uses that are not written yet.
#[derive(Debug, Default)]
pub struct KeyUsage(Mutex<HashMap<KeyId, Timestamp>>);

impl KeyUsage {
    /// Records a use of a key, if the stored last use is at least a minute old.
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

/// Returns the loop that writes recorded uses.
pub fn as_loop() -> Loop {
    Loop {
        name: "key-usage",
        period: PERIOD,
        wake: Wake::Never,
        run: |tenancy, _| Box::pin(async move { run_once(&tenancy).await.map(drop) }),
    }
}

/// Writes recorded uses and returns the number of keys.
///
/// # Errors
/// [`Error::Unavailable`]. The recorded uses are then lost; the next use of each key is recorded again.
pub async fn run_once(tenancy: &Tenancy) -> Result<usize, Error> {
    let uses = tenancy.key_usage.take();
    if !uses.is_empty() {
        tenancy.store.note_key_uses(&uses, MIN_SECONDS).await?;
    }
    Ok(uses.len())
}
