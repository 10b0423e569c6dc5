//! `apply`: creates and changes what the manifests declare, and waits for the jobs.

use crate::allow::Allow;
use crate::applied::Applied;
use crate::client::Client;
use crate::documents::{Documents, Files};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::progress::Progress;
use crate::terminal::{plain, remark, say};
use crate::waiting::{Patience, Settled};
use clap::Args;
use reqwest::Method;
use std::collections::BTreeMap;

const EXAMPLES: &str = "\
Examples:
  tenancy apply -f acme.yaml
  tenancy apply -f tenants/ --timeout 60     Also the subdirectories of tenants/.
  tenancy export | sed s/eu-west-1/eu-central-1/ | tenancy apply -f - --allow move-region

A field that a manifest omits is left alone. A field that is present is the whole field: a key that is
missing in labels, quotas, policies, billing, aliases or caps is removed.
All documents are decided before any is written. If one is refused, nothing is written, unless --partial
is given. It is safe to run the command again, also after a partial failure.";

/// Maximum time for the answer: a file of 20,000 documents takes a while.
const APPLY_SECONDS: u64 = 900;

/// Maximum number of new webhooks that are named.
const MAX_SECRETS: usize = 10;

/// Arguments of `apply`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Apply {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    allow: Allow,
    /// Write the other documents if some are refused
    #[arg(long)]
    partial: bool,
    /// Print unchanged documents, too
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if a request or a job fails or the server refuses a document.
pub async fn run(client: &Client, given: Apply) -> Result<Exit, Failure> {
    let documents = Documents::read(&given.files.files)?;
    let how = How { allow: &given.allow.allow, dry_run: false, partial: given.partial };
    let applied = send(client, documents, how).await?;
    applied.print(given.output.output, given.verbose)?;
    if matches!(given.output.output, Format::Table | Format::Wide) {
        remark_secrets(&applied.secrets());
    }
    let settled = if given.patience.no_wait { BTreeMap::new() } else { applied.settle(client, given.patience).await? };
    let quiet = !matches!(given.output.output, Format::Table | Format::Wide);
    let outcome = conclude(&settled, given.patience, |id| !quiet && !applied.is_unchanged(id));
    applied.refusal()?;
    outcome.map(|()| Exit::Done)
}

/// Says how to get a secret of each new webhook.
fn remark_secrets(commands: &[String]) {
    let Some((first, others)) = commands.split_first() else { return };
    let webhooks = if others.is_empty() { "the new webhook has" } else { "new webhooks have" };
    remark(&plain(&format!("{webhooks} a secret that no answer shows; to get a new one: {first}")));
    others.iter().take(MAX_SECRETS - 1).for_each(|command| remark(&plain(&format!("and: {command}"))));
    if let Some(more) = others.len().checked_sub(MAX_SECRETS - 1).filter(|more| *more > 0) {
        remark(&format!("and {more} more"));
    }
}

/// How the documents are sent.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// Kinds of gated changes to allow.
    pub allow: &'a [String],
    /// Whether to write nothing.
    pub dry_run: bool,
    /// Whether to write the other documents if some are refused.
    pub partial: bool,
}

/// Sends the documents in one request. A refusal of the whole request is a result, too.
///
/// # Errors
/// Fails if the request fails for another reason.
pub async fn send(client: &Client, documents: Documents, how: How<'_>) -> Result<Applied, Failure> {
    let sending = Progress::sending(&match documents.count() {
        1 => "1 document".to_owned(),
        count => format!("{count} documents"),
    });
    let request = client.v1(Method::POST, &["apply"]).json(&documents.body()).allow(how.allow).within(APPLY_SECONDS);
    let request = request.query_if("dry_run", how.dry_run.then_some("true"));
    let request = request.query_if("partial", how.partial.then_some("true"));
    let answer = request.receive().await;
    sending.finish();
    match answer {
        Ok(answer) => Applied::of(answer, documents),
        Err(mut failure) => match failure.problem.take() {
            Some(problem) if problem.errors.iter().any(|error| error.document.is_some()) => {
                Applied::refused(problem, documents)
            }
            _ => Err(failure),
        },
    }
}

/// Prints the state of each tenant after the wait.
///
/// # Errors
/// Fails with the most severe failure if a job failed or is still open.
pub fn conclude(
    settled: &BTreeMap<String, Settled>,
    patience: Patience,
    is_printed: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let mut worst: Option<Failure> = None;
    let mut hints = settled.values().filter_map(|one| one.standing().draft_hint());
    if let Some(hint) = hints.next() {
        remark(&plain(&hint));
        match hints.count() {
            0 => {}
            more => remark(&format!("{more} more tenants stay Draft for the same reason")),
        }
    }
    for (id, one) in settled {
        match one.verdict(patience.timeout) {
            // An unchanged tenant in its desired state is not printed; one that is prevented by a hold is.
            Ok(line) if is_printed(id) => {
                say(&plain(&line))?;
                if let Some(command) = one.remedy() {
                    remark(&format!("next: {command}"));
                }
            }
            Ok(_) => {}
            Err(failure) => match &mut worst {
                // A failed job is more severe than a timeout.
                Some(before) if before.exit == Exit::JobFailed || failure.exit == Exit::TimedOut => {
                    before.details.push(failure.message);
                }
                slot => {
                    let before = slot.take().map(|before| before.message);
                    slot.insert(failure).details.extend(before);
                }
            },
        }
    }
    worst.map_or(Ok(()), Err)
}
