//! The lifecycle of a server process: start, serve, drain.

use crate::authentication::Authentication;
use crate::background::{Background, Loop};
use crate::config::{Config, Jobs, Webhooks};
use crate::connections::accept::Front;
use crate::connections::tls::Certificate;
use crate::expiry;
use crate::feed::Seats;
use crate::hold_reconciler;
use crate::http::key_traffic::KeyTraffic;
use crate::http::response_cache::ResponseCache;
use crate::http::router::{metrics_router, router, router_without_metrics};
use crate::http::server::Server;
use crate::jobs::Runner;
use crate::key_usage;
use crate::log_sealer;
use crate::logins;
use crate::metrics::Metrics;
use crate::private_data;
use crate::provisioner::Provisioner;
use crate::refusals;
use crate::tenancy::Tenancy;
use crate::undeclared;
use crate::webhooks::deliverer::Deliverer;
use crate::webhooks::dispatcher;
use crate::webhooks::retention;
use crate::webhooks::sending::Sender;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Serves until `stop` is cancelled, then drains: refuses new connections, answers requests in progress, and releases
/// leases. The caller closes the store.
///
/// # Errors
/// [`Error::Internal`] if the TLS certificate cannot be read or an address cannot be used; [`Error::DatabaseGone`] if
/// the SQLite file was deleted or replaced.
pub async fn serve(config: Config, store: Store, listener: TcpListener, stop: CancellationToken) -> Result<(), Error> {
    let broken = |error: String| Error::Internal(error);
    let certificate =
        config.tls().map_err(|error| broken(error.0))?.map(Certificate::read).transpose().map_err(broken)?;
    let tls = certificate.as_ref().map(Certificate::acceptor).transpose().map_err(broken)?;
    let metrics_listener = metrics_listener(&config).await?;
    let tenancy = Tenancy::new(store, config.declared);
    tenancy.feed.set_max_buffer_bytes(config.events.max_buffer_bytes);
    tenancy.feed.stop_with(stop.clone());
    let metrics = Arc::new(Metrics::new(&tenancy.commits));
    let drain = Duration::from_secs(config.limits.drain_timeout_seconds);
    let tasks = TaskTracker::new();
    if let Err(error) = tenancy.store.compare_clock_with_log().await {
        tracing::warn!(%error, "could not compare the clock with the audit log");
    }
    let deliverer = deliverer(&tenancy, &metrics, &config.webhooks, &stop)?;
    let provisioner = config.jobs.provisioner.provisioner(&config.data_dir, &config.placements)?;
    // Nothing has set it before.
    let _ = tenancy.provisioner.set(Arc::clone(&provisioner));
    let work = (&config.jobs, provisioner, &deliverer);
    let background = background(&tenancy, &metrics, work, drain, &stop, &tasks);
    tokio::spawn(stop_if_gone(Arc::clone(&tenancy), stop.clone()));
    tasks.spawn(undeclared::run(Arc::clone(&tenancy), stop.clone()));
    let server = Arc::new(Server {
        tenancy: Arc::clone(&tenancy),
        limits: config.limits.clone(),
        metrics,
        response_cache: ResponseCache::new(config.limits.max_response_cache_bytes),
        authentication: Authentication::default(),
        key_traffic: KeyTraffic::new(config.key_limits),
        event_seats: Seats::new(config.events),
        deliverer,
        provisioner: config.jobs.enabled.then_some(config.jobs.provisioner),
        background,
        stop: stop.clone(),
    });
    let address = listener
        .local_addr()
        .map_err(|error| Error::Internal(format!("cannot determine the local address: {error}")))?;
    tracing::info!(%address, "serving");
    if let Some(certificate) = certificate {
        tokio::spawn(certificate.follow(stop.clone()));
    }
    let all = if metrics_listener.is_some() { router_without_metrics(&server) } else { router(&server) };
    let front = Front::new(Arc::clone(&server), all, config.trusted_proxies.into(), tls);
    match metrics_listener {
        None => front.serve(listener).await,
        Some(metrics_listener) => {
            let metrics = Front::new(Arc::clone(&server), metrics_router(&server), Arc::default(), None);
            tokio::join!(front.serve(listener), metrics.serve(metrics_listener));
        }
    }
    tenancy.drain().await;
    tasks.wait().await;
    write_what_is_left(&tenancy).await;
    tracing::info!("stopped");
    if tenancy.store.is_gone() { Err(Error::DatabaseGone) } else { Ok(()) }
}

