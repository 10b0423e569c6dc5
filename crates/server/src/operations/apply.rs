//! `apply`: a file of manifests. Checks all documents before it writes any, then commits each document separately, with
//! one result for each. Running it again continues where it stopped.

mod document;

use self::document::{Document, Kind, documents};
use super::plan::Ledger;
use super::{Command, Done, Keyed};
use crate::answer::Answer;
use crate::authentication::Caller;
use crate::idempotency::IdempotencyKey;
use crate::tenancy::{RequestContext, Tenancy};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use tenancy_api::applied::{AppliedDocument, Outcome};
use tenancy_api::problem::{DocumentRef, Problem as ProblemView};
use tenancy_core::document::MAX_FINDINGS;
use tenancy_core::permission::Operation;
use tenancy_core::{Error, Violation};

/// Maximum number of documents in a file.
pub const MAX_DOCUMENTS: usize = 5_000;

/// Number of tenants that are written concurrently, so that their commits share batches.
const AT_ONCE: usize = 32;

/// A file of manifests.
#[derive(Debug)]
pub struct Apply {
    /// Documents, in order of the file.
    pub documents: Vec<Value>,
    /// Kinds of gated changes to allow.
    pub allow: Vec<String>,
    /// Whether to write nothing and return what would change.
    pub dry_run: bool,
}

/// Why nothing of a file was written, with the documents that the pointers refer to.
#[derive(Debug)]
pub struct Refused {
    /// The error.
    pub error: Error,
    /// All documents of the file.
    pub documents: Vec<DocumentRef>,
}

impl Apply {
    /// Applies the file and returns one result for each document, in order.
    ///
    /// # Errors
    /// All violations of all documents. In this case nothing is written.
    pub async fn run(
        self,
        tenancy: &Tenancy,
        request: &RequestContext,
        key: Option<&IdempotencyKey>,
    ) -> Result<Vec<Value>, Refused> {
        if self.documents.len() > MAX_DOCUMENTS {
            let error = Error::TooLarge(format!("a file can have at most {MAX_DOCUMENTS} documents; split it"));
            return Err(Refused { error, documents: Vec::new() });
        }
        let documents = self.documents.iter().enumerate().map(|(index, document)| describe(index, document)).collect();
        self.applied(tenancy, request, key).await.map_err(|error| Refused { error, documents })
    }

    async fn applied(
        self,
        tenancy: &Tenancy,
        request: &RequestContext,
        key: Option<&IdempotencyKey>,
    ) -> Result<Vec<Value>, Error> {
        if !self.dry_run {
            request.caller.require(Operation::WriteTenants)?;
        }
        let (documents, unread) = documents(&tenancy.declared, self.documents, &self.allow);
        let run = Run { tenancy, request, key: key.filter(|_| !self.dry_run), gone: AtomicBool::new(false) };
        let mut plan = run.plan(&documents, unread).await?;
        if !self.dry_run {
            run.write(&documents, &mut plan).await?;
        }
        let mut lines: Vec<_> = documents.iter().map(|document| document.index).zip(plan.lines).collect();
        lines.sort_by_key(|(index, _)| *index);
        Ok(lines.into_iter().map(|(_, line)| line.into_value()).collect())
    }
}

/// One result of the answer.
enum Line {
    Of(Box<AppliedDocument>),
    /// The stored answer to an earlier request with the same Idempotency-Key.
    Kept(Value),
}

impl Line {
    fn into_value(self) -> Value {
        match self {
            Self::Of(line) => serde_json::to_value(line).unwrap_or_default(),
            Self::Kept(value) => value,
        }
    }
}

/// One run over a file.
struct Run<'a> {
    tenancy: &'a Tenancy,
    request: &'a RequestContext,
    /// Idempotency-Key of the whole request.
    key: Option<&'a IdempotencyKey>,
    /// Whether the caller's key was revoked during the run. Nothing more is then done with it.
    gone: AtomicBool,
}

