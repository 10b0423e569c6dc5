//! Values of enumerations.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use tenancy_core::access::AccessLevel;
use tenancy_core::action::Action;
use tenancy_core::apikey::Role;
use tenancy_core::delivery::{AttemptOutcome, DeliveryState};
use tenancy_core::environment::IsolationLevel;
use tenancy_core::event::EventType;
use tenancy_core::job::{JobState, StepState};
use tenancy_core::log_fault::LogFaultKind;
use tenancy_core::placement::PlacementKind;
use tenancy_core::tenant::{DesiredState, Profile, State};
use tenancy_core::webhook::{Backoff, Format};

/// An enumeration whose values the server knows completely.
pub trait ClosedList: Copy + 'static {
    /// All words with their variants.
    fn words() -> &'static [(&'static str, Self)];

    /// The word of a variant.
    fn as_str(self) -> &'static str;
}

macro_rules! closed {
    ($($name:ty),+ $(,)?) => {
        $(impl ClosedList for $name {
            fn words() -> &'static [(&'static str, Self)] {
                Self::WORDS
            }

            fn as_str(self) -> &'static str {
                self.as_str()
            }
        })+
    };
}

closed!(
    AccessLevel,
    Action,
    AttemptOutcome,
    Backoff,
    DeliveryState,
    DesiredState,
    EventType,
    Format,
    IsolationLevel,
    JobState,
    LogFaultKind,
    PlacementKind,
    Profile,
    Role,
    State,
);

impl ClosedList for StepState {
    fn words() -> &'static [(&'static str, Self)] {
        &[("pending", Self::Pending), ("done", Self::Done), ("failed", Self::Failed)]
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A value of an enumeration. A newer server can send a value that an older client does not know. The client then keeps
/// and shows the text, so that a response with one new value stays readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word<T> {
    /// A value that this release knows.
    Known(T),
    /// The text of a value that only a newer release knows.
    Unknown(String),
}

impl<T: ClosedList> Word<T> {
    /// The word as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => (*known).as_str(),
            Self::Unknown(text) => text,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(known: T) -> Self {
        Self::Known(known)
    }
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(known) if known == other)
    }
}

impl<T: ClosedList> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<T: ClosedList> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: ClosedList> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = T::words().iter().find(|(word, _)| *word == text);
        Ok(known.map_or_else(|| Self::Unknown(text), |(_, known)| Self::Known(*known)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_keep_a_word_of_a_newer_server() {
        let words: Vec<Word<State>> = serde_json::from_str(r#"["Active","Hibernating"]"#).expect("words");
        assert_eq!(words, [Word::Known(State::Active), Word::Unknown("Hibernating".to_owned())]);
        assert_eq!(serde_json::to_string(&words).expect("json"), r#"["Active","Hibernating"]"#);
        assert!(words[0] == State::Active && words[1] != State::Active);
    }

    #[test]
    fn must_write_the_words_of_steps_as_the_record_does() {
        for (word, state) in StepState::words() {
            assert_eq!(serde_json::to_value(state).expect("json"), *word);
            assert_eq!(state.as_str(), *word);
        }
    }
}
