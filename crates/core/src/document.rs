//! Reads a JSON document field by field and collects all errors in it, so that one response lists them all.

use crate::error::Error;
use crate::ids::BadName;
use crate::json::{Object, Pointer};
use crate::nearest::nearest;
use crate::normal_form::nfc;
use crate::violation::Violation;
use crate::visible::{HIDDEN, is_hidden};
use jiff::Timestamp;
use serde_json::Value;

/// An object within a document, with the names of the fields that were read.
pub struct Fields<'a> {
    object: &'a Object,
    at: Pointer,
    known: Vec<&'static str>,
}

/// Maximum number of violations, and of warnings, that are listed for one document.
pub const MAX_FINDINGS: usize = 1000;

/// Violations and warnings that were found in a document.
#[derive(Debug, Default)]
pub struct Findings {
    /// Errors: the document is refused.
    pub violations: Vec<Violation>,
    /// Values that are accepted but look like mistakes.
    pub warnings: Vec<Violation>,
}

impl Findings {
    /// Adds a violation.
    pub fn bad(&mut self, at: &Pointer, code: &'static str, message: impl Into<String>) {
        push(&mut self.violations, at, code, message.into());
    }

    /// Adds a violation of a rule that depends on the declarations. If the value stays as it was, it is kept with a
    /// warning: a declaration that is gone or has changed does not prevent other changes.
    pub fn bad_unless(&mut self, stays: bool, at: &Pointer, code: &'static str, message: impl Into<String>) {
        match stays {
            true => self.warn(at, code, format!("{}; the value is unchanged and stays", message.into())),
            false => self.bad(at, code, message),
        }
    }

    /// Adds a warning.
    pub fn warn(&mut self, at: &Pointer, code: &'static str, message: impl Into<String>) {
        push(&mut self.warnings, at, code, message.into());
    }

    /// Returns `value` and the warnings if there are no violations.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all violations; [`Error::Internal`] if there is neither a value nor a violation, so that
    /// no response reports errors without listing one.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Violation>), Error> {
        match value {
            Some(value) if self.violations.is_empty() => Ok((value, self.warnings)),
            None if self.violations.is_empty() => {
                Err(Error::Internal("a document was refused without a violation".to_owned()))
            }
            _ => Err(Error::Invalid(self.violations)),
        }
    }
}

