//! Normal forms of text. Two spellings of one text are one text: they are stored, compared and found alike.

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::AsciiDenyList;
use std::borrow::Cow;

/// Maximum length of a host name, and of one part of it, in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;
const MAX_HOST_PART_BYTES: usize = 63;

/// Returns the text in Unicode normalization form C, in which composed and decomposed characters are the same.
pub fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    const { ComposingNormalizerBorrowed::new_nfc() }.normalize(text)
}

/// Returns the form in which names are searched: lower case, form C. It does not depend on a database or its locale.
pub fn search_form(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    nfc(&nfc(text).to_lowercase()).into_owned()
}

/// Returns the one form of a host name: lower case, in ASCII (IDNA), without a dot at the end.
///
/// # Errors
/// A message that says what is wrong.
pub fn host_name(text: &str) -> Result<String, String> {
    let bare = bare_host(text);
    if bare != text {
        let advice = host_form(bare).map(|host| format!(": write {host}")).unwrap_or_default();
        return Err(format!(
            "a host alias is a host name without scheme, user, port and path, not {:?}{advice}",
            beginning(text)
        ));
    }
    host_form(text).ok_or_else(|| format!("{:?} is not a host name", beginning(text)))
}

/// The beginning of a text, for a message.
fn beginning(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Returns the host name within a text that may have a scheme, a user, a port or a path.
pub fn bare_host(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn host_form(text: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::URL).ok()?;
    let ascii = ascii.strip_suffix('.').unwrap_or(&ascii);
    let is_part = |part: &str| (1..=MAX_HOST_PART_BYTES).contains(&part.len());
    (ascii.len() <= MAX_HOST_BYTES && ascii.split('.').all(is_part)).then(|| ascii.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_give_every_spelling_of_a_host_one_form() {
        for spelt in ["shop.example.com", "Shop.Example.COM", "SHOP.example.com.", "shop。example。com"] {
            assert_eq!(host_name(spelt).as_deref(), Ok("shop.example.com"), "{spelt}");
        }
        for spelt in ["bücher.example", "BÜCHER.example", "bu\u{308}cher.example.", "xn--bcher-kva.example"] {
            assert_eq!(host_name(spelt).as_deref(), Ok("xn--bcher-kva.example"), "{spelt}");
        }
        assert_eq!(host_name("*.acme.example").as_deref(), Ok("*.acme.example"));
    }

    #[test]
    fn must_refuse_what_is_more_or_less_than_a_host_name() {
        let whole =
            ["https://Acme.example", "acme.example:8443", "acme.example/path", "me@acme.example", "acme.example?q"];
        for more in whole {
            let message = host_name(more).expect_err(more);
            assert!(message.ends_with(": write acme.example"), "{message}");
        }
        for none in ["", ".", "a..b", ".a", "::1", "[::1]", "a b", &"x".repeat(64), &["abc"; 70].join(".")] {
            assert!(host_name(none).is_err(), "{none}");
        }
    }

    #[test]
    fn must_search_names_in_any_case_and_composition() {
        assert_eq!(search_form("U\u{308}NÏCODE Ltd"), search_form("ünïcode ltd"));
        assert_eq!(nfc("e\u{301}"), "é");
    }
}
