//! `get`: lists resources.

use crate::client::Client;
use crate::command::diff::kept_version;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{ENVIRONMENTS, JOBS, KEYS, ORGANIZATIONS, TENANTS, VERSIONS, WEBHOOKS};
use crate::listing::List;
use crate::naming::{self, Name};
use crate::output::{Format, Kind, Output, Printer, one};
use crate::program::command;
use crate::selector;
use crate::terminal::remark;
use crate::wire::{Environment, Received, TenantRow};
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use tenancy_core::job::JobState;
use tenancy_core::nearest::nearest;
use tenancy_core::tenant::State;

/// Maximum number of tenants whose environments are listed together: each needs a request.
const MAX_TENANTS: usize = 1_000;

const EXAMPLES: &str = "\
Examples:
  tenancy get tenants
  tenancy get tenants --state Suspended --region eu-west-1 -l tier=gold -o wide
  tenancy get tenants --state Active,Suspended -l tier=gold,team=web
  tenancy get tenants --q acme -o name
  tenancy get environments --organization acme
  tenancy get environments acme-eu
  tenancy get environments acme-eu/prod -o yaml
  tenancy get jobs acme-eu
  tenancy get versions acme-eu 3 -o yaml
  tenancy get webhooks acme-eu";

/// Arguments of `get`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Get {
    /// Kind of resource
    #[arg(value_enum)]
    what: What,
    /// Names of resources; for environments, webhooks, jobs and versions the name of the tenant
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only tenants or jobs in this state; a list such as Active,Suspended means any of them
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<String>,
    /// Only tenants in this region
    #[arg(long)]
    region: Option<String>,
    /// Only tenants of this organization
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Only tenants of this profile
    #[arg(long)]
    profile: Option<String>,
    /// Only tenants with these labels: KEY=VALUE or KEY=VALUE,KEY=VALUE. In a value, write `\,` for a comma
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Only tenants or organizations whose id, display name or alias begins with this text
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Include purged tenants
    #[arg(long)]
    purged: bool,
    /// Maximum number of rows. Default: all
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    #[value(alias = "tenant")]
    Tenants,
    #[value(aliases = ["organization", "orgs", "org"])]
    Organizations,
    #[value(aliases = ["environment", "envs", "env"])]
    Environments,
    #[value(alias = "job")]
    Jobs,
    #[value(alias = "key")]
    Keys,
    #[value(alias = "version")]
    Versions,
    #[value(aliases = ["webhook", "hooks", "hook"])]
    Webhooks,
}

