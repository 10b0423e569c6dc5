//! Values that are statement parameters or come from rows, the same for both databases.

use jiff::Timestamp;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use tenancy_core::json::{Object, Strict, canonical};

/// Type of a column. The migrations define its name in each database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// 64-bit integer.
    Int,
    /// Double-precision number.
    Float,
    /// Boolean.
    Bool,
    /// Time, in microseconds.
    Time,
    /// JSON, sent as its canonical text.
    Json,
}

/// Value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// Text, or the text of JSON.
    Text(String),
    /// 64-bit integer.
    Int(i64),
    /// Double-precision number.
    Float(f64),
    /// Boolean.
    Bool(bool),
    /// Time.
    Time(Timestamp),
}

/// Returns the approximate size of a row in bytes, for limits.
pub fn size(row: &[Value]) -> usize {
    row.iter().map(|value| if let Value::Text(text) = value { text.len() + 8 } else { 8 }).sum()
}

/// A row that does not match its description: something other than this program changed the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a row does not match its description: {0}")]
pub struct Corrupt(pub String);

impl Corrupt {
    /// Returns the table and the column, without the value: it may be personal.
    pub fn place(&self) -> &str {
        self.0.split(": ").next().unwrap_or_default()
    }
}

/// Rust type that can be stored in a column.
pub trait Field: Sized {
    /// Type of the column.
    const TYPE: Type;
    /// Converts it to a parameter.
    fn put(&self) -> Value;
    /// Reads it from a row.
    fn take(value: Value) -> Result<Self, Corrupt>;
}

fn unexpected<T>(wanted: &str, value: &Value) -> Result<T, Corrupt> {
    Err(Corrupt(format!("expected {wanted}, found {value:?}")))
}

macro_rules! plain {
    ($rust:ty, $type:ident, $variant:ident) => {
        impl Field for $rust {
            const TYPE: Type = Type::$type;

            fn put(&self) -> Value {
                Value::$variant(self.clone())
            }

            fn take(value: Value) -> Result<Self, Corrupt> {
                match value {
                    Value::$variant(value) => Ok(value),
                    other => unexpected(stringify!($type), &other),
                }
            }
        }
    };
}

plain!(String, Text, Text);
plain!(i64, Int, Int);
plain!(f64, Float, Float);
plain!(bool, Bool, Bool);
plain!(Timestamp, Time, Time);

impl<T: Field> Field for Option<T> {
    const TYPE: Type = T::TYPE;

    fn put(&self) -> Value {
        self.as_ref().map_or(Value::Null, Field::put)
    }

    fn take(value: Value) -> Result<Self, Corrupt> {
        match value {
            Value::Null => Ok(None),
            value => T::take(value).map(Some),
        }
    }
}

/// JSON as stored in a column.
impl Field for Json {
    const TYPE: Type = Type::Json;

    fn put(&self) -> Value {
        Value::Text(canonical(self))
    }

    fn take(value: Value) -> Result<Self, Corrupt> {
        let text = String::take(value)?;
        Strict::parse_kept(text.as_bytes()).map_err(Corrupt)
    }
}

impl Field for Object {
    const TYPE: Type = Type::Json;

    fn put(&self) -> Value {
        // The keys of an object are text, so serialization cannot fail.
        Value::Text(serde_json::to_string(self).unwrap_or_default())
    }

    fn take(value: Value) -> Result<Self, Corrupt> {
        match <Json as Field>::take(value)? {
            Json::Object(object) => Ok(object),
            other => Err(Corrupt(format!("expected an object, found {other}"))),
        }
    }
}

macro_rules! through_json {
    ($($rust:ty),+) => {$(
        impl Field for $rust {
            const TYPE: Type = Type::Json;

            fn put(&self) -> Value {
                // Serialization of lists and maps of plain members cannot fail.
                Value::Text(serde_json::to_string(self).unwrap_or_default())
            }

            fn take(value: Value) -> Result<Self, Corrupt> {
                serde_json::from_str(&String::take(value)?).map_err(|error| Corrupt(error.to_string()))
            }
        }
    )+};
}

through_json!(BTreeMap<String, String>, BTreeMap<String, i64>, Vec<String>, Vec<tenancy_core::job::Step>);

/// Ids and aliases: text that was validated on input.
macro_rules! known {
    ($($rust:ty),+ $(,)?) => {$(
        impl Field for $rust {
            const TYPE: Type = Type::Text;

            fn put(&self) -> Value {
                Value::Text(self.as_str().to_owned())
            }

            fn take(value: Value) -> Result<Self, Corrupt> {
                String::take(value).map(Self::known)
            }
        }
    )+};
}

known!(
    tenancy_core::ids::TenantId,
    tenancy_core::ids::OrganizationId,
    tenancy_core::ids::EnvironmentId,
    tenancy_core::ids::AuditId,
    tenancy_core::ids::JobId,
    tenancy_core::ids::WebhookId,
    tenancy_core::ids::DeliveryId,
    tenancy_core::ids::KeyId,
    tenancy_core::ids::HoldId,
    tenancy_core::ids::CorrelationId,
    tenancy_core::ids::WebhookName,
    tenancy_core::ids::PlacementName,
    tenancy_core::ids::Alias,
);

/// Words of a closed list.
macro_rules! word {
    ($($rust:ty),+ $(,)?) => {$(
        impl Field for $rust {
            const TYPE: Type = Type::Text;

            fn put(&self) -> Value {
                Value::Text(self.as_str().to_owned())
            }

            fn take(value: Value) -> Result<Self, Corrupt> {
                let text = String::take(value)?;
                Self::parse(&text).ok_or_else(|| Corrupt(format!("{text:?} is not a {}", stringify!($rust))))
            }
        }
    )+};
}

word!(
    tenancy_core::tenant::Profile,
    tenancy_core::tenant::State,
    tenancy_core::tenant::DesiredState,
    tenancy_core::environment::IsolationLevel,
    tenancy_core::placement::PlacementKind,
    tenancy_core::job::JobState,
    tenancy_core::action::Action,
    tenancy_core::event::EventType,
    tenancy_core::apikey::Role,
    tenancy_core::delivery::DeliveryState,
    tenancy_core::delivery::AttemptOutcome,
    tenancy_core::webhook::Format,
);
