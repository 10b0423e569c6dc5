//! Finds the manifests in what a client sends: lists stand for their items, and answers of the server are recognized.

use serde_json::Value;
use tenancy_core::json::Pointer;

/// A manifest in a text of several documents.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Zero-based index of the document that contains it.
    pub document: usize,
    /// Place within this document; the root if it is the whole document.
    pub at: Pointer,
    /// The manifest.
    pub content: Value,
}

/// Returns the manifests in the documents: a document itself, or the items of a list or of a document of `kind: List`.
pub fn flatten(documents: Vec<Value>) -> Vec<Found> {
    let mut found = Vec::with_capacity(documents.len());
    for (document, content) in documents.into_iter().enumerate() {
        take(Found { document, at: Pointer::root(), content }, &mut found);
    }
    found
}

fn take(one: Found, found: &mut Vec<Found>) {
    let Found { document, at, content } = one;
    let (items, at) = match content {
        Value::Array(items) => (items, at),
        Value::Object(mut object) if object.get("kind").is_some_and(|kind| kind == "List") => {
            match object.remove("items") {
                Some(Value::Array(items)) => (items, at.key("items")),
                other => {
                    object.extend(other.map(|items| ("items".to_owned(), items)));
                    found.push(Found { document, at, content: Value::Object(object) });
                    return;
                }
            }
        }
        content => {
            found.push(Found { document, at, content });
            return;
        }
    };
    for (index, content) in items.into_iter().enumerate() {
        take(Found { document, at: at.index(index), content }, found);
    }
}

/// Fields that only answers have.
const OF_ANSWERS: [&str; 5] = ["counter", "created_at", "updated_at", "next", "results"];

/// Returns whether a document without a kind is an answer of the server, such as the output of `tenancy get -o yaml`.
pub fn is_answer(content: &Value) -> bool {
    let Value::Object(object) = content else { return false };
    !object.contains_key("kind") && OF_ANSWERS.iter().any(|name| object.contains_key(*name))
}

/// Returns what to say about a text that is not UTF-8, if it is UTF-16.
pub fn utf_16(text: &[u8]) -> Option<&'static str> {
    let zeros = |from: usize| text.iter().skip(from).step_by(2).take(8).all(|byte| *byte == 0);
    let marked = text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]);
    (marked || text.len() >= 4 && (zeros(0) || zeros(1))).then_some("is UTF-16: save it as UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_find_the_manifests_in_lists_and_in_documents_of_kind_list() {
        let found = flatten(vec![
            json!({"kind": "Tenant"}),
            json!([{"a": 1}, {"kind": "List", "items": [{"b": 2}]}]),
            json!({"kind": "List", "items": {}}),
        ]);
        let places: Vec<_> = found.iter().map(|one| (one.document, one.at.to_string())).collect();
        let expected = [(0, ""), (1, "/0"), (1, "/1/items/0"), (2, "")].map(|(document, at)| (document, at.to_owned()));
        assert_eq!(places, expected);
        assert_eq!((&found[2].content, &found[3].content), (&json!({"b": 2}), &json!({"kind": "List", "items": {}})));
    }

    #[test]
    fn must_tell_an_answer_from_a_manifest() {
        assert!(is_answer(&json!({"tenant_id": "a", "counter": 1})) && is_answer(&json!({"items": [], "next": null})));
        assert!(!is_answer(&json!({"tenant_id": "a", "version": 1})));
        // What was read, edited and given a kind is taken as a manifest.
        assert!(!is_answer(&json!({"kind": "Tenant", "counter": 1})));
    }

    #[test]
    fn must_recognize_utf_16_with_and_without_a_mark() {
        let wide = |text: &str, mark: &[u8]| {
            mark.iter().copied().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect::<Vec<_>>()
        };
        assert!(utf_16(&wide("kind: Tenant", &[0xff, 0xfe])).is_some() && utf_16(&wide("kind: Tenant", &[])).is_some());
        assert!(utf_16("kind: Tenant é".as_bytes()).is_none() && utf_16(b"").is_none() && utf_16(b"\xe9").is_none());
    }
}
