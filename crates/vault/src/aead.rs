//! Authenticated encryption: AES-256-GCM with random nonces.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

/// Length of an AES-256 key.
pub(crate) const KEY_LENGTH_BYTES: usize = 32;
const TAG_LENGTH_BYTES: usize = 16;

/// One key. aws-lc overwrites its copy of the key when it is dropped. One key may seal 2^32 texts, which is the limit for
/// random nonces of 96 bits.
pub(crate) struct Aead(RandomizedNonceKey);

impl Aead {
    /// Returns `None` if `key` does not have 32 bytes.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, key).ok().map(Self)
    }

    /// Returns nonce, ciphertext and tag.
    pub(crate) fn seal(&self, associated: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LENGTH_BYTES);
        sealed.resize(NONCE_LEN, 0);
        sealed.extend_from_slice(plain);
        #[expect(clippy::expect_used, reason = "fails for texts of 64 GiB only")]
        let (nonce, tag) = self
            .0
            .seal_in_place_separate_tag(Aad::from(associated), &mut sealed[NONCE_LEN..])
            // reason: the text is shorter than 64 GiB, and aws-lc ends the process itself if the system has no entropy
            .expect("the text is shorter than 64 GiB");
        sealed[..NONCE_LEN].copy_from_slice(nonce.as_ref());
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Returns the plain text; `None` if the text or the associated data were changed, or sealed under another key.
    pub(crate) fn open(&self, associated: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.0.open_in_place(nonce, Aad::from(associated), text).ok()?.len();
        sealed.copy_within(NONCE_LEN..NONCE_LEN + length, 0);
        // The rest of the allocation has a part of the plain text, which may be a key.
        sealed[length..].fill(0);
        sealed.truncate(length);
        Some(sealed)
    }
}
