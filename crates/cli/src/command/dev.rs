//! `dev`: starts a server for development with one command.

use crate::client::Client;
use crate::command::apply::{How, conclude, send};
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
use crate::vault;
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
use tenancy_server::provisioner::ProvisionerKind;
use tenancy_server::token::token_digest;
use tenancy_server::{Config, Flags};
use tenancy_store::Store;
use tenancy_store::database::Database;
use tokio_util::sync::CancellationToken;

/// Maximum number of tenants in the table at the start.
const TENANTS_SHOWN: usize = 20;
/// Timeout for the jobs of the applied tenants.
const PATIENCE: Patience = Patience { no_wait: false, timeout: 120 };
/// Timeout for the health check of the server that has the `dev` context.
const ANSWER_SECONDS: u64 = 2;

const EXAMPLES: &str = "\
Examples:
  tenancy dev
  tenancy dev --apply examples/acme.yaml
  tenancy dev --data-dir /tmp/try --listen 127.0.0.1:0
  tenancy dev --database postgres://localhost/tenancy

The data stays in the data directory; the next start uses it again.
The command writes the context `dev` to ~/.config/tenancy/config.toml, so that other shells need no option.
If another dev server is running, the context stays with it; use --data-dir to select this one.";

/// Arguments of `dev`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Dev {
    /// File or directory with manifests to apply; can be repeated
    #[arg(long, value_name = "FILE")]
    apply: Vec<PathBuf>,
    /// Directory for the data and the key
    #[arg(long, value_name = "DIR", default_value = DATA_DIRECTORY)]
    data_dir: PathBuf,
    /// Database: sqlite:PATH or postgres://…. Default: a SQLite file in the data directory
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Address to listen on; port 0 chooses a free port. Default: 127.0.0.1:7300
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

/// Runs the server until a signal stops it.
///
/// # Errors
/// Fails if the server cannot start or a manifest is refused.
pub async fn run(given: Dev) -> Result<Exit, Failure> {
    log(LogFormat::Text, "warn")?;
    // Read the manifests before the server starts, so that a wrong path fails early. Signal handlers are installed
    // later, so that a signal ends a read from standard input.
    let documents = if given.apply.is_empty() { None } else { Some(Documents::read(&given.apply)?) };
    let stop = stop_on_signals()?;
    let flags =
        Flags { listen: given.listen, data_dir: Some(given.data_dir), database: given.database, ..Flags::default() };
    // The environment is ignored: variables that are set for a server must not select the database of `dev`.
    let mut config = Config::from_sources("the flags", "", |_| None, flags).map_err(bad_config)?;
    // The receivers of a developer run on the same machine, and have no certificate.
    (config.webhooks.allow_http, config.webhooks.allow_loopback) = (true, true);
    config.jobs.provisioner = ProvisionerKind::Sqlite;
    let database = config.database().map_err(bad_config)?;
    make_data_directory(&config)?;
    on_threads_for(&database.clone(), open(config, database, documents, stop)).await
}

/// Opens the database and serves it until a signal stops it.
async fn open(
    config: Config,
    database: Database,
    documents: Option<Documents>,
    stop: CancellationToken,
) -> Result<Exit, Failure> {
    reached(&database).await?;
    not_served(&database, &config.data_dir).await?;
    let vault = vault::of_dev(&config, &database).await?;
    let opened = match database.migrate(false).await {
        Ok(_) => database.open(vault).await,
        Err(error) => Err(error),
    };
    let store = opened.map_err(|error| not_opened(error, &config.data_dir))?;
    let outcome = host(config, &store, documents, stop).await;
    store.close().await;
    outcome
}

