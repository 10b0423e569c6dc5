//! A batch in flight: all statements that write and commit it are sent, and not all of them are answered.

use super::connection::Connection;
use super::fault::Failure;
use super::flushes::Flushes;
use crate::batch::{Flush, ReadSet, committed_at, usage_rows};
use crate::queue::Waiting;
use futures_util::future::{Either, select};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use tenancy_core::judge::{CurrentRows, Judgement, Verdict};
use tokio::sync::Notify;

/// A batch in flight. It is sent when it is first waited for.
pub struct InFlightBatch {
    work: Pin<Box<dyn Future<Output = FinishedBatch> + Send>>,
    finished: Option<FinishedBatch>,
    is_sent: Arc<Notify>,
    /// How many of its members are in.
    pub committing: usize,
    /// One of its members is put off to the next batch.
    pub puts_off: bool,
}

/// A batch whose every statement is answered, or that failed.
pub struct FinishedBatch {
    /// Its members.
    pub members: Vec<Waiting>,
    /// The judge's verdict on each of them.
    pub judgement: Judgement,
    /// The log position of its first event, if it is committed.
    pub outcome: Result<i64, Failure>,
    /// It was judged by what was presumed, and not by what was read.
    pub presumed: bool,
}

impl InFlightBatch {
    /// A batch that was judged by what was read in the transaction that is open, or by what is `presumed`.
    pub fn new(
        connection: &Arc<Connection>,
        flushes: &Arc<Flushes>,
        members: Vec<Waiting>,
        judgement: Judgement,
        presumed: Option<CurrentRows>,
    ) -> Self {
        flushes.organizations.was_sent(&members, &judgement);
        let committing = judgement.verdicts.iter().filter(|verdict| **verdict == Verdict::In).count();
        let puts_off = judgement.verdicts.contains(&Verdict::Later);
        let is_sent = Arc::new(Notify::new());
        let (connection, flushes, sent) = (Arc::clone(connection), Arc::clone(flushes), Arc::clone(&is_sent));
        let work = Box::pin(async move {
            let usages = usage_rows(&judgement);
            let flush = Flush::of(&members, &judgement, &usages);
            let needs = presumed.as_ref().map(|found| (ReadSet::of(&members, false), found));
            let presumed = needs.as_ref().map(|(needs, found)| (needs, *found));
            let second = flushes.second(&connection, presumed, &flush, committed_at(&members), &sent);
            let outcome = Failure::unless_answered(true, second).await;
            let presumed = presumed.is_some();
            drop((flush, needs));
            FinishedBatch { members, judgement, outcome, presumed }
        });
        Self { work, finished: None, is_sent, committing, puts_off }
    }

    /// Waits until all of it is sent, so that something may be sent behind it, or until it is finished.
    pub async fn sent(&mut self) {
        let is_sent = Arc::clone(&self.is_sent);
        self.finish_or(pin!(is_sent.notified())).await;
    }

    /// Waits until it is finished.
    pub async fn finish(&mut self) {
        if self.finished.is_none() {
            self.finished = Some(self.work.as_mut().await);
        }
    }

    /// Waits until it is finished or `other` is ready, whichever is first.
    pub async fn finish_or<T>(&mut self, other: impl Future<Output = T> + Unpin) -> Option<T> {
        match select(pin!(self.finish()), other).await {
            Either::Left(((), _)) => None,
            Either::Right((came, _)) => Some(came),
        }
    }

    /// Whether it is finished.
    pub fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// Waits until it is finished, and gives the result.
    pub async fn finished(mut self) -> FinishedBatch {
        match self.finished.take() {
            Some(finished) => finished,
            None => self.work.await,
        }
    }
}
