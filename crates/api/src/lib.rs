//! The wire types: the JSON of requests and responses. The server writes them, clients read them, and the OpenAPI
//! document is generated from them.
//!
//! Texts are `Cow`: the server borrows them from rows, a client owns them (`Tenant<'static>`). They are not
//! `#[serde(borrow)]`, because a type that borrows from its input cannot be read from a body that is dropped
//! afterwards. A client ignores unknown fields and keeps unknown values of enumerations ([`word::Word`]).

pub mod access;
pub mod applied;
pub mod catalogue;
pub mod connection;
pub mod delivery;
pub mod document;
pub mod environment;
pub mod event;
pub mod health;
pub mod job;
pub mod key;
pub mod list;
pub mod organization;
pub mod placement;
pub mod problem;
pub mod schema;
pub mod status;
pub mod tenant;
pub mod verification;
pub mod version;
pub mod viewpoint;
pub mod webhook;
pub mod word;
pub mod written;

pub use list::List;
pub use problem::{Problem, ProblemError};
pub use tenancy_core::Timestamp;
pub use viewpoint::Viewpoint;
pub use word::Word;
