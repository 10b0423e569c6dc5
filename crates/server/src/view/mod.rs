//! What is answered: one struct for each thing, borrowed from what was read, with its schema.

pub mod applied;
pub mod document;
pub mod environment;
pub mod event;
pub mod job;
pub mod key;
pub mod list;
pub mod organization;
pub mod problem;
pub mod schema;
pub mod status;
pub mod tenant;
pub mod version;
pub mod written;
