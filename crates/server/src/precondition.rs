//! Preconditions of writes (optimistic concurrency): `If-Match`, `If-None-Match`, and `version` in the body.

use crate::operations::documents::facts::read_at;
use serde_json::Value;
use tenancy_core::Error;
use tenancy_core::error::NO_VERSION;

/// Precondition of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Precondition {
    /// No precondition.
    #[default]
    Unsaid,
    /// `If-Match: *`: any existing version.
    Anything,
    /// `If-None-Match: *`: the resource must not exist.
    Nothing,
    /// `If-Match: "7.42", "8.43"`: one of these tags. A tag that this server cannot have sent is not in the list.
    Tags(Vec<Tag>),
}

/// An ETag of this server: the version, and the counter of all other changes if the resource has one. A digest of the
/// representation may follow, which no precondition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    version: i64,
    counter: Option<i64>,
}

/// Which part of a tag must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The version: the write changes the manifest.
    Version,
    /// Version and counter: the write depends on the state and the holds.
    Whole,
}

/// Current version and counter of a resource. Without a counter, any counter matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Current {
    version: i64,
    counter: Option<i64>,
}

impl Precondition {
    /// Reads `If-Match` and `If-None-Match` (RFC 9110, 13.1). Tags may be quoted or not, and weak or not, because some
    /// clients and proxies rewrite them.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a header has another form.
    pub fn read(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<Self, Error> {
        match (if_match.map(str::trim), if_none_match.map(str::trim)) {
            (None, None) => Ok(Self::Unsaid),
            (None, Some("*")) => Ok(Self::Nothing),
            (Some("*"), None) => Ok(Self::Anything),
            (Some(list), None) => {
                let tags: Vec<_> = list.split(',').map(str::trim).collect();
                if tags.iter().any(|tag| tag.is_empty() || *tag == "*") {
                    let what = "If-Match must be * or a list of ETags from earlier answers, such as \"7.42\"";
                    return Err(Error::Malformed(format!("{what}; it is {list:?}")));
                }
                Ok(Self::Tags(tags.into_iter().filter_map(Tag::parse).collect()))
            }
            (None, Some(_)) => {
                Err(Error::Malformed("If-None-Match of a write must be *. Remove the header or send *.".to_owned()))
            }
            (Some(_), Some(_)) => Err(Error::Malformed(
                "If-Match and If-None-Match exclude each other. Send only one of them.".to_owned(),
            )),
        }
    }

    /// Checks a change of a manifest, which requires a version, against the version `current`. A `version` in the body is
    /// the precondition if no header is sent. If both are sent, both must match. Of a tag, only the version is compared.
    ///
    /// # Errors
    /// [`Error::StaleVersion`], [`Error::VersionRequired`].
    pub fn check(&self, in_body: Option<i64>, current: i64) -> Result<(), Error> {
        self.required(in_body, current)?;
        self.compare(Part::Version, in_body, Current { version: current, counter: None })
    }

    /// Checks a write that creates a resource: no version exists that could match.
    ///
    /// # Errors
    /// [`Error::StaleVersion`].
    pub fn check_new(&self) -> Result<(), Error> {
        match self {
            Self::Unsaid | Self::Nothing => Ok(()),
            Self::Anything | Self::Tags(_) => {
                Err(Error::StaleVersion { expected: Some(NO_VERSION), current: NO_VERSION })
            }
        }
    }

    /// Like [`Precondition::check`], with the version in a document. A `version` of the wrong type does not count as
    /// missing: the document is refused later with all its violations.
    ///
    /// # Errors
    /// [`Error::StaleVersion`], [`Error::VersionRequired`].
    pub fn check_document(&self, document: &Value, current: i64) -> Result<(), Error> {
        match document.get("version") {
            Some(said) if !said.is_null() && said.as_i64().is_none() => {
                self.compare(Part::Version, None, Current { version: current, counter: None })
            }
            _ => self.check(read_at(document), current),
        }
    }

    /// Like [`Precondition::check`], for a write that does not require a version.
    ///
    /// # Errors
    /// [`Error::StaleVersion`].
    pub fn check_if_said(&self, in_body: Option<i64>, current: i64) -> Result<(), Error> {
        self.compare(Part::Version, in_body, Current { version: current, counter: None })
    }

    /// Checks an action that depends on state and holds, and does not require a version. Of a tag, version and counter are
    /// compared.
    ///
    /// # Errors
    /// [`Error::StaleVersion`], [`Error::StaleState`].
    pub fn check_whole(&self, in_body: Option<i64>, version: i64, counter: i64) -> Result<(), Error> {
        self.compare(Part::Whole, in_body, Current { version, counter: Some(counter) })
    }

    /// Like [`Precondition::check_whole`], for an action that requires a version.
    ///
    /// # Errors
    /// The same as [`Precondition::check_whole`], and [`Error::VersionRequired`].
    pub fn check_whole_required(&self, in_body: Option<i64>, version: i64, counter: i64) -> Result<(), Error> {
        self.required(in_body, version)?;
        self.check_whole(in_body, version, counter)
    }

    fn required(&self, in_body: Option<i64>, current: i64) -> Result<(), Error> {
        match (self, in_body) {
            (Self::Unsaid, None) => Err(Error::VersionRequired { current }),
            _ => Ok(()),
        }
    }

    fn compare(&self, part: Part, in_body: Option<i64>, current: Current) -> Result<(), Error> {
        let stale = |expected| Err(Error::StaleVersion { expected, current: current.version });
        match self {
            Self::Nothing => return stale(Some(NO_VERSION)),
            Self::Tags(tags) if !tags.iter().any(|tag| tag.matches(part, current)) => {
                let same = tags.iter().any(|tag| tag.version == current.version);
                return match (tags.as_slice(), current.counter) {
                    (_, Some(counter)) if same => Err(Error::StaleState { version: current.version, counter }),
                    ([tag], _) => stale(Some(tag.version)),
                    _ => stale(None),
                };
            }
            Self::Tags(_) | Self::Unsaid | Self::Anything => {}
        }
        match in_body {
            Some(version) if version != current.version => stale(Some(version)),
            _ => Ok(()),
        }
    }
}

impl Tag {
    /// Parses `7`, `7.42`, `7.hDIGEST` or `7.42.hDIGEST`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = opaque(text).split('.').peekable();
        let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten();
        let version = number(parts.next()?)?;
        let counter = match parts.peek() {
            Some(part) if !part.starts_with(DIGEST) => Some(number(parts.next()?)?),
            _ => None,
        };
        let digest = parts.next().is_none_or(|part| part.starts_with(DIGEST));
        (digest && parts.next().is_none()).then_some(Self { version, counter })
    }

