//! A batch on its way: all that writes and commits it is sent.

use super::connection::Connection;
use super::flushes::{Failure, Flushes};
use crate::batch::{Flush, ReadSet, committed_at, usage_rows};
use crate::queue::Waiting;
use futures_util::future::{Either, select};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use tenancy_core::judge::{CurrentRows, Judgement, Verdict};
use tokio::sync::Notify;

/// A batch on its way. It is sent when it is first waited for.
pub struct InFlightBatch {
    landing: Pin<Box<dyn Future<Output = FinishedBatch> + Send>>,
    landed: Option<FinishedBatch>,
    is_sent: Arc<Notify>,
    /// How many of its members are in.
    pub committing: usize,
    /// One of its members is put off to the next batch.
    pub puts_off: bool,
}

/// What became of it.
pub struct FinishedBatch {
    /// Its members.
    pub members: Vec<Waiting>,
    /// What was said of them.
    pub judgement: Judgement,
    /// The log's position of its first event, if it is committed.
    pub outcome: Result<i64, Failure>,
    /// What it stands on was presumed, and not read.
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
        let landing = Box::pin(async move {
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
        Self { landing, landed: None, is_sent, committing, puts_off }
    }

    /// Waits until all of it is sent, so that something may be sent behind it, or until it has landed.
    pub async fn depart(&mut self) {
        let is_sent = Arc::clone(&self.is_sent);
        self.land_or(pin!(is_sent.notified())).await;
    }

    /// Waits until it has landed.
    pub async fn land(&mut self) {
        if self.landed.is_none() {
            self.landed = Some(self.landing.as_mut().await);
        }
    }

    /// Waits until it has landed, or until something else comes, whichever is first.
    pub async fn land_or<T>(&mut self, other: impl Future<Output = T> + Unpin) -> Option<T> {
        match select(pin!(self.land()), other).await {
            Either::Left(((), _)) => None,
            Either::Right((came, _)) => Some(came),
        }
    }

    /// Whether nothing is to be waited for any more.
    pub fn has_landed(&self) -> bool {
        self.landed.is_some()
    }

    /// What became of it, once it has landed.
    pub async fn landed(mut self) -> FinishedBatch {
        match self.landed.take() {
            Some(landed) => landed,
            None => self.landing.await,
        }
    }
}
