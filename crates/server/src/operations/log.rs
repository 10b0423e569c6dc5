//! Maintenance of the audit log: removes expired events, and begins a new epoch after the database was restored.

use super::{Command, Decided};
use crate::authentication::Caller;
use crate::tenancy::{RequestContext, Tenancy};
use jiff::civil::Date;
use tenancy_core::Error;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::TenantId;
use tenancy_core::rules::log::{expire, restored};
use tenancy_store::upkeep::{Epoch, Expired, Restored};

/// What became of the data keys in a restored database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeysAfterRestore {
    /// Number of data keys that were erased, because their tenants were purged after the backup.
    pub erased: usize,
    /// Tenants whose data key cannot be unwrapped, because the wrapping key is missing. Their private data cannot be read.
    pub missing: Vec<String>,
}

/// Records that events of tenants before a day will be removed.
#[derive(Debug)]
pub struct Expire {
    /// First day that is kept; must be the first of a month.
    pub first_kept: Date,
}

impl Command for Expire {
    type Outcome = ();

    async fn decide(&self, _: &Tenancy, _: &Caller, context: &mut DecisionContext) -> Result<Decided<()>, Error> {
        let (_, changes) = expire(self.first_kept, context)?;
        Ok(Decided { outcome: (), changes })
    }
}

/// Records that the database was restored.
#[derive(Debug)]
pub struct Restore {
    /// Epoch that has begun.
    pub epoch: Epoch,
}

impl Command for Restore {
    type Outcome = ();

    async fn decide(&self, _: &Tenancy, _: &Caller, context: &mut DecisionContext) -> Result<Decided<()>, Error> {
        let changes = restored(self.epoch.epoch, self.epoch.first_position, context)?;
        Ok(Decided { outcome: (), changes })
    }
}

impl Tenancy {
    /// Prepares a database that was restored from a backup for serving. Ends all leases, begins a new epoch of the log,
    /// tries all data keys, and records that. `purged` are tenants that were purged after the backup: their data keys are
    /// erased, and their wrapping keys destroyed. If it stops at any point, it can be run again.
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn after_restore(
        &self,
        purged: &[TenantId],
        request: &RequestContext,
    ) -> Result<(Epoch, Restored, KeysAfterRestore), Error> {
        let restored = self.store.end_leases_after_restore().await?;
        let keys = self.keys_after_restore(purged).await?;
        let epoch = self.store.begin_log_epoch().await?;
        self.decide_and_commit(&Restore { epoch }, request, None).await?;
        Ok((epoch, restored, keys))
    }

    /// Erases the data keys of tenants that were purged after the backup, and tries all others.
    async fn keys_after_restore(&self, purged: &[TenantId]) -> Result<KeysAfterRestore, Error> {
        let erased = self.store.erase_data_keys(purged).await?;
        // Keys that were to be destroyed when the backup was made.
        self.store.settle_data_keys().await?;
        let (mut after, mut missing) = (None, Vec::new());
        loop {
            let tried = self.store.try_data_keys(after).await?;
            missing.extend(tried.missing);
            after = tried.next;
            if after.is_none() {
                return Ok(KeysAfterRestore { erased, missing });
            }
        }
    }

    /// Removes events of tenants before `first_kept`. First raises the floor of the log, which only the owner of the
    /// log can do. Then commits the record of the removal, and only then removes anything. If this stops at any point,
    /// no event is missing without a record, and running it again continues.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the day is not the first of a month, or too late; [`Error::NotNow`] after a jump of the
    /// clock; errors of the database.
    pub async fn expire_log(&self, first_kept: Date, request: &RequestContext) -> Result<Expired, Error> {
        self.store.compare_clock_with_log().await?;
        self.clock_is_certain()?;
        let (start, _) = expire(first_kept, &mut self.context(request)?)?;
        self.store.raise_log_floor(start).await?;
        self.decide_and_commit(&Expire { first_kept }, request, None).await?;
        self.store.remove_expired_log(start).await
    }
}
