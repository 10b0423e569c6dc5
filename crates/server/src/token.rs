//! Tokens of API keys: 256 random bits that are shown once, and their digest, which is kept.

use std::fmt;
use tenancy_core::Error;
use tenancy_core::json::hex;

/// What every token begins with, so that people and scanners know one when they see it.
pub const TOKEN_PREFIX: &str = "tenancy_";

/// A token. It is not shown by `Debug`: a log that prints a request shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A fresh token.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has no randomness.
    pub fn fresh() -> Result<Self, Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| Error::Internal(format!("no randomness: {error}")))?;
        Ok(Self(format!("{TOKEN_PREFIX}{}", hex(&random))))
    }

    /// The token itself, for the one answer that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// How a key is found by it.
    pub fn digest(&self) -> String {
        token_digest(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// SHA-256 of a token, in hexadecimal. The lookup is by this digest: whoever measures how long it takes learns about
/// digests, of which no token follows.
pub fn token_digest(token: &str) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_make_tokens_that_differ_and_do_not_show() {
        let (a, b) = (Token::fresh().expect("random"), Token::fresh().expect("random"));
        assert_ne!(a, b);
        assert_eq!(a.reveal().len(), TOKEN_PREFIX.len() + 64);
        assert!(!format!("{a:?}").contains(&a.reveal()[8..]));
    }

    #[test]
    fn must_digest_as_sha_256_does() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(token_digest("abc"), known);
    }
}
