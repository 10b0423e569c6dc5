//! Creates, changes and closes organizations.

use super::change_builder::changes;
use super::redaction;
use super::webhooks::{WebhookDecision, to_entries};
use crate::changes::{Changes, Guard, Write};
use crate::decision_context::DecisionContext;
use crate::declared::Declared;
use crate::document::{Fields, Findings, one_of};
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::ids::OrganizationId;
use crate::json::{Object, Pointer, differences, without_nulls};
use crate::manifest::{MAX_DISPLAY_NAME_BYTES, WebhookManifest, read_labels, read_webhooks};
use crate::organization::{Caps, Organization, Usage};
use crate::quotas::{check_quotas, counted_values};
use crate::tenant::Labels;
use crate::violation::Violation;
use crate::webhook::{Webhook, WebhookOwner};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Manifest of an organization.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganizationManifest {
    /// Id, chosen by the client.
    pub organization_id: OrganizationId,
    /// Display name, for people.
    pub display_name: Option<String>,
    /// Labels.
    pub labels: Labels,
    /// Caps on all tenants together.
    pub caps: Caps,
    /// Webhooks, sorted by name.
    pub webhooks: Vec<WebhookManifest>,
}

impl OrganizationManifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all violations.
    pub fn parse(declared: &Declared, document: &Value) -> Result<(Self, Vec<Violation>), Error> {
        let mut findings = Findings::default();
        let manifest = read(declared, document, &Caps::default(), &mut findings);
        findings.finish(manifest)
    }

    /// Reads a manifest that replaces that of `before`. A cap on an undeclared quota that stays as it is causes a
    /// warning only.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all violations.
    pub fn parse_change(
        declared: &Declared,
        document: &Value,
        before: &Organization,
    ) -> Result<(Self, Vec<Violation>), Error> {
        let mut findings = Findings::default();
        let manifest = read(declared, document, &before.caps, &mut findings);
        findings.finish(manifest)
    }

    /// Returns the current manifest of an organization with these webhooks.
    pub fn of(organization: &Organization, webhooks: &[Webhook]) -> Self {
        Self {
            organization_id: organization.organization_id.clone(),
            display_name: organization.display_name.clone(),
            labels: organization.labels.clone(),
            caps: organization.caps.clone(),
            webhooks: webhooks.iter().map(WebhookManifest::of).collect(),
        }
    }

    /// Returns the manifest as a document, without fields that are not set.
    pub fn document(&self) -> Value {
        let mut document = json!({"organization_id": self.organization_id});
        if let Some(name) = &self.display_name {
            document["display_name"] = json!(name);
        }
        if !self.labels.is_empty() {
            document["labels"] = json!(self.labels);
        }
        if self.caps != Caps::default() {
            document["caps"] = caps_document(&self.caps);
        }
        if !self.webhooks.is_empty() {
            document["webhooks"] = self.webhooks.iter().map(WebhookManifest::document).collect();
        }
        document
    }
}

/// Returns caps as a document: `{"tenants": 10, "quotas": {"storageGiB": 1000}}`.
pub fn caps_document(caps: &Caps) -> Value {
    let mut document = json!({});
    if let Some(tenants) = caps.tenants {
        document["tenants"] = json!(tenants);
    }
    if !caps.quotas.is_empty() {
        document["quotas"] = json!(caps.quotas);
    }
    document
}

fn read(declared: &Declared, document: &Value, before: &Caps, findings: &mut Findings) -> Option<OrganizationManifest> {
    let mut fields = Fields::of(document, Pointer::root(), findings)?;
    fields.required("organization_id", "organization_id is required", findings);
    let organization_id = fields.name("organization_id", findings, OrganizationId::parse);
    let display_name = fields.text("display_name", MAX_DISPLAY_NAME_BYTES, findings);
    let labels = read_labels(&mut fields, findings);
    let at = fields.at("caps");
    let mut caps = Caps::default();
    if let Some(object) = fields.value("caps")
        && let Some(mut fields) = Fields::of(object, at, findings)
    {
        caps.tenants = fields.integer("tenants", 0..=crate::quotas::MAX_QUOTA, findings);
        if let Some(quotas) = fields.object("quotas", findings) {
            caps.quotas = read_quota_caps(declared, &without_nulls(quotas), before, &fields.at("quotas"), findings);
        }
        fields.no_others(findings);
    }
    let webhooks = read_webhooks(&mut fields, findings);
    fields.no_others(findings);
    Some(OrganizationManifest { organization_id: organization_id?, display_name, labels, caps, webhooks })
}