    fn matches(self, part: Part, current: Current) -> bool {
        let same = |counter| current.counter.is_none_or(|current| counter == current);
        self.version == current.version && (part == Part::Version || self.counter.is_none_or(same))
    }
}

/// First letter of the digest of a representation in a tag.
pub const DIGEST: char = 'h';

/// What proxies append to a tag when they compress the answer.
const COMPRESSED: [&str; 6] = ["--gzip", "-gzip", ";gzip", "-br", ";br", "-zstd"];

/// Returns the text between the quotes of a tag, without what proxies append. Quotes and `W/` may be missing.
pub fn opaque(tag: &str) -> &str {
    let cut = |tag: &'_ str| COMPRESSED.iter().find_map(|end| tag.strip_suffix(end).map(str::len)).unwrap_or(tag.len());
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    let tag = &tag[..cut(tag)];
    let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
    &bare[..cut(bare)]
}

/// Whether `If-None-Match` names the tag of an answer (weak comparison, RFC 9110, 13.1.2).
pub fn names(if_none_match: &str, etag: &str) -> bool {
    if_none_match.trim() == "*" || if_none_match.split(',').any(|tag| opaque(tag.trim()) == opaque(etag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tags(list: &str) -> Precondition {
        Precondition::read(Some(list), None).expect(list)
    }

    #[test]
    fn must_read_a_tag_however_it_is_written() {
        let whole = Tag { version: 7, counter: Some(42) };
        for tag in [
            "7.42",
            "\"7.42\"",
            "W/\"7.42\"",
            "W/7.42",
            " \"7.42\" ",
            "\"7.42-gzip\"",
            "\"7.42--gzip\"",
            "\"7.42;gzip\"",
            "\"7.42-br\"",
            "\"7.42\"-gzip",
            "\"7.42.h0a1b\"",
        ] {
            assert_eq!(tags(tag), Precondition::Tags(vec![whole]), "{tag}");
        }
        for tag in ["7", "\"7\"", "\"7.h0a1b\"", "\"7.h0a1b-gzip\""] {
            assert_eq!(tags(tag), Precondition::Tags(vec![Tag { version: 7, counter: None }]), "{tag}");
        }
        assert_eq!(Precondition::read(Some("*"), None), Ok(Precondition::Anything));
        assert_eq!(Precondition::read(None, Some("*")), Ok(Precondition::Nothing));
        for unknown in ["\"\"", "abc", "7.", ".4", "\"7", "-7", "7.4.5", "7.h1.2", "99999999999999999999", "\"é\""] {
            assert_eq!(tags(unknown), Precondition::Tags(Vec::new()), "{unknown}");
        }
        for bad in ["", "7,,8", "*, \"7\""] {
            assert!(Precondition::read(Some(bad), None).is_err(), "{bad}");
        }
        assert!(Precondition::read(None, Some("\"7\"")).is_err());
        assert!(Precondition::read(Some("*"), Some("*")).is_err());
    }

    #[test]
    fn must_ask_for_a_version_and_compare_each_that_is_named() {
        let stale = |expected| Err(Error::StaleVersion { expected, current: 7 });
        assert_eq!(Precondition::Unsaid.check(None, 7), Err(Error::VersionRequired { current: 7 }));
        assert_eq!(Precondition::Unsaid.check(Some(7), 7), Ok(()));
        assert_eq!(Precondition::Unsaid.check(Some(6), 7), stale(Some(6)));
        assert_eq!(tags("7").check(None, 7), Ok(()));
        assert_eq!(tags("7.41").check(None, 7), Ok(()), "a manifest does not depend on the counter");
        assert_eq!(tags("6, 7, 8").check(None, 7), Ok(()));
        assert_eq!(tags("5, 6").check(None, 7), stale(None));
        assert_eq!(tags("abc").check(None, 7), stale(None));
        assert_eq!(tags("7").check(Some(6), 7), stale(Some(6)));
        assert_eq!(tags("6").check(Some(7), 7), stale(Some(6)));
        assert_eq!(Precondition::Anything.check(None, 7), Ok(()));
        assert_eq!(Precondition::Nothing.check(None, 7), stale(Some(0)));
        assert_eq!((Precondition::Unsaid.check_new(), Precondition::Nothing.check_new()), (Ok(()), Ok(())));
        for precondition in [Precondition::Anything, tags("7"), tags("abc")] {
            let refused = precondition.check_new().expect_err("nothing is there").to_string();
            assert!(refused.contains("without If-Match"), "{refused}");
        }
        let there = Precondition::Nothing.check(None, 7).expect_err("it is there").to_string();
        assert!(there.contains("already") && there.contains("If-Match: \"7\""), "{there}");
    }

    #[test]
    fn must_compare_the_whole_tag_for_an_action() {
        let state = Err(Error::StaleState { version: 7, counter: 42 });
        for (precondition, expected) in [
            (Precondition::Unsaid, Ok(())),
            (Precondition::Anything, Ok(())),
            (tags("7"), Ok(())),
            (tags("7.42"), Ok(())),
            (tags("\"7.41\", \"7.42\""), Ok(())),
            (tags("7.41"), state.clone()),
            (tags("6.42, 7.41"), state),
            (tags("6.42"), Err(Error::StaleVersion { expected: Some(6), current: 7 })),
            (tags("abc"), Err(Error::StaleVersion { expected: None, current: 7 })),
        ] {
            assert_eq!(precondition.check_whole(None, 7, 42), expected, "{precondition:?}");
        }
        assert_eq!(Precondition::Unsaid.check_whole_required(None, 7, 42), Err(Error::VersionRequired { current: 7 }));
        let refused = tags("7.41").check_whole(None, 7, 42).expect_err("stale").to_string();
        assert!(refused.contains("If-Match: \"7.42\""), "{refused}");
    }

    #[test]
    fn must_find_a_tag_in_if_none_match() {
        for list in ["*", "\"7.42\"", "W/\"7.42\"", "\"1.1\", \"7.42-gzip\""] {
            assert!(names(list, "\"7.42\"") && names(list, "\"7.42-gzip\""), "{list}");
        }
        for list in ["\"7.41\"", "", "\"7.42.h1\""] {
            assert!(!names(list, "\"7.42\""), "{list}");
        }
    }

    #[test]
    fn must_leave_a_version_of_the_wrong_type_to_the_check_of_the_document() {
        let check = |precondition: Precondition, said| precondition.check_document(&json!({"version": said}), 7);
        assert_eq!(check(Precondition::Unsaid, json!("7")), Ok(()));
        assert_eq!(check(Precondition::Unsaid, json!(7)), Ok(()));
        assert_eq!(check(Precondition::Unsaid, Value::Null), Err(Error::VersionRequired { current: 7 }));
        let stale = Err(Error::StaleVersion { expected: Some(6), current: 7 });
        assert_eq!((check(tags("6"), json!("7")), check(Precondition::Unsaid, json!(6))), (stale.clone(), stale));
    }
}
