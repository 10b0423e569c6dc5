//! The queue in front of the committer: changes wait in it, the committer takes batches from it, and callers get their answers through it.

use crate::Receipt;
use crate::batch::{MAX_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS, Member};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenancy_core::Error;
use tenancy_core::judge::{Judgement, Verdict};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

/// Maximum number of members that wait; further ones are refused with [`Error::Busy`].
pub const MAX_WAITING: usize = 4096;

/// Minimum size at which a batch takes only half of the members: two smaller halves would cost more than they gain.
const FEW: usize = 16;

/// A member that waits for its answer. It is committed even if its caller has gone.
#[derive(Debug)]
pub struct Waiting {
    /// The member.
    pub member: Member,
    answer: oneshot::Sender<Result<Receipt, Error>>,
    /// Its wait for a row that a session of others holds.
    pub set_aside: Option<SetAside>,
}

/// The wait of a member for a row that a session of others holds.
#[derive(Debug, Clone, Copy)]
pub struct SetAside {
    /// Its beginning.
    pub since: Instant,
    /// Number of attempts to commit it since then.
    pub tries: u32,
    /// Earliest time of the next attempt.
    pub next: Instant,
}

impl Waiting {
    /// Answers the caller, if it is still there.
    pub fn tell(self, answer: Result<Receipt, Error>) {
        // A caller that is gone needs no answer.
        let _ = self.answer.send(answer);
    }
}

/// The sending end of the queue.
#[derive(Debug, Clone)]
pub struct Queue {
    waiting: mpsc::Sender<Waiting>,
    crowd: Arc<Crowd>,
    /// While a test holds it, no batch is taken, so that the test decides what goes together. While it is true, taking a batch
    /// panics.
    #[cfg(feature = "model")]
    pub gate: Arc<tokio::sync::Mutex<bool>>,
}

/// Wakes the committer once, when as many members wait as it waits for, and not once for each member.
#[derive(Debug)]
struct Crowd {
    /// How many the committer waits for; [`usize::MAX`] while it waits for none.
    enough: AtomicUsize,
    came: Notify,
}

impl Crowd {
    /// Called when the number of waiting members has grown.
    fn grew_to(&self, waiting: usize) {
        let enough = waiting >= self.enough.load(Ordering::SeqCst);
        if enough && self.enough.swap(usize::MAX, Ordering::SeqCst) != usize::MAX {
            self.came.notify_one();
        }
    }
}

/// The runtime in which callers wait: the one that opened the store. One task of it answers all callers of a batch, so that
/// the committer wakes one thread and not one for each caller.
#[derive(Debug, Clone)]
pub struct Callers(tokio::runtime::Handle);

impl Callers {
    /// The callers of the current runtime.
    pub fn here() -> Self {
        Self(tokio::runtime::Handle::current())
    }

    /// Runs `tell` in a task of that runtime.
    pub fn told(&self, tell: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn(async move { tell() }));
    }
}

/// The receiving end of the queue: batches are taken here, and answered here.
#[derive(Debug)]
pub struct Intake {
    arriving: mpsc::Receiver<Waiting>,
    carried: VecDeque<Waiting>,
    /// How many members the last batch had.
    last: usize,
    crowd: Arc<Crowd>,
    callers: Callers,
    #[cfg(feature = "model")]
    gate: Arc<tokio::sync::Mutex<bool>>,
}

/// A queue and its intake.
pub fn queue() -> (Queue, Intake) {
    let (waiting, arriving) = mpsc::channel(MAX_WAITING);
    #[cfg(feature = "model")]
    let gate = Arc::default();
    let crowd = Arc::new(Crowd { enough: AtomicUsize::new(usize::MAX), came: Notify::new() });
    let queue = Queue {
        waiting,
        crowd: Arc::clone(&crowd),
        #[cfg(feature = "model")]
        gate: Arc::clone(&gate),
    };
    let intake = Intake {
        arriving,
        carried: VecDeque::new(),
        last: 0,
        crowd,
        callers: Callers::here(),
        #[cfg(feature = "model")]
        gate,
    };
    (queue, intake)
}

