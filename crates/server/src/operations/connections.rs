//! Connection data of environments.

use super::{Command, Decided, environments, tenants};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::placement::{Access, Address, EnvironmentPlacement};
use tenancy_core::rules::connection::{ConnectionRequest, connect};
use tenancy_core::{Error, Timestamp};
use tenancy_placement::{Connection, Fault, PostgresLogin};

/// Gives out the connection data of an environment, and records who got it and why.
#[derive(Debug)]
pub struct Connect {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Name or id of the environment.
    pub environment: String,
    /// Reason and access.
    pub document: Value,
    /// Optional precondition, on the tenant.
    pub precondition: Precondition,
}

/// Connection data that is given out.
#[derive(Debug)]
pub struct GivenOut {
    /// Place of the environment.
    pub placement: EnvironmentPlacement,
    /// How to connect.
    pub connection: Connection,
    /// What the connection may do.
    pub access: Access,
    /// Time at which a login ends.
    pub until: Option<Timestamp>,
}

impl Command for Connect {
    type Outcome = GivenOut;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<GivenOut>, Error> {
        let request = ConnectionRequest::read(&self.document)?;
        let snapshot = tenants::find(tenancy, caller, &self.tenant).await?;
        let environment = environments::find(&snapshot, &self.environment)?;
        let (version, counter) = (snapshot.tenant.terms.version, snapshot.tenant.facts.counter);
        self.precondition.check_whole(None, version, counter)?;
        let decided = connect(&tenancy.declared, &snapshot, environment, &request, context)?;
        let placement = decided.placement.clone();
        let connection = give(tenancy, &placement, request.access, decided.until.unwrap_or(Timestamp::MAX)).await?;
        let outcome = GivenOut { placement, connection, access: request.access, until: decided.until };
        Ok(Decided { outcome, changes: decided.decision.changes })
    }
}

/// Makes a login, or says where the file is. The caller gets it when the event is committed. If it never is, nobody knows the
/// login, and it ends by itself.
async fn give(
    tenancy: &Tenancy,
    placement: &EnvironmentPlacement,
    access: Access,
    until: Timestamp,
) -> Result<Connection, Error> {
    let (name, kind) = (&placement.name, placement.kind);
    let elsewhere = || {
        let what = format!("environment {name} is in a place of kind {kind}");
        Error::NotNow(format!("{what}: ask a process that makes such places (jobs.provisioner)"))
    };
    let provisioner = tenancy.provisioner.get().ok_or_else(elsewhere)?;
    match provisioner.connect(placement, access, until).await {
        Ok(Some(connection)) => at_its_address(tenancy, placement, connection).await,
        Ok(None) => Err(elsewhere()),
        Err(Fault::Unavailable(what)) => Err(Error::NotNow(format!("environment {name} waits for {what}"))),
        Err(fault) => Err(Error::NotNow(format!("environment {name}: {fault}"))),
    }
}

/// Puts in the address that the placement declares for clients, if it declares one.
async fn at_its_address(
    tenancy: &Tenancy,
    placement: &EnvironmentPlacement,
    connection: Connection,
) -> Result<Connection, Error> {
    let (Some(name), Connection::Postgres(login)) = (&placement.placement, &connection) else { return Ok(connection) };
    let declared = tenancy.store.placement(name).await?.and_then(|placement| placement.address);
    let Some(Address { host, port }) = declared else { return Ok(connection) };
    let port = u16::try_from(port).unwrap_or(login.port);
    Ok(Connection::Postgres(PostgresLogin { host, port, ..login.clone() }))
}
