//! The server: operations that load, decide and commit; the HTTP API; the job engine.
//!
//! A change takes this path: a handler in [`http`] calls an operation in [`operations`]. The operation loads what the
//! rule in core needs, lets the rule decide, and commits the decision. If a row that the decision is based on has
//! changed, it decides again. `apply` and the [`jobs`] call the same operations.

pub mod answer;
pub mod authentication;
pub mod background;
pub mod config;
pub mod connections;
pub mod contention;
pub mod elsewhere;
pub mod engine;
pub mod expiry;
pub mod feed;
pub mod hold_reconciler;
pub mod http;
pub mod idempotency;
pub mod jobs;
pub mod key_limits;
pub mod key_names;
pub mod key_usage;
pub mod log_sealer;
pub mod logins;
pub mod manifests;
pub mod metrics;
pub mod network;
pub mod operations;
pub mod precondition;
pub mod private_data;
pub mod provisioner;
pub mod refusals;
pub mod serve;
pub mod tenancy;
pub mod token;
pub mod undeclared;
pub mod webhooks;
pub mod yaml;

pub use config::{Config, Flags};
pub use serve::serve;
pub use tenancy::Tenancy;
