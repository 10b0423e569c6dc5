//! Commits the decisions on a file, each separately. A document that somebody else has changed since it was decided is
//! refused alone.

use super::document::{Document, Kind};
use super::{Line, Plan, Run, kept, kept_line};
use crate::idempotency::IdempotencyKey;
use crate::operations::{Decided, Done, Keyed};
use futures_util::StreamExt;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use tenancy_api::applied::AppliedDocument;
use tenancy_core::Error;

/// Number of documents that are written concurrently, so that their commits share batches.
const AT_ONCE: usize = 128;

type Written = Result<Done<AppliedDocument>, Error>;

impl Run<'_> {
    /// Commits what was decided: placements and organizations, then tenants, then documents that have to wait for others of the file.
    /// A document that conflicts with another one is tried once more at the end.
    pub(super) async fn write(&self, documents: &[Document], plan: &mut Plan) -> Result<(), Error> {
        let mut decided = std::mem::take(&mut plan.decided);
        let last: BTreeSet<_> = plan.last.iter().copied().collect();
        let mut open: VecDeque<usize> = (0..documents.len()).filter(|at| decided[*at].is_some()).collect();
        let mut again = Vec::new();
        if let Some(key) = self.key.filter(|_| !plan.opened) {
            self.open(key, documents, &mut open, &mut decided, plan, &mut again).await?;
        }
        let (first, tenants): (Vec<_>, Vec<_>) = open.into_iter().partition(|at| documents[*at].kind != Kind::Tenant);
        let (last, tenants): (Vec<_>, Vec<_>) = tenants.into_iter().partition(|at| last.contains(at));
        for group in [first, tenants, last] {
            let mut writes = futures_util::stream::iter(group)
                .map(|at| {
                    let first = decided[at].take();
                    async move { (at, self.run(&documents[at], first).await) }
                })
                .buffer_unordered(AT_ONCE);
            while let Some((at, done)) = writes.next().await {
                if matches!(done, Err(Error::Conflict(_))) {
                    again.push(at);
                }
                plan.lines[at] = self.settled(&documents[at], done);
            }
        }
        again.sort_unstable();
        for at in again {
            plan.lines[at] = self.settled(&documents[at], self.run(&documents[at], None).await);
        }
        Ok(())
    }

    /// Writes the first document alone, under the key of the whole request. So if two different files are sent with one
    /// key, one of them is refused before any of its documents is written.
    async fn open(
        &self,
        key: &IdempotencyKey,
        documents: &[Document],
        open: &mut VecDeque<usize>,
        decided: &mut [Option<Decided<AppliedDocument>>],
        plan: &mut Plan,
        again: &mut Vec<usize>,
    ) -> Result<(), Error> {
        while let Some(at) = open.pop_front() {
            match self.run_under(&documents[at], Some(key.clone()), decided[at].take()).await {
                Err(Error::IdempotencyKeyReused) => return Err(Error::IdempotencyKeyReused),
                // A simultaneous request with the same file started with another document.
                Ok(Done::Before(answer)) if !documents[at].is_of(&kept(&answer)) => {
                    again.push(at);
                    break;
                }
                done => {
                    let wrote = match &done {
                        Ok(Done::Now(applied)) => applied.is_written(),
                        Ok(Done::Before(_)) => true,
                        Err(_) => false,
                    };
                    if matches!(done, Err(Error::Conflict(_))) {
                        again.push(at);
                    }
                    plan.lines[at] = self.settled(&documents[at], done);
                    if wrote {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn run(&self, document: &Document, first: Option<Decided<AppliedDocument>>) -> Written {
        self.run_under(document, self.key.map(|key| key.part(&document.name())), first).await
    }

    async fn run_under(
        &self,
        document: &Document,
        key: Option<IdempotencyKey>,
        first: Option<Decided<AppliedDocument>>,
    ) -> Written {
        if self.gone.load(Ordering::Relaxed) {
            return Err(Error::InvalidToken);
        }
        // A file is sent again to continue, so unchanged documents are decided again.
        let keyed = key.map(|key| Keyed { key, answer: kept_line, keeps_unchanged: false });
        let done = match first {
            first @ Some(_) => self.tenancy.commit_decided(document, self.request, keyed.as_ref(), first).await,
            None => self.tenancy.decide_and_commit(document, self.request, keyed.as_ref()).await,
        };
        self.gone.fetch_or(matches!(done, Err(Error::InvalidToken)), Ordering::Relaxed);
        done
    }

    fn settled(&self, document: &Document, done: Written) -> Line {
        match done {
            Ok(Done::Before(answer)) => Line::Kept(kept(&answer)),
            Ok(Done::Now(applied)) => self.line(document, Ok(applied)),
            Err(error) => self.line(document, Err(error)),
        }
    }
}
