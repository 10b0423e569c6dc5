//! The lane beside the committer: members that need a row that a session of others holds wait here until the row is free, or
//! until their patience ends. Everybody else is committed meanwhile.

use super::committer::{Batch, Committer, Stage};
use super::fault::Failure;
use super::held_rows::{self, Holders, RowKey, needs_one, tenants_of};
use super::retry::RetryState;
use crate::batch::{MAX_MEMBERS, ReadSet};
use crate::queue::{Queue, SetAside, Waiting};
use std::collections::HashSet;
use std::time::Duration;
use tenancy_core::Error;
use tokio::time::Instant;

/// How long a member waits for a row that a session of others holds.
pub const MAX_TIME_ASIDE: Duration = Duration::from_secs(5);
/// Interval at which the rows are looked at.
const POLL: Duration = Duration::from_millis(20);
/// How often the pause after an attempt doubles: from twice [`POLL`] to about a second.
const MAX_DOUBLINGS: u32 = 6;

/// Where members are put that need a row that others hold.
pub enum Aside {
    /// Of the committer: the queue of the lane.
    Lane(Queue),
    /// Of the lane itself: they wait for the next round.
    NextRound(Vec<Waiting>),
}

/// Why members wait for a row.
pub enum Blocked {
    /// Members that need rows of others were set aside; these do not.
    Rest(Vec<Waiting>),
    /// Processes of ours are slow.
    Crowded(Vec<Waiting>),
    /// The row is none that a guard names.
    Hidden(Vec<Waiting>),
}

impl Committer {
    /// Commits members that were set aside, until the committer has ended and none is left.
    pub async fn run_aside(mut self) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                let Some(arrived) = self.intake.next().await else { return };
                waiting = arrived;
            }
            waiting.extend(self.intake.ready());
            waiting = self.round(waiting).await;
        }
    }

    /// Refuses members whose patience has ended, commits those whose rows are free, and returns the others.
    async fn round(&mut self, waiting: Vec<Waiting>) -> Vec<Waiting> {
        let is_over = |waiting: &Waiting| waiting.set_aside.is_some_and(|wait| wait.since.elapsed() >= MAX_TIME_ASIDE);
        let (over, mut waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_over);
        for refused in over {
            let correlation_id = &refused.member.changes.events()[0].correlation_id;
            tracing::warn!(%correlation_id, "a change was refused: another session holds a row that it needs");
            refused.tell(Err(Error::Locked));
        }
        let mut next = waiting.split_off(waiting.len().min(MAX_MEMBERS));
        let is_due = |waiting: &Waiting| waiting.set_aside.is_none_or(|wait| wait.next <= Instant::now());
        let (due, early): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_due);
        next.extend(early);
        if due.is_empty() {
            tokio::time::sleep(POLL).await;
            return next;
        }
        // If they cannot be asked for, the attempt to commit finds out why.
        let held: HashSet<RowKey> = match self.holders(&due).await {
            Ok(Holders { of_others, .. }) => of_others.into_iter().collect(),
            Err(_) => HashSet::new(),
        };
        self.held.add(held.iter().cloned());
        let (still, free): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|waiting| needs_one(waiting, |row| held.contains(row)));
        if free.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        // One batch for each tenant: the row that one of them waits for must not hold up the others.
        for group in by_tenant(free) {
            group.iter().for_each(|waiting| self.held.remove_rows_of(waiting));
            let batch = Batch { stage: Stage::Waiting(group), retry: RetryState::again() };
            self.settle(&mut batch.into()).await;
        }
        next.extend(still);
        if let Aside::NextRound(aside) = &mut self.aside {
            next.append(aside);
        }
        next
    }

    /// Finds out why these members wait for a row, and sets those aside that wait for others. `of_head`: they waited for the
    /// log's head.
    pub(super) async fn blocked(&mut self, members: Vec<Waiting>, of_head: bool) -> Blocked {
        if of_head {
            return Blocked::Crowded(members);
        }
        let Ok(Holders { of_others, ours }) = self.holders(&members).await else { return Blocked::Crowded(members) };
        if of_others.is_empty() {
            return if ours { Blocked::Crowded(members) } else { Blocked::Hidden(members) };
        }
        self.held.add(of_others);
        Blocked::Rest(self.without_held(members))
    }

    async fn holders(&mut self, members: &[Waiting]) -> Result<Holders, Failure> {
        let (connection, _) = self.connect().await?;
        let needs = ReadSet::of(members, false);
        let asked = Failure::unless_answered(false, held_rows::holders(&connection, &needs)).await;
        match &asked {
            Ok(_) => self.roll_back().await,
            Err(failure) => self.clear_up(failure).await,
        }
        asked
    }

    /// Sets those aside that need a row that was found held, and returns the others.
    pub(super) fn without_held(&mut self, members: Vec<Waiting>) -> Vec<Waiting> {
        let (rest, held) = self.held.split(members);
        held.into_iter().for_each(|waiting| self.set_aside(waiting));
        rest
    }

    /// Sets a member aside that waits for a row that no guard names, with those that come for the same tenant.
    pub(super) fn set_aside_with_its_tenant(&mut self, waiting: Waiting) {
        self.held.add(tenants_of(&waiting));
        self.set_aside(waiting);
    }

    fn set_aside(&mut self, mut waiting: Waiting) {
        let now = Instant::now();
        let wait = waiting.set_aside.get_or_insert(SetAside { since: now, tries: 0, next: now });
        match &mut self.aside {
            Aside::Lane(lane) => lane.pass_on(waiting),
            Aside::NextRound(aside) => {
                wait.tries += 1;
                wait.next = now + POLL * 2_u32.pow(wait.tries.min(MAX_DOUBLINGS));
                aside.push(waiting);
            }
        }
    }

    /// Whether this is the lane. It tries again later instead of waiting for locks: a batch that waits has locked other rows
    /// already, such as that of the organization, which everybody else needs.
    pub(super) fn is_lane(&self) -> bool {
        matches!(self.aside, Aside::NextRound(_))
    }
}

/// Splits members by the tenant that they change.
fn by_tenant(members: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut groups: Vec<(Option<RowKey>, Vec<Waiting>)> = Vec::new();
    for member in members {
        let tenant = tenants_of(&member).into_iter().next();
        match groups.iter_mut().find(|(of, _)| *of == tenant) {
            Some((_, group)) => group.push(member),
            None => groups.push((tenant, vec![member])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
