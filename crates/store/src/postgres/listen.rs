//! LISTEN and NOTIFY: hints across processes that a job may be due. Polling finds it anyway.

use super::shared::Shared;
use super::target::{CONNECT_TIMEOUT, Target};
use crate::rows::{Dialect, Type};
use crate::sql::Sql;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, NoTls};

/// NOTIFY takes a lock of the whole database at its commit: so it comes after ours, and not more often than this.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How long to wait before connecting anew.
const PAUSE: Duration = Duration::from_secs(2);

/// Tells other processes, for each batch of hints once, as long as somebody else holds `told`.
pub async fn tell(told: Weak<Notify>, shared: Arc<Shared>) {
    let sql = Sql::new(Dialect::Postgres, "SELECT pg_notify('tenancy_jobs', '')::text");
    loop {
        let Some(told) = told.upgrade() else { return };
        if tokio::time::timeout(PAUSE, told.notified()).await.is_ok() {
            // Only a hint: who misses it polls.
            let _ = shared.write(&sql, &[Type::Text]).await;
            tokio::time::sleep(DEBOUNCE).await;
        }
    }
}

/// Listens to other processes, as long as somebody else holds `queued`. Behind a pooler it needs a URL of its own.
pub async fn listen(target: Target, queued: Weak<Notify>) {
    let target = match &target.listen {
        Some(url) => match Target::parse(url) {
            Ok(target) => target,
            Err(error) => return tracing::error!(%error, "the listen URL cannot be used; polling only"),
        },
        None if target.pooled => return,
        None => target,
    };
    let config = target.with(&Target::shared_settings());
    while queued.strong_count() > 0 {
        let ended = match &target.tls {
            Some(tls) => once(config.connect(tls.clone()), &queued).await,
            None => once(config.connect(NoTls), &queued).await,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "listening was interrupted");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

type Connected<S, T> = Result<(tokio_postgres::Client, tokio_postgres::Connection<S, T>), tokio_postgres::Error>;

/// One session, until it ends; nothing if nobody answers in time.
async fn once<S, T>(
    connecting: impl Future<Output = Connected<S, T>>,
    queued: &Weak<Notify>,
) -> Result<(), tokio_postgres::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let Ok(connected) = tokio::time::timeout(2 * CONNECT_TIMEOUT, connecting).await else { return Ok(()) };
    let (client, mut connection) = connected?;
    let mut asked = Box::pin(client.batch_execute("LISTEN tenancy_jobs"));
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
                Some(Ok(AsyncMessage::Notification(_))) => match queued.upgrade() {
                    Some(queued) => queued.notify_one(),
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