/// What to do with a file.
struct Plan {
    /// Result of each document so far.
    lines: Vec<Line>,
    /// Whether a document was written before under the same Idempotency-Key.
    opened: bool,
}

impl Run<'_> {
    /// Decides on every document, and judges the decisions as if they were committed. `violations` are those of
    /// documents that could not be read; they are returned together with those of the others.
    async fn plan(&self, documents: &[Document], mut violations: Vec<Violation>) -> Result<Plan, Error> {
        let opener = match self.key {
            Some(key) => key.first_answer(self.tenancy).await?.map(|answer| kept(&answer)),
            None => None,
        };
        let (mut ledger, mut lines, mut again) = (Ledger::default(), Vec::new(), Vec::new());
        for document in documents {
            if let Some(line) = self.line_before(document, opener.as_ref()).await? {
                lines.push(Line::Kept(line));
                continue;
            }
            match self.foresee(document, &mut ledger).await {
                Err(Error::Invalid(found)) => {
                    let inside = |v: Violation| Violation { pointer: format!("/{}{}", document.index, v.pointer), ..v };
                    violations.extend(found.into_iter().map(inside));
                    if violations.len() >= MAX_FINDINGS {
                        break;
                    }
                }
                Err(error) if is_nobodys(&error) => return Err(error),
                decided => {
                    if matches!(decided, Err(Error::Conflict(_))) {
                        again.push(lines.len());
                    }
                    lines.push(self.line(document, decided));
                }
            }
        }
        if !violations.is_empty() {
            violations.sort_by_key(|violation| place(&violation.pointer));
            violations.truncate(MAX_FINDINGS);
            return Err(Error::Invalid(violations));
        }
        // As in the write phase: a document that conflicted with another document is tried once more at the end.
        for at in again {
            match self.foresee(&documents[at], &mut ledger).await {
                Err(error) if is_nobodys(&error) => return Err(error),
                decided => lines[at] = self.line(&documents[at], decided),
            }
        }
        Ok(Plan { lines, opened: opener.is_some() })
    }

    /// Returns the stored answer about the document from an earlier request with the same key, of which `opener` was
    /// the first document written.
    async fn line_before(&self, document: &Document, opener: Option<&Value>) -> Result<Option<Value>, Error> {
        match (self.key, opener) {
            (Some(_), Some(opener)) if document.is_of(opener) => Ok(Some(opener.clone())),
            (Some(key), Some(_)) => {
                Ok(key.part(&document.name()).first_answer(self.tenancy).await?.map(|answer| kept(&answer)))
            }
            _ => Ok(None),
        }
    }

    async fn foresee(&self, document: &Document, ledger: &mut Ledger) -> Result<AppliedDocument, Error> {
        let decided =
            document.decide(self.tenancy, &self.request.caller, &mut self.tenancy.context(self.request)?).await?;
        if let Some(changes) = &decided.changes {
            ledger.admit(self.tenancy, changes).await?;
        }
        Ok(decided.outcome)
    }

    /// Commits each document separately: organizations in order, then tenants concurrently. A document that conflicts
    /// with another document of the file (for example, an alias moves from one tenant to another) is tried once more at
    /// the end.
    async fn write(&self, documents: &[Document], plan: &mut Plan) -> Result<(), Error> {
        let mut again = Vec::new();
        let mut open: VecDeque<usize> =
            (0..documents.len()).filter(|at| matches!(plan.lines[*at], Line::Of(_))).collect();
        let mut settle = |at: usize, done: Result<Done<AppliedDocument>, Error>| {
            if matches!(done, Err(Error::Conflict(_))) {
                again.push(at);
            }
            plan.lines[at] = self.settled(&documents[at], done);
        };
        if let Some(key) = self.key.filter(|_| !plan.opened) {
            self.open(key, documents, &mut open, &mut settle).await?;
        }
        let (organizations, tenants): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|at| documents[*at].kind == Kind::Organization);
        for at in organizations {
            settle(at, self.run(&documents[at]).await);
        }
        for chunk in tenants.chunks(AT_ONCE) {
            let done = futures_util::future::join_all(chunk.iter().map(|at| self.run(&documents[*at]))).await;
            chunk.iter().zip(done).for_each(|(at, done)| settle(*at, done));
        }
        for at in again {
            plan.lines[at] = self.settled(&documents[at], self.run(&documents[at]).await);
        }
        Ok(())
    }

    /// Writes the first document alone, under the key of the whole request. So if two different files are sent with one
    /// key, one of them is refused before any of its documents is written.
    async fn open(
        &self,
        key: &IdempotencyKey,
        documents: &[Document],
        open: &mut VecDeque<usize>,
        settle: &mut impl FnMut(usize, Result<Done<AppliedDocument>, Error>),
    ) -> Result<(), Error> {
        while let Some(at) = open.pop_front() {
            match self.run_under(&documents[at], Some(key.clone())).await {
                Err(Error::IdempotencyKeyReused) => return Err(Error::IdempotencyKeyReused),
                // A simultaneous request with the same file started with another document.
                Ok(Done::Before(answer)) if !documents[at].is_of(&kept(&answer)) => {
                    open.push_front(at);
                    break;
                }
                done => {
                    let wrote = match &done {
                        Ok(Done::Now(applied)) => applied.is_written(),
                        Ok(Done::Before(_)) => true,
                        Err(_) => false,
                    };
                    settle(at, done);
                    if wrote {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn run(&self, document: &Document) -> Result<Done<AppliedDocument>, Error> {
        self.run_under(document, self.key.map(|key| key.part(&document.name()))).await
    }

    async fn run_under(
        &self,
        document: &Document,
        key: Option<IdempotencyKey>,
    ) -> Result<Done<AppliedDocument>, Error> {
        if self.gone.load(Ordering::Relaxed) {
            return Err(Error::InvalidToken);
        }
        // A file is sent again to continue, so unchanged documents are decided again.
        let keyed = key.map(|key| Keyed { key, answer: kept_line, keeps_unchanged: false });
        let done = self.tenancy.decide_and_commit(document, self.request, keyed.as_ref()).await;
        self.gone.fetch_or(matches!(done, Err(Error::InvalidToken)), Ordering::Relaxed);
        done
    }

    fn settled(&self, document: &Document, done: Result<Done<AppliedDocument>, Error>) -> Line {
        match done {
            Ok(Done::Before(answer)) => Line::Kept(kept(&answer)),
            Ok(Done::Now(applied)) => self.line(document, Ok(applied)),
            Err(error) => self.line(document, Err(error)),
        }
    }

    fn line(&self, document: &Document, decided: Result<AppliedDocument, Error>) -> Line {
        Line::Of(Box::new(decided.unwrap_or_else(|error| AppliedDocument {
            result: Outcome::Refused.into(),
            error: Some(Box::new(ProblemView::of(&error, &[], self.request.correlation_id.as_str()))),
            ..document.blank()
        })))
    }
}

/// Returns whether an error is unrelated to the document.
fn is_nobodys(error: &Error) -> bool {
    matches!(error, Error::Unavailable | Error::Busy | Error::Internal(_))
}

/// Returns the index of the document that a pointer refers to.
fn place(pointer: &str) -> Option<usize> {
    pointer.split('/').nth(1)?.parse().ok()
}

/// Returns the stored result.
fn kept(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_default()
}

fn kept_line(_: &Tenancy, _: &Caller, line: &AppliedDocument) -> Answer {
    Answer { status: 200, body: serde_json::to_string(line).unwrap_or_default(), ..Answer::default() }
}

/// Returns the kind and name in a document, so that a reader can find it in the file.
fn describe(index: usize, document: &Value) -> DocumentRef {
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = if text("kind").as_deref() == Some("Organization") { "organization_id" } else { "tenant_id" };
    DocumentRef { index, kind: text("kind"), name: text(id) }
}
