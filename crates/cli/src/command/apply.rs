//! `apply`: makes it so, and waits for it.

use crate::allow::Allow;
use crate::change;
use crate::client::Client;
use crate::documents::{Documents, Files};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::parts::{Part, Room};
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

All documents are checked before any is written. Running it again changes nothing, or goes on.";

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

/// Runs it.
///
/// # Errors
/// What the server says, what it refused, and the first job that failed.
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

/// What became of a document.
type Line = Received<AppliedDocument>;

/// Sends the documents: in one request, or, where they are too many, in parts, all of which are checked before any is
/// written.
///
/// # Errors
/// What the server says.
pub async fn send(client: &Client, documents: Documents, allow: &[String], dry_run: bool) -> Result<Applied, Failure> {
    let room = Room::default();
    let parts = if documents.fits(room) { Vec::new() } else { documents.parts(room)? };
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
            failure.details.push(format!("{done} of {} parts are written: run it again, and it goes on", parts.len()));
            failure
        })?;
        lines.extend(part.lines(answer.lines));
    }
    lines.sort_by_key(|line| line.value.index);
    let results: Vec<_> = lines.iter().map(|line| &line.raw).collect();
    Ok(Applied { raw: json!({"results": results, "dry_run": dry_run}), lines, dry_run })
}

/// What would become of every part; if any is refused, nothing is to be written, and all that is wrong is told.
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

/// What the server did, or would do, with each document.
#[derive(Debug)]
pub struct Applied {
    raw: Value,
    lines: Vec<Line>,
    dry_run: bool,
}

impl Applied {
    /// The answer of `/v1/apply`.
    ///
    /// # Errors
    /// When a line of it cannot be read.
    fn of(answer: Received<tenancy_api::applied::Applied>) -> Result<Self, Failure> {
        let lines = answer.value.results.into_iter().map(Received::of).collect::<Result<_, _>>();
        let lines = lines.map_err(|error| Failure::refused(format!("the server's answer cannot be read: {error}")))?;
        Ok(Self { raw: answer.raw, lines, dry_run: answer.value.dry_run })
    }

    fn results(&self) -> impl Iterator<Item = &AppliedDocument> {
        self.lines.iter().map(|line| &line.value)
    }

    /// Whether it changes anything at all.
    pub fn changes_something(&self) -> bool {
        self.results().any(AppliedDocument::is_written)
    }

    /// Whether nothing is to be told of a tenant: the file changes nothing, and it is as it says.
    pub fn is_unchanged(&self, id: &str) -> bool {
        self.results()
            .find(|result| result.id == id && is_tenant(result))
            .is_some_and(|result| result.result == Outcome::Unchanged && result.waits_for.is_none())
    }

    /// Why tenants that the documents leave as they are, are not in their desired state, each with what to type.
    pub fn waiting(&self) -> impl Iterator<Item = (String, Option<String>)> {
        let unchanged = self.results().filter(|result| result.result == Outcome::Unchanged);
        let waiting = unchanged.filter(|result| result.waits_for.is_some()).filter_map(Standing::of_line);
        waiting.map(|standing| (standing.sentence(), standing.remedy()))
    }

    /// The tenants that the documents named and that were not refused.
    fn tenants(&self) -> Vec<String> {
        let of_tenants = self.results().filter(|result| is_tenant(result) && result.result != Outcome::Refused);
        of_tenants.map(|result| result.id.clone()).collect()
    }

    /// Waits until no job is open on any of them.
    ///
    /// # Errors
    /// What the server says.
    pub async fn settle(&self, client: &Client, patience: Patience) -> Result<BTreeMap<String, Settled>, Failure> {
        settle_all(client, &self.tenants(), patience.deadline()).await
    }

    /// The first refusal, with all that were refused on lines of their own.
    ///
    /// # Errors
    /// When anything was refused.
    pub fn refusal(&self) -> Result<(), Failure> {
        let mut refused = self.results().filter(|result| result.result == Outcome::Refused);
        let Some(first) = refused.next() else { return Ok(()) };
        let of = |result: &AppliedDocument| match &result.error {
            Some(problem) => stale(&result.id, problem).unwrap_or_else(|| Failure::of_problem(problem)),
            None => Failure::refused("refused, and the server does not say why"),
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

    /// Prints a line for each document, and one for each change.
    ///
    /// # Errors
    /// When it cannot be written.
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
        // Rendered at once, so that the columns are the same for all; then taken apart for the lines between.
        let lines = table.render(&rows);
        let mut all = String::new();
        for (line, result) in lines.lines().zip(self.results()) {
            all.push_str(line);
            all.push('\n');
            // What is new is in the file; what becomes different is not.
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

/// The refusal of a file that says of which version it was made: the server's sentence is for who can send another one.
fn stale(id: &str, problem: &Problem) -> Option<Failure> {
    let said = problem.detail.strip_prefix("the version has changed from ")?.split(' ').next()?;
    let current = problem.current_version?;
    let export = command(&format!("export {}", quoted(id)));
    let message = format!("the file says version {said}, and it is at {current}");
    Some(Failure::new(Exit::Conflict, message).and(format!("take the line out, or begin anew from {export}")))
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

/// Says how each tenant is after the waiting, and fails by the worst.
///
/// # Errors
/// When a job failed or is not over.
pub fn conclude(
    settled: &BTreeMap<String, Settled>,
    patience: Patience,
    tells: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let mut worst: Option<Failure> = None;
    for (id, one) in settled {
        match one.verdict(patience.timeout) {
            // One that was and is in its desired state is not worth a line; one that a hold keeps from it is.
            Ok(line) if tells(id) => {
                say(&plain(&line))?;
                if let Some(command) = one.remedy() {
                    remark(&format!("next: {command}"));
                }
            }
            Ok(_) => {}
            Err(failure) => match &mut worst {
                // A job that failed tells more than one that is slow.
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

    /// An answer whose lines say only what they are about.
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
    fn must_fail_when_anything_was_refused_and_list_all_of_it() {
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
    fn must_say_what_to_do_about_a_version_in_a_file() {
        let detail = "the version has changed from 7 to 3: read the resource again, then send If-Match: \"3\"";
        let stale = problem(412, json!({"code": "stale_version", "detail": detail, "current_version": 3}));
        let applied = applied(false, json!([{"id": "a", "result": "refused", "error": stale}]));
        let failure = applied.refusal().expect_err("refused");
        assert_eq!(failure.message, "a: the file says version 7, and it is at 3");
        assert!(failure.next.is_some_and(|next| next.starts_with("take the line out") && next.ends_with("export a")));
    }
}
