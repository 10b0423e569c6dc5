//! Actors: the subjects that make changes.

use crate::ids::KeyId;
use crate::json::sha256_hex;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Kind of an [`Actor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person or service with an API key.
    User,
    /// A part of Tenancy itself, such as a schedule, a reconciler or the first start.
    System,
    /// A controller that runs jobs.
    Controller,
}

/// Maximum length of an actor in the log, in bytes: the width of its column.
pub const MAX_ACTOR_LENGTH_BYTES: usize = 64;

/// The subject that acts, and the subject on whose behalf it acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor {
    /// Kind of the subject.
    pub kind: ActorKind,
    /// Id of the subject, never a name.
    pub subject: String,
    /// Id of the subject on whose behalf the actor acts.
    pub on_behalf_of: Option<String>,
}

impl Actor {
    /// Returns the actor of an API key.
    pub fn user(key: &KeyId) -> Self {
        Self { kind: ActorKind::User, subject: key.to_string(), on_behalf_of: None }
    }

    /// Returns the actor of a part of Tenancy.
    pub fn system(part: &str) -> Self {
        Self { kind: ActorKind::System, subject: part.to_owned(), on_behalf_of: None }
    }

    /// Returns the actor of a controller, by the name of its process.
    pub fn controller(name: &str) -> Self {
        Self { kind: ActorKind::Controller, subject: name.to_owned(), on_behalf_of: None }
    }
}

/// Formats `kind:subject`, as in the log: at most [`MAX_ACTOR_LENGTH_BYTES`]. A longer subject is cut and ends in a
/// digest of the whole, so that different subjects remain different.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ActorKind::User => "user",
            ActorKind::System => "system",
            ActorKind::Controller => "controller",
        };
        write!(f, "{kind}:{}", fitting(&self.subject, MAX_ACTOR_LENGTH_BYTES - kind.len() - 1))
    }
}

/// Returns the text or, if it is longer than `max_bytes`, its beginning and a digest of the whole.
pub(crate) fn fitting(text: &str, max_bytes: usize) -> Cow<'_, str> {
    const DIGEST_BYTES: usize = 12;
    if text.len() <= max_bytes && !text.contains('\0') {
        return Cow::Borrowed(text);
    }
    let plain: String = text.chars().filter(|c| *c != '\0').collect();
    let beginning = plain.floor_char_boundary(max_bytes.saturating_sub(DIGEST_BYTES + 1));
    let digest = sha256_hex(&[text.as_bytes()]);
    Cow::Owned(format!("{}~{}", &plain[..beginning], &digest[..DIGEST_BYTES]))
}
