//! The JSON lines that a key program reads and writes. `docs/keys-at-rest.md` describes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::erased::Erased;
use crate::{KeyError, KeyName};

/// A longer wrapped key is refused: it would be stored with every tenant.
const MAX_WRAPPED_LENGTH_BYTES: usize = 4096;

/// What the program is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Operation {
    Create,
    Wrap,
    Unwrap,
    Destroy,
    Sign,
    PublicKey,
    NewestShared,
    Identity,
}

impl Operation {
    /// Name of the field that the answer must have; `None` if it needs none.
    fn field(self) -> Option<&'static str> {
        match self {
            Self::Create | Self::Destroy => None,
            Self::Wrap => Some("wrapped"),
            Self::Unwrap => Some("plain"),
            Self::Sign => Some("signature"),
            Self::PublicKey => Some("public_key"),
            Self::NewestShared => Some("shared"),
            Self::Identity => Some("identity"),
        }
    }
}

/// One request. Bytes are in base64.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub(super) id: u64,
    pub(super) op: Operation,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) names: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wrapped: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
}

impl<'a> Request<'a> {
    pub(super) fn new(id: u64, op: Operation) -> Self {
        let names: &'a [&'a str] = &[];
        Self { id, op, name: None, names, plain: None, wrapped: None, context: None, message: None }
    }

    /// Returns the request as one line.
    pub(super) fn line(&self) -> Result<Erased, KeyError> {
        let fields = [self.name, self.plain, self.wrapped, self.context, self.message];
        let length: usize = fields.iter().flatten().chain(self.names).map(|field| field.len() + 3).sum();
        let mut line = Erased::from(Vec::with_capacity(length + 256));
        serde_json::to_writer(&mut *line, self).map_err(|error| {
            KeyError::Refused(format!("A request to the key program cannot be written as JSON: {error}."))
        })?;
        line.push(b'\n');
        Ok(line)
    }
}

/// One answer: the fields of all operations.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    wrapped: Option<String>,
    #[serde(default)]
    plain: Option<String>,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    public_key: Option<String>,
    /// Null says that there is no shared key.
    #[serde(default = "absent")]
    shared: Value,
    #[serde(default)]
    identity: Option<String>,
}

/// Is neither null nor text.
fn absent() -> Value {
    Value::Bool(false)
}

impl Answer {
    /// Returns the error that the program reports. `name` is the key that it was asked for.
    pub(super) fn refusal(&self, name: Option<&KeyName>) -> Option<KeyError> {
        let error = self.error.as_deref()?;
        let message = self.message.as_deref().unwrap_or("it gives no `message`");
        Some(match (error, name) {
            ("missing", Some(name)) => KeyError::Missing(name.clone()),
            ("refused", _) => KeyError::Refused(format!("The key program refused: {message}")),
            ("unavailable", _) => KeyError::Unavailable(format!("The key program cannot answer now: {message}")),
            _ => KeyError::Unavailable(format!("The key program answered with the unknown error {error:?}: {message}")),
        })
    }

    /// Returns the bytes of the field that the operation needs.
    pub(super) fn bytes(self, op: Operation) -> Result<Vec<u8>, KeyError> {
        let (text, lengths) = match op {
            Operation::Wrap => (self.wrapped, 1..=MAX_WRAPPED_LENGTH_BYTES),
            Operation::Unwrap => (self.plain, 0..=MAX_WRAPPED_LENGTH_BYTES),
            Operation::Sign => (self.signature, 64..=64),
            Operation::PublicKey => (self.public_key, 32..=32),
            _ => (None, 0..=0),
        };
        let text = text.map(|text| Erased::from(text.into_bytes()));
        let bytes = text.and_then(|text| STANDARD.decode(text.as_slice()).ok());
        bytes
            .filter(|bytes| lengths.contains(&bytes.len()))
            .ok_or_else(|| wrong(op, &format!("in base64, with {} to {} bytes", lengths.start(), lengths.end())))
    }

    pub(super) fn identity(self) -> Result<String, KeyError> {
        let good = |identity: &String| (1..=200).contains(&identity.len());
        self.identity.filter(good).ok_or_else(|| wrong(Operation::Identity, "with 1 to 200 bytes"))
    }

    pub(super) fn shared(self) -> Result<Option<KeyName>, KeyError> {
        if self.shared.is_null() {
            return Ok(None);
        }
        let name = self.shared.as_str().and_then(|shared| KeyName::parse(shared).ok());
        let name = name.filter(|name| name.shared_number().is_some());
        name.map(Some).ok_or_else(|| wrong(Operation::NewestShared, "with the name of a shared key, or null"))
    }
}

fn wrong(op: Operation, wanted: &str) -> KeyError {
    KeyError::Unavailable(format!(
        "The key program answered the operation {op:?} without a correct field `{}`: it must be there {wanted}.",
        op.field().unwrap_or_default()
    ))
}
