//! The audience of a response: which fields are hidden, and the names of the keys in it.

use std::borrow::Cow;
use std::sync::Arc;
use tenancy_core::event::EventType;
use tenancy_core::json::Object;
use tenancy_core::permission::{Audience, FieldGroup, INTERNAL_LABELS, group};
use tenancy_core::rules::fields;
use tenancy_core::tenant::Labels;
use tenancy_core::webhook::masked;

/// Name of a key, shown beside its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    /// Name of the key.
    pub name: String,
    /// Whether the key has a scope: it then belongs to a customer and not to the operator of the platform.
    pub is_scoped: bool,
}

/// Actor that responses to customers show for every actor of the platform's operator.
pub const PLATFORM: &str = "platform";

/// Looks up the names of keys.
pub trait Names {
    /// Returns the name of a key by its id, if it is known.
    fn name(&self, key_id: &str) -> Option<Arc<KeyName>>;
}

impl<F: Fn(&str) -> Option<Arc<KeyName>>> Names for F {
    fn name(&self, key_id: &str) -> Option<Arc<KeyName>> {
        self(key_id)
    }
}

/// Actor that responses to callers that may not read keys show for a key. The name of the key is shown beside it.
pub const KEY: &str = "user";

/// The audience of a response.
#[derive(Clone, Copy)]
pub struct Viewpoint<'v> {
    /// Group of callers that reads the response.
    pub audience: Audience,
    /// Whether the caller may read keys: their ids and roles are shown to such callers only.
    pub reads_keys: bool,
    /// Whether the whole URLs of webhooks are shown, or only their hosts.
    pub sees_urls: bool,
    /// Lookup of the names of keys.
    pub names: &'v dyn Names,
}

impl Viewpoint<'_> {
    /// A viewpoint without names of keys, which shows URLs.
    pub fn unnamed(audience: Audience) -> Self {
        Self { audience, reads_keys: true, sees_urls: true, names: &|_: &str| None }
    }

    fn key_name(&self, actor: &str) -> Option<Arc<KeyName>> {
        self.names.name(actor.strip_prefix("user:")?)
    }

    fn hides(&self, name: Option<&KeyName>) -> bool {
        self.audience == Audience::Customer && name.is_none_or(|name| !name.is_scoped)
    }

    /// Returns the actor and, if the actor is a key, its name. A customer sees only actors that are keys of customers;
    /// all others appear as [`PLATFORM`]. A caller that may not read keys sees the name of a key, but not its id.
    pub fn actor<'a>(&self, actor: &'a str) -> (Cow<'a, str>, Option<Cow<'static, str>>) {
        let name = self.key_name(actor);
        if self.hides(name.as_deref()) {
            return (PLATFORM.into(), None);
        }
        let shown = if self.reads_keys || !actor.starts_with("user:") { actor } else { KEY };
        (shown.into(), name.map(|name| name.name.clone().into()))
    }

    /// Returns the value for staff and `None` for customers.
    pub fn internal<T>(&self, value: T) -> Option<T> {
        (self.audience == Audience::Staff).then_some(value)
    }

    /// Returns the labels; for customers without internal labels.
    pub fn labels<'a>(&self, labels: &'a Labels) -> Cow<'a, Labels> {
        let is_internal = |key: &String| key.starts_with(INTERNAL_LABELS);
        if self.audience == Audience::Staff || !labels.keys().any(is_internal) {
            return Cow::Borrowed(labels);
        }
        Cow::Owned(labels.iter().filter(|(key, _)| !is_internal(key)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// Returns the URL of a webhook, masked for callers that can only read.
    pub fn url<'a>(&self, url: &'a str) -> Cow<'a, str> {
        if self.sees_urls { url.into() } else { masked(url).into() }
    }

    /// Returns the manifest of a version; for customers without internal fields, and with masked URLs for callers that can
    /// only read.
    pub fn manifest<'a>(&self, manifest: &'a serde_json::Value) -> Cow<'a, serde_json::Value> {
        if self.audience == Audience::Staff && self.sees_urls {
            return Cow::Borrowed(manifest);
        }
        let mut shown = manifest.clone();
        fields::hide(self.audience, &mut shown);
        if !self.sees_urls {
            fields::mask_urls(&mut shown);
        }
        Cow::Owned(shown)
    }

    /// Whether the details of an event of this type are hidden, because they describe keys.
    pub fn hides_details(&self, event_type: EventType) -> bool {
        !self.reads_keys && event_type.is_about_keys()
    }

    /// Returns the payload of an event; for customers without changes of internal fields, and empty if it describes
    /// keys and the caller may not read keys.
    pub fn payload<'a>(&self, event_type: EventType, payload: &'a Object) -> Cow<'a, Object> {
        if self.hides_details(event_type) {
            return Cow::Owned(Object::new());
        }
        if self.audience == Audience::Customer && payload.contains_key(PLACEMENT) {
            let mut shown = payload.clone();
            shown.remove(PLACEMENT);
            return Cow::Owned(shown);
        }
        let Some(serde_json::Value::Array(changes)) = payload.get("changes") else { return Cow::Borrowed(payload) };
        if self.audience == Audience::Staff || !changes.iter().any(is_internal) {
            return Cow::Borrowed(payload);
        }
        let mut shown = payload.clone();
        if let Some(serde_json::Value::Array(changes)) = shown.get_mut("changes") {
            changes.retain(|change| !is_internal(change));
        }
        Cow::Owned(shown)
    }
}

