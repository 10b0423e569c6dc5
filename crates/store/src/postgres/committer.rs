//! The committer: one connection that commits batch after batch. While a batch is on its way, those who wait go out behind it,
//! if they are enough. What a batch finds is presumed where it can be, and asserted in its transaction; else it is read.

use super::connection::{Connection, answered};
use super::fault::Fault;
use super::flushes::{Failure, Flushes};
use super::in_flight::{FinishedBatch, InFlightBatch};
use super::retry::RetryState;
use super::target::{STATEMENT_TIMEOUT_SECONDS, Target};
use crate::batch::{ReadSet, judged};
use crate::queue::{Intake, Waiting};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::judge::{CurrentRows, Verdict};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};
use tokio::time::Instant;

/// How long a batch waits for locks before its members run alone: every process waits for the others' commits at the
/// log's head, so on a slow database that is nobody's fault, and alone they would only be more to wait for.
const PATIENCE_LOCKED: Duration = Duration::from_secs(5);
/// How long a batch may keep all others waiting while its members run alone; who has not had a turn then is refused. It is
/// longer than one statement may take: else who comes behind such a one would never have a turn.
const PATIENCE_ALONE: Duration = Duration::from_secs(STATEMENT_TIMEOUT_SECONDS + 5);
/// How often a batch runs again as it is before its members run alone.
const MAX_TRIES_TOGETHER: u32 = 2;
/// How often a member that runs alone is tried.
const MAX_TRIES_ALONE: u32 = 8;

/// The committer with its way in.
pub struct Committer {
    target: Target,
    connection: Option<Arc<Connection>>,
    /// The session of the newest connection, for the one after it.
    session: Option<String>,
    intake: Intake,
    flushes: Arc<Flushes>,
    /// How many members were in of the last batch that another could go behind.
    committed_before: usize,
}

/// A batch to be settled.
struct Batch {
    stage: Stage,
    course: RetryState,
}

/// How far a batch has come.
enum Stage {
    /// Nothing is sent.
    Taken(Vec<Waiting>),
    /// Its first flush is done.
    Read(Vec<Waiting>, Box<CurrentRows>),
    /// All of it is sent.
    Sent(InFlightBatch),
}

impl Batch {
    fn at(stage: Stage) -> Self {
        Self { stage, course: RetryState::begin() }
    }
}

/// A batch that is settled.
struct Settled {
    /// The next, if it is begun.
    behind: Option<Batch>,
    /// Why its members were refused, if they were.
    refused: Option<Fault>,
}

impl From<Option<Batch>> for Settled {
    fn from(behind: Option<Batch>) -> Self {
        Self { behind, refused: None }
    }
}

/// A run of a batch that did not come through.
struct Failed {
    members: Vec<Waiting>,
    failure: Failure,
    /// It stood on what was presumed, and not read.
    presumed: bool,
    /// The batch that was sent behind it, if it did not come through either.
    behind: Option<Batch>,
}

impl Committer {
    /// A committer; it connects when it is needed.
    pub fn new(target: Target, intake: Intake) -> Self {
        Self { target, connection: None, session: None, intake, flushes: Arc::new(Flushes::new()), committed_before: 0 }
    }

    /// Works until nobody can come any more.
    pub async fn run(mut self, mut stop: Receiver<()>) {
        let mut behind = None;
        loop {
            // Whether it was sent or dropped is the same: what waits is still taken.
            if !self.intake.is_closed() && stop.try_recv() != Err(TryRecvError::Empty) {
                self.intake.close();
            }
            let batch = match behind.take() {
                // Its time begins now: the one before may have taken long.
                Some(Batch { stage, course }) => {
                    Batch { stage, course: RetryState { began: Instant::now(), ..course } }
                }
                None => match self.next(&mut stop).await {
                    Some(members) => Batch::at(Stage::Taken(members)),
                    None => return,
                },
            };
            behind = self.settle(batch).await.behind;
        }
    }

    async fn next(&mut self, stop: &mut Receiver<()>) -> Option<Vec<Waiting>> {
        tokio::select! {
            biased;
            batch = self.intake.next() => return batch,
            _ = stop, if !self.intake.is_closed() => {}
        }
        self.intake.close();
        self.intake.next().await
    }

