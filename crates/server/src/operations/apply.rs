//! `apply`: a file of manifests. All of them are checked before any is written; then each is its own commit with its
//! own line in the answer, and running it again goes on.

use super::facts::read_at;
use super::plan::Ledger;
use super::wish::{How, of_known, of_new};
use super::{Command, Decided, Done, Keyed, organizations};
use crate::answer::Answer;
use crate::idempotency::IdempotencyKey;
use crate::precondition::Precondition;
use crate::tenancy::{Asked, Tenancy};
use crate::view::applied::{AppliedDocument, AppliedJob};
use crate::view::problem::{DocumentRef, ProblemView};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use tenancy_core::document::MAX_FINDINGS;
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::json::{Pointer, differences};
use tenancy_core::manifest::Manifest;
use tenancy_core::moment::Moment;
use tenancy_core::rules::change::change;
use tenancy_core::rules::organizations::OrganizationManifest;
use tenancy_core::rules::register::register;
use tenancy_core::{Error, Violation};

/// Most documents of a file.
pub const MAX_DOCUMENTS: usize = 5_000;

/// How many tenants are written at once: they ride in the same batches.
const AT_ONCE: usize = 32;

/// What a document says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Written before tenants, which need theirs.
    Organization,
    Tenant,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::Tenant => "Tenant",
        }
    }

    fn id_field(self) -> &'static str {
        match self {
            Self::Organization => "organization_id",
            Self::Tenant => "tenant_id",
        }
    }
}

/// A file of manifests.
#[derive(Debug)]
pub struct Apply {
    /// In order.
    pub documents: Vec<Value>,
    /// Kinds of changes that may destroy data and are wanted.
    pub allow: Vec<String>,
    /// Write nothing: say what would be.
    pub dry_run: bool,
}

/// Why nothing of a file was written, with the documents that the pointers lead into.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong.
    pub error: Error,
    /// Each document of the file.
    pub documents: Vec<DocumentRef>,
}

impl Apply {
    /// Applies the file; a line for each document, in order.
    ///
    /// # Errors
    /// What is wrong with any of them, all of it; nothing is written then.
    pub async fn run(
        self,
        tenancy: &Tenancy,
        asked: &Asked,
        key: Option<&IdempotencyKey>,
    ) -> Result<Vec<Value>, Refused> {
        if self.documents.len() > MAX_DOCUMENTS {
            let error = Error::TooLarge(format!("a file has at most {MAX_DOCUMENTS} documents: split it"));
            return Err(Refused { error, documents: Vec::new() });
        }
        let documents = self.documents.iter().enumerate().map(|(index, document)| describe(index, document)).collect();
        self.applied(tenancy, asked, key).await.map_err(|error| Refused { error, documents })
    }

    async fn applied(
        self,
        tenancy: &Tenancy,
        asked: &Asked,
        key: Option<&IdempotencyKey>,
    ) -> Result<Vec<Value>, Error> {
        let mut steps = steps(self.documents, &self.allow)?;
        steps.sort_by_key(|step| (step.kind, step.index));
        let key = key.filter(|_| !self.dry_run);
        let mut lines = plan(tenancy, asked, key, &steps).await?;
        if !self.dry_run {
            write(tenancy, asked, key, &steps, &mut lines).await;
        }
        let mut lines: Vec<_> = steps.iter().map(|step| step.index).zip(lines).collect();
        lines.sort_by_key(|(index, _)| *index);
        Ok(lines.into_iter().map(|(_, line)| line.into_value()).collect())
    }
}

