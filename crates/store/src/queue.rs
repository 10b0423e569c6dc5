//! The queue before the one who commits: where changes wait, who takes batches of them, and how they hear what became of them.

use crate::Receipt;
use crate::batch::{MAX_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS, Member};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenancy_core::Error;
use tenancy_core::changes::Changes;
use tenancy_core::judge::{Judgement, Verdict};
use tokio::sync::{Notify, mpsc, oneshot};

/// Most members that wait; beyond is [`Error::Busy`].
pub const MAX_WAITING: usize = 4096;

/// As many go together where a batch takes a half: two halves of fewer would cost more than they gain.
const FEW: usize = 16;

/// A member that waits for its answer. A caller that is gone leaves it: what was begun is done.
#[derive(Debug)]
pub struct Waiting {
    /// The member.
    pub member: Member,
    answer: oneshot::Sender<Result<Receipt, Error>>,
}

impl Waiting {
    /// Tells the caller, if it is still there.
    pub fn tell(self, answer: Result<Receipt, Error>) {
        // A caller that is gone needs no answer.
        let _ = self.answer.send(answer);
    }
}

/// The way in: bounded, and refused beyond.
#[derive(Debug, Clone)]
pub struct Queue {
    waiting: mpsc::Sender<Waiting>,
    crowd: Arc<Crowd>,
    /// Held by a test, no batch is taken: so it decides what goes together. While it is true, who takes one panics.
    #[cfg(feature = "model")]
    pub gate: Arc<tokio::sync::Mutex<bool>>,
}

/// Wakes up who takes batches, once, when as many wait as are looked for: not for each of them.
#[derive(Debug)]
struct Crowd {
    /// How many are looked for; [`usize::MAX`] while nobody looks.
    enough: AtomicUsize,
    came: Notify,
}

impl Crowd {
    /// So many wait now.
    fn grew_to(&self, waiting: usize) {
        let enough = waiting >= self.enough.load(Ordering::SeqCst);
        if enough && self.enough.swap(usize::MAX, Ordering::SeqCst) != usize::MAX {
            self.came.notify_one();
        }
    }
}

/// Where callers wait: the runtime that opened the store. Answers reach them through one task of it, so that a thread which
/// has answers for many wakes one thread, and not one for each.
#[derive(Debug, Clone)]
pub struct Callers(tokio::runtime::Handle);

impl Callers {
    /// Those of the runtime that this is called in.
    pub fn here() -> Self {
        Self(tokio::runtime::Handle::current())
    }

    /// Has them told by `tell`.
    pub fn told(&self, tell: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn(async move { tell() }));
    }
}

/// The other end of the queue, where batches are taken, and where what became of them is told.
#[derive(Debug)]
pub struct Intake {
    arriving: mpsc::Receiver<Waiting>,
    carried: VecDeque<Waiting>,
    /// How many the last batch had.
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
    pub async fn commit(&self, changes: Changes) -> Result<Receipt, Error> {
        let member = Member::new(changes);
        if member.bytes > MAX_MEMBER_BYTES {
            let most = MAX_MEMBER_BYTES / 1024 / 1024;
            return Err(Error::TooLarge(format!("one change is at most {most} MiB with all its rows: split it")));
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.try_send(Waiting { member, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
        })?;
        self.crowd.grew_to(self.waiting());
        // The committer answers everybody before it ends; if it died, nobody knows how far it came.
        answered.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }
}

impl Intake {
    /// How many wait by now.
    pub fn waiting(&self) -> usize {
        self.carried.len() + self.arriving.len()
    }

    /// Waits until so many wait, or a whole batch of them. Who takes batches sleeps meanwhile.
    pub async fn gathered(&self, count: usize) {
        let count = count.min(MAX_MEMBERS);
        while self.waiting() < count {
            self.crowd.enough.store(count - self.carried.len(), Ordering::SeqCst);
            // They may have come just before they were looked for.
            if self.waiting() < count {
                self.crowd.came.notified().await;
            }
        }
    }

    /// Everybody who waits by now, up to the bounds of a batch.
    pub fn ready(&mut self) -> Vec<Waiting> {
        #[cfg(feature = "model")]
        let Ok(_gate) = self.gate.clone().try_lock_owned() else { return Vec::new() };
        self.take(MAX_MEMBERS)
    }

    /// Everybody who waits, up to the bounds of a batch; `None` when nobody can come any more.
    pub async fn next(&mut self) -> Option<Vec<Waiting>> {
        self.arrived().await?;
        Some(self.take(MAX_MEMBERS))
    }

    /// At most half of those who are at it: who waits, and who was in the last batch and may come again. So they settle into
    /// two groups, and one is decided while the other commits; together they would wait for each other. [`FEW`] go together
    /// all the same.
    pub async fn next_half(&mut self) -> Option<Vec<Waiting>> {
        self.arrived().await?;
        Some(self.take((self.waiting() + self.last).div_ceil(2).clamp(FEW, MAX_MEMBERS)))
    }

    /// Waits until somebody waits; `None` when nobody can come any more.
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

    /// Tells everybody what became of them once their batch is committed; those who come later go first into the next one.
    /// `first` is the log position of the batch's first event.
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
                // Its position is in the log; nobody decides anything by it.
                Verdict::Done => answers.push((waiting, Ok(Receipt { position: 0 }))),
            }
        }
        self.callers.told(move || answers.into_iter().for_each(|(waiting, answer)| waiting.tell(answer)));
        self.carry(later);
    }

    /// These go first into the next batch.
    pub fn carry(&mut self, first: Vec<Waiting>) {
        for waiting in first.into_iter().rev() {
            self.carried.push_front(waiting);
        }
    }

    /// Refuses everybody who waits by now.
    pub fn refuse(&mut self, error: &Error) {
        let arriving = std::iter::from_fn(|| self.arriving.try_recv().ok());
        let refused: Vec<_> = self.carried.drain(..).chain(arriving).collect();
        let error = error.clone();
        self.callers.told(move || refused.into_iter().for_each(|waiting| waiting.tell(Err(error.clone()))));
    }

    /// Whether what is still to come is refused.
    pub fn is_closed(&self) -> bool {
        self.arriving.is_closed()
    }

    /// Refuses what is still to come; what waits is still taken.
    pub fn close(&mut self) {
        self.arriving.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenancy_core::Timestamp;
    use tenancy_core::actor::Actor;
    use tenancy_core::changes::IdempotencyRecord;
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
                tokio::spawn(async move { queue.commit(changes).await })
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
        let refused = queue.commit(changes(MAX_MEMBER_BYTES)).await;
        assert!(matches!(refused, Err(Error::TooLarge(_))), "{refused:?}");
        assert_eq!(queue.waiting(), 0);
    }
}
