//! `dev`: a server to try things, ready in one command.

use crate::client::Client;
use crate::command::apply::{conclude, send};
use crate::contexts::{Context, Contexts, read_toml, write_toml};
use crate::documents::Documents;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::{
    LogFormat, bad_config, listen, log, make_data_directory, make_key, not_served, of_database, on_threads_for,
    reached, stop_on_signals,
};
use crate::kinds::OVERVIEW;
use crate::listing::List;
use crate::output::{Format, Printer};
use crate::program::{command, quoted};
use crate::reach::{CLIENT_FILE, DATA_DIRECTORY, DEV_CONTEXT, Server};
use crate::terminal::{Colour, colours, error_colours, remark, say};
use crate::waiting::{Patience, Settled};
use crate::wire::{Received, TenantRow};
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tenancy_api::health::Health;
use tenancy_core::apikey::Role;
use tenancy_server::token::token_digest;
use tenancy_server::{Config, Flags};
use tenancy_store::Store;
use tenancy_store::database::Database;
use tokio_util::sync::CancellationToken;

/// Tenants in the table at the start.
const TENANTS_SHOWN: usize = 20;
/// How long the applied tenants are waited for.
const PATIENCE: Patience = Patience { no_wait: false, timeout: 120 };
/// How long the server that has the context may take to say that it runs.
const ANSWER_SECONDS: u64 = 2;

const EXAMPLES: &str = "\
Examples:
  tenancy dev
  tenancy dev --apply examples/acme.yaml
  tenancy dev --data-dir /tmp/try --listen 127.0.0.1:0
  tenancy dev --database postgres://localhost/tenancy

The data stays in the data directory: a second start goes on where the first one was.
From a second shell no flag is needed: the context `dev` is written to ~/.config/tenancy/config.toml.
A second server beside the first one leaves that to it, and is reached with --data-dir.";

/// Arguments of `dev`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Dev {
    /// Manifests to apply: a file or a directory; may be given several times
    #[arg(long, value_name = "FILE")]
    apply: Vec<PathBuf>,
    /// Where the data and the key are kept
    #[arg(long, value_name = "DIR", default_value = DATA_DIRECTORY)]
    data_dir: PathBuf,
    /// sqlite:PATH or postgres://…; a file in the data directory when left out
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where to listen (default 127.0.0.1:7300; port 0 picks one)
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

/// Runs it until it is asked to stop.
///
/// # Errors
/// Why it cannot start, or what was refused of the manifests.
pub async fn run(given: Dev) -> Result<Exit, Failure> {
    log(LogFormat::Text, "warn");
    // Read first: a slip in a name should not cost a start. While that waits for somebody to type, a signal just ends it.
    let documents = if given.apply.is_empty() { None } else { Some(Documents::read(&given.apply)?) };
    let stop = stop_on_signals()?;
    let flags =
        Flags { listen: given.listen, data_dir: Some(given.data_dir), database: given.database, ..Flags::default() };
    // Not from the environment: what is set for a server must not become the database one tries things on.
    let config = Config::from_sources("the flags", "", |_| None, flags).map_err(bad_config)?;
    let database = config.database().map_err(bad_config)?;
    make_data_directory(&config)?;
    on_threads_for(&database.clone(), open(config, database, documents, stop)).await
}

/// Opens the database, and serves it until it is asked to stop.
async fn open(
    config: Config,
    database: Database,
    documents: Option<Documents>,
    stop: CancellationToken,
) -> Result<Exit, Failure> {
    reached(&database).await?;
    not_served(&database, &config.data_dir).await?;
    let opened = match database.migrate(false).await {
        Ok(_) => database.open().await,
        Err(error) => Err(error),
    };
    let store = opened.map_err(|error| not_opened(error, &config.data_dir))?;
    let outcome = host(config, &store, documents, stop).await;
    store.close().await;
    outcome
}

