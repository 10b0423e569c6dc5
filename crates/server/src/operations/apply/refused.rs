//! The refusal of a whole file: all errors of all documents, and the results as they would be.

use super::Line;
use tenancy_api::problem::{DocumentRef, Problem as ProblemView, ProblemError};
use tenancy_core::document::MAX_FINDINGS;
use tenancy_core::{Error, Violation};

/// Number of documents that the sentence names.
const MAX_NAMED: usize = 3;

/// Why nothing of a file was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Text of an internal error, for the log.
    pub internal: Option<String>,
    /// The answer.
    pub problem: Box<ProblemView>,
}

impl Refused {
    /// Creates the refusal for an error that concerns no document.
    pub fn whole(error: Error, documents: &[DocumentRef], correlation_id: &str) -> Self {
        let problem = Box::new(ProblemView::of(&error, documents, correlation_id));
        let internal = if let Error::Internal(what) = error { Some(what) } else { None };
        Self { internal, problem }
    }

    /// Creates the refusal for documents that are refused. `unread` are the violations of documents that have no result.
    pub(super) fn of(
        unread: Vec<Violation>,
        lines: Vec<Line>,
        documents: &[DocumentRef],
        correlation_id: &str,
    ) -> Self {
        let mut problems: Vec<&ProblemView> = lines.iter().filter_map(Line::error).collect();
        problems.sort_by_key(|problem| problem.code != "invalid");
        let mut errors: Vec<_> = unread.iter().map(ProblemError::from).collect();
        errors.iter_mut().for_each(|error| error.document = document_of(error, documents));
        let first = match (errors.is_empty(), problems.first()) {
            (true, Some(first)) => (*first).clone(),
            _ => ProblemView::of(&Error::Invalid(unread), documents, correlation_id),
        };
        for line in &lines {
            if let Line::Of(line) = line {
                errors.extend(line.problem_errors(documents.get(line.index)));
            }
        }
        errors.sort_by_key(|error| error.document.as_ref().map(|document| document.index));
        let mut refused: Vec<_> = errors.iter().filter_map(|error| error.document.as_ref()).collect();
        refused.dedup();
        let mut named: Vec<_> = refused.iter().take(MAX_NAMED).map(|document| document.to_string()).collect();
        named.extend((refused.len() > MAX_NAMED).then(|| format!("and {} more", refused.len() - MAX_NAMED)));
        let detail = match refused.as_slice() {
            [_] => format!("{} is refused, so nothing was written: {}", named.join(", "), first.detail),
            several => {
                let (refused, all) = (several.len(), documents.len());
                format!("{refused} of {all} documents are refused, so nothing was written: {}", named.join(", "))
            }
        };
        errors.truncate(MAX_FINDINGS);
        let results = lines.into_iter().map(Line::into_value).collect();
        let current_version = first.current_version.filter(|_| refused_alone(&errors));
        Self { internal: None, problem: Box::new(ProblemView { detail, errors, results, current_version, ..first }) }
    }
}

/// Returns whether all errors concern one document.
fn refused_alone(errors: &[ProblemError]) -> bool {
    let index = |error: &ProblemError| error.document.as_ref().map(|document| document.index);
    errors.windows(2).all(|pair| index(&pair[0]) == index(&pair[1]))
}

fn document_of(error: &ProblemError, documents: &[DocumentRef]) -> Option<DocumentRef> {
    let index = error.pointer.split('/').nth(1)?.parse::<usize>().ok()?;
    documents.get(index).cloned()
}
