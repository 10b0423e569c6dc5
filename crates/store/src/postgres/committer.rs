//! The committer: one connection that commits batch after batch. While a batch is in flight, the next one is sent behind it if
//! enough changes wait. `docs/commit-path.md` describes the whole path.

use super::aside::{Aside, Blocked};
use super::connection::Connection;
use super::fault::{Failure, Fault};
use super::flushes::Flushes;
use super::held_rows::HeldRows;
use super::in_flight::{FinishedBatch, InFlightBatch};
use super::retry::{MAX_TIME_ALONE, RetryState, Step, refusal};
use super::silence::answered;
use super::target::Target;
use crate::batch::{ReadSet, judged};
use crate::queue::{self, Intake, Waiting};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use tenancy_core::Error;
use tenancy_core::changes::Conflict;
use tenancy_core::judge::{CurrentRows, Judgement, Verdict};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};
use tokio::time::Instant;

/// The committer with its queue.
pub struct Committer {
    target: Target,
    connection: Option<Arc<Connection>>,
    /// The session of the newest connection; the next connection ends it.
    session: Option<String>,
    pub(super) intake: Intake,
    flushes: Arc<Flushes>,
    /// How many members were in the last batch that another could be sent behind.
    committed_before: usize,
    /// Rows that were found held by sessions of others; shared with the lane beside.
    pub(super) held: Arc<HeldRows>,
    /// Where members are put that need one of them.
    pub(super) aside: Aside,
}

/// The batch that is being committed, and the one that was begun behind it, if any.
pub(super) struct Pipeline {
    current: Batch,
    next: Option<Batch>,
}

/// A batch that is not finished.
pub(super) struct Batch {
    pub(super) stage: Stage,
    pub(super) retry: RetryState,
}

/// How far a run of a batch has come.
pub(super) enum Stage {
    /// Nothing is sent.
    Waiting(Vec<Waiting>),
    /// Its rows are locked and read.
    Read(Vec<Waiting>, Box<CurrentRows>),
    /// Everything is sent, COMMIT too.
    InFlight(InFlightBatch),
}

impl Batch {
    fn at(stage: Stage) -> Self {
        Self { stage, retry: RetryState::new() }
    }
}

impl From<Batch> for Pipeline {
    fn from(current: Batch) -> Self {
        Self { current, next: None }
    }
}

/// A run of a batch that failed.
struct Failed {
    members: Vec<Waiting>,
    failure: Failure,
    /// It was judged by what was presumed, and not by what was read.
    presumed: bool,
}

impl Committer {
    /// A committer, and the lane beside it for members that need a row that others hold. Each connects when it has something
    /// to commit.
    pub fn with_lane(target: &Target, intake: Intake) -> (Self, Self) {
        let (lane, lane_intake) = queue::queue();
        let held = Arc::new(HeldRows::default());
        let made = |intake, aside| Self {
            target: target.clone(),
            connection: None,
            session: None,
            intake,
            flushes: Arc::new(Flushes::new()),
            committed_before: 0,
            held: Arc::clone(&held),
            aside,
        };
        (made(intake, Aside::Lane(lane)), made(lane_intake, Aside::NextRound(Vec::new())))
    }

    /// Commits until the queue is closed and empty. `stop` closes it.
    pub async fn run(mut self, mut stop: Receiver<()>) {
        let mut next: Option<Batch> = None;
        loop {
            // A sender that is dropped stops the committer, too. What waits is still committed.
            if !self.intake.is_closed() && stop.try_recv() != Err(TryRecvError::Empty) {
                self.intake.close();
            }
            let current = match next {
                // The batch before it may have found a row held that these need.
                Some(Batch { stage: Stage::Waiting(members), retry }) if !retry.unknown => {
                    Batch { stage: Stage::Waiting(self.without_held(members)), retry: retry.starting_now() }
                }
                Some(Batch { stage, retry }) => Batch { stage, retry: retry.starting_now() },
                None => match self.wait(&mut stop).await {
                    Some(members) => Batch::at(Stage::Waiting(self.without_held(members))),
                    None => return,
                },
            };
            if matches!(&current.stage, Stage::Waiting(members) if members.is_empty()) {
                next = None;
                continue;
            }
            let mut pipeline = Pipeline::from(current);
            self.settle(&mut pipeline).await;
            next = pipeline.next;
        }
    }

