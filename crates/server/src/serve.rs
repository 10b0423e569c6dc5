//! The lifecycle of a server process: start, serve, drain.

use crate::authentication::Authentication;
use crate::background::{Background, Loop};
use crate::config::{Config, Jobs, Limits};
use crate::expiry;
use crate::hold_reconciler;
use crate::http::key_traffic::KeyTraffic;
use crate::http::response_cache::ResponseCache;
use crate::http::router::router;
use crate::http::server::Server;
use crate::http::unread::SaysWhatIsUnread;
use crate::jobs::Runner;
use crate::key_usage;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::refusals;
use crate::tenancy::Tenancy;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Serves until `stop` is cancelled, then drains: refuses new connections, answers requests in progress, and releases
/// leases. The caller closes the store.
///
/// # Errors
/// [`Error::Internal`] if the local address cannot be determined.
pub async fn serve(config: Config, store: Store, listener: TcpListener, stop: CancellationToken) -> Result<(), Error> {
    let tenancy = Tenancy::new(store, config.declared);
    let metrics = Arc::new(Metrics::new(&tenancy.commits));
    let drain = Duration::from_secs(config.limits.drain_timeout_seconds);
    let tasks = TaskTracker::new();
    let background = background(&tenancy, &metrics, &config.jobs, drain, &stop, &tasks);
    let server = Arc::new(Server {
        tenancy: Arc::clone(&tenancy),
        limits: config.limits.clone(),
        metrics,
        response_cache: ResponseCache::new(config.limits.max_response_cache_bytes),
        authentication: Authentication::default(),
        key_traffic: KeyTraffic::new(config.key_limits),
        background,
        stop: stop.clone(),
    });
    let address = listener
        .local_addr()
        .map_err(|error| Error::Internal(format!("cannot determine the local address: {error}")))?;
    tracing::info!(%address, "serving");
    accept(&server, listener, &config.limits, &config.trusted_proxies.into(), &stop).await;
    tenancy.drain().await;
    tasks.wait().await;
    if let Err(error) = refusals::run_once(&tenancy).await {
        tracing::warn!(%error, "the last refused calls are not in the audit log");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Returns the loops that every process runs.
pub fn loops(jobs: &Jobs) -> Vec<Loop> {
    let every = Duration::from_secs(jobs.expiry_seconds);
    expiry::loops(every)
        .into_iter()
        .chain([hold_reconciler::as_loop(every), key_usage::as_loop(), refusals::as_loop()])
        .collect()
}

/// Starts the background loops, and the job engine if it is enabled.
fn background(
    tenancy: &Arc<Tenancy>,
    metrics: &Arc<Metrics>,
    jobs: &Jobs,
    drain: Duration,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Arc<Background> {
    let mut background = Background::new(Arc::clone(tenancy), Arc::clone(metrics), loops(jobs), stop.clone());
    if jobs.enabled {
        let (tenancy, metrics, stop) = (Arc::clone(tenancy), Arc::clone(metrics), stop.clone());
        let runner = Runner::new(tenancy, jobs.provisioner.provisioner(), metrics, jobs.clone(), stop);
        background = background.showing(runner.status());
        tasks.spawn(runner.run(drain));
    }
    let background = Arc::new(background);
    background.start(tasks);
    tasks.close();
    background
}

/// Accepts connections until `stop` is cancelled, then waits for open connections, up to the limit.
async fn accept(
    server: &Arc<Server>,
    listener: TcpListener,
    limits: &Limits,
    proxies: &Arc<[Network]>,
    stop: &CancellationToken,
) {
    let (router, open) = (router(server), GracefulShutdown::new());
    let seats = Arc::new(Semaphore::new(limits.max_connections));
    loop {
        // Accepts a connection only below the limit. Further connections wait in the kernel's queue.
        let seat = tokio::select! {
            seat = Arc::clone(&seats).acquire_owned() => seat,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let service = SaysWhatIsUnread::new(router.clone(), from.ip(), Arc::clone(proxies));
                let connection = open.watch(connection(stream, service, limits));
                let connections = server.metrics.connections.clone();
                connections.inc();
                tokio::spawn(async move {
                    // An error here concerns only this connection, for example a client that disconnects.
                    let _ = connection.await;
                    connections.dec();
                    drop(seat);
                });
            }
            Err(error) => {
                // For example, no file descriptors are left, or the connection was closed while it waited. Others may
                // still succeed.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let time = Duration::from_secs(limits.drain_timeout_seconds);
    if tokio::time::timeout(time, open.shutdown()).await.is_err() {
        tracing::warn!(
            "shutdown closes connections that were still open after {} seconds",
            limits.drain_timeout_seconds
        );
    }
}

/// Minimum size of a connection's buffer. hyper requires at least 8 KiB, and reads bodies through the buffer.
const LEAST_BUFFER_BYTES: usize = 64 * 1024;

type Connection = hyper::server::conn::http1::Connection<TokioIo<TcpStream>, SaysWhatIsUnread>;

fn connection(stream: TcpStream, service: SaysWhatIsUnread, limits: &Limits) -> Connection {
    // Answers are small and written at once, so that Nagle's algorithm would only add latency.
    let _ = stream.set_nodelay(true);
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_read_timeout_seconds))
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(limits.max_header_bytes.max(LEAST_BUFFER_BYTES))
        .serve_connection(TokioIo::new(stream), service)
}
