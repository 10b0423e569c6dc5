//! JSON in one canonical form: sorted keys, no duplicate keys, and numbers that both databases return unchanged.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A JSON object with sorted keys.
pub type Object = Map<String, Value>;

/// JSON that was read strictly. Duplicate keys, U+0000, integers beyond 64 bits and infinite doubles are errors. A
/// double without a fraction becomes an integer (`1e2` becomes `100`, as in PostgreSQL's `jsonb`).
#[derive(Debug, Clone, PartialEq)]
pub struct Strict(pub Value);

impl Strict {
    /// Reads JSON text from outside. An integer that does not fit into 64 bits is refused, because it would be rounded.
    ///
    /// # Errors
    /// A message, with line and column if the text is not JSON.
    pub fn parse(text: &[u8]) -> Result<Value, String> {
        let value = Self::parse_kept(text)?;
        match beyond_64_bits(text) {
            Some(number) => Err(format!("the integer {number:.40} does not fit into 64 bits")),
            None => Ok(value),
        }
    }

    /// Reads JSON text from a database: `jsonb` writes the double `1e30` as an integer of 31 digits.
    ///
    /// # Errors
    /// A message with line and column.
    pub fn parse_kept(text: &[u8]) -> Result<Value, String> {
        serde_json::from_slice::<Self>(text).map(|strict| strict.0).map_err(|error| error.to_string())
    }
}

/// Returns the first integer of a JSON text that fits neither into `i64` nor into `u64`.
fn beyond_64_bits(text: &[u8]) -> Option<&str> {
    let in_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = match first {
            b'"' => past_string(tail),
            b'-' | b'0'..=b'9' => {
                let (number, after) = rest.split_at(rest.iter().position(|b| !in_number(b)).unwrap_or(rest.len()));
                let number = std::str::from_utf8(number).ok()?;
                let fits =
                    number.contains(['.', 'e', 'E']) || number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
                if !fits {
                    return Some(number);
                }
                after
            }
            _ => tail,
        };
    }
    None
}

/// Returns the text after a string whose opening quote has been read.
fn past_string(text: &[u8]) -> &[u8] {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(&[], |end| &text[end + 1..])
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        canonical_double(v).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Value, E> {
        self.visit_string(v.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, v: String) -> Result<Value, E> {
        match v.contains('\0') {
            true => Err(E::custom("text must not contain U+0000")),
            false => Ok(Value::String(v)),
        }
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(key) = entries.next_key::<String>()? {
            if key.contains('\0') {
                return Err(A::Error::custom("a key must not contain U+0000"));
            }
            let Strict(value) = entries.next_value()?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("an object contains the key {key:?} twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// Lowest 64-bit integer, as a double.
pub const LEAST_I64: f64 = -9_223_372_036_854_775_808.0;
/// Lowest integer above all unsigned 64-bit integers, as a double.
pub const PAST_U64: f64 = 18_446_744_073_709_551_616.0;

/// Converts a double without a fraction to an integer if it fits into 64 bits. Other doubles stay doubles.
fn canonical_double(v: f64) -> Option<Value> {
    // Exact: both bounds are powers of two, and a double between them that has no fraction is an integer.
    if v.is_finite() && v.fract() == 0.0 && (LEAST_I64..PAST_U64).contains(&v) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds, checked above")]
        let number = if v < 0.0 { Number::from(v as i64) } else { Number::from(v as u64) };
        return Some(Value::Number(number));
    }
    Number::from_f64(v).map(Value::Number)
}

/// Returns the canonical text: sorted keys, no spaces.
pub fn canonical(value: &Value) -> String {
    // Serialization cannot fail: keys are text and numbers are finite.
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns the number of bytes of the canonical text of an object.
pub fn canonical_bytes(object: &Object) -> usize {
    // Serialization cannot fail, as above.
    serde_json::to_string(object).map_or(0, |text| text.len())
}

/// Returns the SHA-256 of parts, in hexadecimal. Each part is preceded by its length, so that different lists of parts
/// have different digests.
pub fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

/// Returns lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for half in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from(DIGITS[usize::from(half)]));
    }
    text
}

/// A JSON Pointer (RFC 6901): a place in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Returns the pointer of the whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the pointer of the member `key` of this place.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut text = String::with_capacity(self.0.len() + 1 + key.len());
        text.push_str(&self.0);
        text.push('/');
        match key.contains(['~', '/']) {
            true => text.push_str(&key.replace('~', "~0").replace('/', "~1")),
            false => text.push_str(key),
        }
        Self(text)
    }

    /// Returns the pointer of the item `index` of this place.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Applies a merge patch (RFC 7396): `null` removes a member, objects are merged, other values replace.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Object::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            match value {
                Value::Null => drop(target.remove(key)),
                value => merge_patch(target.entry(key).or_insert(Value::Null), value),
            }
        }
    }
}

