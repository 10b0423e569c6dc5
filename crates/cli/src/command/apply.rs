//! `apply`: creates and changes what the manifests declare, and waits for the jobs.

use crate::allow::Allow;
use crate::change;
use crate::client::Client;
use crate::documents::{Documents, Files};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::parts::{Part, RequestLimits};
use crate::program::{command, quoted};
use crate::progress::Progress;
use crate::standing::Standing;
use crate::table::{Cell, Table};
use crate::terminal::{Colour, colours, plain, remark, say, write};
use crate::waiting::{Patience, Settled, settle_all};
use crate::wire::Received;
use crate::yaml;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tenancy_api::Word;
use tenancy_api::applied::{AppliedDocument, Outcome};
use tenancy_api::problem::Problem;

const EXAMPLES: &str = "\
Examples:
  tenancy apply -f acme.yaml
  tenancy apply -f tenants/ --timeout 60
  tenancy export | sed s/eu-west-1/eu-central-1/ | tenancy apply -f - --allow move-region

All documents are checked before any is written. It is safe to run the command again, also after a partial failure.";

/// Arguments of `apply`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Apply {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    allow: Allow,
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
    let applied = send(client, documents, &given.allow.allow, false).await?;
    applied.print(given.output.output)?;
    let settled = if given.patience.no_wait { BTreeMap::new() } else { applied.settle(client, given.patience).await? };
    let quiet = !matches!(given.output.output, Format::Table | Format::Wide);
    let outcome = conclude(&settled, given.patience, |id| !quiet && !applied.is_unchanged(id));
    applied.refusal()?;
    outcome.map(|()| Exit::Done)
}

/// Result of a document.
type Line = Received<AppliedDocument>;

/// Sends the documents in one request if they fit, else in parts. All parts are checked before any is written.
///
/// # Errors
/// Fails if the request fails.
pub async fn send(client: &Client, documents: Documents, allow: &[String], dry_run: bool) -> Result<Applied, Failure> {
    let limits = RequestLimits::default();
    let parts = if documents.fits(limits) { Vec::new() } else { documents.parts(limits)? };
    let sending = Progress::sending(&match documents.documents.len() {
        1 => "1 document".to_owned(),
        count => format!("{count} documents"),
    });
    let answer = match parts.as_slice() {
        [] => one_request(client, documents.content_type, documents.text, allow, dry_run).await,
        parts => in_parts(client, parts, allow, dry_run).await,
    };
    sending.finish();
    answer
}

async fn one_request(
    client: &Client,
    content_type: &'static str,
    text: String,
    allow: &[String],
    dry_run: bool,
) -> Result<Applied, Failure> {
    let request = client.v1(Method::POST, &["apply"]).text(content_type, text).allow(allow);
    let request = request.query_if("dry_run", dry_run.then_some("true"));
    Applied::of(request.receive().await?)
}

async fn in_parts(client: &Client, parts: &[Part], allow: &[String], dry_run: bool) -> Result<Applied, Failure> {
    let checked = check(client, parts, allow).await?;
    let mut lines = if dry_run { checked } else { Vec::new() };
    for (done, part) in parts.iter().enumerate().filter(|_| !dry_run) {
        let answer = one_request(client, "application/yaml", part.text.clone(), allow, false).await;
        let answer = answer.map_err(|mut failure| {
            failure
                .details
                .push(format!("{done} of {} parts are written: run the command again to continue", parts.len()));
            failure
        })?;
        lines.extend(part.lines(answer.lines));
    }
    lines.sort_by_key(|line| line.value.index);
    let results: Vec<_> = lines.iter().map(|line| &line.raw).collect();
    Ok(Applied { raw: json!({"results": results, "dry_run": dry_run}), lines, dry_run })
}

/// Checks all parts with a dry run.
///
/// # Errors
/// Fails with the violations of all parts, so that no part is written.
async fn check(client: &Client, parts: &[Part], allow: &[String]) -> Result<Vec<Line>, Failure> {
    let (mut lines, mut wrong): (_, Option<Failure>) = (Vec::new(), None);
    for part in parts {
        match (one_request(client, "application/yaml", part.text.clone(), allow, true).await, &mut wrong) {
            (Ok(answer), _) => lines.extend(part.lines(answer.lines)),
            (Err(failure), Some(wrong)) if failure.code == wrong.code => wrong.details.extend(failure.details),
            (Err(failure), None) if failure.code.as_deref() == Some("invalid") => wrong = Some(failure),
            (Err(failure), _) => return Err(failure),
        }
    }
    wrong.map_or(Ok(lines), |wrong| {
        let message = format!("the documents have {} errors", wrong.details.len());
        Err(Failure { message, ..wrong })
    })
}

/// Results of all documents, of `apply` or `plan`.
#[derive(Debug)]
pub struct Applied {
    raw: Value,
    lines: Vec<Line>,
    dry_run: bool,
}