impl Queue {
    /// Waits in the queue and for the commit.
    pub async fn commit(&self, member: Member) -> Result<Receipt, Error> {
        if member.bytes > MAX_MEMBER_BYTES {
            let most = MAX_MEMBER_BYTES / 1024 / 1024;
            return Err(Error::TooLarge(format!("one change is at most {most} MiB with all its rows: split it")));
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.try_send(Waiting { member, answer, set_aside: None }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
        })?;
        self.crowd.grew_to(self.waiting());
        // The committer answers every member before it ends. If it died, the outcome is unknown.
        answered.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// Passes on a member that has waited in another queue.
    pub fn pass_on(&self, waiting: Waiting) {
        if let Err(refused) = self.waiting.try_send(waiting) {
            let (waiting, error) = match refused {
                mpsc::error::TrySendError::Full(waiting) => (waiting, Error::Busy),
                mpsc::error::TrySendError::Closed(waiting) => (waiting, Error::Unavailable),
            };
            waiting.tell(Err(error));
        }
    }

    /// How many members wait.
    pub fn waiting(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }
}

impl Intake {
    /// How many members wait.
    pub fn waiting(&self) -> usize {
        self.carried.len() + self.arriving.len()
    }

    /// Sleeps until `count` members wait, or as many as fit into a batch.
    pub async fn gathered(&self, count: usize) {
        let count = count.min(MAX_MEMBERS);
        while self.waiting() < count {
            self.crowd.enough.store(count - self.carried.len(), Ordering::SeqCst);
            // They may have arrived just before `enough` was set.
            if self.waiting() < count {
                self.crowd.came.notified().await;
            }
        }
    }

    /// The members that wait now, up to the bounds of a batch.
    pub fn ready(&mut self) -> Vec<Waiting> {
        #[cfg(feature = "model")]
        let Ok(_gate) = self.gate.clone().try_lock_owned() else { return Vec::new() };
        self.take(MAX_MEMBERS)
    }

    /// Waits for a member, and takes all that wait, up to the bounds of a batch; `None` when the queue is closed and empty.
    pub async fn next(&mut self) -> Option<Vec<Waiting>> {
        self.arrived().await?;
        Some(self.take(MAX_MEMBERS))
    }

    /// As [`Self::next`], but at most half of the active members: those that wait, and those of the last batch, whose callers
    /// may send again. So callers form two groups, and one group decides while the other commits; in one group they would all
    /// wait for each other. At least [`FEW`] are taken.
    pub async fn next_half(&mut self) -> Option<Vec<Waiting>> {
        self.arrived().await?;
        Some(self.take((self.waiting() + self.last).div_ceil(2).clamp(FEW, MAX_MEMBERS)))
    }

    /// Waits for a member; `None` when the queue is closed and empty.
    async fn arrived(&mut self) -> Option<()> {
        if self.carried.is_empty() {
            let first = self.arriving.recv().await?;
            self.carried.push_back(first);
        }
        #[cfg(feature = "model")]
        assert!(!*self.gate.lock().await, "a test has asked for it");
        Some(())
    }

    fn take(&mut self, most: usize) -> Vec<Waiting> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < most {
            let Some(next) = self.carried.pop_front().or_else(|| self.arriving.try_recv().ok()) else { break };
            bytes += next.member.bytes;
            if bytes > MAX_BYTES && !batch.is_empty() {
                self.carried.push_front(next);
                break;
            }
            batch.push(next);
        }
        self.last = batch.len();
        batch
    }

    /// Answers the members of a batch that is committed. Members that are put off are the first of the next batch. `first` is
    /// the log position of the batch's first event.
    pub fn tell(&mut self, members: Vec<Waiting>, judgement: Judgement, first: i64) {
        let (mut answers, mut later, mut position) = (Vec::with_capacity(members.len()), Vec::new(), first);
        for (waiting, verdict) in members.into_iter().zip(judgement.verdicts) {
            match verdict {
                Verdict::In => {
                    let events = waiting.member.events.len();
                    answers.push((waiting, Ok(Receipt { position })));
                    position += i64::try_from(events).unwrap_or(i64::MAX);
                }
                Verdict::Out(conflict) => answers.push((waiting, Err(Error::Conflict(conflict)))),
                Verdict::Later => later.push(waiting),
                // Its position is in the log; nothing depends on the one that is given here.
                Verdict::Done => answers.push((waiting, Ok(Receipt { position: 0 }))),
            }
        }
        self.callers.told(move || answers.into_iter().for_each(|(waiting, answer)| waiting.tell(answer)));
        self.carry(later);
    }

