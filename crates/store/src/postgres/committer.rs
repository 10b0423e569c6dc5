//! The committer: one connection that commits batch after batch, each in two flushes. While a batch's COMMIT is on its
//! way, the first flush of those who wait goes out behind it, if they are enough.

use super::connection::{Connection, answered};
use super::fault::Fault;
use super::flushes::{Failure, Flushes};
use super::target::Target;
use crate::batch::{Flush, Intake, Needs, Waiting, committed_at, judged, usage_rows};
use futures_util::future::{Either, select};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::judge::{Found, Judgement, Verdict};
use tokio::sync::Notify;
use tokio::sync::oneshot::{Receiver, error::TryRecvError};
use tokio::time::Instant;

/// How long a batch is tried while nothing of it can have been committed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a batch is tried whose outcome is unknown.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(8);
/// How long a batch waits for locks before its members run alone: every process waits for the others' commits at the
/// log's head, so on a slow database that is nobody's fault, and alone they would only be more to wait for.
const PATIENCE_LOCKED: Duration = Duration::from_secs(5);
/// How long to wait before connecting anew.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a batch may keep all others waiting while its members run alone; who has not had a turn then is refused.
const PATIENCE_ALONE: Duration = Duration::from_secs(10);
/// How often a batch runs again as it is before its members run alone.
const MAX_TRIES_TOGETHER: u32 = 2;
/// How often a member that runs alone is tried.
const MAX_TRIES_ALONE: u32 = 8;

/// The committer with its way in.
pub struct Committer {
    target: Target,
    connection: Option<Connection>,
    intake: Intake,
    flushes: Flushes,
}

/// A batch whose first flush is done.
struct Begun {
    members: Vec<Waiting>,
    found: Found,
}

/// How a batch has fared; its members go on from there when they run alone.
#[derive(Clone, Copy)]
struct Course {
    began: Instant,
    tries: u32,
    /// It ran before: receipts are looked for.
    again: bool,
    /// A COMMIT of it may have come through, or may yet.
    unknown: bool,
}

impl Course {
    fn begin() -> Self {
        Self { began: Instant::now(), tries: 0, again: false, unknown: false }
    }

    fn has_time(&self) -> bool {
        self.began.elapsed() < if self.unknown { PATIENCE_UNKNOWN } else { PATIENCE }
    }
}

impl Committer {
    /// A committer; it connects when it is needed.
    pub fn new(target: Target, intake: Intake) -> Self {
        Self { target, connection: None, intake, flushes: Flushes::new() }
    }

