//! The results of `apply` and `plan`: what is printed, and the failure if documents were refused.

use crate::change;
use crate::client::Client;
use crate::documents::Documents;
use crate::exit::Exit;
use crate::failure::{Failure, confirmed_by};
use crate::output::Format;
use crate::program::{command, quoted};
use crate::standing::Standing;
use crate::table::{Cell, Table};
use crate::terminal::{Colour, colours, plain, say, write, write_data};
use crate::waiting::{Patience, Settled, settle_all};
use crate::wire::Received;
use crate::yaml;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tenancy_api::applied::{Applied as Answer, AppliedDocument, Difference, Outcome};
use tenancy_api::problem::{Problem, ProblemError};
use tenancy_api::word::Word;

/// Result of a document.
type Line = Received<AppliedDocument>;

/// Results of all documents.
#[derive(Debug)]
pub struct Applied {
    raw: Value,
    lines: Vec<Line>,
    /// Whether nothing was written, so that the results are what would change.
    dry_run: bool,
    /// Why the whole request was refused.
    refused: Option<Box<Problem>>,
    documents: Documents,
}

impl Applied {
    /// Converts the response of `/v1/apply`.
    ///
    /// # Errors
    /// Fails if a result cannot be parsed.
    pub fn of(answer: Received<Answer>, documents: Documents) -> Result<Self, Failure> {
        let lines = lines(answer.value.results)?;
        Ok(Self { raw: answer.raw, lines, dry_run: answer.value.dry_run, refused: None, documents })
    }

    /// Converts the refusal of a whole request.
    ///
    /// # Errors
    /// Fails if a result cannot be parsed.
    pub fn refused(problem: Box<Problem>, documents: Documents) -> Result<Self, Failure> {
        let raw = json!({"results": problem.results, "dry_run": true});
        let lines = lines(problem.results.clone())?;
        Ok(Self { raw, lines, dry_run: true, refused: Some(problem), documents })
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
        self.results().find(|result| result.id == id && is_tenant(result)).is_some_and(is_settled)
    }

    /// Returns one line and the next command for each unchanged tenant that is not in its desired state.
    pub fn waiting(&self) -> impl Iterator<Item = (String, Option<String>)> {
        let unchanged = self.results().filter(|result| result.result == Outcome::Unchanged);
        let waiting = unchanged.filter(|result| result.waits_for.is_some()).filter_map(Standing::of_line);
        waiting.map(|standing| (standing.sentence(), standing.remedy()))
    }

    /// Returns the ids of the tenants to wait for: not those that were refused, or unchanged in their desired state.
    fn tenants(&self) -> Vec<String> {
        let open =
            |result: &&AppliedDocument| is_tenant(result) && result.result != Outcome::Refused && !is_settled(result);
        self.results().filter(open).map(|result| result.id.clone()).collect()
    }

    /// Waits until no job is open on any of these tenants. Nothing was queued if nothing was written.
    ///
    /// # Errors
    /// Fails if the request fails.
    pub async fn settle(&self, client: &Client, patience: Patience) -> Result<BTreeMap<String, Settled>, Failure> {
        if self.dry_run {
            return Ok(BTreeMap::new());
        }
        settle_all(client, &self.tenants(), patience.deadline()).await
    }

    /// Returns the commands that show a secret of each webhook that is new. An answer contains no secret.
    pub fn secrets(&self) -> Vec<String> {
        let documents = self.documents.body();
        let written = self.results().filter(|result| !self.dry_run && result.is_written());
        let commands = written.flat_map(|result| {
            let (name, options) = match is_tenant(result) {
                true => (format!("{}/", result.id), String::new()),
                false => (String::new(), format!(" --organization {}", quoted(&result.id))),
            };
            let webhooks = new_webhooks(result, documents.get(result.index).copied()).into_iter();
            webhooks
                .map(move |webhook| command(&format!("webhook rotate {}{options}", quoted(&(name.clone() + &webhook)))))
        });
        commands.collect()
    }

