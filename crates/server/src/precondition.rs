//! Preconditions of writes (optimistic concurrency): `If-Match`, `If-None-Match`, and `version` in the body.

use crate::operations::documents::facts::read_at;
use serde_json::Value;
use tenancy_core::Error;
use tenancy_core::error::NO_VERSION;

/// Precondition of a write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precondition {
    /// No precondition.
    #[default]
    Unsaid,
    /// `If-Match: *`: any existing version.
    Anything,
    /// `If-None-Match: *`: the resource must not exist.
    Nothing,
    /// `If-Match: "7"` or `"7.42"`: this version.
    Version(i64),
}

impl Precondition {
    /// Reads `If-Match` and `If-None-Match`. Tags may be quoted or not, weak or not. The part after the dot is the
    /// counter, which does not concern the manifest and is not compared.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a header has another form.
    pub fn read(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<Self, Error> {
        match (if_match.map(str::trim), if_none_match.map(str::trim)) {
            (None, None) => Ok(Self::Unsaid),
            (None, Some("*")) => Ok(Self::Nothing),
            (Some("*"), None) => Ok(Self::Anything),
            (Some(tag), None) => version_of(tag).map(Self::Version).ok_or_else(|| {
                Error::Malformed(format!(
                    "If-Match must be * or an ETag from an earlier answer, such as \"7.42\"; it is {tag}"
                ))
            }),
            (None, Some(_)) => {
                Err(Error::Malformed("If-None-Match of a write must be *. Remove the header or send *.".to_owned()))
            }
            (Some(_), Some(_)) => Err(Error::Malformed(
                "If-Match and If-None-Match exclude each other. Send only one of them.".to_owned(),
            )),
        }
    }

    /// Checks a write that requires a version against the version `current`. A `version` in the body is the
    /// precondition if no header is sent. If both are sent, both must match.
    ///
    /// # Errors
    /// [`Error::StaleVersion`], [`Error::VersionRequired`].
    pub fn check(self, in_body: Option<i64>, current: i64) -> Result<(), Error> {
        match (self, in_body) {
            (Self::Unsaid, None) => Err(Error::VersionRequired { current }),
            _ => self.check_if_said(in_body, current),
        }
    }

    /// Checks a write that creates a resource: no version exists that could match.
    ///
    /// # Errors
    /// [`Error::StaleVersion`].
    pub fn check_new(self) -> Result<(), Error> {
        match self {
            Self::Unsaid | Self::Nothing => Ok(()),
            Self::Anything => Err(Error::StaleVersion { expected: NO_VERSION, current: NO_VERSION }),
            Self::Version(expected) => Err(Error::StaleVersion { expected, current: NO_VERSION }),
        }
    }

    /// Like [`Precondition::check`], with the version in a document. A `version` of the wrong type does not count as
    /// missing: the document is refused later with all its violations.
    ///
    /// # Errors
    /// [`Error::StaleVersion`], [`Error::VersionRequired`].
    pub fn check_document(self, document: &Value, current: i64) -> Result<(), Error> {
        match document.get("version") {
            Some(said) if !said.is_null() && said.as_i64().is_none() => self.check_if_said(None, current),
            _ => self.check(read_at(document), current),
        }
    }

    /// Like [`Precondition::check`], for a write that does not require a version.
    ///
    /// # Errors
    /// [`Error::StaleVersion`].
    pub fn check_if_said(self, in_body: Option<i64>, current: i64) -> Result<(), Error> {
        let named = match self {
            Self::Version(version) => Some(version),
            Self::Nothing => Some(NO_VERSION),
            Self::Unsaid | Self::Anything => None,
        };
        match [named, in_body].into_iter().flatten().find(|version| *version != current) {
            Some(expected) => Err(Error::StaleVersion { expected, current }),
            None => Ok(()),
        }
    }
}

fn version_of(tag: &str) -> Option<i64> {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
    let (version, counter) = bare.split_once('.').map_or((bare, None), |(version, counter)| (version, Some(counter)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits(version) && counter.is_none_or(digits)).then(|| version.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_read_a_tag_however_it_is_written() {
        for tag in ["7", "7.42", "\"7\"", "\"7.42\"", "W/\"7.42\"", "W/7", " \"7\" "] {
            assert_eq!(Precondition::read(Some(tag), None), Ok(Precondition::Version(7)), "{tag}");
        }
        assert_eq!(Precondition::read(Some("*"), None), Ok(Precondition::Anything));
        assert_eq!(Precondition::read(None, Some("*")), Ok(Precondition::Nothing));
        for tag in ["", "\"\"", "abc", "7.", ".4", "\"7", "-7", "7,8", "99999999999999999999"] {
            assert!(Precondition::read(Some(tag), None).is_err(), "{tag}");
        }
        assert!(Precondition::read(None, Some("\"7\"")).is_err());
        assert!(Precondition::read(Some("*"), Some("*")).is_err());
    }

    #[test]
    fn must_ask_for_a_version_and_compare_each_that_is_named() {
        let stale = |expected| Err(Error::StaleVersion { expected, current: 7 });
        assert_eq!(Precondition::Unsaid.check(None, 7), Err(Error::VersionRequired { current: 7 }));
        assert_eq!(Precondition::Unsaid.check(Some(7), 7), Ok(()));
        assert_eq!(Precondition::Unsaid.check(Some(6), 7), stale(6));
        assert_eq!(Precondition::Version(7).check(None, 7), Ok(()));
        assert_eq!(Precondition::Version(7).check(Some(6), 7), stale(6));
        assert_eq!(Precondition::Version(6).check(Some(7), 7), stale(6));
        assert_eq!(Precondition::Anything.check(None, 7), Ok(()));
        assert_eq!(Precondition::Nothing.check(None, 7), stale(0));
        assert_eq!(Precondition::Unsaid.check_if_said(None, 7), Ok(()));
        assert_eq!((Precondition::Unsaid.check_new(), Precondition::Nothing.check_new()), (Ok(()), Ok(())));
        for precondition in [Precondition::Anything, Precondition::Version(7)] {
            let refused = precondition.check_new().expect_err("nothing is there").to_string();
            assert!(refused.contains("without If-Match"), "{refused}");
        }
        let there = Precondition::Nothing.check(None, 7).expect_err("it is there").to_string();
        assert!(there.contains("already") && there.contains("If-Match: \"7\""), "{there}");
    }

    #[test]
    fn must_leave_a_version_of_the_wrong_type_to_the_check_of_the_document() {
        let check = |precondition: Precondition, said| precondition.check_document(&json!({"version": said}), 7);
        assert_eq!(check(Precondition::Unsaid, json!("7")), Ok(()));
        assert_eq!(check(Precondition::Unsaid, json!(7)), Ok(()));
        assert_eq!(check(Precondition::Unsaid, Value::Null), Err(Error::VersionRequired { current: 7 }));
        let stale = Err(Error::StaleVersion { expected: 6, current: 7 });
        assert_eq!(
            (check(Precondition::Version(6), json!("7")), check(Precondition::Unsaid, json!(6))),
            (stale.clone(), stale)
        );
    }
}