impl Applied {
    /// Converts the response of `/v1/apply`.
    ///
    /// # Errors
    /// Fails if a result cannot be parsed.
    fn of(answer: Received<tenancy_api::applied::Applied>) -> Result<Self, Failure> {
        let lines = answer.value.results.into_iter().map(Received::of).collect::<Result<_, _>>();
        let lines =
            lines.map_err(|error| Failure::refused(format!("cannot read the response of the server: {error}")))?;
        Ok(Self { raw: answer.raw, lines, dry_run: answer.value.dry_run })
    }

    fn results(&self) -> impl Iterator<Item = &AppliedDocument> {
        self.lines.iter().map(|line| &line.value)
    }

    /// Returns whether any document changes something.
    pub fn changes_something(&self) -> bool {
        self.results().any(AppliedDocument::is_written)
    }

    /// Returns whether the tenant is unchanged and in its desired state.
    pub fn is_unchanged(&self, id: &str) -> bool {
        self.results()
            .find(|result| result.id == id && is_tenant(result))
            .is_some_and(|result| result.result == Outcome::Unchanged && result.waits_for.is_none())
    }

    /// Returns one line and the next command for each unchanged tenant that is not in its desired state.
    pub fn waiting(&self) -> impl Iterator<Item = (String, Option<String>)> {
        let unchanged = self.results().filter(|result| result.result == Outcome::Unchanged);
        let waiting = unchanged.filter(|result| result.waits_for.is_some()).filter_map(Standing::of_line);
        waiting.map(|standing| (standing.sentence(), standing.remedy()))
    }

    /// Returns the ids of the tenants that were not refused.
    fn tenants(&self) -> Vec<String> {
        let of_tenants = self.results().filter(|result| is_tenant(result) && result.result != Outcome::Refused);
        of_tenants.map(|result| result.id.clone()).collect()
    }

    /// Waits until no job is open on any of these tenants.
    ///
    /// # Errors
    /// Fails if the request fails.
    pub async fn settle(&self, client: &Client, patience: Patience) -> Result<BTreeMap<String, Settled>, Failure> {
        settle_all(client, &self.tenants(), patience.deadline()).await
    }

    /// Checks that no document was refused.
    ///
    /// # Errors
    /// Fails with the first refused document; the others are listed in the details.
    pub fn refusal(&self) -> Result<(), Failure> {
        let mut refused = self.results().filter(|result| result.result == Outcome::Refused);
        let Some(first) = refused.next() else { return Ok(()) };
        let of = |result: &AppliedDocument| match &result.error {
            Some(problem) => stale(&result.id, problem).unwrap_or_else(|| Failure::of_problem(problem)),
            None => Failure::refused("refused without a reason"),
        };
        let mut failure = of(first);
        failure.message = format!("{}: {}", first.id, failure.message);
        for result in refused {
            let more = of(result);
            failure.details.push(format!("{}: {}", result.id, more.message));
            failure.details.extend(more.details.into_iter().map(|line| format!("  {line}")));
        }
        Err(failure)
    }

    /// Prints one line per document and per change.
    ///
    /// # Errors
    /// Fails if the output cannot be written.
    pub fn print(&self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Json => write(&yaml::json(&self.raw)?),
            Format::Yaml => write(&yaml::yaml(&self.raw)?),
            Format::Name => self.results().try_for_each(|result| say(&result.id)),
            Format::Table | Format::Wide => write(&self.render(colours())),
        }
    }

    fn render(&self, colours: bool) -> String {
        let mut table = Table::untitled(3, colours);
        let rows: Vec<_> = self.results().map(|result| row(result, self.dry_run)).collect();
        // Rendered together, so that all rows have the same column widths; then split to insert the changes.
        let lines = table.render(&rows);
        let mut all = String::new();
        for (line, result) in lines.lines().zip(self.results()) {
            all.push_str(line);
            all.push('\n');
            // The fields of a created document are not listed: they are in the file.
            let changes = if result.result == Outcome::Created { &[] } else { result.changes.as_slice() };
            for line in change::lines(changes, "  ", colours) {
                all.push_str(&line);
                all.push('\n');
            }
            for line in change::warnings(&result.warnings, "  ", colours) {
                all.push_str(&line);
                all.push('\n');
            }
        }
        if self.lines.is_empty() {
            all.push_str("no documents\n");
        }
        all
    }
}

/// Converts the refusal of a document with an outdated `version`. The server's sentence is for HTTP clients.
fn stale(id: &str, problem: &Problem) -> Option<Failure> {
    let said = problem.detail.strip_prefix("the version has changed from ")?.split(' ').next()?;
    let current = problem.current_version?;
    let export = command(&format!("export {}", quoted(id)));
    let message = format!("the document is based on version {said}, but the current version is {current}");
    Some(
        Failure::new(Exit::Conflict, message)
            .and(format!("remove the version from the document, or start from the output of {export}")),
    )
}

fn is_tenant(result: &AppliedDocument) -> bool {
    result.kind == "Tenant"
}