/// A line of the answer.
enum Line {
    Of(Box<AppliedDocument>),
    /// As it was answered before under the same Idempotency-Key.
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

/// Decides on every document, and judges what was decided as if it were committed.
async fn plan(
    tenancy: &Tenancy,
    asked: &Asked,
    key: Option<&IdempotencyKey>,
    steps: &[Step],
) -> Result<Vec<Line>, Error> {
    let (mut ledger, mut violations, mut lines) = (Ledger::default(), Vec::new(), Vec::new());
    for step in steps {
        if let Some(key) = key
            && let Some(answer) = key.part(&step.name()).first_answer(tenancy).await?
        {
            lines.push(Line::Kept(serde_json::from_str(&answer.body).unwrap_or_default()));
            continue;
        }
        let mut moment = tenancy.moment(asked)?;
        let decided = match step.decide(tenancy, &mut moment).await {
            Ok(decided) => match &decided.changes {
                Some(changes) => ledger.admit(tenancy, changes).await.map(|()| decided.outcome),
                None => Ok(decided.outcome),
            },
            Err(error) => Err(error),
        };
        match decided {
            Err(Error::Invalid(found)) => {
                let inside = |v: Violation| Violation { pointer: format!("/{}{}", step.index, v.pointer), ..v };
                violations.extend(found.into_iter().map(inside));
                if violations.len() >= MAX_FINDINGS {
                    break;
                }
            }
            Err(error @ (Error::Unavailable | Error::Busy | Error::Internal(_))) => return Err(error),
            decided => lines.push(line(step, asked, decided)),
        }
    }
    if violations.is_empty() { Ok(lines) } else { Err(Error::Invalid(violations)) }
}

/// Commits each document on its own: organizations in order, then tenants, many at once. What another document of the
/// same file stood in the way of (an alias that moves from one tenant to another) is tried once more at the end.
async fn write(tenancy: &Tenancy, asked: &Asked, key: Option<&IdempotencyKey>, steps: &[Step], lines: &mut [Line]) {
    let gone = AtomicBool::new(false);
    let run = async |step: &Step| {
        if gone.load(Ordering::Relaxed) {
            return Err(Error::Unauthenticated);
        }
        let keyed = key.map(|key| Keyed { key: key.part(&step.name()), answer: kept_line });
        let done = tenancy.decide_and_commit(step, asked, keyed.as_ref()).await;
        // The caller's key was revoked meanwhile: nothing more is done in its name.
        gone.fetch_or(matches!(done, Err(Error::Unauthenticated)), Ordering::Relaxed);
        done
    };
    let open: Vec<usize> = (0..steps.len()).filter(|at| matches!(lines[*at], Line::Of(_))).collect();
    let (organizations, tenants): (Vec<_>, Vec<_>) =
        open.into_iter().partition(|at| steps[*at].kind == Kind::Organization);
    let mut again = Vec::new();
    let mut settle = |at: usize, done: Result<Done<AppliedDocument>, Error>| {
        if matches!(done, Err(Error::Conflict(_))) {
            again.push(at);
        }
        lines[at] = settled(&steps[at], asked, done);
    };
    for at in organizations {
        settle(at, run(&steps[at]).await);
    }
    for chunk in tenants.chunks(AT_ONCE) {
        let done = futures_util::future::join_all(chunk.iter().map(|at| run(&steps[*at]))).await;
        chunk.iter().zip(done).for_each(|(at, done)| settle(*at, done));
    }
    for at in again {
        lines[at] = settled(&steps[at], asked, run(&steps[at]).await);
    }
}

fn settled(step: &Step, asked: &Asked, done: Result<Done<AppliedDocument>, Error>) -> Line {
    match done {
        Ok(Done::Before(answer)) => Line::Kept(serde_json::from_str(&answer.body).unwrap_or_default()),
        Ok(Done::Now(applied)) => Line::Of(Box::new(applied)),
        Err(error) => line(step, asked, Err(error)),
    }
}

fn line(step: &Step, asked: &Asked, decided: Result<AppliedDocument, Error>) -> Line {
    Line::Of(Box::new(decided.unwrap_or_else(|error| AppliedDocument {
        result: "refused",
        error: serde_json::to_value(ProblemView::of(&error, &[], asked.correlation_id.as_str())).ok(),
        ..step.blank()
    })))
}

fn kept_line(_: &Tenancy, line: &AppliedDocument) -> Answer {
    Answer { status: 200, body: serde_json::to_string(line).unwrap_or_default(), ..Answer::default() }
}

/// One document to apply.
#[derive(Debug)]
struct Step {
    index: usize,
    kind: Kind,
    id: String,
    document: Value,
    allow: Vec<String>,
}

/// Reads what each document is; a thing may stand in a file once.
fn steps(documents: Vec<Value>, allow: &[String]) -> Result<Vec<Step>, Error> {
    let (mut violations, mut steps, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (index, document) in documents.into_iter().enumerate() {
        let at = Pointer::root().index(index);
        match step(index, document, &at) {
            Ok(mut step) => {
                if !seen.insert((step.kind, step.id.clone())) {
                    let message = format!("{} {} stands twice in the file", step.kind.as_str(), step.id);
                    violations.push(Violation::at(&at.key(step.kind.id_field()), "duplicate", message));
                }
                step.allow = allow.to_vec();
                steps.push(step);
            }
            Err(violation) => violations.push(violation),
        }
    }
    if violations.is_empty() { Ok(steps) } else { Err(Error::Invalid(violations)) }
}

fn step(index: usize, document: Value, at: &Pointer) -> Result<Step, Violation> {
    let Value::Object(object) = &document else {
        return Err(Violation::at(at, "wrong_type", "a document must be an object with a kind"));
    };
    let kind = match object.get("kind").and_then(Value::as_str) {
        Some("Organization") => Kind::Organization,
        Some("Tenant") => Kind::Tenant,
        other => {
            let code = if object.contains_key("kind") { "unknown_word" } else { "required" };
            let message = match other {
                Some(other) => tenancy_core::document::one_of(other, &["Organization", "Tenant"]),
                None => "kind is required: Organization or Tenant".to_owned(),
            };
            return Err(Violation::at(&at.key("kind"), code, message));
        }
    };
    let field = kind.id_field();
    let Some(id) = object.get(field).and_then(Value::as_str).map(str::to_owned) else {
        let message = format!("{field} is required: a file that is applied again must name the same {}", kind.as_str());
        return Err(Violation::at(&at.key(field), "required", message));
    };
    Ok(Step { index, kind, id, document, allow: Vec::new() })
}

impl Step {
    /// What the part of an Idempotency-Key is called.
    fn name(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.id)
    }

    fn blank(&self) -> AppliedDocument {
        AppliedDocument {
            index: self.index,
            kind: self.kind.as_str(),
            id: self.id.clone(),
            ..AppliedDocument::default()
        }
    }

    async fn tenant(&self, tenancy: &Tenancy, moment: &mut Moment) -> Result<Decided<AppliedDocument>, Error> {
        let declared = &tenancy.declared;
        let known = match TenantId::parse(&self.id) {
            Ok(id) => tenancy.store.dossier(&id).await?,
            // The manifest's own check says what is wrong with it.
            Err(_) => None,
        };
        let (decision, differences) = match &known {
            None => {
                let wished = of_new(declared, &self.document)?;
                (register(declared, &wished.manifest, wished.warnings, moment)?, Vec::new())
            }
            Some(dossier) => {
                Precondition::Unsaid.check_if_said(read_at(&self.document), dossier.tenant.version)?;
                let wished = of_known(declared, dossier, &self.document, How::Apply)?;
                let differences = differences(&Manifest::of(dossier).document(), &wished.manifest.document());
                let decision = change(declared, dossier, &wished.manifest, wished.warnings, &self.allow, moment)?;
                (decision, differences)
            }
        };
        let after = &decision.dossier;
        let outcome = AppliedDocument {
            result: result(known.is_none(), decision.changes.is_some()),
            changes: differences,
            version: Some(after.tenant.version),
            state: Some(after.tenant.state.as_str()),
            desired_state: after.tenant.desired_state.map(|wish| wish.as_str()),
            job: after
                .open_job
                .as_ref()
                .map(|job| AppliedJob { job_id: job.job_id.to_string(), action: job.action.as_str() }),
            waits_for: tenancy_core::lifecycle::waits_for(declared, after),
            warnings: decision.warnings,
            ..self.blank()
        };
        Ok(Decided { outcome, changes: decision.changes })
    }

    async fn organization(&self, tenancy: &Tenancy, moment: &mut Moment) -> Result<Decided<AppliedDocument>, Error> {
        let known = match OrganizationId::parse(&self.id) {
            Ok(id) => tenancy.store.organization(&id).await?,
            Err(_) => None,
        };
        let wished = organizations::wished(&tenancy.declared, known.as_ref(), &self.document, How::Apply)?;
        let (decision, differences) = match &known {
            None => (tenancy_core::rules::organizations::create(&wished.manifest, moment)?, Vec::new()),
            Some(known) => {
                let before = &known.organization;
                Precondition::Unsaid.check_if_said(read_at(&self.document), before.version)?;
                let differences =
                    differences(&OrganizationManifest::of(before).document(), &wished.manifest.document());
                (tenancy_core::rules::organizations::change(before, &wished.manifest, moment)?, differences)
            }
        };
        let outcome = AppliedDocument {
            result: result(known.is_none(), decision.changes.is_some()),
            changes: differences,
            version: Some(decision.organization.version),
            warnings: wished.warnings,
            ..self.blank()
        };
        Ok(Decided { outcome, changes: decision.changes })
    }
}

impl Command for Step {
    type Outcome = AppliedDocument;

    async fn decide(&self, tenancy: &Tenancy, moment: &mut Moment) -> Result<Decided<AppliedDocument>, Error> {
        match self.kind {
            Kind::Organization => self.organization(tenancy, moment).await,
            Kind::Tenant => self.tenant(tenancy, moment).await,
        }
    }
}

fn result(created: bool, changed: bool) -> &'static str {
    match (created, changed) {
        (true, _) => "created",
        (false, true) => "changed",
        (false, false) => "unchanged",
    }
}

/// What a document says of itself, for who has to find it in a file.
fn describe(index: usize, document: &Value) -> DocumentRef {
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = if text("kind").as_deref() == Some("Organization") { "organization_id" } else { "tenant_id" };
    DocumentRef { index, kind: text("kind"), name: text(id) }
}
