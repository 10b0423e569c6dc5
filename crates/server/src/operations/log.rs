//! The audit log itself: what has expired goes.

use super::{Command, Decided};
use crate::authentication::Caller;
use crate::tenancy::{RequestContext, Tenancy};
use jiff::civil::Date;
use tenancy_core::Error;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::rules::log::expire;
use tenancy_store::upkeep::Expired;

/// Records that tenants' events of before a day are to go.
#[derive(Debug)]
pub struct Expire {
    /// The first day that is kept, the first of a month.
    pub first_kept: Date,
}

impl Command for Expire {
    type Outcome = ();

    async fn decide(&self, _: &Tenancy, _: &Caller, context: &mut DecisionContext) -> Result<Decided<()>, Error> {
        let (_, changes) = expire(self.first_kept, context)?;
        Ok(Decided { outcome: (), changes })
    }
}

impl Tenancy {
    /// Removes the events of tenants of before `first_kept`. The floor is raised first, which only the log's owner can; then the
    /// record of it is committed, and only then anything goes: whatever stops it, nothing is missing without a record, and
    /// the same again goes on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a day that is no first of a month, or too late; what the database refuses.
    pub async fn expire_log(&self, first_kept: Date, request: &RequestContext) -> Result<Expired, Error> {
        let (start, _) = expire(first_kept, &mut self.context(request)?)?;
        self.store.raise_log_floor(start).await?;
        self.decide_and_commit(&Expire { first_kept }, request, None).await?;
        self.store.remove_expired_log(start).await
    }
}
