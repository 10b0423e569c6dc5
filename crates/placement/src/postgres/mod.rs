//! Environments in PostgreSQL: each has a database of its own, or a schema of its own in a database that it shares.
//!
//! The server has a ledger, a table in a database of its own. Everything that changes an environment holds a lock of that
//! database. An environment has two roles that cannot log in: the owner of what programs make, and the reader. Programs and
//! people get logins, made on request and with an end, that are members of one of the two.

mod databases;
mod ledger;
mod logins;
mod names;
mod places;
mod prepared;
mod reading;
mod refusals;
mod roles;
mod schemas;
mod server;
mod sessions;
mod settings;
mod site;

pub use server::Server;

/// Environments that have a database of their own.
pub type OwnDatabases = places::Places<databases::Databases>;
/// Environments that have a schema of their own in one database.
pub type OwnSchemas = places::Places<schemas::Schemas>;