/// Returns the object as after a merge: without members that are `null`, in nested objects too, but not within lists.
pub fn without_nulls(object: &Object) -> Object {
    let kept = object.iter().filter(|(_, value)| !value.is_null());
    kept.map(|(key, value)| match value {
        Value::Object(inner) => (key.clone(), Value::Object(without_nulls(inner))),
        value => (key.clone(), value.clone()),
    })
    .collect()
}

/// Returns the depth of nested lists and objects.
pub fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}

/// One difference between two documents.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// JSON Pointer (RFC 6901) of the field.
    pub pointer: String,
    /// Previous value; `null` if the field was absent.
    pub from: Value,
    /// New value; `null` if the field is absent.
    pub to: Value,
}

/// Returns all differences between `from` and `to`. Objects are compared by key; arrays of objects that all have a
/// `name` are compared by name, and the pointer then contains the name; other values are compared as a whole. The
/// result is empty if and only if both are equal: if only the order of items or the presence of a `null` differs, the
/// whole value is the difference.
pub fn differences(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&Pointer::root(), from, to, &mut found);
    found
}

fn compare(at: &Pointer, from: &Value, to: &Value, found: &mut Vec<Difference>) {
    if from == to {
        return;
    }
    let before = found.len();
    if let Some((from, to)) = by_key(from, to) {
        let keys: BTreeSet<_> = from.keys().chain(to.keys()).collect();
        for key in keys {
            let (from, to) = (from.get(key).copied(), to.get(key).copied());
            compare(&at.key(key), from.unwrap_or(&Value::Null), to.unwrap_or(&Value::Null), found);
        }
    }
    if found.len() == before {
        found.push(Difference { pointer: at.to_string(), from: from.clone(), to: to.clone() });
    }
}

type Members<'a> = BTreeMap<&'a str, &'a Value>;

/// Returns the members of both, by key or by name.
fn by_key<'a>(from: &'a Value, to: &'a Value) -> Option<(Members<'a>, Members<'a>)> {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => Some((members(from), members(to))),
        (Value::Array(from), Value::Array(to)) => Some((by_name(from)?, by_name(to)?)),
        _ => None,
    }
}

fn members(object: &Object) -> Members<'_> {
    object.iter().map(|(key, value)| (key.as_str(), value)).collect()
}

/// Returns the items of a list of objects by `name`, if all have different names.
fn by_name(items: &[Value]) -> Option<Members<'_>> {
    let members: Members<'_> =
        items.iter().filter_map(|item| Some((item.as_object()?.get("name")?.as_str()?, item))).collect();
    (!items.is_empty() && members.len() == items.len()).then_some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_refuse_what_the_databases_would_store_differently() {
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#""\u0000""#,
            r#"{"\u0000":1}"#,
            r#""\ud800""#,
            "1e999",
            "18446744073709551616",
            r#"{"a\\\"": [1, -9223372036854775809]}"#,
            "[1,]",
            "{} {}",
            "",
        ] {
            assert!(Strict::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let deep = "[".repeat(10_000);
        assert!(Strict::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn must_have_one_text_for_one_value() {
        for (text, canonical_text) in [
            (r#"{"b":1,"a":{"d":[],"c":null}}"#, r#"{"a":{"c":null,"d":[]},"b":1}"#),
            ("1e2", "100"),
            ("100.0", "100"),
            ("-0.0", "0"),
            ("1.5", "1.5"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("1e30", "1e+30"),
            (r#""99999999999999999999""#, r#""99999999999999999999""#),
        ] {
            let value = Strict::parse(text.as_bytes()).expect(text);
            assert_eq!(canonical(&value), canonical_text, "{text}");
            assert_eq!(Strict::parse(canonical(&value).as_bytes()), Ok(value), "{text}");
        }
        let kept = Strict::parse_kept(b"1000000000000000000000000000000");
        assert_eq!(kept, Strict::parse(b"1e30"));
    }

    #[test]
    fn must_merge_as_rfc_7396_says() {
        let mut target = json!({"a": "b", "c": {"d": "e", "f": "g"}});
        merge_patch(&mut target, &json!({"a": "z", "c": {"f": null}}));
        assert_eq!(target, json!({"a": "z", "c": {"d": "e"}}));
        merge_patch(&mut target, &json!({"c": [1], "x": {"y": null}}));
        assert_eq!(target, json!({"a": "z", "c": [1], "x": {}}));
    }

    #[test]
    fn must_name_each_difference_by_its_place() {
        let from = json!({"q": {"a": 1, "b": 2}, "e": [{"name": "dev", "x": 1}]});
        let to = json!({"q": {"a": 1, "b": 3}, "e": [{"name": "dev", "x": 2}, {"name": "prod"}]});
        let places: Vec<_> = differences(&from, &to).into_iter().map(|d| d.pointer).collect();
        assert_eq!(places, ["/e/dev/x", "/e/prod", "/q/b"]);
    }
}
