//! Decides on every document of a file, and judges the decisions as if they were committed one after the other.

use super::document::Document;
use super::{Line, Plan, Run, is_nobodys, kept};
use crate::operations::plan::Ledger;
use crate::operations::{Command, Decided};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::BTreeSet;
use tenancy_api::applied::{AppliedDocument, Outcome};
use tenancy_core::changes::Conflict;
use tenancy_core::document::MAX_FINDINGS;
use tenancy_core::{Error, Violation};

/// Number of documents that are decided together, so that their reads share statements. Other requests run in between.
const DECIDED_TOGETHER: usize = 128;

impl Run<'_> {
    /// Decides on every document and judges all decisions.
    ///
    /// # Errors
    /// An error that concerns no document.
    pub(super) async fn plan(&self, documents: &[Document]) -> Result<Plan, Error> {
        let opener = match self.key {
            Some(key) => key.first_answer(self.tenancy).await?.map(|answer| kept(&answer)),
            None => None,
        };
        let mut planning = Planning::default();
        let mut again = Vec::new();
        for (number, chunk) in documents.chunks(DECIDED_TOGETHER).enumerate() {
            let decided = join_all(chunk.iter().map(|document| self.foresee(document, opener.as_ref()))).await;
            let changes = decided.iter().filter_map(|one| one.as_ref().ok()?.changes());
            planning.ledger.load(self.tenancy, changes).await?;
            for (place, (document, foreseen)) in chunk.iter().zip(decided).enumerate() {
                if planning.take(self, document, foreseen)? {
                    again.push(number * DECIDED_TOGETHER + place);
                }
            }
            // On SQLite, nothing above waits.
            tokio::task::yield_now().await;
        }
        // A document that conflicts with another document is tried once more at the end. An alias, for example, moves
        // from one tenant to another in any order of the two.
        let mut last = Vec::new();
        for at in again {
            let foreseen = self.foresee(&documents[at], None).await;
            if let Ok(foreseen) = &foreseen {
                planning.ledger.load(self.tenancy, foreseen.changes()).await?;
            }
            planning.take_again(self, at, &documents[at], foreseen)?;
            last.push(at);
        }
        let Planning { lines, decided, .. } = planning;
        Ok(Plan { lines, decided, last, opened: opener.is_some() })
    }

    /// Returns the stored answer about the document from an earlier request with the same key, of which `opener` was
    /// the first document written; otherwise decides.
    async fn foresee(&self, document: &Document, opener: Option<&Value>) -> Result<Foreseen, Error> {
        if let (Some(key), Some(opener)) = (self.key, opener) {
            if document.is_of(opener) {
                return Ok(Foreseen::Before(opener.clone()));
            }
            if let Some(answer) = key.part(&document.name()).first_answer(self.tenancy).await? {
                return Ok(Foreseen::Before(kept(&answer)));
            }
        }
        let (tenancy, caller) = (self.tenancy, &self.request.caller);
        match document.decide(tenancy, caller, &mut tenancy.context(self.request)?).await {
            Ok(decided) => Ok(Foreseen::Decided(decided)),
            // Shows the difference, and everything else that has to be confirmed or corrected.
            Err(gated @ Error::Gated(_)) => {
                let allowed = document.decide_allowed(tenancy, caller, &mut tenancy.context(self.request)?).await;
                Ok(Foreseen::Gated(gated, allowed?))
            }
            Err(error) => Err(error),
        }
    }
}

/// What a document would do.
enum Foreseen {
    Before(Value),
    Decided(Decided<AppliedDocument>),
    /// Refused unless it is confirmed, with the decision as if it were.
    Gated(Error, Decided<AppliedDocument>),
}

impl Foreseen {
    fn changes(&self) -> Option<&tenancy_core::changes::Changes> {
        match self {
            Self::Before(_) => None,
            Self::Decided(decided) | Self::Gated(_, decided) => decided.changes.as_ref(),
        }
    }
}

