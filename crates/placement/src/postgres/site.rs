//! What differs between the kinds of places on a server.

use super::server::Server;
use crate::Fault;
use std::fmt::Debug;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::PlacementKind;
use tokio_postgres::Client;

/// Where the sessions of an environment find its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Database.
    pub database: String,
    /// Schema in which names are found, if it is not the database's own.
    pub schema: Option<String>,
}

/// What the server has of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Fingerprint; `None` if a crash has left it before it was complete.
    pub fingerprint: Option<String>,
}

/// A server on which environments get one kind of place. `admin` is a session with the ledger, in which nobody else works on the
/// environment. Every method can be repeated.
pub trait Site: Debug + Clone + Send + Sync + 'static {
    /// Kind of the places.
    const KIND: PlacementKind;

    /// The server.
    fn server(&self) -> &Server;

    /// The database of which all places are parts, if there is one.
    fn shared_database(&self) -> Option<&str>;

    /// Returns where the environment's data is.
    fn address(&self, env_id: &EnvironmentId) -> Address;

    /// Finds the environment's data.
    fn find(
        &self,
        admin: &Client,
        env_id: &EnvironmentId,
    ) -> impl Future<Output = Result<Option<Standing>, Fault>> + Send;

    /// Creates the roles and the place for the data, which nobody can use yet, or completes what a crash has left.
    fn create(
        &self,
        admin: &Client,
        env_id: &EnvironmentId,
        fingerprint: &str,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Lets the environment's roles use the data.
    fn open(&self, admin: &Client, env_id: &EnvironmentId) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Lets nobody use the data, and ends all sessions and logins.
    fn close(&self, admin: &Client, env_id: &EnvironmentId) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Writes the settings of the environment. The place must be open.
    fn set_settings(&self, env_id: &EnvironmentId, text: &str) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Checks that the data can be read. The place must be open.
    fn check(&self, env_id: &EnvironmentId) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Lets the reader read everything that exists, and change nothing. The place must be open.
    fn grant_reading(&self, env_id: &EnvironmentId) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Returns the size of the data, in bytes.
    fn bytes(&self, admin: &Client, env_id: &EnvironmentId) -> impl Future<Output = Result<u64, Fault>> + Send;

    /// Destroys the data of a place that was closed. Its roles stay.
    fn destroy(&self, admin: &Client, env_id: &EnvironmentId) -> impl Future<Output = Result<(), Fault>> + Send;
}