/// Serves until it is asked to stop; meanwhile applies and shows.
async fn host(
    config: Config,
    store: &Store,
    documents: Option<Documents>,
    stop: CancellationToken,
) -> Result<Exit, Failure> {
    let (listener, client) = start(&config, store).await?;
    let directory = config.data_dir.clone();
    say(&format!("tenancy dev serves {}, its data is in {}", client.url(), config.data_dir.display()))?;
    let mut server = tokio::spawn(tenancy_server::serve(config, store.clone(), listener, stop.clone()));
    let presented = tokio::select! {
        presented = present(&client, documents, &directory) => presented,
        () = stop.cancelled() => Ok(Exit::Done),
        ended = &mut server => return served(ended),
    };
    if presented.is_err() {
        stop.cancel();
    }
    let ended = served(server.await);
    presented.and(ended)
}

fn served(ended: Result<Result<(), tenancy_core::Error>, tokio::task::JoinError>) -> Result<Exit, Failure> {
    match ended {
        Ok(Ok(())) => Ok(Exit::Done),
        Ok(Err(error)) => Err(of_database(error)),
        Err(error) => Err(Failure::refused(format!("the server stopped: {error}"))),
    }
}

/// Somebody else may have the database; then there is a server that can be used.
fn not_opened(error: tenancy_core::Error, directory: &Path) -> Failure {
    let is_held = matches!(error, tenancy_core::Error::NotNow(_));
    let failure = of_database(error);
    if is_held && directory.join(CLIENT_FILE).exists() {
        let shown = directory.to_string_lossy();
        return failure.and_type(&format!("status --data-dir {}", quoted(&shown)));
    }
    failure
}

/// Listens, and finds or makes the key.
async fn start(config: &Config, store: &Store) -> Result<(tokio::net::TcpListener, Client), Failure> {
    let listener = listen(config.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let file = config.data_dir.join(CLIENT_FILE);
    let kept = read_toml::<Context>(&file)?.and_then(|context| context.key);
    let key = match kept {
        Some(token) if is_good(store, &token).await? => token,
        // The first start, or another database than the last time. The name is taken where the same database is
        // used from two data directories.
        _ => {
            let mut random = [0; 4];
            getrandom::fill(&mut random).map_err(|error| Failure::refused(format!("no randomness: {error}")))?;
            let name = format!("dev-{:08x}", u32::from_be_bytes(random));
            make_key(store, config, &name, Role::Admin, "dev").await?
        }
    };
    let context = Context { url, key: Some(key) };
    // Written at each start: the port may be another one.
    write_toml(&file, &context)?;
    Ok((listener, client_of(context)?))
}

async fn is_good(store: &Store, token: &str) -> Result<bool, Failure> {
    let key = store.api_key(&token_digest(token)).await.map_err(of_database)?;
    Ok(key.is_some_and(|key| key.role == Role::Admin && key.is_good(store.now())))
}

fn client_of(context: Context) -> Result<Client, Failure> {
    Client::new(Server { context, found_by: "a dev server".to_owned(), helps: "dev".to_owned() })
}

/// Writes the context, and answers the flag that a command in a second shell needs; mostly none.
async fn remember(client: &Client, directory: &Path) -> String {
    match remembered(client).await {
        Ok(Some(current)) if current == DEV_CONTEXT && std::env::var_os("TENANCY_URL").is_none() => String::new(),
        Ok(Some(_)) => format!(" --context {DEV_CONTEXT}"),
        Ok(None) => by_directory(directory),
        // Without a home there is still the data directory.
        Err(failure) => {
            remark(failure.render(error_colours()).trim_end());
            by_directory(directory)
        }
    }
}

fn by_directory(directory: &Path) -> String {
    format!(" --data-dir {}", quoted(&directory.to_string_lossy()))
}

/// The current context, after ours was written; `None` when the name is another server's that answers right now: whoever
/// works with that one goes on with it.
async fn remembered(client: &Client) -> Result<Option<String>, Failure> {
    let path = Contexts::path()?;
    let ours = client.context();
    if let Some(other) = Contexts::load(&path)?.contexts.remove(DEV_CONTEXT)
        // A data directory keeps its key, and nobody else can answer where we listen.
        && other.key != ours.key
        && other.url != ours.url
        && answers(other).await
    {
        return Ok(None);
    }
    let mut contexts = Contexts::load(&path)?;
    contexts.contexts.insert(DEV_CONTEXT.to_owned(), ours.clone());
    contexts.current.get_or_insert_with(|| DEV_CONTEXT.to_owned());
    contexts.save(&path)?;
    Ok(contexts.current)
}

/// Whether a server runs there.
async fn answers(context: Context) -> bool {
    let Ok(client) = client_of(Context { key: None, ..context }) else { return false };
    let asked = client.request(Method::GET, &["healthz"]).look();
    let answer = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS), asked).await;
    answer.is_ok_and(|answer| {
        answer.is_ok_and(|(_, body)| Health::deserialize(&body).is_ok_and(|health| health.status == Health::OK))
    })
}

