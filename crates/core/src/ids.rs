//! Ids and names: chosen by the client, or generated when a row is created.

use crate::normal_form::{host_name, nfc};
use crate::visible::{HIDDEN, is_hidden};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;

/// Maximum length of an id that a client chooses, in bytes. It is also the width of every id column.
pub const MAX_ID_LENGTH_BYTES: usize = 64;

/// Error of an invalid id or name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 2 to 64 characters a-z, 0-9 and -, and must not begin or end with -")]
pub struct BadName;

/// Regular expression of an id or name that a client chooses (ECMA 262), for descriptions of the API.
pub const NAME_PATTERN: &str = "^[a-z0-9][a-z0-9-]{0,62}[a-z0-9]$";

fn is_name(text: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (2..=MAX_ID_LENGTH_BYTES).contains(&bytes.len())
        && bytes.iter().all(|b| edge(*b) || *b == b'-')
        && bytes.first().is_some_and(|b| edge(*b))
        && bytes.last().is_some_and(|b| edge(*b))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Creates an id without a check, for text that is known to be valid: read from the store, or generated.
            pub fn known(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

macro_rules! chosen {
    ($name:ident) => {
        impl $name {
            /// Parses an id or name that a client chose: `[a-z0-9][a-z0-9-]{0,62}[a-z0-9]`.
            ///
            /// # Errors
            /// [`BadName`] if the text does not match.
            pub fn parse(text: &str) -> Result<Self, BadName> {
                if is_name(text) { Ok(Self(text.to_owned())) } else { Err(BadName) }
            }
        }
    };
}

id!(
    /// Id of a tenant: global, chosen by the client or generated, never reused.
    TenantId
);
id!(
    /// Id of an organization: global, chosen by the client.
    OrganizationId
);
id!(
    /// Id of an environment: unique across all tenants, unlike its name.
    EnvironmentId
);
id!(
    /// Id of an audit event. The text sorts by time: a UUIDv7 (RFC 9562) whose time is the event's `occurred_at`.
    AuditId
);
id!(
    /// Id of a job.
    JobId
);
id!(
    /// Id of a webhook: unique across all tenants, unlike its name.
    WebhookId
);
id!(
    /// Id of an API key (not its token).
    KeyId
);
id!(
    /// Id of a hold.
    HoldId
);
id!(
    /// Id of a delivery: the header `webhook-id` of its requests.
    DeliveryId
);
id!(
    /// Connects a request with its audit events, jobs, deliveries and log lines.
    CorrelationId
);
chosen!(TenantId);
chosen!(OrganizationId);
chosen!(WebhookName);
chosen!(PlacementName);
id!(
    /// Name of a placement: global, chosen by the client.
    PlacementName
);
id!(
    /// Name of a webhook within its tenant.
    WebhookName
);

impl CorrelationId {
    /// Parses a correlation id from outside: 1 to 64 letters, digits and `-_.:/`. If it is invalid, the result is
    /// `None` and the server generates one.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/".contains(&b);
        let good = (1..=MAX_ID_LENGTH_BYTES).contains(&text.len()) && text.bytes().all(plain);
        good.then(|| Self(text.to_owned()))
    }
}

/// Alias: name of a tenant in another system, which finds the tenant: `stripe:cus_9s6`, `host:acme.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Alias(String);

impl Alias {
    /// Maximum length of kind and value together, in bytes.
    pub const MAX_LENGTH_BYTES: usize = 255;

    /// Kind whose values are host names.
    pub const HOST: &str = "host";

    /// Builds an alias from a kind (at least one of a-z, 0-9 and `-`) and a value (printable, without spaces), in its
    /// normal form: NFC, and for a host its one form.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn new(kind: &str, value: &str) -> Result<Self, String> {
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if kind.is_empty() || !kind.bytes().all(letters) {
            return Err(format!("the kind of an alias must consist of a-z, 0-9 and -, not {kind:?}"));
        }
        if value.is_empty() || value.chars().any(|c| is_hidden(c) || c.is_whitespace()) {
            return Err(format!("an alias must not be empty or contain spaces, {HIDDEN}"));
        }
        let value = if kind == Self::HOST { host_name(value)?.into() } else { nfc(value) };
        let text = format!("{kind}:{value}");
        if text.len() > Self::MAX_LENGTH_BYTES {
            return Err(format!("an alias must be at most {} bytes with its kind", Self::MAX_LENGTH_BYTES));
        }
        Ok(Self(text))
    }

    /// Parses `kind:value`.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, value) = text.split_once(':').ok_or("an alias must have the form kind:value")?;
        Self::new(kind, value)
    }

    /// Creates an alias without a check, for text that was read from the store.
    pub fn known(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns `kind:value`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the kind, before the colon.
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or("", |(kind, _)| kind)
    }

    /// Returns the value, after the colon.
    pub fn value(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_accept_only_names_that_match_the_pattern() {
        for good in ["acme-eu", "a1", "0-0", &"x".repeat(64)] {
            assert!(TenantId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-a", "a-", "Acme", "a_b", "a.b", "é1", &"x".repeat(65)] {
            assert!(TenantId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn must_split_an_alias_at_its_first_colon() {
        let alias = Alias::parse("sap:acme.example.com:8443").expect("good");
        assert_eq!((alias.kind(), alias.value()), ("sap", "acme.example.com:8443"));
        assert!(Alias::parse("nokind").is_err());
    }
}
