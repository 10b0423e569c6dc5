//! `apply`: a file of manifests. Decides on all documents before it writes any. If one is refused, nothing is written,
//! unless the caller asked for a partial apply. Then commits each document separately, with one result for each.

mod document;
pub mod one_at_a_time;
mod plan;
mod refused;
mod write;

use self::document::{Document, documents};
pub use self::refused::Refused;
use super::Decided;
use crate::answer::Answer;
use crate::authentication::Caller;
use crate::idempotency::IdempotencyKey;
use crate::tenancy::{RequestContext, Tenancy};
use serde_json::Value;
use std::sync::atomic::AtomicBool;
use tenancy_api::applied::{AppliedDocument, Outcome};
use tenancy_api::problem::{DocumentRef, Problem as ProblemView};
use tenancy_core::Error;
use tenancy_core::permission::Operation;

/// Maximum number of documents in a file.
pub const MAX_DOCUMENTS: usize = 20_000;

/// A file of manifests.
#[derive(Debug)]
pub struct Apply {
    /// Documents, in order of the file.
    pub documents: Vec<Value>,
    /// Kinds of gated changes to allow.
    pub allow: Vec<String>,
    /// Whether to write nothing and return what would change.
    pub dry_run: bool,
    /// Whether to write the other documents if some are refused.
    pub partial: bool,
}

impl Apply {
    /// Applies the file and returns one result for each document, in order.
    ///
    /// # Errors
    /// Why nothing of the file was written.
    pub async fn run(
        self,
        tenancy: &Tenancy,
        request: &RequestContext,
        key: Option<&IdempotencyKey>,
    ) -> Result<Vec<Value>, Refused> {
        let correlation_id = request.correlation_id.as_str();
        let whole = |error: Error| Refused::whole(error, &[], correlation_id);
        match self.documents.len() {
            0 => return Err(whole(Error::Malformed("the request contains no documents".to_owned()))),
            1..=MAX_DOCUMENTS => {}
            _ => {
                let message = format!("a file can have at most {MAX_DOCUMENTS} documents; split it");
                return Err(whole(Error::TooLarge(message)));
            }
        }
        if !self.dry_run {
            request.caller.require(Operation::WriteTenants).map_err(whole)?;
        }
        let Self { documents: contents, allow, dry_run, partial } = self;
        let refs: Vec<_> = contents.iter().enumerate().map(|(index, content)| described(index, content)).collect();
        let (documents, unread) = documents(&tenancy.declared, contents, &allow);
        let key = key.filter(|_| !dry_run);
        let run = Run { tenancy, request, key, dry_run, partial, gone: AtomicBool::new(false) };
        let all = |error: Error| Refused::whole(error, &refs, correlation_id);
        let mut plan = run.plan(&documents).await.map_err(all)?;
        let unreadable = !unread.is_empty();
        let invalid = unreadable || plan.lines.iter().any(Line::is_invalid);
        let refused = unreadable || plan.lines.iter().any(Line::is_refused);
        // A plan shows its refusals as results; only a document that cannot be read has none.
        if unreadable || refused && !partial && (!dry_run || invalid) {
            return Err(Refused::of(unread, in_order(&documents, plan.lines), &refs, correlation_id));
        }
        if !dry_run {
            run.write(&documents, &mut plan).await.map_err(all)?;
        }
        Ok(in_order(&documents, plan.lines).into_iter().map(Line::into_value).collect())
    }
}

/// Returns the lines in the order of the file.
fn in_order(documents: &[Document], lines: Vec<Line>) -> Vec<Line> {
    let mut lines: Vec<_> = documents.iter().map(|document| document.index).zip(lines).collect();
    lines.sort_by_key(|(index, _)| *index);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// One result of the answer.
#[derive(Debug)]
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

    fn error(&self) -> Option<&ProblemView> {
        match self {
            Self::Of(line) => line.error.as_deref(),
            Self::Kept(_) => None,
        }
    }

    fn is_refused(&self) -> bool {
        self.error().is_some()
    }

    fn is_invalid(&self) -> bool {
        self.error().is_some_and(|error| error.code == "invalid")
    }
}

/// One run over a file.
struct Run<'a> {
    tenancy: &'a Tenancy,
    request: &'a RequestContext,
    /// Idempotency-Key of the whole request.
    key: Option<&'a IdempotencyKey>,
    dry_run: bool,
    partial: bool,
    /// Whether the caller's key was revoked during the run. Nothing more is then done with it.
    gone: AtomicBool,
}

/// What to do with a file.
struct Plan {
    /// Result of each document so far.
    lines: Vec<Line>,
    /// Decision on each document that is to be written.
    decided: Vec<Option<Decided<AppliedDocument>>>,
    /// Documents that conflict with another document of the file if they are written in order. They are written last.
    last: Vec<usize>,
    /// Whether a document was written before under the same Idempotency-Key.
    opened: bool,
}

impl Run<'_> {
    fn line(&self, document: &Document, decided: Result<AppliedDocument, Error>) -> Line {
        Line::Of(Box::new(decided.unwrap_or_else(|error| self.refusal(document, &error))))
    }

    fn refusal(&self, document: &Document, error: &Error) -> AppliedDocument {
        AppliedDocument {
            result: Outcome::Refused.into(),
            error: Some(Box::new(ProblemView::of(error, &[], self.request.correlation_id.as_str()))),
            ..document.blank()
        }
    }
}

/// Returns whether an error is unrelated to the document.
fn is_nobodys(error: &Error) -> bool {
    matches!(error, Error::Unavailable | Error::KeysUnavailable | Error::Busy | Error::Internal(_))
}

/// Returns the stored result.
fn kept(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_default()
}

fn kept_line(_: &Tenancy, _: &Caller, line: &AppliedDocument) -> Answer {
    Answer { status: 200, body: serde_json::to_string(line).unwrap_or_default(), ..Answer::default() }
}

/// Returns the kind and name in a document, so that a reader can find it in the file.
fn described(index: usize, document: &Value) -> DocumentRef {
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = match text("kind").as_deref() {
        Some("Placement") => "name",
        Some("Organization") => "organization_id",
        _ => "tenant_id",
    };
    DocumentRef { index, kind: text("kind"), name: text(id) }
}