    /// Runs a batch until every member has its answer, or is carried into the next batch.
    async fn settle(&mut self, batch: Batch) -> Settled {
        let Batch { mut stage, mut course } = batch;
        let mut behind = None;
        loop {
            let Failed { members, failure, presumed, behind: with_it } = match self.attempt(stage, course.again).await {
                Ok(next) => return behind.or(next).into(),
                Err(failed) => *failed,
            };
            // Behind a run that is not the first nothing is sent.
            behind = behind.or(with_it);
            course.failed(&failure);
            if presumed && matches!(failure.fault, Fault::Again | Fault::Final) {
                self.flushes.organizations.was_wrong();
                stage = Stage::Taken(members);
                continue;
            }
            course.tries += 1;
            match failure.fault {
                Fault::Lost | Fault::Stale if course.may_connect() => {
                    self.connection = None;
                    tokio::time::sleep(course.pause()).await;
                }
                Fault::Again if course.tries < MAX_TRIES_TOGETHER => {}
                Fault::Locked if course.began.elapsed() < PATIENCE_LOCKED => {}
                // One of them did it, or they are too many at once: each alone, so that only the culprit fails.
                Fault::Again | Fault::Locked | Fault::Slow | Fault::Full | Fault::Final if members.len() > 1 => {
                    self.alone(members, course, &failure.what).await;
                    return behind.into();
                }
                Fault::Again | Fault::Locked | Fault::Slow if course.tries < MAX_TRIES_ALONE && course.has_time() => {}
                fault => {
                    refuse(members, fault, course.unknown, &failure.what);
                    if failure.away {
                        self.intake.refuse(&Error::Unavailable);
                    }
                    return Settled { behind, refused: Some(fault) };
                }
            }
            stage = Stage::Taken(members);
        }
    }

    /// Runs each member alone. What is unknown of the batch is unknown of each of them, and how long it was tried counts for
    /// each. Whoever needs a row of one that waited for a lock in vain comes last: it may wait for the same, and the others
    /// do not.
    async fn alone(&mut self, members: Vec<Waiting>, course: RetryState, what: &str) {
        let began = Instant::now();
        let mut members = VecDeque::from(members);
        while began.elapsed() < PATIENCE_ALONE {
            let Some(member) = members.pop_front() else { return };
            let guards = member.member.changes.guards.clone();
            // It ran before, so nothing is begun behind it.
            let alone = Batch { stage: Stage::Taken(vec![member]), course: RetryState { tries: 0, ..course } };
            if Box::pin(self.settle(alone)).await.refused == Some(Fault::Locked) {
                let locked = ReadSet::of_guards(&guards);
                let meets = |waiting: &Waiting| locked.meets(&ReadSet::of_guards(&waiting.member.changes.guards));
                members.make_contiguous().sort_by_key(meets);
            }
        }
        refuse(members.into(), Fault::Slow, course.unknown, what);
    }

    /// One run of a batch. A member whose receipt is found is done: an earlier run had come through. Once it is committed,
    /// its members are told and gone; the batch behind it is returned, if it is begun.
    async fn attempt(&mut self, stage: Stage, again: bool) -> Result<Option<Batch>, Box<Failed>> {
        let (members, found) = match stage {
            Stage::Sent(flight) => return self.land(flight, again).await,
            Stage::Read(members, found) => (members, Some(*found)),
            Stage::Taken(members) => (members, None),
        };
        match self.send(members, found, again).await? {
            Some(flight) => self.land(flight, again).await,
            None => Ok(None),
        }
    }

