//! Translates pointers of rules, which refer to the complete manifest, into pointers into the document that was sent.

use serde_json::Value;
use tenancy_core::gated_change::GatedChange;
use tenancy_core::json::Pointer;
use tenancy_core::{Error, Violation};

/// Returns the rest of `pointer` after `at`; `None` if it leads elsewhere.
fn below<'a>(pointer: &'a str, at: &str) -> Option<&'a str> {
    pointer.strip_prefix(at).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The entry of an environment that was sent separately, and its place in the tenant's manifest.
pub struct Entry<'a> {
    /// Name of the environment. Pointers of gated changes contain it.
    pub name: &'a str,
    /// Index in the list. Pointers of violations and warnings contain it.
    pub index: usize,
}

impl Entry<'_> {
    /// Returns the error with pointers into the entry that was sent.
    pub fn inside(&self, error: Error) -> Error {
        match error {
            Error::Invalid(violations) => {
                let inside = |v: Violation| Violation { pointer: self.at(v.pointer), ..v };
                Error::Invalid(violations.into_iter().map(inside).collect())
            }
            Error::Gated(gates) => {
                let inside = |gate: GatedChange| GatedChange { pointer: self.at(gate.pointer), ..gate };
                Error::Gated(gates.into_iter().map(inside).collect())
            }
            error => error,
        }
    }

    /// Returns the warnings about the entry, with pointers into it. Warnings about the rest of the manifest are
    /// omitted.
    pub fn warnings(&self, warnings: Vec<Violation>) -> Vec<Violation> {
        let inside = |v: Violation| Some(Violation { pointer: self.rest(&v.pointer)?.to_owned(), ..v });
        warnings.into_iter().filter_map(inside).collect()
    }

    fn at(&self, pointer: String) -> String {
        self.rest(&pointer).map(str::to_owned).unwrap_or(pointer)
    }

    fn rest<'p>(&self, pointer: &'p str) -> Option<&'p str> {
        let list = Pointer::root().key("environments");
        let by_index = below(pointer, &list.index(self.index).to_string());
        by_index.or_else(|| below(pointer, &list.key(self.name).to_string()))
    }
}

/// Returns the error with pointers into a tenant's document as it was sent, in which an environment has an index, not a
/// name. For an environment that the document omits, the pointer refers to the list.
pub fn in_sent(error: Error, document: &Value) -> Error {
    let Error::Gated(gates) = error else { return error };
    let sent = |gate: GatedChange| GatedChange { pointer: sent(gate.pointer, document), ..gate };
    Error::Gated(gates.into_iter().map(sent).collect())
}

fn sent(pointer: String, document: &Value) -> String {
    let list = Pointer::root().key("environments");
    if below(&pointer, &list.to_string()).is_none() {
        return pointer;
    }
    let entries = document.get("environments").and_then(Value::as_array);
    let place = entries.into_iter().flatten().enumerate().find_map(|(index, entry)| {
        let rest = below(&pointer, &list.key(entry.get("name")?.as_str()?).to_string())?;
        Some(format!("{}{rest}", list.index(index)))
    });
    place.unwrap_or_else(|| list.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn violation(pointer: &str) -> Violation {
        Violation { code: "x", pointer: pointer.to_owned(), message: String::new() }
    }

    #[test]
    fn must_point_into_the_entry_that_was_sent() {
        let entry = Entry { name: "prod", index: 1 };
        let found = ["/environments/1/region", "/environments/10/region", "/quotas/storageGiB"].map(violation);
        let Error::Invalid(there) = entry.inside(Error::Invalid(found.to_vec())) else { panic!("it stays what it is") };
        let pointers: Vec<_> = there.iter().map(|v| v.pointer.as_str()).collect();
        assert_eq!(pointers, ["/region", "/environments/10/region", "/quotas/storageGiB"]);
        assert_eq!(entry.warnings(found.to_vec()), [violation("/region")]);
    }

    #[test]
    fn must_point_at_an_environment_in_its_place() {
        let document = json!({"environments": [{"name": "production"}, {}, {"name": "prod"}, {"name": "a/b"}]});
        for (by_name, in_place) in [
            ("/environments/prod/region", "/environments/2/region"),
            ("/environments/production", "/environments/0"),
            ("/environments/a~1b/retention_days", "/environments/3/retention_days"),
            ("/environments/dev", "/environments"),
            ("/region", "/region"),
        ] {
            assert_eq!(sent(by_name.to_owned(), &document), in_place);
        }
        assert_eq!(sent("/environments/dev".to_owned(), &json!({})), "/environments");
    }
}
