//! Operations: load what the rule needs, let it decide, and commit. If a row that the decision is based on has changed,
//! decide again.
//!
//! HTTP, `apply` and the job engine call the same operations.

pub mod access;
pub mod apply;
pub mod audit;
pub mod connections;
pub mod documents;
pub mod environments;
pub mod events;
pub mod job_queue;
pub mod jobs;
pub mod keys;
pub mod lifecycle;
pub mod log;
pub mod organization_holds;
pub mod organizations;
pub mod outcomes;
pub mod placements;
pub mod plan;
pub mod refusals;
pub mod tenants;
pub mod versions;
pub mod webhooks;

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::idempotency::IdempotencyKey;
use crate::tenancy::{RequestContext, Tenancy};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Conflict};
use tenancy_core::decision_context::DecisionContext;

/// How long an operation is decided again because others keep changing the same rows, counted from its turn. The queues of
/// several processes are like lots that are drawn for each commit: each head of a queue wins some round.
const MAX_TIME_OVERTAKEN: Duration = Duration::from_secs(20);

/// Number of lost commits after which an operation waits in a queue.
const MAX_LOST_WITHOUT_TURN: usize = 1;

/// Number of lost commits after which an operation pauses before it decides again: so many losses in a row are no chance.
const MAX_LOST_WITHOUT_PAUSE: usize = 16;

/// The pause; it grows by this much with each further loss, up to [`MAX_PAUSES`] times.
const PAUSE: Duration = Duration::from_millis(2);

/// The longest pause, as a multiple of [`PAUSE`].
const MAX_PAUSES: usize = 25;

/// A requested change.
pub trait Command: Send + Sync + 'static {
    /// Result of the change.
    type Outcome: Send + 'static;

    /// Loads what the rule needs, and lets it decide. Called again if a row that the decision is based on has changed.
    /// It must then load everything again and check the caller's precondition again.
    fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> impl Future<Output = Result<Decided<Self::Outcome>, Error>> + Send;

    /// Returns the id of what has changed, if the conflict only says that the decision is based on a former version.
    /// The command is then decided again, and the rule returns the appropriate error, if any.
    fn moved<'a>(&self, conflict: &'a Conflict) -> Option<&'a str> {
        moved(conflict)
    }
}

/// Decision of an operation.
#[derive(Debug)]
pub struct Decided<T> {
    /// Result after `changes` are committed.
    pub outcome: T,
    /// Changes to commit; `None` if nothing has to change.
    pub changes: Option<Changes>,
}

/// Idempotency-Key of a command, and how to create its stored answer.
pub struct Keyed<T> {
    /// The key.
    pub key: IdempotencyKey,
    /// Creates the answer to store.
    pub answer: fn(&Tenancy, &Caller, &T) -> Answer,
    /// Whether to store the answer even if nothing had to change.
    pub keeps_unchanged: bool,
}

/// Result of a command.
#[derive(Debug)]
pub enum Done<T> {
    /// The command was carried out now, or nothing had to change.
    Now(T),
    /// The command was carried out before under the same Idempotency-Key. Contains the stored answer.
    Before(Answer),
}

impl Tenancy {
    /// Carries out a command to completion, even if the caller is cancelled.
    ///
    /// # Errors
    /// The error of the rule or the commit.
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

    /// Like [`Tenancy::carry_out`], but runs inline; the caller must not be cancelled.
    ///
    /// # Errors
    /// The error of the rule or the commit.
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
        self.commit_decided(command, request, keyed, None).await
    }

    /// Commits `first`, a decision of the command that was made before, or decides now. If a row that the decision is
    /// based on has changed, decides again. The caller must not be cancelled.
    ///
    /// # Errors
    /// The error of the rule or the commit.
    pub async fn commit_decided<C: Command>(
        &self,
        command: &C,
        request: &RequestContext,
        keyed: Option<&Keyed<C::Outcome>>,
        mut first: Option<Decided<C::Outcome>>,
    ) -> Result<Done<C::Outcome>, Error> {
        let (mut turn, mut since) = (None, Instant::now());
        for lost in 0.. {
            if !may_decide_again(lost, since).await {
                break;
            }
            let decided = match first.take() {
                Some(first) => Ok(first),
                None => command.decide(self, &request.caller, &mut self.context(request)?).await,
            };
            let Ok(Decided { outcome, changes: Some(mut changes) }) = decided else {
                return self.uncommitted(decided.map(|decided| decided.outcome), request, keyed).await;
            };
            webhooks::urls::check(self, &changes)?;
            changes.guards.extend(request.caller.guard());
            if let Some(keyed) = keyed {
                let answer = (keyed.answer)(self, &request.caller, &outcome);
                changes.store_answer(keyed.key.record(&answer, self.store.now()));
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
                    if self.store.is_valid(&first) {
                        return keyed.key.answer_of(&first).map(Done::Before);
                    }
                    self.store.remove_expired_answer(&first.digest).await?;
                }
                (Err(Error::Conflict(ref conflict)), _) if let Some(id) = command.moved(conflict) => {
                    if lost >= MAX_LOST_WITHOUT_TURN {
                        let waits = turn.is_none();
                        turn = Some(self.contention.wait(id, turn).await);
                        if waits {
                            since = Instant::now();
                        }
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

    /// Returns the result of a decision without changes. If a simultaneous request with the same key has made the
    /// change, returns its answer.
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
            Some((record, (key_id, version))) => {
                let first = self.store.keep_answer(record, key_id, version).await?;
                let first = first.map(|first| keyed.key.answer_of(&first)).transpose()?;
                if first.is_some() {
                    self.store.confirm().await?;
                }
                first
            }
            None => keyed.key.first_answer(self).await?,
        };
        first.map_or_else(|| decided.map(Done::Now), |first| Ok(Done::Before(first)))
    }
}

/// Whether an operation that has lost this often may be decided once more. Pauses if it has lost many times.
async fn may_decide_again(lost: usize, since: Instant) -> bool {
    let Some(many) = lost.checked_sub(MAX_LOST_WITHOUT_PAUSE).filter(|many| *many > 0) else { return true };
    if since.elapsed() > MAX_TIME_OVERTAKEN {
        return false;
    }
    tokio::time::sleep(PAUSE * u32::try_from(many.min(MAX_PAUSES)).unwrap_or(1)).await;
    true
}

/// Returns what has changed, for conflicts that concern every command.
fn moved(conflict: &Conflict) -> Option<&str> {
    match conflict {
        Conflict::TenantMoved { id, .. } | Conflict::TenantMissing(id) => Some(id.as_str()),
        Conflict::OrganizationMoved { id, .. } => Some(id.as_str()),
        Conflict::ApiKeyMoved(id) => Some(id.as_str()),
        Conflict::LeaseLost(id) => Some(id.as_str()),
        Conflict::WebhookMoved(id) => Some(id.as_str()),
        Conflict::PlacementMoved(name) => Some(name.as_str()),
        _ => None,
    }
}

/// Returns also what was created meanwhile. If the command may only create it, its precondition decides.
fn made(conflict: &Conflict) -> Option<&str> {
    match conflict {
        Conflict::TenantExists(id) => Some(id.as_str()),
        Conflict::OrganizationExists(id) => Some(id.as_str()),
        Conflict::PlacementExists(name) => Some(name.as_str()),
        Conflict::Several(conflicts) => conflicts.iter().find_map(made),
        _ => None,
    }
}