    /// Works until nobody can come any more.
    pub async fn run(mut self, mut stop: Receiver<()>) {
        let mut begun = None;
        loop {
            // Whether it was sent or dropped is the same: what waits is still taken.
            if !self.intake.is_closed() && stop.try_recv() != Err(TryRecvError::Empty) {
                self.intake.close();
            }
            let (members, found) = match begun.take() {
                Some(Begun { members, found }) => (members, Some(found)),
                None => match self.next(&mut stop).await {
                    Some(members) => (members, None),
                    None => return,
                },
            };
            begun = self.settle(members, found, Course::begin()).await;
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

    /// Runs a batch until every member has its answer, or is carried into the next batch; returns the next, if it is
    /// begun.
    async fn settle(
        &mut self,
        mut members: Vec<Waiting>,
        mut found: Option<Found>,
        mut course: Course,
    ) -> Option<Begun> {
        loop {
            let failure = match self.attempt(&mut members, found.take(), course.again).await {
                Ok(begun) => return begun,
                Err(failure) => failure,
            };
            course.again = true;
            course.tries += 1;
            course.unknown |= failure.unknown;
            match failure.fault {
                Fault::Lost | Fault::Stale if course.has_time() => {
                    self.connection = None;
                    tokio::time::sleep(PAUSE).await;
                }
                Fault::Again if course.tries < MAX_TRIES_TOGETHER => {}
                Fault::Locked if course.began.elapsed() < PATIENCE_LOCKED => {}
                // One of them did it, or they are too many at once: each alone, so that only the culprit fails.
                Fault::Again | Fault::Locked | Fault::Slow | Fault::Final if members.len() > 1 => {
                    self.alone(members, course, &failure.what).await;
                    return None;
                }
                Fault::Again | Fault::Locked | Fault::Slow if course.tries < MAX_TRIES_ALONE && course.has_time() => {}
                fault => {
                    refuse(members, fault, course.unknown, &failure.what);
                    return None;
                }
            }
        }
    }

    /// Runs each member alone. What is unknown of the batch is unknown of each of them, and the batch's time is theirs.
    async fn alone(&mut self, members: Vec<Waiting>, course: Course, what: &str) {
        let mut members = members.into_iter();
        while course.began.elapsed() < PATIENCE_ALONE {
            let Some(member) = members.next() else { return };
            // It ran before, so nothing is begun behind it.
            Box::pin(self.settle(vec![member], None, Course { tries: 0, ..course })).await;
        }
        refuse(members.collect(), Fault::Slow, course.unknown, what);
    }

    /// One run of a batch. A member whose receipt is found is done: an earlier run had come through. Once it is committed,
    /// its members are told and gone.
    async fn attempt(
        &mut self,
        members: &mut Vec<Waiting>,
        mut found: Option<Found>,
        again: bool,
    ) -> Result<Option<Begun>, Failure> {
        if self.connection.as_ref().is_none_or(Connection::is_closed) {
            // What was found, was found in a transaction that went with the connection.
            found = None;
            self.flushes.begin_anew();
            let opened = Connection::open_soon(&self.target, &Target::keyed_settings()).await;
            let opened = opened.ok_or_else(|| Failure::silence(false))?;
            self.connection = Some(opened.map_err(|error| Failure::before(&error))?);
        }
        let Some(connection) = &self.connection else {
            return Err(Failure::silence(false));
        };
        let run = Run { connection, flushes: &self.flushes, intake: &mut self.intake };
        let outcome = run.batch(members, found, again).await;
        if let Err(failure) | Ok(Next::Failed(failure)) = &outcome {
            // Whatever the transaction is in, it ends here; a connection on which this fails is opened anew.
            let lost = failure.fault == Fault::Lost;
            if lost || !matches!(answered(connection.execute("ROLLBACK")).await, Some(Ok(()))) {
                self.connection = None;
            }
        }
        outcome.map(|next| if let Next::Begun(begun) = next { Some(*begun) } else { None })
    }
}

/// What became of the next batch while one was committed.
enum Next {
    /// Nobody waited, or nobody may go ahead.
    None,
    /// Its first flush is done.
    Begun(Box<Begun>),
    /// Its first flush failed; its members are in the intake again.
    Failed(Failure),
}

/// One run of a batch on a connection.
struct Run<'a> {
    connection: &'a Connection,
    flushes: &'a Flushes,
    intake: &'a mut Intake,
}

impl Run<'_> {
    async fn batch(self, members: &mut Vec<Waiting>, found: Option<Found>, again: bool) -> Result<Next, Failure> {
        let found = match found {
            Some(found) => found,
            None => {
                let needs = Needs::of(members, again);
                Failure::unless_answered(false, self.flushes.first(self.connection, &needs)).await?
            }
        };
        let judgement = judged(members, &found);
        if judgement.verdicts.contains(&Verdict::In) {
            return self.commit(members, judgement, again).await;
        }
        let rollback = async { self.connection.execute("ROLLBACK").await.map_err(|error| Failure::before(&error)) };
        Failure::unless_answered(false, rollback).await?;
        self.intake.tell(std::mem::take(members), judgement, 0);
        Ok(Next::None)
    }

    /// Writes and commits those who are in, and begins the next batch behind the COMMIT.
    async fn commit(self, members: &mut Vec<Waiting>, judgement: Judgement, again: bool) -> Result<Next, Failure> {
        let Self { connection, flushes, intake } = self;
        let (usages, almost) = (usage_rows(&judgement), Notify::new());
        let flush = Flush::of(members, &judgement, &usages);
        let second = flushes.second(connection, &flush, committed_at(members), &almost);
        let mut second = Box::pin(Failure::unless_answered(true, second));
        let ended = tokio::select! {
            biased;
            ended = &mut second => Some(ended),
            () = almost.notified() => None,
        };
        // Only COMMIT is on its way. Nobody goes ahead of who was put off to the next batch, nor where this batch may have to
        // run once more, nor where a pooler may give what comes behind the COMMIT to another connection. Fewer than are
        // being committed do not go ahead either: others are on their way, and small batches are dear.
        let put_off = judgement.verdicts.contains(&Verdict::Later);
        let committing = judgement.verdicts.iter().filter(|verdict| **verdict == Verdict::In).count();
        let enough = intake.waiting() >= committing;
        let goes_ahead = ended.is_none() && enough && !put_off && !again && !connection.is_pooled();
        let next = if goes_ahead { intake.ready() } else { Vec::new() };
        let needs = Needs::of(&next, false);
        let mut first = Box::pin(Failure::unless_answered(false, flushes.first(connection, &needs)));
        let (ended, looked) = match ended {
            Some(ended) => (ended, None),
            None if next.is_empty() => (second.as_mut().await, None),
            None => match select(second.as_mut(), first.as_mut()).await {
                Either::Left((ended, _)) => (ended, None),
                Either::Right((looked, second)) => (second.await, Some(looked)),
            },
        };
        drop(second);
        match ended {
            Ok(position) => intake.tell(std::mem::take(members), judgement, position),
            Err(failure) => {
                drop(first);
                intake.carry(next);
                return Err(failure);
            }
        }
        if next.is_empty() {
            return Ok(Next::None);
        }
        let looked = match looked {
            Some(looked) => looked,
            None => first.as_mut().await,
        };
        drop(first);
        match looked {
            Ok(found) => Ok(Next::Begun(Box::new(Begun { members: next, found }))),
            Err(failure) => {
                intake.carry(next);
                Ok(Next::Failed(failure))
            }
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