fn row(result: &AppliedDocument, dry_run: bool) -> Vec<Cell> {
    let (word, colour) = match &result.result {
        Word::Known(Outcome::Created) => (if dry_run { "to be created" } else { "created" }, Colour::Green),
        Word::Known(Outcome::Changed) => (if dry_run { "to be changed" } else { "changed" }, Colour::Yellow),
        Word::Known(Outcome::Refused) => (if dry_run { "would be refused" } else { "refused" }, Colour::Red),
        other => (other.as_str(), Colour::Dim),
    };
    let mut cells =
        vec![Cell::new(result.kind.to_lowercase()), Cell::new(&result.id), Cell::new(word).coloured(Some(colour))];
    let job = result.job.as_ref().map(|job| format!("queues {}", job.action));
    let changed = result.version.filter(|_| word == "changed");
    let version = changed.map(|version| format!("version {version}"));
    let said: Vec<_> = version.into_iter().chain(job.filter(|_| dry_run)).collect();
    if !said.is_empty() {
        cells.push(Cell::new(said.join(", ")));
    }
    cells
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::problem;

    /// Builds a response; each line states only the fields that matter to the test.
    fn applied(dry_run: bool, lines: Value) -> Applied {
        let whole = |line: &Value| {
            let mut whole = json!({"index": 0, "kind": "Tenant", "changes": [], "warnings": []});
            let said = line.as_object().expect("an object").clone();
            whole.as_object_mut().expect("an object").extend(said);
            whole
        };
        let results: Vec<_> = lines.as_array().expect("lines").iter().map(whole).collect();
        let answer = Received::of(json!({"results": results, "dry_run": dry_run})).expect("an answer");
        Applied::of(answer).expect("lines")
    }

    fn answer(dry_run: bool) -> Applied {
        let lines = json!([
            {"kind": "Organization", "id": "acme", "result": "unchanged"},
            {"index": 1, "id": "acme-eu", "result": "changed", "version": 3,
             "changes": [{"pointer": "/quotas/apiRateLimit", "from": 200, "to": 400}],
             "job": {"job_id": "job_1", "action": "update"},
             "warnings": [{"code": "undeclared_key", "pointer": "/quotas/seats", "message": "\"seats\" is not declared"}]},
            {"index": 2, "id": "acme-us", "result": "created", "version": 1,
             "changes": [{"pointer": "/region", "from": null, "to": "us-east-1"}]},
        ]);
        applied(dry_run, lines)
    }

    #[test]
    fn must_print_a_line_for_each_document_and_one_for_each_change() {
        assert_eq!(
            answer(false).render(false),
            "organization  acme     unchanged\n\
             tenant        acme-eu  changed    version 3\n\
             \x20 ~ quotas.apiRateLimit: 200 -> 400\n\
             \x20 warning: quotas.seats: \"seats\" is not declared\n\
             tenant        acme-us  created\n"
        );
        assert_eq!(
            answer(true).render(false),
            "organization  acme     unchanged\n\
             tenant        acme-eu  to be changed  queues update\n\
             \x20 ~ quotas.apiRateLimit: 200 -> 400\n\
             \x20 warning: quotas.seats: \"seats\" is not declared\n\
             tenant        acme-us  to be created\n"
        );
        assert!(answer(true).changes_something());
        assert_eq!(answer(true).tenants(), ["acme-eu", "acme-us"]);
    }

    #[test]
    fn must_fail_if_a_document_was_refused_and_list_all_refusals() {
        let gate = json!({"allow": "move-region", "pointer": "/region", "message": "moves from a to b"});
        let detail = "this can destroy data: confirm with allow=move-region (moves from a to b)";
        let gated = problem(409, json!({"code": "not_allowed_by_name", "detail": detail, "errors": [gate]}));
        let taken = problem(409, json!({"code": "alias_taken", "detail": "taken"}));
        let lines = json!([
            {"id": "a", "result": "refused", "error": gated},
            {"id": "b", "result": "refused", "error": taken},
            {"id": "c", "result": "created"},
        ]);
        let applied = applied(false, lines);
        let failure = applied.refusal().expect_err("refused");
        assert_eq!(failure.message, "a: this can destroy data");
        assert_eq!(failure.details, ["/region: moves from a to b (--allow move-region)", "b: taken"]);
        assert_eq!((failure.exit, applied.tenants()), (Exit::Refused, vec!["c".to_owned()]));
        assert!(answer(false).refusal().is_ok());
    }

    #[test]
    fn must_say_what_to_do_about_an_outdated_version_in_a_document() {
        let detail = "the version has changed from 7 to 3: read the resource again, then send If-Match: \"3\"";
        let stale = problem(412, json!({"code": "stale_version", "detail": detail, "current_version": 3}));
        let applied = applied(false, json!([{"id": "a", "result": "refused", "error": stale}]));
        let failure = applied.refusal().expect_err("refused");
        assert_eq!(failure.message, "a: the document is based on version 7, but the current version is 3");
        assert!(failure.next.is_some_and(|next| next.starts_with("remove the version") && next.ends_with("export a")));
    }
}
