//! Who hears of what: for every type of event, a webhook, the feed and the audit log show an owner the same events, and
//! none of another owner.

use crate::event_reader::Reader;
use crate::house::{House, On, on_both};
use crate::receiver::Receiver;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tenancy_api::catalogue;
use tenancy_core::apikey::Role;
use tenancy_core::changes::Changes;
use tenancy_core::event::{Event, EventType};
use tenancy_core::ids::{CorrelationId, TenantId};
use tenancy_server::tenancy::RequestContext;

on_both!(no_owner_must_hear_of_another_in_any_type_of_event_and_each_must_hear_what_it_may_read);

/// Organizations with their tenants.
const ORGANIZATIONS: [(&str, &[&str]); 2] = [("acme", &["acme-eu", "acme-us"]), ("globex", &["globex-eu"])];

/// Whose events a type has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Tenants,
    Platform,
    Both,
}

/// Returns whose events a type has. A new type does not compile without an answer.
fn of(event_type: EventType) -> Of {
    use EventType as E;
    match event_type {
        E::OrganizationCreated
        | E::OrganizationUpdated
        | E::OrganizationClosed
        | E::OrganizationHoldPlaced
        | E::OrganizationHoldReleased
        | E::KeyCreated
        | E::KeyRotated
        | E::KeyRevoked
        | E::PlacementCreated
        | E::PlacementUpdated
        | E::PlacementDeleted
        | E::AccessRefused
        | E::LogExpired
        | E::LogRestored => Of::Platform,
        E::WebhookUpdated
        | E::WebhookFailing
        | E::WebhookDisabled
        | E::WebhookResend
        | E::WebhookReplay
        | E::WebhookTested => Of::Both,
        E::TenancyRegistered
        | E::CreationRequested
        | E::TenancyCreated
        | E::TenancyUpdated
        | E::TenancyUpdateRequested
        | E::TenancyProvisioned
        | E::EnvironmentCreated
        | E::EnvironmentPlaced
        | E::EnvironmentConnected
        | E::EnvironmentSettingsApplied
        | E::EnvironmentProvisioned
        | E::EnvironmentClosed
        | E::EnvironmentDestructionStarted
        | E::EnvironmentUpdated
        | E::EnvironmentDeleted
        | E::HoldPlaced
        | E::HoldReleased
        | E::ActivationRequested
        | E::Activated
        | E::SuspensionRequested
        | E::Suspended
        | E::DeletionRequested
        | E::Deleted
        | E::UndeletionRequested
        | E::Undeleted
        | E::PurgeRequested
        | E::Purged
        | E::JobFailed
        | E::JobRetried
        | E::JobCancelled => Of::Tenants,
    }
}

/// An owner of webhooks, with what hears for it.
struct Ear {
    scope: String,
    /// Tenants whose events the owner may read; `None` for all events.
    tenants: Option<Vec<&'static str>>,
    webhook_id: String,
    receiver: Receiver,
    token: String,
    live: Reader,
}

impl Ear {
    async fn new(house: &House, scope: String, path: &str, tenants: Option<Vec<&'static str>>) -> Self {
        let receiver = Receiver::start().await;
        let webhook = json!({"name": "ear", "url": receiver.url, "events": ["*"]});
        let made = house.post(path, webhook).await.ok(201).body;
        let key = json!({"name": format!("ear of {scope}"), "role": Role::Viewer, "scope": scope});
        let token = house.post("/v1/keys", key).await.ok(201).body["token"].as_str().expect("a token").to_owned();
        let live = Reader::open_with(house, &token, "after=end", None).await;
        let webhook_id = made["webhook_id"].as_str().expect("an id").to_owned();
        Self { scope, tenants, webhook_id, receiver, token, live }
    }

    fn may_hear_of(&self, event: &Value) -> bool {
        let tenant = event["tenant_id"].as_str();
        self.tenants.as_ref().is_none_or(|own| tenant.is_some_and(|tenant| own.contains(&tenant)))
    }
}

