//! Encryption of tenants' private data: data keys, and the key services that wrap them.
//!
//! Every tenant has a data key ([`DataKey`]), which seals the tenant's private columns. The database stores the data key
//! wrapped by a wrapping key. The wrapping key stays in a [`KeyService`] and never enters the database or its backup.
//! [`Vault`] creates and opens data keys and keeps the opened ones in a bounded cache.

mod aead;
mod data_key;
pub mod directory;
mod erased;
mod key_name;
mod key_service;
pub mod program;
mod vault;

pub use data_key::{BadSeal, DataKey, is_sealed};
pub use key_name::KeyName;
pub use key_service::{KeyError, KeyService};
pub use vault::{SHARED_KEY_REFRESH, Vault, WrappedKey};
