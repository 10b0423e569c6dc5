//! Facts in a document that a caller read, edited and sent back.
//!
//! An answer has more fields than a caller may write: state, times and holds. A caller that reads, edits and sends back
//! a document also sends these facts. Facts with their current values are dropped. A fact that was edited is refused by
//! name, so that no caller expects `state: Active` to activate a tenant. If the document has another `counter` than the
//! current one, a fact changed after the caller's read; its facts are then dropped without a comparison. The same holds
//! for an environment with another `updated_at`.

use serde_json::Value;
use std::borrow::Cow;
use tenancy_core::Violation;
use tenancy_core::json::{Object, Pointer};

/// Facts of one kind of resource.
pub struct Facts {
    /// Facts that a document may contain only with their current values.
    pub fixed: &'static [&'static str],
    /// Facts without a counter, or that only the answer to a write contains. They are dropped whatever their value.
    pub moving: &'static [&'static str],
}

/// Facts of a tenant.
pub const TENANT: Facts = Facts {
    fixed: &[
        "state",
        "state_since",
        "created_at",
        "updated_at",
        "provisioned_at",
        "archived_at",
        "purge_after",
        "purged_at",
        "holds",
    ],
    moving: &["counter", "open_job", "waits_for", "warnings"],
};

/// Facts of an environment. In a tenant's document, an environment does not have the last three.
pub const ENVIRONMENT: Facts = Facts {
    fixed: &[
        "env_id",
        "state",
        "provisioned_at",
        "place",
        "region_follows_tenant",
        "tenant_id",
        "created_at",
        "updated_at",
    ],
    moving: &["warnings"],
};

/// Facts of a webhook. In a tenant's document, a webhook does not have the last two.
pub const WEBHOOK: Facts = Facts {
    fixed: &["webhook_id", "disabled_at", "disabled_cause", "created_at", "updated_at", "tenant_id", "organization_id"],
    moving: &[],
};

/// Facts of an organization.
pub const ORGANIZATION: Facts =
    Facts { fixed: &["created_at", "updated_at", "closed_at", "holds"], moving: &["counter", "usage", "warnings"] };

/// Facts of a placement.
pub const PLACEMENT: Facts = Facts { fixed: &["created_at", "updated_at"], moving: &["environment_count"] };

impl Facts {
    /// Returns whether the document contains any fact.
    pub fn any_in(&self, document: &Object) -> bool {
        self.fixed.iter().chain(self.moving).any(|name| document.contains_key(*name))
    }

    /// Removes the facts from `document`. `current` is what a read returns now. `same_moment` says that the document
    /// was read from the current state, as far as is known.
    pub fn drop(&self, document: &mut Object, current: &Value, same_moment: bool, at: &Pointer) -> Vec<Violation> {
        for name in self.moving {
            document.remove(*name);
        }
        let edited = |name: &&&str| match document.get(**name) {
            None => false,
            Some(value) => {
                same_moment && without_names(value) != without_names(current.get(**name).unwrap_or(&Value::Null))
            }
        };
        let violations: Vec<_> = self.fixed.iter().filter(edited).map(|name| read_only(name, at)).collect();
        for name in self.fixed {
            document.remove(*name);
        }
        violations
    }
}

/// Returns holds without the names of the keys that placed them, which are for display only and may be missing in an
/// answer.
fn without_names(value: &Value) -> Cow<'_, Value> {
    const NAME: &str = "placed_by_name";
    let Value::Array(holds) = value else { return Cow::Borrowed(value) };
    if !holds.iter().any(|hold| hold.get(NAME).is_some()) {
        return Cow::Borrowed(value);
    }
    let mut holds = holds.clone();
    holds.iter_mut().filter_map(Value::as_object_mut).for_each(|hold| drop(hold.remove(NAME)));
    Cow::Owned(Value::Array(holds))
}

fn read_only(name: &str, at: &Pointer) -> Violation {
    let instead = match name {
        "state" => "set desired_state, or call activate, suspend or delete",
        "holds" => "call suspend or activate with this hold",
        _ => "leave it out",
    };
    Violation::at(&at.key(name), "read_only", format!("{name} is read-only: {instead}"))
}

/// Removes the region from the entry of an environment that was read and follows its tenant: the answer shows the region
/// in effect. `regions` are the regions that the tenant had when the document was read. A region that was edited stays.
pub fn take_followed_region(entry: &mut Object, regions: &[Option<&Value>]) {
    let follows = entry.get("region_follows_tenant") == Some(&Value::Bool(true));
    if follows && entry.get("region").is_some_and(|region| regions.contains(&Some(region))) {
        entry.remove("region");
    }
}

/// Removes `version` from the document. It is a precondition, which [`read_at`] returns.
///
/// # Errors
/// A violation if it is not a version.
pub fn take_version(document: &mut Object) -> Result<(), Violation> {
    match document.remove("version") {
        Some(value) if !value.is_null() && value.as_i64().is_none() => {
            let at = Pointer::root().key("version");
            Err(Violation::at(&at, "wrong_type", "version must be the whole number from an earlier answer"))
        }
        _ => Ok(()),
    }
}

/// Returns the version that the document was read at. A value of another type is checked later.
pub fn read_at(document: &Value) -> Option<i64> {
    document.get("version").and_then(Value::as_i64)
}

/// Removes `kind` from the document. It is optional, since the route implies it.
///
/// # Errors
/// A violation if it names another kind.
pub fn take_kind(document: &mut Object, kind: &str) -> Result<(), Violation> {
    match document.remove("kind") {
        None => Ok(()),
        Some(value) if value == kind => Ok(()),
        Some(value) => {
            let at = Pointer::root().key("kind");
            Err(Violation::at(&at, "unknown_word", format!("must be {kind} here, not {value}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn must_drop_facts_that_say_what_is_and_name_each_that_was_edited() {
        let current = json!({"state": "Draft", "counter": 4, "holds": []});
        let root = Pointer::root();
        let mut sent = object(json!({"region": "x", "state": "Draft", "holds": [], "open_job": {"progress": 0.2}}));
        assert_eq!(TENANT.drop(&mut sent, &current, true, &root), []);
        assert_eq!(Value::Object(sent), json!({"region": "x"}));

        let edited = || object(json!({"state": "Active", "archived_at": "2026-01-01T00:00:00Z"}));
        let pointers: Vec<_> =
            TENANT.drop(&mut edited(), &current, true, &root).into_iter().map(|v| v.pointer).collect();
        assert_eq!(pointers, ["/state", "/archived_at"]);
        assert_eq!(TENANT.drop(&mut edited(), &current, false, &root), []);
    }

    #[test]
    fn must_take_a_version_as_a_number_only() {
        assert_eq!(read_at(&json!({"version": 7})), Some(7));
        assert_eq!(read_at(&json!({"version": "7"})), None);
        assert!(take_version(&mut object(json!({"version": 7}))).is_ok());
        assert!(take_version(&mut object(json!({}))).is_ok());
        assert!(take_version(&mut object(json!({"version": "7"}))).is_err());
        assert!(take_kind(&mut object(json!({"kind": "Tenant"})), "Tenant").is_ok());
        assert!(take_kind(&mut object(json!({"kind": "Organization"})), "Tenant").is_err());
    }
}
