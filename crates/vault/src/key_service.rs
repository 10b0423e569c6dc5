//! What keeps wrapping keys: a directory, or a program in front of a key management service.

use futures_util::future::BoxFuture;

use crate::KeyName;

/// Keeps wrapping keys outside the database. Each name has one key for wrapping and one Ed25519 key pair for signing.
pub trait KeyService: Send + Sync + 'static {
    /// Creates keys. They are durable when this returns. A name that exists keeps its key.
    fn create(&self, names: Vec<KeyName>) -> BoxFuture<'_, Result<(), KeyError>>;

    /// Encrypts a data key under the named key. `context` must be given again to unwrap it.
    fn wrap(&self, name: &KeyName, plain: Vec<u8>, context: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>>;

    /// Decrypts what [`KeyService::wrap`] returned for the same name and context.
    fn unwrap(&self, name: &KeyName, wrapped: Vec<u8>, context: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>>;

    /// Destroys keys for good. Names without a key are accepted, so that the call can be repeated.
    fn destroy(&self, names: Vec<KeyName>) -> BoxFuture<'_, Result<(), KeyError>>;

    /// Signs a message with Ed25519. The signature has 64 bytes.
    fn sign(&self, name: &KeyName, message: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>>;

    /// Returns the Ed25519 public key of 32 bytes that verifies [`KeyService::sign`].
    fn public_key(&self, name: &KeyName) -> BoxFuture<'_, Result<Vec<u8>, KeyError>>;

    /// Returns the shared key with the highest number that exists now, also if another process created it. `None` if there
    /// is no shared key.
    fn newest_shared(&self) -> BoxFuture<'_, Result<Option<KeyName>, KeyError>>;

    /// Identifies the set of keys. The database stores it, so that a process with other keys can be refused.
    fn identity(&self) -> BoxFuture<'_, Result<String, KeyError>>;
}

/// Why a key service did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key was destroyed, or never existed.
    #[error("No wrapping key named {0}. It was destroyed, or it belongs to another set of keys.")]
    Missing(KeyName),
    /// The service cannot answer now; repeat the call later.
    #[error("{0}")]
    Unavailable(String),
    /// The service will not do this, now or later, until something is changed.
    #[error("{0}")]
    Refused(String),
}