/// Reads caps on quotas. Unlike an undeclared quota, a cap on an undeclared quota is refused, because it has no effect.
fn read_quota_caps(
    declared: &Declared,
    quotas: &Object,
    before: &Caps,
    at: &Pointer,
    findings: &mut Findings,
) -> BTreeMap<String, i64> {
    let (known, unknown): (Object, Object) =
        quotas.clone().into_iter().partition(|(name, _)| declared.quotas.contains_key(name));
    let names: Vec<_> = declared.quotas.keys().map(String::as_str).collect();
    let mut caps = counted_values(&known);
    for (name, value) in unknown {
        let stays = before.quotas.get(&name).copied().filter(|cap| value.as_i64() == Some(*cap));
        findings.bad_unless(stays.is_some(), &at.key(&name), "undeclared_quota", one_of(&name, &names));
        caps.extend(stays.map(|cap| (name, cap)));
    }
    check_quotas(declared, &known, None, at, findings);
    caps
}

/// Decision on an organization.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganizationDecision {
    /// The organization after the change.
    pub organization: Organization,
    /// Its webhooks after the change, sorted by name.
    pub webhooks: Vec<Webhook>,
    /// Changes to commit; `None` if nothing changes.
    pub changes: Option<Changes>,
    /// Caps that are lower than the usage.
    pub warnings: Vec<Violation>,
}

/// Creates an organization, with its webhooks.
///
/// # Errors
/// [`Error::TooLarge`] if the audit event exceeds its limit.
pub fn create(manifest: &OrganizationManifest, context: &mut DecisionContext) -> Result<OrganizationDecision, Error> {
    let organization = Organization {
        organization_id: manifest.organization_id.clone(),
        display_name: manifest.display_name.clone(),
        labels: manifest.labels.clone(),
        caps: manifest.caps.clone(),
        version: 1,
        counter: 1,
        settled_counter: 1,
        created_at: context.now,
        updated_at: context.now,
        closed_at: None,
    };
    let event = event(
        EventType::OrganizationCreated,
        &organization.organization_id,
        json!({"version": 1, "caps": caps_document(&organization.caps)}),
        json!({"display_name": organization.display_name}),
        context,
    );
    let owner = WebhookOwner::Organization(organization.organization_id.clone());
    let (webhooks, mut parts) = to_entries(&owner, &[], &manifest.webhooks, context);
    parts.events.insert(0, event);
    parts.guards.insert(0, Guard::OrganizationUnused(organization.organization_id.clone()));
    parts.writes.insert(0, Write::InsertOrganization(organization.clone()));
    let changes = changes(parts.events, parts.guards, parts.writes)?;
    Ok(OrganizationDecision { organization, webhooks, changes, warnings: Vec::new() })
}

/// Returns a violation if a document has another organization id, which can never change. Callers use it to report this
/// together with all other violations.
pub fn immutable(before: &Organization, document: &Value) -> Option<Violation> {
    let said = document.get("organization_id")?.as_str()?;
    let at = Pointer::root().key("organization_id");
    let message = "the id of an organization cannot be changed";
    (said != before.organization_id.as_str()).then(|| Violation::at(&at, "immutable", message))
}

/// Changes an organization with these webhooks and this usage to `manifest`. A cap can be lower than the usage: then the
/// usage can only decrease, and a warning names the cap.
///
/// # Errors
/// [`Error::Invalid`] for another id, [`Error::NotNow`] for new or changed webhooks of a closed organization,
/// [`Error::TooLarge`] if the audit event exceeds its limit.
pub fn change(
    before: &Organization,
    webhooks: &[Webhook],
    usage: &Usage,
    manifest: &OrganizationManifest,
    context: &mut DecisionContext,
) -> Result<OrganizationDecision, Error> {
    if let Some(fixed) = immutable(before, &manifest.document()) {
        return Err(Error::Invalid(vec![fixed]));
    }
    let mut differences = differences(&OrganizationManifest::of(before, webhooks).document(), &manifest.document());
    let warnings = manifest.caps.below(usage);
    if differences.is_empty() {
        return Ok(OrganizationDecision {
            organization: before.clone(),
            webhooks: webhooks.to_vec(),
            changes: None,
            warnings,
        });
    }
    let organization = Organization {
        display_name: manifest.display_name.clone(),
        labels: manifest.labels.clone(),
        caps: manifest.caps.clone(),
        ..next_version(before, context)
    };
    // Webhooks have their own events.
    differences.retain(|difference| difference.pointer.split('/').nth(1) != Some("webhooks"));
    // An organization has no quotas, only caps, and their names are declared.
    let (said, private) = redaction::changes(&BTreeMap::new(), &differences);
    let event = updated(&organization, said, private, context);
    let owner = WebhookOwner::Organization(organization.organization_id.clone());
    let (webhooks, mut parts) = to_entries(&owner, webhooks, &manifest.webhooks, context);
    // What remains of a closed organization can still be removed.
    if parts.writes.iter().any(|write| !matches!(write, Write::DeletePlatformWebhook(_))) {
        takes_manifest(before)?;
    }
    parts.events.insert(0, event);
    parts.guards.insert(0, at(before));
    parts.writes.insert(0, Write::UpdateOrganizationManifest(organization.clone()));
    let changes = changes(parts.events, parts.guards, parts.writes)?;
    Ok(OrganizationDecision { organization, webhooks, changes, warnings })
}

