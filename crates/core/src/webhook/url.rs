//! URLs of webhooks.

use url::{ParseError, Url};

/// Maximum length of a URL, in bytes.
pub const MAX_URL_LENGTH_BYTES: usize = 2048;

/// Path that stands for the path and the query of a masked URL.
const MASK: &str = "/***";

/// Returns what is wrong with the URL of a webhook, if anything.
pub fn bad_url(text: &str) -> Option<String> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(ParseError::RelativeUrlWithoutBase) => return Some("must begin with https:// or http://".to_owned()),
        Err(ParseError::EmptyHost) => return Some("must name a host".to_owned()),
        Err(ParseError::InvalidPort) => return Some("must have a port from 1 to 65535, or none".to_owned()),
        Err(error) => return Some(format!("must be a URL: {error}")),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Some("must begin with https:// or http://".to_owned());
    }
    // The parser is as lenient as a browser. Other programs that read the URL need not be.
    let rest = text.get(url.scheme().len()..).unwrap_or_default();
    let wrong = if text.contains(char::is_whitespace) {
        "must not contain spaces"
    } else if !rest.starts_with("://") || rest.starts_with(":///") {
        "must name a host after https:// or http://"
    } else if text.contains('\\') {
        "must not contain a backslash"
    } else if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
        "must not contain a user or a password: every copy of the manifest would contain it"
    } else if url.port() == Some(0) {
        "must have a port from 1 to 65535, or none"
    } else if url.path() == MASK {
        "is masked: a key that can only read sees no more of it; write the whole URL, or leave the webhooks out"
    } else {
        return None;
    };
    Some(wrong.to_owned())
}

fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Returns scheme, host and port of a URL. Path and query often contain a secret.
pub fn masked(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) if url.has_host() => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}{MASK}", url.scheme(), url.host_str().unwrap_or_default())
        }
        // An earlier release took what is no URL.
        _ => MASK.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_take_urls_in_any_case_and_refuse_what_names_no_host() {
        for good in [
            "https://x",
            "HTTPS://Hooks.Example.com:8443/a?b=c",
            "http://127.0.0.1:80",
            "https://[::1]/x",
            "https://bücher.example/ü",
            "https://x#y",
        ] {
            assert_eq!(bad_url(good), None, "{good}");
        }
        for (bad, word) in [
            ("hooks.example", "begin with"),
            ("ftp://x", "begin with"),
            ("https:x", "name a host"),
            ("https:///x", "name a host"),
            ("https://", "host"),
            ("https://:80", "host"),
            ("https://x:99999", "port"),
            ("https://x:0", "port"),
            ("https://x:port", "port"),
            ("https://u:p@x", "password"),
            ("https://@x", "password"),
            ("https://a b", "URL"),
            ("https://a/ b", "spaces"),
            ("https://a\\@b", "backslash"),
            ("https://x/***", "masked"),
        ] {
            let said = bad_url(bad).unwrap_or_default();
            assert!(said.contains(word), "{bad}: {said}");
        }
    }

    #[test]
    fn must_mask_all_but_scheme_host_and_port() {
        for (url, shown) in [
            ("https://hooks.example.com/services/T0/XXsecret?token=abc", "https://hooks.example.com/***"),
            ("HTTP://Hooks.Example:8080?token", "http://hooks.example:8080/***"),
            ("https://u:p@x/#secret", "https://x/***"),
            ("secret", "/***"),
        ] {
            assert_eq!(masked(url), shown);
            assert!(bad_url(shown).is_some(), "a masked URL must not be taken for the URL: {shown}");
        }
    }
}
