//! `agent`: answers gateways from memory, also while the server is away.

mod answers;
mod keeper;
mod limiter;
mod listener;
mod metrics;

use crate::client::Client;
use crate::contexts::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::{LogFormat, log, stop_on_signals};
use crate::terminal::say;
use crate::time::duration;
use answers::{Answers, WhenStale};
use clap::Args;
use keeper::Keeper;
use limiter::Limiter;
use listener::{Address, Socket};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tenancy_client::snapshot_file::Loaded;
use tenancy_client::{AccessCache, Follower, SnapshotFile};
use tenancy_core::json::sha256_hex;
use tenancy_server::connections::tls::{Certificate, TlsFiles};
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Examples:
  TENANCY_TOKEN=tenancy_… tenancy agent --url https://tenancy.example.com
  tenancy agent --context prod --listen unix:/run/tenancy/agent.sock
  curl -i http://127.0.0.1:7301/v1/access/auth -H 'X-Tenant: acme-eu'

Use a key with the role gateway. docs/gateways.md shows the configuration of nginx and Envoy.
The agent limits each tenant to its quota apiRateLimit (429). Each agent counts alone: with three agents, a tenant can
send up to three times as many requests.";

/// Arguments of `agent`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Agent {
    /// Address to listen on: ADDR:PORT, or unix:PATH. An address other than loopback needs --client-token-file and TLS
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7301")]
    listen: Address,
    /// Mode of the Unix socket, in octal. Who may write to it may connect
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = mode)]
    socket_mode: u32,
    /// File with the token that gateways must send, as `Authorization: Bearer`
    #[arg(long, value_name = "FILE")]
    client_token_file: Option<PathBuf>,
    /// File with the TLS certificate and intermediate certificates, in PEM format. Read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// File with the private key of the TLS certificate, in PEM format
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// File from which the agent starts while the server is away. Default: in ~/.local/state/tenancy
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// Keep no snapshot file
    #[arg(long, conflicts_with = "snapshot")]
    no_snapshot: bool,
    /// Maximum age of answers, counted from when the server last confirmed them
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    max_age: Duration,
    /// What to do above the maximum age
    #[arg(long, value_enum, value_name = "ACTION", default_value = "serve")]
    when_stale: WhenStale,
    /// Do not limit the requests of a tenant to its quota apiRateLimit
    #[arg(long)]
    no_rate_limit: bool,
    /// Format of log lines. Default: text on a terminal, otherwise json
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// Parses the mode of a file.
fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "must be an octal mode, such as 660".to_owned())
}

/// Runs the command.
///
/// # Errors
/// Fails if the agent cannot start.
pub async fn run(client: &Client, given: Agent) -> Result<Exit, Failure> {
    let stop = stop_on_signals()?;
    let otherwise = if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    log(given.log_format.unwrap_or(otherwise), "info")?;
    let context = client.context().clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("agent").enable_all().build()?;
    let outcome = runtime.spawn(serve(context, given, stop)).await;
    // Remaining tasks have no caller that waits for them.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| Err(Failure::refused(format!("the agent stopped: {error}"))))
}

