//! The server: operations that load, decide and commit; HTTP; the job engine.
//!
//! The way of a change: a handler in [`http`] takes it and calls an operation ([`operations`]), which loads what the
//! rule in core needs, lets it decide, and commits what it decided; when what it stood on has moved, it decides again.
//! `apply` and the [`jobs`] call the same operations: there is never a second way to do a thing.

pub mod answer;
pub mod authentication;
pub mod background;
pub mod config;
pub mod contention;
pub mod expiry;
pub mod hold_reconciler;
pub mod http;
pub mod idempotency;
pub mod jobs;
pub mod key_names;
pub mod key_usage;
pub mod metrics;
pub mod operations;
pub mod precondition;
pub mod provisioner;
pub mod serve;
pub mod tenancy;
pub mod token;
pub mod yaml;

pub use config::{Config, Flags};
pub use serve::serve;
pub use tenancy::Tenancy;