/// Commits an event of each type, of each tenant and about each organization. Returns the id of each with its tenant.
async fn commit_all(house: &House, ears: &[Ear]) -> Vec<Value> {
    let tenancy = &house.server.tenancy;
    let mut committed = Vec::new();
    for described in catalogue::all().items {
        let event_type = EventType::parse(&described.event_type).expect("a type");
        let tenants = ORGANIZATIONS.iter().flat_map(|(organization, tenants)| {
            tenants.iter().map(move |tenant| (*organization, Some(*tenant), format!("tenant:{tenant}")))
        });
        let platform =
            ORGANIZATIONS.iter().map(|(organization, _)| (*organization, None, format!("organization:{organization}")));
        let whose: Vec<_> = match of(event_type) {
            Of::Tenants => tenants.collect(),
            Of::Platform => platform.collect(),
            Of::Both => tenants.chain(platform).collect(),
        };
        for (organization, tenant, scope) in whose {
            let mut payload = described.example["payload"].clone();
            if event_type.fields().iter().any(|field| field.0.starts_with("organization_id")) {
                payload["organization_id"] = json!(organization);
            }
            if payload.get("webhook_id").is_some() {
                let own = ears.iter().find(|ear| ear.scope == scope).expect("its ear");
                payload["webhook_id"] = json!(own.webhook_id);
            }
            let request = RequestContext::by_part("test", CorrelationId::known("c-hearing"));
            let mut context = tenancy.context(&request).expect("a context");
            let tenant_id = tenant.map(TenantId::known);
            let event = Event::new(&mut context, tenant_id.as_ref(), event_type, payload);
            committed.push(json!({
                "audit_id": event.audit_id, "tenant_id": tenant, "type": described.event_type,
            }));
            tenancy.store.commit(Changes::new(event)).await.expect("committed");
        }
    }
    committed
}

/// Returns the ids of the events of the test among those that an owner got. Each event must be its own.
fn ids(ear: &Ear, by: &str, got: impl IntoIterator<Item = Value>) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for event in got {
        assert!(ear.may_hear_of(&event), "{} hears by its {by} of {event:#}", ear.scope);
        if event["correlation_id"] == "c-hearing" {
            ids.insert(event["audit_id"].as_str().expect("an id").to_owned());
        }
    }
    ids
}

async fn no_owner_must_hear_of_another_in_any_type_of_event_and_each_must_hear_what_it_may_read(on: On) {
    let house = House::new(on).await;
    for (organization, tenants) in ORGANIZATIONS {
        house.post("/v1/organizations", json!({"organization_id": organization})).await.ok(201);
        for tenant in tenants {
            let manifest = json!({"tenant_id": tenant, "organization_id": organization, "region": "eu-west-1"});
            house.post("/v1/tenants", manifest).await.ok(201);
        }
    }
    house.work().await;
    let mut ears = vec![Ear::new(&house, "all".to_owned(), "/v1/webhooks", None).await];
    for (organization, tenants) in ORGANIZATIONS {
        let path = format!("/v1/organizations/{organization}/webhooks");
        ears.push(Ear::new(&house, format!("organization:{organization}"), &path, Some(tenants.to_vec())).await);
        for tenant in tenants {
            let path = format!("/v1/tenants/{tenant}/webhooks");
            ears.push(Ear::new(&house, format!("tenant:{tenant}"), &path, Some(vec![tenant])).await);
        }
    }
    // The dispatcher knows where each webhook begins.
    house.deliver().await;
    let committed = commit_all(&house, &ears).await;
    let last = house.server.tenancy.feed.newest().await.expect("the end of the log").newest;
    house.deliver().await;
    for ear in &mut ears {
        let own = committed.iter().filter(|event| ear.may_hear_of(event));
        let expected: BTreeSet<_> = own.map(|event| event["audit_id"].as_str().expect("an id").to_owned()).collect();
        let named = |ids: &BTreeSet<String>| -> Vec<_> {
            let missing = committed.iter().filter(|event| {
                event["audit_id"].as_str().is_some_and(|id| expected.contains(id) && !ids.contains(id))
            });
            missing.cloned().collect()
        };
        let sent = ear.receiver.take().into_iter().map(|got| got.body["data"].clone());
        let sent = ids(ear, "webhook", sent);
        assert_eq!(named(&sent), Vec::<Value>::new(), "{} does not hear by its webhook", ear.scope);
        let live = ear.live.through(last).await.into_iter().map(|frame| frame.data);
        let live = ids(ear, "stream", live);
        assert_eq!(named(&live), Vec::<Value>::new(), "{} does not hear by its stream", ear.scope);
        for path in ["/v1/audit?limit=500", "/v1/events?limit=500"] {
            let bearer = format!("Bearer {}", ear.token);
            let page = house.send_as_it_is("GET", path, &[("authorization", bearer.as_str())], ()).await.ok(200);
            let read = ids(ear, path, page.body["items"].as_array().expect("items").clone());
            assert_eq!(named(&read), Vec::<Value>::new(), "{} does not read in {path}", ear.scope);
        }
    }
    assert!(committed.len() > EventType::WORDS.len(), "{}", committed.len());
}