/// Serves until a signal stops it. Meanwhile applies the manifests and prints the overview.
async fn host(
    config: Config,
    store: &Store,
    documents: Option<Documents>,
    stop: CancellationToken,
) -> Result<Exit, Failure> {
    let (listener, client) = start(&config, store).await?;
    let directory = config.data_dir.clone();
    say(&format!("tenancy dev serves {} with data in {}", client.url(), config.data_dir.display()))?;
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

/// Converts the error of a database that cannot be opened. If another process has it open, suggests to use that server.
fn not_opened(error: tenancy_core::Error, directory: &Path) -> Failure {
    let is_held = matches!(error, tenancy_core::Error::NotNow(_));
    let failure = of_database(error);
    if is_held && directory.join(CLIENT_FILE).exists() {
        let shown = directory.to_string_lossy();
        return failure.and_type(&format!("status --data-dir {}", quoted(&shown)));
    }
    failure
}

/// Listens, and reads or creates the key.
async fn start(config: &Config, store: &Store) -> Result<(tokio::net::TcpListener, Client), Failure> {
    let listener = listen(config.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let file = config.data_dir.join(CLIENT_FILE);
    let kept = read_toml::<Context>(&file)?.and_then(|context| context.key);
    let key = match kept {
        Some(token) if is_active_admin(store, &token).await? => token,
        // First start, or another database than before. The name is random because two data directories can use the
        // same database.
        _ => {
            let mut random = [0; 4];
            getrandom::fill(&mut random)
                .map_err(|error| Failure::refused(format!("cannot read random bytes: {error}")))?;
            let name = format!("dev-{:08x}", u32::from_be_bytes(random));
            make_key(store, config, &name, Role::Admin, "dev").await?
        }
    };
    let context = Context { url, key: Some(key) };
    // Written at each start, because the port can change.
    write_toml(&file, &context)?;
    Ok((listener, client_of(context)?))
}

async fn is_active_admin(store: &Store, token: &str) -> Result<bool, Failure> {
    let key = store.api_key(&token_digest(token)).await.map_err(of_database)?;
    Ok(key.is_some_and(|key| key.role == Role::Admin && key.is_good(store.now())))
}

fn client_of(context: Context) -> Result<Client, Failure> {
    Client::new(Server { context, found_by: "a dev server".to_owned(), helps: "dev".to_owned() })
}

/// Writes the context and returns the option that commands in another shell need. Usually none is needed.
async fn remember(client: &Client, directory: &Path) -> String {
    match remembered(client).await {
        Ok(Some(current)) if current == DEV_CONTEXT && std::env::var_os("TENANCY_URL").is_none() => String::new(),
        Ok(Some(_)) => format!(" --context {DEV_CONTEXT}"),
        Ok(None) => by_directory(directory),
        // Without a home directory, the client can still use the data directory.
        Err(failure) => {
            remark(failure.render(error_colours()).trim_end());
            by_directory(directory)
        }
    }
}

fn by_directory(directory: &Path) -> String {
    format!(" --data-dir {}", quoted(&directory.to_string_lossy()))
}

/// Writes the `dev` context and returns the current one. Returns `None` and writes nothing if the `dev` context belongs
/// to another server that is running, so that the user can continue to work with that server.
async fn remembered(client: &Client) -> Result<Option<String>, Failure> {
    let path = Contexts::path()?;
    let ours = client.context();
    if let Some(other) = Contexts::load(&path)?.contexts.remove(DEV_CONTEXT)
        // The same key means the same data directory, and no other process can listen on our address.
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

/// Returns whether the server of a context answers.
async fn answers(context: Context) -> bool {
    let Ok(client) = client_of(Context { key: None, ..context }) else { return false };
    let request = client.request(Method::GET, &["healthz"]).look();
    let answer = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS), request).await;
    answer.is_ok_and(|answer| {
        answer.is_ok_and(|(_, body)| Health::deserialize(&body).is_ok_and(|health| health.status == Health::OK))
    })
}

/// Applies the manifests through the API of the server and prints an overview.
async fn present(client: &Client, documents: Option<Documents>, directory: &Path) -> Result<Exit, Failure> {
    let mut settled = BTreeMap::new();
    let mut outcome = Ok(());
    if let Some(documents) = documents {
        let applied = send(client, documents, How { allow: &[], dry_run: false, partial: false }).await?;
        say("")?;
        applied.print(Format::Table, true)?;
        applied.refusal()?;
        settled = applied.settle(client, PATIENCE).await?;
        outcome = conclude(&settled, PATIENCE, |_| false);
    }
    let first = overview(client).await?;
    for one in settled.values().filter(|one| !one.standing().is_reached()) {
        print_verdict(one)?;
    }
    // The server keeps running after a failed job, so that the job can be examined.
    if let Err(failure) = outcome {
        remark(failure.render(error_colours()).trim_end());
    }
    // Write the context last: a start that fails must not take the context from a running server.
    let flag = remember(client, directory).await;
    say(&format!("\n{}", Colour::Bold.paint("Next steps, in a second shell:", colours())))?;
    for line in next_commands(first.as_deref(), &flag) {
        say(&format!("  {line}"))?;
    }
    say("\nWebhooks may use http:// and addresses of this machine here; `tenancy serve` refuses both.")?;
    say("Ctrl-C stops the server; the data is kept.")?;
    Ok(Exit::Done)
}

fn print_verdict(one: &Settled) -> Result<(), Failure> {
    if let Ok(line) = one.verdict(PATIENCE.timeout) {
        say(&format!("\n{line}"))?;
        if let Some(command) = one.remedy() {
            say(&format!("  {command}"))?;
        }
    }
    Ok(())
}

/// Prints a table of tenants and returns the first one.
async fn overview(client: &Client) -> Result<Option<String>, Failure> {
    let tenants = List::of(&["tenants"]).at_most(Some(TENANTS_SHOWN));
    let rows: Vec<Received<TenantRow>> = tenants.all(client).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut whole = Vec::new();
    for row in &rows {
        // Rows of the list do not contain environments.
        match client.get(&["tenants", &row.value.tenant_id]).await {
            Ok(read) => whole.push(read),
            Err(failure) if failure.is_unreadable() => tenants.note(&row.value.tenant_id, &failure.message),
            Err(failure) => return Err(failure),
        }
    }
    say("")?;
    let mut printer = Printer::new(&OVERVIEW, Format::Table);
    printer.page(&whole)?;
    printer.finish()?;
    if rows.len() == TENANTS_SHOWN {
        say(&format!("(first {TENANTS_SHOWN} tenants)"))?;
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