/// Returns the decision on a webhook of an organization with what it changes about the organization: its webhooks are a part
/// of its manifest, so that it gets a new version. `before` is the webhook before the decision, if it existed. A decision
/// that leaves the manifest as it is, such as a new secret, is returned unchanged.
///
/// # Errors
/// [`Error::TooLarge`] if an event exceeds its limit.
pub fn with_webhook(
    organization: &Organization,
    before: Option<&Webhook>,
    decision: WebhookDecision,
    context: &mut DecisionContext,
) -> Result<WebhookDecision, Error> {
    let WebhookDecision { webhook, changes: Some(decided) } = decision else { return Ok(decision) };
    let is_removed = decided.writes.iter().any(|write| matches!(write, Write::DeletePlatformWebhook(_)));
    if !is_removed && before.is_some_and(|before| WebhookManifest::of(before) == WebhookManifest::of(&webhook)) {
        return Ok(WebhookDecision { webhook, changes: Some(decided) });
    }
    let after = next_version(organization, context);
    let mut events = vec![updated(&after, Vec::new(), Value::Null, context)];
    events.extend_from_slice(decided.events());
    let guards = std::iter::once(at(organization)).chain(decided.guards).collect();
    let writes = std::iter::once(Write::UpdateOrganizationManifest(after)).chain(decided.writes).collect();
    Ok(WebhookDecision { webhook, changes: changes(events, guards, writes)? })
}

/// Returns the organization with its next version.
fn next_version(before: &Organization, context: &DecisionContext) -> Organization {
    Organization { version: before.version + 1, updated_at: context.now, ..before.clone() }
}

/// Builds the event of a new version.
fn updated(after: &Organization, said: Vec<Value>, private: Value, context: &mut DecisionContext) -> Event {
    let payload = json!({"version": after.version, "changes": said});
    event(EventType::OrganizationUpdated, &after.organization_id, payload, private, context)
}

/// Checks that the organization takes a manifest from a file: it is not closed. A closed organization that a file declares
/// is a contradiction, which must not pass as unchanged.
///
/// # Errors
/// [`Error::NotNow`].
pub fn takes_manifest(organization: &Organization) -> Result<(), Error> {
    let id = &organization.organization_id;
    match organization.closed_at {
        None => Ok(()),
        Some(_) => Err(Error::NotNow(format!("organization {id} is closed: remove it from the file"))),
    }
}

/// Closes an organization: its tenants stay, new tenants are refused. If it is closed already, nothing changes.
///
/// # Errors
/// None today.
pub fn close(
    before: &Organization,
    webhooks: &[Webhook],
    context: &mut DecisionContext,
) -> Result<OrganizationDecision, Error> {
    if before.closed_at.is_some() {
        return Ok(OrganizationDecision {
            organization: before.clone(),
            webhooks: webhooks.to_vec(),
            changes: None,
            warnings: Vec::new(),
        });
    }
    let organization = Organization {
        closed_at: Some(context.now),
        counter: before.counter + 1,
        updated_at: context.now,
        ..before.clone()
    };
    let id = &organization.organization_id;
    let event =
        event(EventType::OrganizationClosed, id, json!({"version": organization.version}), Value::Null, context);
    let changes = changes(vec![event], vec![at(before)], vec![Write::UpdateOrganizationFacts(organization.clone())])?;
    Ok(OrganizationDecision { organization, webhooks: webhooks.to_vec(), changes, warnings: Vec::new() })
}

pub(super) fn at(before: &Organization) -> Guard {
    Guard::OrganizationAt(before.organization_id.clone(), before.version, before.counter)
}

pub(super) fn event(
    event_type: EventType,
    id: &OrganizationId,
    mut payload: Value,
    private: Value,
    context: &mut DecisionContext,
) -> Event {
    payload["organization_id"] = json!(id);
    Event::new(context, None, event_type, payload).with_private(context, private)
}
