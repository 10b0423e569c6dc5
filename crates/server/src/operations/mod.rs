//! Operations: load what the rule needs, let it decide, commit; decide again when what it stood on has moved.
//!
//! HTTP, `apply` and the runner call the same operations.

pub mod apply;
pub mod audit;
pub mod documents;
pub mod environments;
pub mod jobs;
pub mod keys;
pub mod lifecycle;
pub mod log;
pub mod organization_holds;
pub mod organizations;
pub mod outcomes;
pub mod plan;
pub mod tenants;
pub mod versions;

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::idempotency::IdempotencyKey;
use crate::tenancy::{RequestContext, Tenancy};
use std::sync::Arc;
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Conflict};
use tenancy_core::decision_context::DecisionContext;

/// How often an operation decides before it says that others keep changing what it stands on.
const MAX_DECISIONS: usize = 16;

/// How often it may lose to others before it waits for its turn.
const MAX_LOST_WITHOUT_TURN: usize = 1;

/// What somebody wants to be changed.
pub trait Command: Send + Sync + 'static {
    /// What there is afterwards.
    type Outcome: Send + 'static;

    /// Loads what the rule needs, and lets it decide. Called again when a commit finds that what it stood on has
    /// moved: it must look at everything anew, the caller's precondition included.
    fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> impl Future<Output = Result<Decided<Self::Outcome>, Error>> + Send;

    /// What has moved, if the conflict only says that the decision stood on something that has: then it is decided again,
    /// and the rule says what is to be said about it now.
    fn moved<'a>(&self, conflict: &'a Conflict) -> Option<&'a str> {
        moved(conflict)
    }
}

/// What an operation decided.
#[derive(Debug)]
pub struct Decided<T> {
    /// What there is once `changes` are committed.
    pub outcome: T,
    /// What to commit; `None` when it is so already.
    pub changes: Option<Changes>,
}

/// The Idempotency-Key of a command, and how its answer is made.
pub struct Keyed<T> {
    /// The key.
    pub key: IdempotencyKey,
    /// The answer to keep.
    pub answer: fn(&Tenancy, &Caller, &T) -> Answer,
    /// Whether the answer is kept also when nothing had to change.
    pub keeps_unchanged: bool,
}

/// How a command ended.
#[derive(Debug)]
pub enum Done<T> {
    /// It was carried out now, or was so already.
    Now(T),
    /// It was carried out before under the same Idempotency-Key; this was the answer.
    Before(Answer),
}

impl Tenancy {
    /// Carries a command out, to its end, also when the caller goes away.
    ///
    /// # Errors
    /// What the rule or the commit refused.
    pub async fn carry_out<C: Command>(
        self: &Arc<Self>,
        command: C,
        request: RequestContext,
        keyed: Option<Keyed<C::Outcome>>,
    ) -> Result<Done<C::Outcome>, Error> {
        let tenancy = Arc::clone(self);
        let work = async move { tenancy.decide_and_commit(&command, &request, keyed.as_ref()).await };
        self.to_its_end(work).await
    }

    /// As [`Tenancy::carry_out`], inline: the caller must not be cancelled.
    ///
    /// # Errors
    /// What the rule or the commit refused.
    pub async fn decide_and_commit<C: Command>(
        &self,
        command: &C,
        request: &RequestContext,
        keyed: Option<&Keyed<C::Outcome>>,
    ) -> Result<Done<C::Outcome>, Error> {
        if let Some(keyed) = keyed
            && let Some(answer) = keyed.key.first_answer(self).await?
        {
            return Ok(Done::Before(answer));
        }
        let mut turn = None;
        for lost in 0..MAX_DECISIONS {
            let mut context = self.context(request)?;
            let decided = command.decide(self, &request.caller, &mut context).await;
            let Ok(Decided { outcome, changes: Some(mut changes) }) = decided else {
                return self.uncommitted(decided.map(|decided| decided.outcome), request, keyed).await;
            };
            changes.guards.extend(request.caller.guard());
            if let Some(keyed) = keyed {
                changes.store_answer(keyed.key.record(&(keyed.answer)(self, &request.caller, &outcome), context.now));
            }
            let ends_a_job = changes.finished_job().is_some();
            let done = self.store.commit(changes).await;
            self.commits.ended(&done);
            match (done, keyed) {
                (Ok(_), _) => {
                    request.caller.has_committed();
                    if ends_a_job {
                        self.job_ended.notify_waiters();
                    }
                    return Ok(Done::Now(outcome));
                }
                (Err(Error::Conflict(conflict)), _) if request.caller.has_moved(&conflict) => {
                    request.caller.reread(self).await?;
                }
                (Err(Error::Conflict(Conflict::IdempotencyKeyUsed(first))), Some(keyed)) => {
                    if first.answers(self.store.now()) {
                        return keyed.key.answer_of(&first).map(Done::Before);
                    }
                    self.store.remove_expired_answer(&first.digest).await?;
                }
                (Err(Error::Conflict(ref conflict)), _) if let Some(id) = command.moved(conflict) => {
                    if lost >= MAX_LOST_WITHOUT_TURN {
                        turn = Some(self.contention.wait(id, turn).await);
                    }
                }
                (Err(error), _) => {
                    if error == Error::OutcomeUnknown {
                        request.caller.outcome_is_unknown();
                    }
                    return Err(error);
                }
            }
        }
        Err(Error::Overtaken)
    }

    /// What a rule says where nothing is to be committed. If it found what the same request, sent at the same moment, had
    /// just done, then that one's answer it is.
    async fn uncommitted<T>(
        &self,
        decided: Result<T, Error>,
        request: &RequestContext,
        keyed: Option<&Keyed<T>>,
    ) -> Result<Done<T>, Error> {
        let Some(keyed) = keyed else { return decided.map(Done::Now) };
        let kept = match (&decided, request.caller.read_at()) {
            (Ok(outcome), Some(read_at)) if keyed.keeps_unchanged => {
                Some((keyed.key.record(&(keyed.answer)(self, &request.caller, outcome), self.store.now()), read_at))
            }
            _ => None,
        };
        let first = match kept {
            Some((record, (key_id, version))) => self.store.keep_answer(record, key_id, version).await?,
            None => self.store.answer(keyed.key.digest()).await?,
        };
        let first = first.map(|first| keyed.key.answer_of(&first)).transpose()?;
        first.map_or_else(|| decided.map(Done::Now), |first| Ok(Done::Before(first)))
    }
}

/// What has moved for every command.
fn moved(conflict: &Conflict) -> Option<&str> {
    match conflict {
        Conflict::TenantMoved { id, .. } | Conflict::TenantMissing(id) => Some(id.as_str()),
        Conflict::OrganizationMoved { id, .. } => Some(id.as_str()),
        Conflict::ApiKeyMoved(id) => Some(id.as_str()),
        Conflict::LeaseLost(id) => Some(id.as_str()),
        _ => None,
    }
}

/// What has come into being since. Where it is only to be made if nothing is there, that is for the precondition to say.
fn made(conflict: &Conflict) -> Option<&str> {
    match conflict {
        Conflict::TenantExists(id) => Some(id.as_str()),
        Conflict::OrganizationExists(id) => Some(id.as_str()),
        Conflict::Several(conflicts) => conflicts.iter().find_map(made),
        _ => None,
    }
}