    /// Checks that no document was refused.
    ///
    /// # Errors
    /// Fails with all refusals, each with its file and line, and every `--allow` that is needed.
    pub fn refusal(&self) -> Result<(), Failure> {
        let refused: Vec<_> = self.results().filter(|result| result.result == Outcome::Refused).collect();
        let (errors, mut failure) = match (&self.refused, refused.first()) {
            (Some(problem), _) => (problem.errors.clone(), Failure::of_problem(problem)),
            (None, Some(first)) => {
                let errors = refused.iter().flat_map(|result| result.problem_errors(None));
                let first = first.error.as_deref().map(Failure::of_problem);
                (errors.collect(), first.unwrap_or_else(|| Failure::refused("refused without a reason")))
            }
            (None, None) => return Ok(()),
        };
        let indexes: Vec<_> = errors.iter().filter_map(index).collect();
        let mut distinct = indexes.clone();
        distinct.dedup();
        failure.details = errors.iter().map(|error| self.detail(error)).collect();
        let rest = match (&self.refused, self.dry_run) {
            (Some(_), _) => "; nothing was written",
            (None, true) => "",
            (None, false) => "; the other documents were applied",
        };
        if let ([one], [only]) = (refused.as_slice(), distinct.as_slice())
            && one.index == *only
            && let Some(problem) = &one.error
        {
            let alone = stale(&one.id, problem).unwrap_or_else(|| Failure::of_problem(problem));
            failure.message = format!("{} {}: {}{rest}", one.kind, one.id, alone.message);
            let undelete =
                problem.detail.contains("undelete it").then(|| command(&format!("undelete {}", quoted(&one.id))));
            failure.next = undelete.or(alone.next).or(failure.next);
            failure.exit = alone.exit;
            if problem.errors.is_empty() {
                failure.details = vec![self.documents.place(*only, "")];
            }
        } else {
            let (count, all) = (distinct.len(), self.documents.count());
            let are = if count == 1 { "is" } else { "are" };
            failure.message = format!("{count} of {all} documents {are} refused{rest}");
        }
        if let Some(next) = confirmed_by(&errors) {
            failure.next = Some(next);
        }
        Err(failure)
    }

    /// Renders one error with file, line, document and pointer.
    fn detail(&self, error: &ProblemError) -> String {
        let Some(index) = index(error) else { return error.message.clone() };
        let pointer = error.pointer.strip_prefix(&format!("/{index}")).unwrap_or(&error.pointer);
        let place = self.documents.place(index, pointer);
        let of =
            self.results().find(|result| result.index == index).map(|result| format!("{} {}", result.kind, result.id));
        let of = of.or_else(|| error.document.as_ref().map(ToString::to_string)).unwrap_or_default();
        let of = format!("{of} {pointer}");
        let message = match error.code.as_deref() {
            Some("stale_version") => stale_sentence(&error.message).unwrap_or_else(|| error.message.clone()),
            _ => error.message.clone(),
        };
        match &error.allow {
            None => format!("{place}: {}: {message}", of.trim()),
            Some(allow) => format!("{place}: {}: {message} (--allow {allow})", of.trim()),
        }
    }

    /// Prints the documents that change, with each change, and a summary. `verbose` prints unchanged ones, too.
    ///
    /// # Errors
    /// Fails if the output cannot be written.
    pub fn print(&self, format: Format, verbose: bool) -> Result<(), Failure> {
        match format {
            Format::Json => write_data(&yaml::json(&self.raw)?),
            Format::Yaml => write_data(&yaml::yaml(&self.raw)?),
            Format::Name => self.results().try_for_each(|result| say(&result.id)),
            Format::Table | Format::Wide => write(&self.render(colours(), verbose)),
        }
    }

    fn render(&self, colours: bool, verbose: bool) -> String {
        let mut table = Table::untitled(3, colours);
        let is_shown = |result: &&AppliedDocument| verbose || result.result != Outcome::Unchanged;
        let shown: Vec<_> = self.results().filter(is_shown).collect();
        let rows: Vec<_> = shown.iter().map(|result| row(result, self.dry_run)).collect();
        // Rendered together, so that all rows have the same column widths; then split to insert the changes.
        let lines = table.render(&rows);
        let mut all = String::new();
        for (line, result) in lines.lines().zip(shown) {
            // The fields of a created document are not listed: they are in the file.
            let changes = if result.result == Outcome::Created { &[] } else { result.changes.as_slice() };
            let changes = change::lines(changes, "  ", colours);
            let warnings = change::warnings(&result.warnings, "  ", colours);
            for line in std::iter::once(line.to_owned()).chain(changes).chain(warnings) {
                all.push_str(&line);
                all.push('\n');
            }
        }
        all.push_str(&self.summary());
        all.push('\n');
        all
    }