    /// The connection, and whether it is another one than before.
    async fn connect(&mut self) -> Result<(Arc<Connection>, bool), Failure> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok((Arc::clone(connection), false));
        }
        self.flushes.organizations.forget();
        let opened = Connection::open_soon(&self.target, &Target::keyed_settings()).await;
        let connection = Arc::new(opened.ok_or_else(Failure::away)?.map_err(|error| Failure::refused(&error))?);
        let made_ours = answered(connection.succeed(self.session.as_deref())).await;
        self.session = made_ours.ok_or_else(Failure::away)?.map_err(|error| Failure::refused(&error))?;
        self.connection = Some(Arc::clone(&connection));
        Ok((connection, true))
    }

    /// Judges a batch, and sends it if anybody is in.
    async fn send(
        &mut self,
        members: Vec<Waiting>,
        found: Option<CurrentRows>,
        again: bool,
    ) -> Result<Option<InFlightBatch>, Box<Failed>> {
        let (connection, is_new) = match self.connect().await {
            Ok(connected) => connected,
            Err(failure) => return Err(self.failed(members, failure).await),
        };
        let (members, found) = match found {
            // What was found, was found in a transaction that went with its connection.
            Some(found) if !is_new => (members, Ok(found)),
            _ => {
                let members = match self.presume(&connection, members, again) {
                    Ok(flight) => return Ok(Some(flight)),
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
        self.roll_back().await;
        self.intake.tell(members, judgement, 0);
        Ok(None)
    }

    /// Judges a batch by what it is presumed to find. Gives the members back where that cannot be, or where somebody would be
    /// refused: nobody is on the strength of what was not read.
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

    /// Waits for a batch that is sent. As soon as as many wait as the one before it committed, they are sent behind it: those
    /// who were in that one are on their way again, and small batches are dear. Nobody goes ahead of who was put off to the
    /// next batch, nor where this batch may have to run once more, nor where a pooler may give what comes behind the COMMIT to
    /// another connection.
    async fn land(&mut self, mut flight: InFlightBatch, again: bool) -> Result<Option<Batch>, Box<Failed>> {
        let connection = self.connection.clone();
        let connection = connection.filter(|connection| !connection.is_pooled() && !again && !flight.puts_off);
        let Some(connection) = connection else {
            self.ended(flight.landed().await).await?;
            return Ok(None);
        };
        let enough = std::mem::replace(&mut self.committed_before, flight.committing).max(1);
        flight.depart().await;
        flight.land_or(pin!(self.intake.gathered(enough))).await;
        let next = if flight.has_landed() { Vec::new() } else { self.intake.ready() };
        if next.is_empty() {
            self.ended(flight.landed().await).await?;
            return Ok(None);
        }
        match self.presume(&connection, next, again) {
            Ok(behind) => self.land_before_all_of(flight, behind).await,
            Err(next) => self.land_before_first_of(flight, next, &connection).await,
        }
    }

    /// Waits for a batch while another one is sent behind it.
    async fn land_before_all_of(
        &mut self,
        mut flight: InFlightBatch,
        mut behind: InFlightBatch,
    ) -> Result<Option<Batch>, Box<Failed>> {
        flight.land_or(pin!(behind.land())).await;
        let landed = flight.landed().await;
        if landed.outcome.is_ok() {
            self.ended(landed).await?;
            return Ok(Some(Batch::at(Stage::Sent(behind))));
        }
        // What the other stands on may not have come about: then it has failed. It may also have come through by itself.
        let behind = self.ended(behind.landed().await).await;
        let Err(mut failed) = self.ended(landed).await else { return Ok(None) };
        failed.behind = behind.err().map(|behind| {
            let course = RetryState { again: true, unknown: behind.failure.unknown, ..RetryState::begin() };
            Batch { stage: Stage::Taken(behind.members), course }
        });
        Err(failed)
    }

    /// Waits for a batch while the first flush of another one goes out behind it.
    async fn land_before_first_of(
        &mut self,
        mut flight: InFlightBatch,
        next: Vec<Waiting>,
        connection: &Connection,
    ) -> Result<Option<Batch>, Box<Failed>> {
        let flushes = Arc::clone(&self.flushes);
        let needs = ReadSet::of(&next, false);
        let mut first = Box::pin(Failure::unless_answered(false, flushes.first(connection, &needs)));
        let looked = flight.land_or(first.as_mut()).await;
        let landed = flight.landed().await;
        if landed.outcome.is_err() {
            drop(first);
            self.intake.carry(next);
            self.ended(landed).await?;
            return Ok(None);
        }
        self.ended(landed).await?;
        let looked = match looked {
            Some(looked) => looked,
            None => first.as_mut().await,
        };
        drop(first);
        match looked {
            Ok(found) => Ok(Some(Batch::at(Stage::Read(next, Box::new(found))))),
            Err(failure) => {
                self.intake.carry(next);
                self.clear_up(&failure).await;
                Ok(None)
            }
        }
    }

    /// Tells the members of a batch that came through.
    async fn ended(&mut self, landed: FinishedBatch) -> Result<(), Box<Failed>> {
        let FinishedBatch { members, judgement, outcome, presumed } = landed;
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
        Box::new(Failed { members, failure, presumed: false, behind: None })
    }

    /// Whatever the transaction is in, it ends here, and what is remembered of it; a connection that is lost, or on which this
    /// fails, is opened anew.
    async fn clear_up(&mut self, failure: &Failure) {
        self.flushes.organizations.forget();
        if failure.fault == Fault::Lost {
            self.connection = None;
        }
        self.roll_back().await;
    }

    async fn roll_back(&mut self) {
        if let Some(connection) = &self.connection
            && !matches!(answered(connection.execute("ROLLBACK")).await, Some(Ok(())))
        {
            self.connection = None;
        }
    }
}

/// Tells everybody that it did not come through, or that nobody knows.
fn refuse(members: Vec<Waiting>, fault: Fault, unknown: bool, what: &str) {
    for waiting in members {
        let correlation_id = &waiting.member.changes.events()[0].correlation_id;
        tracing::error!(error = what, %correlation_id, unknown, "a change could not be committed");
        waiting.tell(Err(match fault {
            _ if unknown => Error::OutcomeUnknown,
            Fault::Lost | Fault::Stale | Fault::Full => Error::Unavailable,
            Fault::Again | Fault::Locked | Fault::Slow => Error::Busy,
            Fault::Final => Error::Internal(format!("PostgreSQL: {what}")),
        }));
    }
}
