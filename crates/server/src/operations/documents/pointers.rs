//! Pointers into the document as it was sent, where a rule points into the manifest that it became part of.

use serde_json::Value;
use tenancy_core::gated_change::GatedChange;
use tenancy_core::json::Pointer;
use tenancy_core::{Error, Violation};

/// What of `pointer` leads on from `at`; `None` when it leads elsewhere.
fn below<'a>(pointer: &'a str, at: &str) -> Option<&'a str> {
    pointer.strip_prefix(at).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An entry of an environment that was sent on its own, and where it stands in its tenant's manifest.
pub struct Entry<'a> {
    /// Its name: gates point at it by this.
    pub name: &'a str,
    /// Its place in the list: violations and warnings point at it by this.
    pub index: usize,
}

impl Entry<'_> {
    /// The error with its pointers into the entry that was sent.
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

    /// The warnings about the entry, with their pointers into it. Those about the rest of the manifest are not of this write.
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

/// The error with the pointers of its gates into a tenant's document as it was sent, where an environment stands in its
/// place and not under its name. One that the document leaves out is pointed at by the list that is without it.
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