/// Applies the manifests over the server's own API, and shows what is there.
async fn present(client: &Client, documents: Option<Documents>, directory: &Path) -> Result<Exit, Failure> {
    let mut settled = BTreeMap::new();
    let mut outcome = Ok(());
    if let Some(documents) = documents {
        let applied = send(client, documents, &[], false).await?;
        say("")?;
        applied.print(Format::Table)?;
        applied.refusal()?;
        settled = applied.settle(client, PATIENCE).await?;
        outcome = conclude(&settled, PATIENCE, |_| false);
    }
    let first = overview(client).await?;
    for one in settled.values().filter(|one| !one.standing().is_reached()) {
        said(one)?;
    }
    // A job that failed can be looked at as long as the server runs.
    if let Err(failure) = outcome {
        remark(failure.render(error_colours()).trim_end());
    }
    // Only now: what is refused, and stops at once, must not take the context from a server that goes on.
    let flag = remember(client, directory).await;
    say(&format!("\n{}", Colour::Bold.paint("try next, in a second shell:", colours())))?;
    for line in next_commands(first.as_deref(), &flag) {
        say(&format!("  {line}"))?;
    }
    say("\nCtrl-C stops the server; the data stays.")?;
    Ok(Exit::Done)
}

fn said(one: &Settled) -> Result<(), Failure> {
    if let Ok(line) = one.verdict(PATIENCE.timeout) {
        say(&format!("\n{line}"))?;
        if let Some(command) = one.remedy() {
            say(&format!("  {command}"))?;
        }
    }
    Ok(())
}

/// Prints what is there, and answers the first tenant.
async fn overview(client: &Client) -> Result<Option<String>, Failure> {
    let rows: Vec<Received<TenantRow>> = List::of(&["tenants"]).at_most(Some(TENANTS_SHOWN)).all(client).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut whole = Vec::new();
    for row in &rows {
        // A row of the list has no environments.
        whole.push(client.get(&["tenants", &row.value.tenant_id]).await?);
    }
    say("")?;
    let mut printer = Printer::new(&OVERVIEW, Format::Table);
    printer.page(&whole)?;
    printer.finish()?;
    if rows.len() == TENANTS_SHOWN {
        say(&format!("(the first {TENANTS_SHOWN})"))?;
    }
    Ok(rows.first().map(|row| row.value.tenant_id.to_string()))
}

fn next_commands(tenant: Option<&str>, flag: &str) -> [String; 3] {
    match tenant.map(quoted) {
        Some(tenant) => [
            command(&format!("describe tenant {tenant}{flag}")),
            command(&format!("suspend {tenant} --reason 'trying it out'{flag}")),
            command(&format!("audit --tenant {tenant}{flag}")),
        ],
        None => [
            command("example > acme.yaml"),
            command(&format!("apply -f acme.yaml{flag}")),
            command(&format!("get tenants{flag}")),
        ],
    }
}