/// Reads a whole document, which must be an object. A field that `take` does not read is a violation. `take` may return
/// `None` only if it has added a violation.
///
/// # Errors
/// [`Error::Invalid`] with all violations.
pub fn read<T>(document: &Value, take: impl FnOnce(&mut Fields<'_>, &mut Findings) -> Option<T>) -> Result<T, Error> {
    let mut findings = Findings::default();
    let taken = Fields::of(document, Pointer::root(), &mut findings).and_then(|mut fields| {
        let taken = take(&mut fields, &mut findings);
        fields.no_others(&mut findings);
        taken
    });
    findings.finish(taken).map(|(taken, _)| taken)
}

fn push(list: &mut Vec<Violation>, at: &Pointer, code: &'static str, message: String) {
    match list.len() {
        MAX_FINDINGS.. => {}
        MOST_LISTED => list.push(Violation::at(&Pointer::root(), "too_many", "there are more, which are not listed")),
        _ => list.push(Violation::at(at, code, message)),
    }
}

/// Number of fields of most documents.
const MOST_FIELDS: usize = 16;

/// The last entry of a full list says that there are more.
const MOST_LISTED: usize = MAX_FINDINGS - 1;

impl<'a> Fields<'a> {
    /// Reads the object at `at`. Any other type is a violation.
    pub fn of(value: &'a Value, at: Pointer, findings: &mut Findings) -> Option<Self> {
        match value {
            Value::Object(object) => Some(Self { object, at, known: Vec::with_capacity(MOST_FIELDS) }),
            other => {
                findings.bad(&at, "wrong_type", format!("must be an object, not {}", kind(other)));
                None
            }
        }
    }

    /// Returns the pointer of the field `name`.
    pub fn at(&self, name: &str) -> Pointer {
        self.at.key(name)
    }

    /// Returns the value of the field. `null` counts as absent.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Reads text of 1 to `max_bytes` bytes without hidden characters, in its normal form (NFC).
    pub fn text(&mut self, name: &'static str, max_bytes: usize, findings: &mut Findings) -> Option<String> {
        match self.value(name)? {
            Value::String(text) if text.is_empty() || nfc(text).len() > max_bytes => {
                findings.bad(&self.at(name), "out_of_range", format!("must be 1 to {max_bytes} bytes"));
                None
            }
            Value::String(text) if text.chars().any(is_hidden) => {
                findings.bad(&self.at(name), "out_of_range", format!("must not contain {HIDDEN}"));
                None
            }
            Value::String(text) => Some(nfc(text).into_owned()),
            other => {
                findings.bad(&self.at(name), "wrong_type", not_text(other));
                None
            }
        }
    }

    /// Adds a violation if the field is absent or `null`.
    pub fn required(&self, name: &str, message: &str, findings: &mut Findings) {
        if self.object.get(name).is_none_or(Value::is_null) {
            findings.bad(&self.at(name), "required", message);
        }
    }

    /// Whether the field is absent, `null` or an empty list.
    pub fn is_empty(&self, name: &str) -> bool {
        match self.object.get(name) {
            None | Some(Value::Null) => true,
            Some(value) => value.as_array().is_some_and(Vec::is_empty),
        }
    }

    /// Reads text that is required.
    pub fn required_text(&mut self, name: &'static str, max_bytes: usize, findings: &mut Findings) -> Option<String> {
        if self.is_empty(name) {
            self.required(name, &format!("{name} is required"), findings);
        }
        self.text(name, max_bytes, findings)
    }

    /// Reads an id or name with `parse`.
    pub fn name<T>(
        &mut self,
        name: &'static str,
        findings: &mut Findings,
        parse: impl Fn(&str) -> Result<T, BadName>,
    ) -> Option<T> {
        let text = self.text(name, 1024, findings)?;
        parse(&text).map_err(|bad| findings.bad(&self.at(name), "bad_name", bad.to_string())).ok()
    }

    /// Reads a value of an enumeration.
    pub fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
        findings: &mut Findings,
    ) -> Option<T> {
        let text = self.text(name, 1024, findings)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            findings.bad(&self.at(name), "unknown_word", one_of(&text, &list));
        }
        found
    }

    /// Reads a time (RFC 3339).
    pub fn time(&mut self, name: &'static str, findings: &mut Findings) -> Option<Timestamp> {
        let text = self.text(name, 64, findings)?;
        crate::time::parse(&text).map_err(|message| findings.bad(&self.at(name), "bad_time", message)).ok()
    }

    /// Reads a boolean.
    pub fn flag(&mut self, name: &'static str, findings: &mut Findings) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(flag) => Some(*flag),
            other => {
                findings.bad(&self.at(name), "wrong_type", format!("must be true or false, not {}", kind(other)));
                None
            }
        }
    }

    /// Reads an integer within the range.
    pub fn integer(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<i64>,
        findings: &mut Findings,
    ) -> Option<i64> {
        let value = self.value(name)?;
        let number = value.as_i64().filter(|number| range.contains(number));
        if number.is_none() {
            let message = format!("must be an integer from {} to {}, not {}", range.start(), range.end(), shown(value));
            findings.bad(&self.at(name), if value.is_number() { "out_of_range" } else { "wrong_type" }, message);
        }
        number
    }

    /// Reads an object without checking its members.
    pub fn object(&mut self, name: &'static str, findings: &mut Findings) -> Option<&'a Object> {
        match self.value(name)? {
            Value::Object(object) => Some(object),
            other => {
                findings.bad(&self.at(name), "wrong_type", format!("must be an object, not {}", kind(other)));
                None
            }
        }
    }

    /// Reads a list of at most `max_items` items.
    pub fn list(&mut self, name: &'static str, max_items: usize, findings: &mut Findings) -> &'a [Value] {
        match self.value(name) {
            None => &[],
            Some(Value::Array(items)) if items.len() <= max_items => items,
            Some(Value::Array(items)) => {
                let message = format!("must have at most {max_items} items, not {}", items.len());
                findings.bad(&self.at(name), "out_of_range", message);
                &[]
            }
            Some(other) => {
                findings.bad(&self.at(name), "wrong_type", format!("must be a list, not {}", kind(other)));
                &[]
            }
        }
    }

    /// Adds a violation for each field that was not read, with a similar name if there is one.
    pub fn no_others(self, findings: &mut Findings) {
        let others = self.object.keys().filter(|name| !self.known.contains(&name.as_str()));
        for name in others.take(MAX_FINDINGS) {
            let at = self.at.key(name);
            let hint = match nearest(name, self.known.iter().copied()) {
                Some(near) => format!("; did you mean {near:?}?"),
                None => format!("; known fields: {}", self.known.join(", ")),
            };
            let name = Value::from(name.as_str());
            findings.bad(&at, "unknown_field", format!("there is no field {}{hint}", shown(&name)));
        }
    }
}

/// Formats "must be one of …, not …", with a similar word if there is one.
pub fn one_of(text: &str, list: &[&str]) -> String {
    let hint = nearest(text, list.iter().copied()).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    format!("must be one of {}, not {}{hint}", list.join(", "), shown(&Value::from(text)))
}

/// Formats a value for a message. A long value is cut.
pub(crate) fn shown(value: &Value) -> String {
    const MOST_CHARS: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Formats "must be text, not a number: quote it". Without quotes, YAML reads digits and words such as `true` as other
/// types.
pub fn not_text(value: &Value) -> String {
    let quote = if value.is_number() || value.is_boolean() { ": quote it" } else { "" };
    format!("must be text, not {}{quote}", kind(value))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