/// Gives back the lease of the dispatcher, and records the last refused calls.
async fn write_what_is_left(tenancy: &Arc<Tenancy>) {
    if let Err(error) = tenancy.dispatcher.release(tenancy).await {
        tracing::debug!(%error, "the lease of the dispatcher was not given back");
    }
    if let Err(error) = refusals::run_once(tenancy).await {
        tracing::warn!(%error, "the last refused calls are not in the audit log");
    }
}

/// Opens the address on which metrics are served, if there is one.
async fn metrics_listener(config: &Config) -> Result<Option<TcpListener>, Error> {
    let Some(address) = config.metrics_address().map_err(|error| Error::Internal(error.0))? else { return Ok(None) };
    let refused = |error| Error::Internal(format!("cannot serve metrics on {address}: {error}"));
    TcpListener::bind(address).await.map(Some).map_err(refused)
}

/// How often the server checks that its SQLite file is still there, also if nothing is written.
const FILE_CHECK_EVERY: Duration = Duration::from_millis(500);

/// Stops the server if its SQLite file was deleted or replaced: it cannot write any more.
async fn stop_if_gone(tenancy: Arc<Tenancy>, stop: CancellationToken) {
    let gone = async {
        while !tenancy.store.is_gone() {
            tokio::time::sleep(FILE_CHECK_EVERY).await;
        }
        stop.cancel();
    };
    // Returns when the server stops for another reason.
    stop.run_until_cancelled(gone).await;
}

/// Returns the loops that every process runs.
pub fn loops(jobs: &Jobs) -> Vec<Loop> {
    let every = Duration::from_secs(jobs.expiry_seconds);
    let others = [
        hold_reconciler::as_loop(every),
        key_usage::as_loop(),
        refusals::as_loop(),
        log_sealer::as_loop(),
        dispatcher::as_loop(),
        retention::as_loop(),
    ];
    expiry::loops(every).into_iter().chain(others).chain(private_data::loops()).chain(logins::loops()).collect()
}

/// Starts the background loops, and the job engine if it is enabled.
fn background(
    tenancy: &Arc<Tenancy>,
    metrics: &Arc<Metrics>,
    (jobs, provisioner, deliverer): (&Jobs, Arc<dyn Provisioner>, &Arc<Deliverer>),
    drain: Duration,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Arc<Background> {
    let mut background = Background::new(Arc::clone(tenancy), Arc::clone(metrics), loops(jobs), stop.clone());
    if jobs.enabled {
        let (tenancy, metrics, stop) = (Arc::clone(tenancy), Arc::clone(metrics), stop.clone());
        let runner = Runner::new(tenancy, provisioner, metrics, jobs.clone(), stop);
        background = background.showing(runner.status());
        tasks.spawn(runner.run(drain));
    }
    if deliverer.sends() {
        background = background.showing(deliverer.status());
        tasks.spawn(Arc::clone(deliverer).run(drain));
    }
    let background = Arc::new(background);
    background.start(tasks);
    tasks.close();
    background
}

fn deliverer(
    tenancy: &Arc<Tenancy>,
    metrics: &Arc<Metrics>,
    webhooks: &Webhooks,
    stop: &CancellationToken,
) -> Result<Arc<Deliverer>, Error> {
    // Nothing has set them before.
    let _ = tenancy.url_policy.set(webhooks.policy());
    let _ = tenancy.delivery_retention_days.set(webhooks.retention_days);
    let sender = Arc::new(Sender::new(webhooks.policy())?);
    let (tenancy, metrics) = (Arc::clone(tenancy), Arc::clone(metrics));
    Ok(Deliverer::new(tenancy, sender, metrics, webhooks.clone(), stop.clone()))
}
