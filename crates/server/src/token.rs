//! Tokens of API keys: 256 random bits that are shown once. Only their digest is stored.

use std::fmt;
use tenancy_core::Error;
use tenancy_core::json::hex;

/// Prefix of every token, by which people and secret scanners recognize it.
pub const TOKEN_PREFIX: &str = "tenancy_";

/// A token. `Debug` does not show it, so that logs of requests contain no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Creates a random token.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system's random number generator fails.
    pub fn fresh() -> Result<Self, Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Internal(format!("the system's random number generator failed: {error}")))?;
        Ok(Self(format!("{TOKEN_PREFIX}{}", hex(&random))))
    }

    /// Returns the token itself, for the one answer that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the digest by which the key is looked up.
    pub fn digest(&self) -> String {
        token_digest(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Returns the SHA-256 digest of a token, in hexadecimal. Keys are looked up by digest, so that the timing of lookups
/// reveals nothing about tokens.
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