    /// Waits for the next batch.
    async fn wait(&mut self, stop: &mut Receiver<()>) -> Option<Vec<Waiting>> {
        tokio::select! {
            biased;
            batch = self.intake.next() => return batch,
            _ = stop, if !self.intake.is_closed() => {}
        }
        self.intake.close();
        self.intake.next().await
    }

    /// Runs the current batch until every member is answered, is put off to the next batch, or is set aside.
    pub(super) async fn settle(&mut self, pipeline: &mut Pipeline) {
        loop {
            let Failed { mut members, mut failure, presumed } = match self.attempt(pipeline).await {
                Ok(()) => return,
                Err(failed) => *failed,
            };
            let retry = &mut pipeline.current.retry;
            // What may be committed already is not set aside: its time to find out is limited.
            if failure.fault == Fault::Locked && !retry.unknown {
                (members, failure.fault) = match self.blocked(members, failure.of_head).await {
                    Blocked::Rest(rest) if rest.is_empty() => return,
                    Blocked::Rest(rest) => {
                        retry.again = true;
                        pipeline.current.stage = Stage::Waiting(rest);
                        continue;
                    }
                    // The lane may hold a row that it waits with: members for the same tenant follow it.
                    Blocked::Crowded(members) => (self.without_held(members), Fault::Crowded),
                    Blocked::Hidden(members) => (members, Fault::Hidden),
                };
                if self.is_lane() {
                    members.into_iter().for_each(|waiting| self.set_aside_with_its_tenant(waiting));
                    return;
                }
                if members.is_empty() {
                    return;
                }
            }
            match retry.after(&failure, presumed, members.len()) {
                Step::Read => self.flushes.organizations.was_wrong(),
                Step::Reconnect(pause) => {
                    self.connection = None;
                    tokio::time::sleep(pause).await;
                }
                Step::Rerun => {}
                Step::Alone => {
                    self.alone(members, *retry, &failure.what).await;
                    return;
                }
                Step::SetAside => {
                    members.into_iter().for_each(|waiting| self.set_aside_with_its_tenant(waiting));
                    return;
                }
                Step::Refuse => {
                    refuse(members, failure.fault, retry.unknown, &failure.what);
                    if failure.away {
                        self.intake.refuse(&Error::Unavailable);
                    }
                    return;
                }
            }
            pipeline.current.stage = Stage::Waiting(members);
        }
    }

    /// Runs each member alone.
    async fn alone(&mut self, members: Vec<Waiting>, retry: RetryState, what: &str) {
        let began = Instant::now();
        let mut members = VecDeque::from(members);
        while began.elapsed() < MAX_TIME_ALONE {
            let Some(member) = members.pop_front() else { return };
            // A member before it may have found the row held that this one needs.
            let member = if retry.unknown { vec![member] } else { self.without_held(vec![member]) };
            if !member.is_empty() {
                // The member ran before, so no batch is begun behind it.
                let batch = Batch { stage: Stage::Waiting(member), retry: retry.alone() };
                Box::pin(self.settle(&mut batch.into())).await;
            }
        }
        refuse(members.into(), Fault::Slow, retry.unknown, what);
    }

    /// Runs the current batch once, from the stage that it has reached. If it is committed, its members are answered. A member
    /// whose receipt is found is done: an earlier run was committed.
    async fn attempt(&mut self, pipeline: &mut Pipeline) -> Result<(), Box<Failed>> {
        let retry = pipeline.current.retry;
        let again = retry.again;
        let stage = std::mem::replace(&mut pipeline.current.stage, Stage::Waiting(Vec::new()));
        let (members, found) = match stage {
            Stage::InFlight(batch) => return self.finish(batch, again, &mut pipeline.next).await,
            Stage::Read(members, found) => (members, Some(*found)),
            Stage::Waiting(members) => (members, None),
        };
        match self.send(members, found, retry).await? {
            Some(batch) => self.finish(batch, again, &mut pipeline.next).await,
            None => Ok(()),
        }
    }