impl What {
    fn plural(self) -> &'static str {
        match self {
            Self::Tenants => TENANTS.plural,
            Self::Organizations => ORGANIZATIONS.plural,
            Self::Environments => ENVIRONMENTS.plural,
            Self::Jobs => JOBS.plural,
            Self::Keys => KEYS.plural,
            Self::Versions => VERSIONS.plural,
            Self::Webhooks => WEBHOOKS.plural,
        }
    }

    /// Valid values of `--state`.
    fn states(self) -> Vec<&'static str> {
        match self {
            Self::Jobs => JobState::WORDS.iter().map(|(word, _)| *word).collect(),
            _ => State::WORDS.iter().map(|(word, _)| *word).collect(),
        }
    }

    /// Filters that the kind supports.
    fn filters(self) -> &'static [&'static str] {
        match self {
            Self::Tenants => &["--state", "--region", "--organization", "--profile", "--label", "--q", "--purged"],
            Self::Organizations => &["--q"],
            Self::Jobs => &["--state"],
            Self::Environments => &["--organization", "--profile", "--label"],
            Self::Keys | Self::Versions | Self::Webhooks => &[],
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Get) -> Result<Exit, Failure> {
    check_filters(&given)?;
    let names: Vec<&str> = given.names.iter().map(String::as_str).collect();
    match (given.what, names.as_slice()) {
        (What::Tenants, []) => list(client, &given, &TENANTS, &["tenants"]).await,
        (What::Organizations, []) => list(client, &given, &ORGANIZATIONS, &["organizations"]).await,
        (What::Jobs, []) => list(client, &given, &JOBS, &["jobs"]).await,
        (What::Keys, []) => list(client, &given, &KEYS, &["keys"]).await,
        (What::Environments, []) => all_environments(client, &given).await,
        (What::Versions | What::Webhooks, []) => {
            Err(Failure::usage(format!("name a tenant: {}", command(&format!("get {} TENANT", given.what.plural())))))
        }
        (What::Tenants, names) => each(client, &given, &TENANTS, names).await,
        (What::Organizations, names) => each(client, &given, &ORGANIZATIONS, names).await,
        (What::Keys, [name]) => one(&KEYS, &naming::key(client, name).await?, given.output.output).map(|()| Exit::Done),
        (What::Environments, [tenant]) => match naming::resolved(client, tenant).await? {
            Name::Tenant(tenant) => list(client, &given, &ENVIRONMENTS, &["tenants", tenant, "environments"]).await,
            Name::Environment(tenant, name) => {
                single(client, &given, &ENVIRONMENTS, &["tenants", tenant, "environments", name]).await
            }
        },
        (What::Jobs, [name]) if naming::is_job(name) || naming::job_of_tenant(name).is_some() => {
            let job = naming::job(client, name).await?;
            one(&JOBS, &job, given.output.output).map(|()| Exit::Done)
        }
        (What::Jobs, [tenant]) => list(client, &given, &JOBS, &["tenants", tenant, "jobs"]).await,
        (What::Versions, [tenant]) => {
            list(client, &given, &VERSIONS, &["tenants", naming::tenant(tenant)?, "versions"]).await
        }
        (What::Jobs, [tenant, job]) => single(client, &given, &JOBS, &["tenants", tenant, "jobs", job]).await,
        (What::Versions, [tenant, version]) => {
            let number = version.parse();
            let number = number.map_err(|_| Failure::usage(format!("a version is a number, not {version:?}")))?;
            let kept = kept_version(client, naming::tenant(tenant)?, number).await?;
            one(&VERSIONS, &kept, given.output.output).map(|()| Exit::Done)
        }
        (What::Webhooks, [name]) => webhooks(client, &given, name).await,
        (what, _) => Err(Failure::usage(format!("too many names for `get {}`", what.plural()))),
    }
}

fn check_filters(given: &Get) -> Result<(), Failure> {
    let set = [
        ("--state", !given.state.is_empty()),
        ("--region", given.region.is_some()),
        ("--organization", given.organization.is_some()),
        ("--profile", given.profile.is_some()),
        ("--label", !given.labels.is_empty()),
        ("--q", given.q.is_some()),
        ("--purged", given.purged),
    ];
    let known = given.what.filters();
    if given.what == What::Environments
        && let (Some(tenant), Some((flag, _))) = (given.names.first(), set.iter().find(|(_, set)| *set))
    {
        return Err(Failure::usage(format!("{flag} selects tenants: leave out {tenant}")));
    }
    // An ignored filter would return a wrong result.
    if let Some((flag, _)) = set.iter().find(|(flag, set)| *set && !known.contains(flag)) {
        return Err(Failure::usage(format!("{flag} does not apply to {}", given.what.plural())));
    }
    let states = given.what.states();
    let Some(state) = given.state.iter().find(|state| !states.contains(&state.as_str())) else { return Ok(()) };
    let near = nearest(state, states.iter().copied()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(Failure::usage(format!("--state must be one of {}, not {state:?}{near}", states.join(", "))))
}

/// Lists the environments of all tenants, or of those that the filters select, tenant by tenant.
async fn all_environments(client: &Client, given: &Get) -> Result<Exit, Failure> {
    let mut tenants = List::of(&["tenants"])
        .filter("organization_id", given.organization.clone())
        .filter("profile", given.profile.clone())
        .at_most(Some(MAX_TENANTS + 1));
    for label in selector::labels(&given.labels)? {
        tenants = tenants.filter("label", Some(label));
    }
    let tenants: Vec<Received<TenantRow>> = tenants.all(client).await?;
    let mut printer = Printer::new(&ENVIRONMENTS, given.output.output);
    let mut left = given.limit.unwrap_or(usize::MAX);
    for tenant in tenants.iter().take(MAX_TENANTS) {
        if left == 0 {
            break;
        }
        let segments = ["tenants", &*tenant.value.tenant_id, "environments"];
        let environments: Vec<Received<Environment>> = List::of(&segments).at_most(Some(left)).all(client).await?;
        left -= environments.len();
        printer.page(&environments)?;
    }
    printer.finish()?;
    if tenants.len() > MAX_TENANTS {
        remark(&format!(
            "only the environments of the first {MAX_TENANTS} tenants are shown; use --organization or -l"
        ));
    }
    Ok(Exit::Done)
}

/// Lists the webhooks of a tenant, or shows one of them. They are part of the manifest of the tenant.
async fn webhooks(client: &Client, given: &Get, name: &str) -> Result<Exit, Failure> {
    if let Name::Environment(..) = naming::resolved(client, name).await? {
        let webhook = naming::webhook(client, name).await?;
        return one(&WEBHOOKS, &webhook, given.output.output).map(|()| Exit::Done);
    }
    let mut printer = Printer::new(&WEBHOOKS, given.output.output);
    printer.page(&naming::webhooks(client, name).await?)?;
    printer.finish().map(|()| Exit::Done)
}

async fn list<T: DeserializeOwned>(
    client: &Client,
    given: &Get,
    kind: &Kind<T>,
    segments: &[&str],
) -> Result<Exit, Failure> {
    let mut list = List::of(segments)
        .filter("state", Some(given.state.join(",")).filter(|states| !states.is_empty()))
        .filter("region", given.region.clone())
        .filter("organization_id", given.organization.clone())
        .filter("profile", given.profile.clone())
        .filter("q", given.q.clone())
        .filter("purged", given.purged.then_some("true"))
        .at_most(given.limit);
    for label in selector::labels(&given.labels)? {
        list = list.filter("label", Some(label));
    }
    let mut printer = Printer::new(kind, given.output.output);
    let more = list.pages(client, |items| printer.page(&items).map(|()| true)).await?;
    printer.finish()?;
    if more && matches!(given.output.output, Format::Table | Format::Wide) {
        remark("only the first rows are shown; increase or omit --limit");
    }
    Ok(Exit::Done)
}

async fn single<T: DeserializeOwned>(
    client: &Client,
    given: &Get,
    kind: &Kind<T>,
    segments: &[&str],
) -> Result<Exit, Failure> {
    one(kind, &client.get(segments).await?, given.output.output)?;
    Ok(Exit::Done)
}

async fn each<T: DeserializeOwned>(
    client: &Client,
    given: &Get,
    kind: &Kind<T>,
    names: &[&str],
) -> Result<Exit, Failure> {
    if let [name] = names {
        return single(client, given, kind, &[kind.plural, name]).await;
    }
    let mut printer = Printer::new(kind, given.output.output);
    let mut first: Option<Failure> = None;
    for name in names {
        match client.get(&[kind.plural, name]).await {
            Ok(answer) => printer.page(std::slice::from_ref(&answer))?,
            // Print the others first; report the failure at the end.
            Err(failure) if failure.exit == Exit::NotFound => match &mut first {
                Some(before) => before.details.push(failure.message),
                slot => *slot = Some(failure),
            },
            Err(failure) => return Err(failure),
        }
    }
    printer.finish()?;
    first.map_or(Ok(Exit::Done), Err)
}