/// Field of a payload that customers do not see: the servers of the platform are not theirs.
const PLACEMENT: &str = "placement";

/// Whether a change concerns an internal field.
fn is_internal(change: &serde_json::Value) -> bool {
    let Some(pointer) = change.get("pointer").and_then(serde_json::Value::as_str) else { return false };
    let mut parts = pointer.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("labels"), Some(key)) => key.replace("~1", "/").starts_with(INTERNAL_LABELS),
        (Some(field), _) => group(field) == FieldGroup::Internal,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(id: &str) -> Option<Arc<KeyName>> {
        let name = |name: &str, is_scoped| Some(Arc::new(KeyName { name: name.to_owned(), is_scoped }));
        match id {
            "key_ours" => name("ci", false),
            "key_theirs" => name("acme-admin", true),
            _ => None,
        }
    }

    #[test]
    fn must_tell_a_customer_of_the_customers_own_keys_only() {
        let customer = Viewpoint { names: &names, ..Viewpoint::unnamed(Audience::Customer) };
        let staff = Viewpoint { names: &names, ..Viewpoint::unnamed(Audience::Staff) };
        assert_eq!(customer.actor("user:key_theirs").1.as_deref(), Some("acme-admin"));
        for ours in ["user:key_ours", "user:key_unknown", "system:expiry", "controller:runner-1"] {
            assert_eq!(customer.actor(ours), (PLATFORM.into(), None), "{ours}");
            assert_eq!(staff.actor(ours).0, ours);
        }
        assert_eq!(staff.actor("user:key_ours").1.as_deref(), Some("ci"));
    }

    #[test]
    fn must_show_ids_of_keys_and_events_about_keys_only_to_who_may_read_keys() {
        let details = json!({"key_id": "key_ours", "role": "admin"});
        let details = details.as_object().expect("an object");
        for reads_keys in [false, true] {
            let viewpoint = Viewpoint { reads_keys, names: &names, ..Viewpoint::unnamed(Audience::Staff) };
            let actor = if reads_keys { "user:key_ours" } else { "user" };
            assert_eq!(viewpoint.actor("user:key_ours"), (actor.into(), Some("ci".into())));
            assert_eq!(viewpoint.actor("system:expiry").0, "system:expiry");
            for (_, event_type) in EventType::WORDS {
                let is_shown = reads_keys || !event_type.is_about_keys();
                assert_eq!(!viewpoint.payload(*event_type, details).is_empty(), is_shown, "{event_type}");
            }
        }
    }

    #[test]
    fn must_leave_changes_of_internal_fields_out() {
        let customer = Viewpoint { names: &names, ..Viewpoint::unnamed(Audience::Customer) };
        let change = |pointer: &str| json!({"pointer": pointer});
        let changes = json!({"version": 2, "changes": [
            change("/billing/plan"), change("/labels/internal~1risk"), change("/labels/tier"), change("/quotas/x"),
        ]});
        let shown = customer.payload(EventType::TenancyUpdated, changes.as_object().expect("an object"));
        assert_eq!(shown["changes"], json!([change("/labels/tier"), change("/quotas/x")]));
    }
}