    /// Puts members at the front of the queue.
    pub fn carry(&mut self, first: Vec<Waiting>) {
        for waiting in first.into_iter().rev() {
            self.carried.push_front(waiting);
        }
    }

    /// Refuses every member that waits now.
    pub fn refuse(&mut self, error: &Error) {
        let arriving = std::iter::from_fn(|| self.arriving.try_recv().ok());
        let refused: Vec<_> = self.carried.drain(..).chain(arriving).collect();
        let error = error.clone();
        self.callers.told(move || refused.into_iter().for_each(|waiting| waiting.tell(Err(error.clone()))));
    }

    /// Whether further members are refused.
    pub fn is_closed(&self) -> bool {
        self.arriving.is_closed()
    }

    /// Refuses further members; those that wait can still be taken.
    pub fn close(&mut self) {
        self.arriving.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenancy_core::Timestamp;
    use tenancy_core::actor::Actor;
    use tenancy_core::changes::{Changes, IdempotencyRecord};
    use tenancy_core::decision_context::DecisionContext;
    use tenancy_core::event::{Event, EventType};
    use tenancy_core::ids::CorrelationId;

    /// Changes whose rows are some hundred bytes and these.
    fn changes(bytes: usize) -> Changes {
        let now = Timestamp::UNIX_EPOCH;
        let mut context = DecisionContext::new(now, [0; 32], Actor::system("test"), CorrelationId::known("c"));
        let event = Event::new(&mut context, None, EventType::KeyRevoked, serde_json::json!({}));
        let mut changes = Changes::new(event);
        changes.answer = Some(IdempotencyRecord {
            digest: String::new(),
            request_digest: String::new(),
            status: 200,
            headers: Default::default(),
            body: "x".repeat(bytes),
            created_at: now,
            expires_at: now,
            tenant_id: None,
        });
        changes
    }

    /// Has changes wait.
    async fn wait(queue: &Queue, sizes: &[usize]) -> Vec<tokio::task::JoinHandle<Result<Receipt, Error>>> {
        let before = queue.waiting();
        let asked = sizes
            .iter()
            .map(|bytes| {
                let (queue, changes) = (queue.clone(), changes(*bytes));
                tokio::spawn(async move { queue.commit(Member::new(changes)).await })
            })
            .collect();
        while queue.waiting() < before + sizes.len() {
            tokio::task::yield_now().await;
        }
        asked
    }

    /// How large the batches are that are taken when these wait.
    async fn batches(sizes: &[usize]) -> Vec<usize> {
        let (queue, mut intake) = queue();
        let asked = wait(&queue, sizes).await;
        let mut taken = Vec::new();
        while taken.iter().sum::<usize>() < sizes.len() {
            taken.push(intake.next().await.expect("some wait").len());
        }
        asked.iter().for_each(tokio::task::JoinHandle::abort);
        taken
    }

    #[tokio::test]
    async fn a_batch_must_have_at_most_256_members() {
        assert_eq!(batches(&[1; 600]).await, [256, 256, 88]);
    }

    #[tokio::test]
    async fn a_batch_must_be_at_most_a_mebibyte_unless_one_member_alone_is_larger() {
        const KIB: usize = 1024;
        assert_eq!(batches(&[300 * KIB; 7]).await, [3, 3, 1]);
        assert_eq!(batches(&[10, 2000 * KIB, 10, 10]).await, [1, 1, 2]);
    }

    #[tokio::test]
    async fn a_half_must_be_of_all_who_are_at_it_and_a_few_must_go_together() {
        let (queue, mut intake) = queue();
        let mut taken = Vec::new();
        for came in [10, 100, 0, 600, 0] {
            wait(&queue, &vec![1; came]).await;
            taken.push(intake.next_half().await.expect("some wait").len());
        }
        // A few; half of 100 and the 10 before; of the 45 that were left all, as that is less than half of 45 and 55; at most a batch.
        assert_eq!(taken, [10, 55, 45, 256, 256]);
    }

    #[tokio::test]
    async fn a_member_beyond_its_limit_must_be_refused_and_not_wait() {
        let (queue, _intake) = queue();
        let refused = queue.commit(Member::new(changes(MAX_MEMBER_BYTES))).await;
        assert!(matches!(refused, Err(Error::TooLarge(_))), "{refused:?}");
        assert_eq!(queue.waiting(), 0);
    }
}