    /// The connection, and whether it is new.
    pub(super) async fn connect(&mut self) -> Result<(Arc<Connection>, bool), Failure> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok((Arc::clone(connection), false));
        }
        self.flushes.organizations.forget();
        let opened = Connection::open_soon(&self.target, &Target::committing_settings()).await;
        let refused = |error| Failure::refused(&error, &self.target);
        let connection = Arc::new(opened.ok_or_else(Failure::away)?.map_err(refused)?);
        let session = answered(connection.succeed(self.session.as_deref())).await;
        self.session = session.ok_or_else(Failure::away)?.map_err(refused)?;
        self.connection = Some(Arc::clone(&connection));
        Ok((connection, true))
    }

    /// Judges a batch, and sends it if a member is in.
    async fn send(
        &mut self,
        members: Vec<Waiting>,
        found: Option<CurrentRows>,
        RetryState { again, patient, .. }: RetryState,
    ) -> Result<Option<InFlightBatch>, Box<Failed>> {
        let (connection, is_new) = match self.connect().await {
            Ok(connected) => connected,
            Err(failure) => return Err(self.failed(members, failure).await),
        };
        connection.set_patient(patient);
        let (members, found) = match found {
            // On a new connection the transaction in which the rows were read is gone.
            Some(found) if !is_new => (members, Ok(found)),
            _ => {
                let members = match self.presume(&connection, members, again) {
                    Ok(batch) => return Ok(Some(batch)),
                    Err(members) => members,
                };
                let needs = ReadSet::of(&members, again);
                let found = Failure::unless_answered(false, self.flushes.first(&connection, &needs)).await;
                (members, found)
            }
        };
        let judgement = match found {
            Ok(found) => judged(&members, &found),
            Err(failure) => return Err(self.failed(members, failure).await),
        };
        if judgement.verdicts.contains(&Verdict::In) {
            return Ok(Some(InFlightBatch::new(&connection, &self.flushes, members, judgement, None)));
        }
        if finds_an_answer(&judgement) {
            let confirmed = self.flushes.confirm(&connection);
            if let Err(failure) = Failure::unless_answered(true, confirmed).await {
                return Err(self.failed(members, failure).await);
            }
        } else {
            self.roll_back().await;
        }
        self.intake.tell(members, judgement, 0);
        Ok(None)
    }

    /// Judges a batch by what it is presumed to find, and sends it without reading. Gives the members back where nothing can
    /// be presumed, and where a member would be refused: a refusal needs rows that were read.
    fn presume(
        &self,
        connection: &Arc<Connection>,
        members: Vec<Waiting>,
        again: bool,
    ) -> Result<InFlightBatch, Vec<Waiting>> {
        if again || connection.is_pooled() {
            return Err(members);
        }
        let Some(found) = self.flushes.organizations.presumed(&members) else { return Err(members) };
        let judgement = judged(&members, &found);
        let passes = |verdict: &Verdict| matches!(verdict, Verdict::In | Verdict::Later);
        if !judgement.verdicts.iter().all(passes) {
            return Err(members);
        }
        Ok(InFlightBatch::new(connection, &self.flushes, members, judgement, Some(found)))
    }

    /// Waits until a batch is finished, and answers its members. Meanwhile the next batch is sent behind it, as soon as as many
    /// changes wait as the batch before this one committed: the callers of that batch are about to send again, and small
    /// batches are expensive. Nothing is sent behind a batch that puts a member off to the next one, behind one that runs
    /// again, or through a pooler, which may give what follows a COMMIT to another server connection.
    async fn finish(
        &mut self,
        mut batch: InFlightBatch,
        again: bool,
        next: &mut Option<Batch>,
    ) -> Result<(), Box<Failed>> {
        let connection = self.connection.clone();
        let connection = connection.filter(|connection| !connection.is_pooled() && !again && !batch.puts_off);
        let Some(connection) = connection else { return self.end(batch.finished().await).await };
        let enough = std::mem::replace(&mut self.committed_before, batch.committing).max(1);
        batch.sent().await;
        batch.finish_or(pin!(self.intake.gathered(enough))).await;
        let members = if batch.is_finished() { Vec::new() } else { self.intake.ready() };
        let members = self.without_held(members);
        if members.is_empty() {
            return self.end(batch.finished().await).await;
        }
        match self.presume(&connection, members, again) {
            Ok(behind) => self.finish_before(batch, behind, next).await,
            Err(members) => self.finish_while_reading(batch, members, &connection, next).await,
        }
    }

    /// Waits until a batch is finished, with the whole next batch in flight behind it.
    async fn finish_before(
        &mut self,
        mut batch: InFlightBatch,
        mut behind: InFlightBatch,
        next: &mut Option<Batch>,
    ) -> Result<(), Box<Failed>> {
        batch.finish_or(pin!(behind.finish())).await;
        let finished = batch.finished().await;
        if finished.outcome.is_ok() {
            self.end(finished).await?;
            *next = Some(Batch::at(Stage::InFlight(behind)));
            return Ok(());
        }
        // If the next batch depends on this one, it has failed, too. If not, it may have been committed.
        *next = self.end(behind.finished().await).await.err().map(|failed| Batch {
            stage: Stage::Waiting(failed.members),
            retry: RetryState::sent_in_vain(failed.failure.unknown),
        });
        self.end(finished).await
    }

    /// Waits until a batch is finished, while the first flush of the next batch is sent behind it.
    async fn finish_while_reading(
        &mut self,
        mut batch: InFlightBatch,
        members: Vec<Waiting>,
        connection: &Connection,
        next: &mut Option<Batch>,
    ) -> Result<(), Box<Failed>> {
        let flushes = Arc::clone(&self.flushes);
        let needs = ReadSet::of(&members, false);
        let mut first = Box::pin(Failure::unless_answered(false, flushes.first(connection, &needs)));
        let read = batch.finish_or(first.as_mut()).await;
        let finished = batch.finished().await;
        if finished.outcome.is_err() {
            drop(first);
            self.intake.carry(members);
            return self.end(finished).await;
        }
        self.end(finished).await?;
        let read = match read {
            Some(read) => read,
            None => first.as_mut().await,
        };
        drop(first);
        match read {
            Ok(found) => *next = Some(Batch::at(Stage::Read(members, Box::new(found)))),
            Err(failure) => {
                self.intake.carry(members);
                self.clear_up(&failure).await;
            }
        }
        Ok(())
    }

    /// Answers the members of a batch that is committed.
    async fn end(&mut self, finished: FinishedBatch) -> Result<(), Box<Failed>> {
        let FinishedBatch { members, judgement, outcome, presumed } = finished;
        match outcome {
            Ok(position) => {
                self.intake.tell(members, judgement, position);
                Ok(())
            }
            Err(failure) => {
                let mut failed = self.failed(members, failure).await;
                failed.presumed = presumed;
                Err(failed)
            }
        }
    }

    async fn failed(&mut self, members: Vec<Waiting>, failure: Failure) -> Box<Failed> {
        self.clear_up(&failure).await;
        Box::new(Failed { members, failure, presumed: false })
    }

    /// Ends the transaction, and forgets what is known of organizations. A connection that is lost, or on which this fails, is
    /// opened again.
    pub(super) async fn clear_up(&mut self, failure: &Failure) {
        self.flushes.organizations.forget();
        if failure.fault == Fault::Lost {
            self.connection = None;
        }
        self.roll_back().await;
    }

    pub(super) async fn roll_back(&mut self) {
        if let Some(connection) = &self.connection
            && !matches!(answered(connection.execute("ROLLBACK")).await, Some(Ok(())))
        {
            self.connection = None;
        }
    }
}

/// Whether a member is answered by what an earlier run, or an earlier request with the same Idempotency-Key, has committed.
fn finds_an_answer(judgement: &Judgement) -> bool {
    let finds = |verdict: &Verdict| matches!(verdict, Verdict::Done | Verdict::Out(Conflict::IdempotencyKeyUsed(_)));
    judgement.verdicts.iter().any(finds)
}

/// Refuses members: their changes are not committed, or it is unknown whether they are.
fn refuse(members: Vec<Waiting>, fault: Fault, unknown: bool, what: &str) {
    for waiting in members {
        let correlation_id = &waiting.member.changes.events()[0].correlation_id;
        tracing::error!(error = what, %correlation_id, unknown, "a change could not be committed");
        waiting.tell(Err(refusal(fault, unknown, what)));
    }
}
