//! Bytes of keys in memory.

use std::ops::{Deref, DerefMut};

/// Bytes that are overwritten with zeros when they are dropped, so that a key does not stay in freed memory. Allocate the
/// full capacity first: when a vector grows, its old allocation is freed without this.
pub(crate) struct Erased(Vec<u8>);

impl Erased {
    /// Returns `length` bytes from the random number generator of the operating system.
    pub(crate) fn random(length: usize) -> Result<Self, getrandom::Error> {
        let mut bytes = Self(vec![0; length]);
        getrandom::fill(&mut bytes.0)?;
        Ok(bytes)
    }
}

impl From<Vec<u8>> for Erased {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Erased {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Erased {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without this, the compiler may remove the writes, because nothing reads the bytes afterwards.
        std::hint::black_box(&self.0);
    }
}
