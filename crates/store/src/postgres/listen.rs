//! LISTEN and NOTIFY: hints across processes, with the topic as payload. Polling finds the same news without them.

use super::shared::Shared;
use super::target::{CONNECT_TIMEOUT, Target};
use crate::rows::{Dialect, Type};
use crate::sql::Sql;
use crate::topics::{Topic, Topics};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, NoTls};

/// Channel of all topics.
const CHANNEL: &str = "tenancy";
/// Minimum interval between NOTIFY statements. NOTIFY takes a database-wide lock at its commit, so it is sent after our
/// commit and not more often than this.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Pause before reconnecting.
const PAUSE: Duration = Duration::from_secs(2);

/// Hints to send to other processes.
#[derive(Debug, Default)]
pub struct Hints {
    jobs: AtomicBool,
    deliveries: AtomicBool,
    log: AtomicBool,
    added: Notify,
}

impl Hints {
    /// Adds a hint. A pending hint on the same topic covers it.
    pub fn add(&self, topic: Topic) {
        if !self.waiting(topic).swap(true, Ordering::AcqRel) {
            self.added.notify_one();
        }
    }

    /// Takes all pending hints.
    fn take(&self) -> Vec<Topic> {
        Topic::ALL.into_iter().filter(|topic| self.waiting(*topic).swap(false, Ordering::AcqRel)).collect()
    }

    fn waiting(&self, topic: Topic) -> &AtomicBool {
        match topic {
            Topic::Jobs => &self.jobs,
            Topic::Deliveries => &self.deliveries,
            Topic::Log => &self.log,
        }
    }
}

/// Sends hints to other processes, all pending hints at once, until all other references to `hints` are dropped.
pub async fn tell(hints: Weak<Hints>, shared: Arc<Shared>) {
    loop {
        let Some(hints) = hints.upgrade() else { return };
        if tokio::time::timeout(PAUSE, hints.added.notified()).await.is_err() {
            continue;
        }
        let topics = hints.take();
        if topics.is_empty() {
            continue;
        }
        let notify = |topic: &Topic| format!("pg_notify('{CHANNEL}', '{}')::text", topic.as_str());
        let columns = topics.iter().map(notify).collect::<Vec<_>>().join(", ");
        let sql = Sql::new(Dialect::Postgres, format!("SELECT {columns}"));
        // Only a hint: a process that misses it polls.
        let _ = shared.write(&sql, &vec![Type::Text; topics.len()]).await;
        tokio::time::sleep(DEBOUNCE).await;
    }
}

/// Listens to other processes until all other references to `topics` are dropped. Behind a pooler this needs a separate
/// URL.
pub async fn listen(target: Target, topics: Weak<Topics>) {
    let target = match &target.listen {
        Some(url) => match Target::parse(url) {
            Ok(target) => target,
            Err(error) => {
                return tracing::error!(%error, "the listen URL is not usable: this process only polls for changes");
            }
        },
        None if target.pooled => return,
        None => target,
    };
    let config = target.with(&Target::shared_settings());
    while topics.strong_count() > 0 {
        let ended = match &target.tls {
            Some(tls) => once(config.connect(tls.clone()), &topics).await,
            None => once(config.connect(NoTls), &topics).await,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "the LISTEN session was interrupted");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

type Connected<S, T> = Result<(tokio_postgres::Client, tokio_postgres::Connection<S, T>), tokio_postgres::Error>;

/// Runs one session until it ends. Gives up if the server does not answer in time.
async fn once<S, T>(
    connecting: impl Future<Output = Connected<S, T>>,
    topics: &Weak<Topics>,
) -> Result<(), tokio_postgres::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let Ok(connected) = tokio::time::timeout(2 * CONNECT_TIMEOUT, connecting).await else { return Ok(()) };
    let (client, mut connection) = connected?;
    let listen = format!("LISTEN {CHANNEL}");
    let mut asked = Box::pin(client.batch_execute(&listen));
    let mut listening = false;
    std::future::poll_fn(|context| {
        if !listening && let std::task::Poll::Ready(done) = asked.as_mut().poll(context) {
            listening = true;
            if let Err(error) = done {
                return std::task::Poll::Ready(Err(error));
            }
        }
        loop {
            match std::task::ready!(connection.poll_message(context)) {
                Some(Ok(AsyncMessage::Notification(told))) => match topics.upgrade() {
                    Some(topics) => Topic::parse(told.payload()).into_iter().for_each(|topic| topics.tell(topic)),
                    None => return std::task::Poll::Ready(Ok(())),
                },
                Some(Ok(_)) => {}
                Some(Err(error)) => return std::task::Poll::Ready(Err(error)),
                None => return std::task::Poll::Ready(Ok(())),
            }
        }
    })
    .await
}
