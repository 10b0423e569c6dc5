//! Writes YAML and JSON with the fields in the order of a manifest, and other fields in alphabetical order.

use crate::failure::Failure;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use tenancy_core::visible::is_hidden;

/// Usual order of the fields of a manifest.
const ORDER: &[&str] = &[
    "kind",
    "tenant_id",
    "organization_id",
    "env_id",
    "job_id",
    "key_id",
    "webhook_id",
    "name",
    "display_name",
    "profile",
    "action",
    "state",
    "desired_state",
    "region",
    "isolation_level",
    "labels",
    "aliases",
    "caps",
    "quotas",
    "policies",
    "billing",
    "retention_days",
    "deletion_protection",
    "url",
    "events",
    "retry_policy",
    "max_per_second",
    "max_in_flight",
    "timeout_seconds",
    "format",
    "enabled",
    "environments",
    "webhooks",
];

/// A value whose objects are serialized in that order.
pub struct Ordered<'a>(pub &'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(object) => {
                let place = |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
                let mut keys: Vec<_> = object.iter().collect();
                keys.sort_by_key(|(key, _)| place(key));
                let mut map = serializer.serialize_map(Some(keys.len()))?;
                for (key, value) in keys {
                    map.serialize_entry(key, &Self(value))?;
                }
                map.end()
            }
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Self(item))?;
                }
                list.end()
            }
            other => other.serialize(serializer),
        }
    }
}

/// Returns one YAML document with a line end.
///
/// # Errors
/// Never fails for a JSON value.
pub fn yaml(value: &Value) -> Result<String, Failure> {
    // Long texts stay on one line, so that line-based tools work.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false, compact_list_indent: false };
    let text = serde_saphyr::to_string_with_options(&Ordered(value), options);
    let text = text.map_err(|error| Failure::refused(format!("cannot write this as YAML: {error}")))?;
    Ok(if text.ends_with('\n') { text } else { format!("{text}\n") })
}

/// Returns indented JSON with a line end.
///
/// # Errors
/// Never fails for a JSON value.
pub fn json(value: &Value) -> Result<String, Failure> {
    serde_json::to_string_pretty(&Ordered(value))
        .map(|text| format!("{}\n", escaped(&text)))
        .map_err(|error| Failure::refused(format!("cannot write this as JSON: {error}")))
}

/// Escapes the hidden characters of a JSON text, which can occur only in its strings (RFC 8259, 7).
fn escaped(json: &str) -> Cow<'_, str> {
    let is_bad = |c: char| is_hidden(c) && c != '\n';
    if !json.contains(is_bad) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_bad(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use tenancy_core::json::Strict;

    #[test]
    fn must_escape_what_a_reader_of_json_cannot_see() {
        let value = json!({"name": "a\u{202e}b\u{e0041}\u{1b}[2J", "line": "ü\nx"});
        let text = json(&value).expect("written");
        assert!(text.contains(r"a\u202eb\udb40\udc41\u001b[2J") && text.contains("ü"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }

    #[test]
    fn must_write_a_manifest_in_the_usual_order() {
        let text = yaml(&json!({
            "region": "eu-west-1",
            "tenant_id": "acme-eu",
            "kind": "Tenant",
            "labels": {"tier": "no", "zip": "012"},
            "environments": [{"region": "eu-west-1", "name": "dev", "quotas": {"storageGiB": 50}}],
        }));
        assert_eq!(
            text.expect("written"),
            "kind: Tenant\n\
             tenant_id: acme-eu\n\
             region: eu-west-1\n\
             labels:\n  tier: \"no\"\n  zip: \"012\"\n\
             environments:\n  - name: dev\n    region: eu-west-1\n    quotas:\n      storageGiB: 50\n"
        );
    }

    /// Any JSON that the server accepts, normalized as the server returns it.
    fn accepted() -> impl Strategy<Value = Value> {
        let finite = any::<f64>().prop_filter("finite", |v| v.is_finite());
        let whole = (60..1023i32).prop_map(|power| 2f64.powi(power));
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            finite.prop_map(Value::from),
            whole.prop_map(|v| json!([v, -v, v + 1.0])),
            text().prop_map(Value::from),
        ];
        let any = leaf.prop_recursive(4, 32, 4, |inner| {
            let members = prop::collection::btree_map(text(), inner.clone(), 0..4);
            prop_oneof![prop::collection::vec(inner, 0..4).prop_map(Value::from), members.prop_map(|m| json!(m))]
        });
        any.prop_map(|value| Strict::parse(value.to_string().as_bytes()).expect("accepted"))
    }

    /// Any text, including texts that look like other YAML values.
    fn text() -> impl Strategy<Value = String> {
        let odd = [
            "", "~", "no", "<<", "012", "1_0", "1e5", "1e999", "-", "? a", "a: b", "#x", " x ", "\n", "x\n\n", "'\"",
            "*a", "&a",
        ];
        prop_oneof![
            1 => prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
            1 => any::<String>().prop_map(|text| text.replace('\0', "")),
            1 => "[-0-9a-z.:# \n\t'\"&*!|>{}\\[\\],]{0,12}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(768) })]

        #[test]
        fn must_write_what_is_read_back_unchanged(value in accepted()) {
            let document = json!({"kind": "Tenant", "billing": {"x": value}});
            let text = yaml(&document).expect("written");
            prop_assert_eq!(tenancy_server::yaml::documents(&text), Ok(vec![document]), "{}", text);
        }
    }
}