async fn serve(context: Context, given: Agent, stop: CancellationToken) -> Result<Exit, Failure> {
    let token_digest = given.client_token_file.as_deref().map(token_digest).transpose()?;
    let files = given.tls_cert.clone().zip(given.tls_key.clone()).map(|(cert, key)| TlsFiles { cert, key });
    if !given.listen.is_local() && (token_digest.is_none() || files.is_none()) {
        let message = "an address other than loopback needs --client-token-file, --tls-cert and --tls-key";
        return Err(Failure::usage(message).and("listen on 127.0.0.1 or on a Unix socket, or set these options"));
    }
    let tls = files.map(Certificate::read).transpose().map_err(Failure::refused)?;
    let client = tenancy_client::Client::new(&context.url, context.key.clone());
    let client = client.map_err(|error| Failure::usage(error.to_string()))?;
    let cache = AccessCache::new();
    let follower = Follower::new(client, Arc::clone(&cache));
    let keeper = match given.no_snapshot {
        true => None,
        false => {
            let path = given.snapshot.clone().map_or_else(|| default_path(&context), Ok)?;
            let file = SnapshotFile::new(path, binding(&context));
            let is_used = load(&file, &cache)?;
            Some(Keeper::new(file, Arc::clone(&cache), follower.link(), is_used))
        }
    };
    let socket = Socket::open(&given.listen, given.socket_mode).await?;
    let shown = socket.shown(tls.is_some())?;
    let following = tokio::spawn(follower.run(stop.clone()));
    let keeping = keeper.map(|keeper| tokio::spawn(keeper.run(stop.clone())));
    say(&format!("tenancy agent serves {shown}"))?;
    tracing::info!(address = %shown, server = %context.url, max_age_seconds = given.max_age.as_secs(), "serving");
    let limiter = (!given.no_rate_limit).then(Limiter::default);
    let Agent { max_age, when_stale, .. } = given;
    let answers = Answers { cache, max_age, when_stale, token_digest, limiter, metrics: metrics::Metrics::default() };
    let served = socket.serve(Arc::new(answers), tls, stop).await;
    // Neither task fails.
    let _ = following.await;
    if let Some(keeping) = keeping {
        let _ = keeping.await;
    }
    tracing::info!("stopped");
    served.map(|()| Exit::Done)
}

/// Fills the cache from the file.
fn load(file: &SnapshotFile, cache: &AccessCache) -> Result<bool, Failure> {
    let shown = file.path().display();
    let loaded = file.load(cache).map_err(|error| {
        Failure::refused(format!("cannot use the snapshot file {shown}: {error}"))
            .and("name another file with --snapshot")
    })?;
    match &loaded {
        Loaded::Nothing => tracing::info!(file = %shown, "there is no snapshot file yet"),
        Loaded::Used => {
            let age_seconds = cache.age().unwrap_or_default().as_secs();
            tracing::info!(file = %shown, tenants = cache.tenants(), age_seconds, "starts from the snapshot file");
        }
        Loaded::Removed(reason) => tracing::warn!(file = %shown, reason, "removed the snapshot file"),
    }
    Ok(loaded == Loaded::Used)
}

/// Returns what a snapshot file is bound to: the server and the key.
fn binding(context: &Context) -> String {
    let key = context.key.as_deref().unwrap_or_default();
    sha256_hex(&[b"tenancy agent snapshot\0", context.url.as_bytes(), b"\0", key.as_bytes()])
}

/// Returns the default path: `$STATE_DIRECTORY` (systemd), else `$XDG_STATE_HOME/tenancy`, else
/// `~/.local/state/tenancy`. Agents of different servers have different files.
fn default_path(context: &Context) -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("STATE_DIRECTORY")
        .or_else(|| set("XDG_STATE_HOME").map(|home| home.join("tenancy")))
        .or_else(|| set("HOME").map(|home| home.join(".local/state/tenancy")))
        .ok_or_else(|| Failure::refused("HOME is not set: name the snapshot file with --snapshot"))?;
    let server = sha256_hex(&[context.url.as_bytes()]);
    Ok(directory.join(format!("agent-{}.snapshot", &server[..16])))
}

/// Reads the token that gateways must send.
fn token_digest(path: &Path) -> Result<String, Failure> {
    const LEAST_BYTES: usize = 16;
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::refused(format!("cannot read the token in {shown}: {error}")))?;
    let token = text.trim();
    if token.len() < LEAST_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("{shown} must contain one token of at least {LEAST_BYTES} visible ASCII characters");
        return Err(Failure::refused(message).and(format!("openssl rand -hex 32 > {shown}")));
    }
    Ok(sha256_hex(&[token.as_bytes()]))
}