/// Line of a document, its decision if it is to be written, and whether it conflicts with another document.
type Judged = (Line, Option<Decided<AppliedDocument>>, bool);

#[derive(Default)]
struct Planning {
    ledger: Ledger,
    lines: Vec<Line>,
    decided: Vec<Option<Decided<AppliedDocument>>>,
    /// Number of violations so far.
    found: usize,
    /// Organizations of the file that are refused.
    missing: BTreeSet<String>,
}

impl Planning {
    /// Adds the line of a document. Returns whether it conflicts with another document and is to be tried again.
    fn take(&mut self, run: &Run<'_>, document: &Document, foreseen: Result<Foreseen, Error>) -> Result<bool, Error> {
        let (line, decided, again) = self.judged(run, document, foreseen)?;
        self.lines.push(line);
        self.decided.push(decided);
        Ok(again)
    }

    fn take_again(
        &mut self,
        run: &Run<'_>,
        at: usize,
        document: &Document,
        foreseen: Result<Foreseen, Error>,
    ) -> Result<(), Error> {
        let (line, decided, _) = self.judged(run, document, foreseen)?;
        self.lines[at] = line;
        self.decided[at] = decided;
        Ok(())
    }

    fn judged(
        &mut self,
        run: &Run<'_>,
        document: &Document,
        foreseen: Result<Foreseen, Error>,
    ) -> Result<Judged, Error> {
        let refused = |error: &Error| Line::Of(Box::new(run.refusal(document, error)));
        Ok(match foreseen {
            Err(error) if is_nobodys(&error) => return Err(error),
            Err(error) => {
                let error = self.bounded(error);
                self.missing.extend(document.organization_id().map(str::to_owned));
                (refused(&error), None, false)
            }
            Ok(Foreseen::Before(line)) => (Line::Kept(line), None, false),
            Ok(Foreseen::Decided(mut decided)) => {
                let admitted = decided.changes.as_ref().map_or(Ok(()), |changes| self.ledger.admit(changes));
                match admitted {
                    // The refusal of the organization is the error, and not that of each of its tenants.
                    Err(Error::Conflict(Conflict::OrganizationMissing(id)))
                        if !run.partial && self.missing.contains(id.as_str()) =>
                    {
                        (run.line(document, Ok(decided.outcome)), None, false)
                    }
                    Err(error) => (refused(&error), None, true),
                    Ok(()) if decided.changes.is_none() || run.dry_run => {
                        decided.changes = None;
                        (run.line(document, Ok(decided.outcome)), None, false)
                    }
                    Ok(()) => (run.line(document, Ok(decided.outcome.clone())), Some(decided), false),
                }
            }
            Ok(Foreseen::Gated(gated, allowed)) => {
                // The other documents are judged as if it were confirmed, unless they are written without it.
                let admitted = match (&allowed.changes, run.partial) {
                    (Some(changes), false) => self.ledger.admit(changes),
                    _ => Ok(()),
                };
                let again = admitted.is_err();
                let AppliedDocument { error, .. } = run.refusal(document, &gated);
                let line = AppliedDocument { result: Outcome::Refused.into(), error, ..allowed.outcome };
                (Line::Of(Box::new(line)), None, again)
            }
        })
    }

    /// Shortens the list of violations when many documents are invalid, so that the answer stays bounded.
    fn bounded(&mut self, error: Error) -> Error {
        let Error::Invalid(mut violations) = error else { return error };
        let left = MAX_FINDINGS.saturating_sub(self.found).max(1);
        self.found += violations.len();
        if violations.len() > left {
            violations.truncate(left);
            violations.extend((left > 1).then(|| Violation {
                code: "too_many",
                pointer: String::new(),
                message: MORE.to_owned(),
            }));
        }
        Error::Invalid(violations)
    }
}

const MORE: &str = "there are more, which are not listed";
