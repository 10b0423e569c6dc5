//! A wrapping key in memory.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::aead::{Aead, KEY_LENGTH_BYTES};
use crate::erased::Erased;
use crate::{KeyError, KeyName};

/// The secret of a record: 32 bytes of the AES-256 key, then 32 bytes of the seed of the Ed25519 key pair.
pub(super) const SECRET_LENGTH_BYTES: usize = 2 * KEY_LENGTH_BYTES;

/// One key, ready for use.
pub(super) struct WrappingKey {
    name: KeyName,
    /// Number of the file that has the key.
    shard: u32,
    aead: Aead,
    pair: Ed25519KeyPair,
}

impl WrappingKey {
    /// Returns `None` if `secret` does not have 64 bytes.
    pub(super) fn new(name: KeyName, shard: u32, secret: &Erased) -> Option<Self> {
        let (aead, seed) = secret.split_at_checked(KEY_LENGTH_BYTES)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        (secret.len() == SECRET_LENGTH_BYTES).then_some(())?;
        Some(Self { name, shard, aead: Aead::new(aead)?, pair })
    }

    /// Returns the number of the file, then the sealed text.
    pub(super) fn wrap(&self, plain: &[u8], context: &[u8]) -> Vec<u8> {
        let sealed = self.aead.seal(&self.associated(context), plain);
        [&self.shard.to_be_bytes(), sealed.as_slice()].concat()
    }

    pub(super) fn unwrap(&self, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.aead.open(&self.associated(context), sealed.to_vec()).ok_or_else(|| {
            KeyError::Refused(format!(
                "A data key cannot be unwrapped with {}: it was changed or damaged, or belongs to another tenant.",
                self.name
            ))
        })
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.try_sign(message);
        let signature = signature.map_err(|_| KeyError::Unavailable(format!("Cannot sign with {}.", self.name)))?;
        Ok(signature.as_ref().to_vec())
    }

    pub(super) fn public_key(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    fn associated(&self, context: &[u8]) -> Vec<u8> {
        [self.name.as_str().as_bytes(), &[0], context].concat()
    }
}