    /// Counts the documents by result, and what changed documents lose.
    fn summary(&self) -> String {
        let count = |outcome| self.results().filter(|result| result.result == outcome).count();
        let changed = self.results().filter(|result| result.result == Outcome::Changed);
        let removed = changed.flat_map(|result| &result.changes).filter(|change| change.to.is_null()).count();
        let words = match self.dry_run {
            true => ["to create", "to change", "to remove", "unchanged", "refused"],
            false => ["created", "changed", "removed", "unchanged", "refused"],
        };
        let counts = [
            count(Outcome::Created),
            count(Outcome::Changed),
            removed,
            count(Outcome::Unchanged),
            count(Outcome::Refused),
        ];
        let said =
            counts.iter().zip(words).filter(|(count, _)| **count > 0).map(|(count, word)| format!("{count} {word}"));
        let said: Vec<_> = said.collect();
        if said.is_empty() { "0 unchanged".to_owned() } else { said.join(", ") }
    }
}

fn lines(results: Vec<Value>) -> Result<Vec<Line>, Failure> {
    let lines = results.into_iter().map(Received::of).collect::<Result<_, _>>();
    lines.map_err(|error| Failure::refused(format!("cannot read the response of the server: {error}")))
}

/// Returns the index of the document that an error concerns.
fn index(error: &ProblemError) -> Option<usize> {
    error.document.as_ref().map(|document| document.index).or_else(|| error.pointer.split('/').nth(1)?.parse().ok())
}

/// Converts the refusal of a document with an outdated `version`. The server's sentence is for HTTP clients.
fn stale(id: &str, problem: &Problem) -> Option<Failure> {
    let export = command(&format!("export {}", quoted(id)));
    Some(
        Failure::new(Exit::Conflict, stale_sentence(&problem.detail)?)
            .and(format!("remove the version from the document, or start from the output of {export}")),
    )
}

fn stale_sentence(detail: &str) -> Option<String> {
    let (said, rest) = detail.strip_prefix("the version has changed from ")?.split_once(" to ")?;
    let current = rest.split(':').next()?;
    Some(format!("the document is based on version {said}, but the current version is {current}"))
}

/// Returns the names of the webhooks that a document added. The changes of a created document are not listed.
fn new_webhooks(result: &AppliedDocument, document: Option<&Value>) -> Vec<String> {
    // reason: the document is the user's file, and no answer of the server
    let names = |list: &Value| {
        let entries = list.as_array().into_iter().flatten();
        // reason: as above
        entries.filter_map(|entry| Some(entry.get("name")?.as_str()?.to_owned())).collect::<Vec<_>>()
    };
    if result.result == Outcome::Created {
        // reason: as above
        return document.and_then(|document| document.get("webhooks")).map(names).unwrap_or_default();
    }
    let added = result.changes.iter().filter(|change| change.from.is_null());
    let of_change = |change: &Difference| match change.pointer.strip_prefix("/webhooks") {
        Some("") => names(&change.to),
        Some(rest) => {
            rest.strip_prefix('/').filter(|name| !name.contains('/')).map(str::to_owned).into_iter().collect()
        }
        None => Vec::new(),
    };
    added.flat_map(of_change).collect()
}

fn is_tenant(result: &AppliedDocument) -> bool {
    result.kind == "Tenant"
}

/// Returns whether a document changed nothing and nothing is in progress.
fn is_settled(result: &AppliedDocument) -> bool {
    result.result == Outcome::Unchanged && result.waits_for.is_none() && result.job.is_none()
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
    let mut said: Vec<_> = version.into_iter().chain(job.filter(|_| dry_run && word != "would be refused")).collect();
    let mut kinds: Vec<_> =
        result.error.iter().flat_map(|problem| &problem.errors).filter_map(|e| e.allow.clone()).collect();
    kinds.sort();
    kinds.dedup();
    said.extend(kinds.iter().map(|kind| format!("--allow {kind}")));
    if !said.is_empty() {
        cells.push(Cell::new(plain(&said.join(", ")).into_owned()));
    }
    cells
}

#[cfg(test)]
mod tests;
