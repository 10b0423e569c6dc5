//! Connection data of environments.

use super::{Command, Decided, environments, tenants};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_core::Error;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::placement::Access;
use tenancy_core::rules::connection::{ConnectionRequest, connect};
use tenancy_placement::Connection;

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
    /// How to connect.
    pub connection: Connection,
    /// What the connection may do.
    pub access: Access,
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
        let (decision, placement) = connect(&tenancy.declared, &snapshot, environment, &request, context)?;
        let connection = tenancy.provisioner.get().and_then(|provisioner| provisioner.connection(placement));
        let connection = connection.ok_or_else(|| {
            let kind = placement.kind;
            let what = format!("environment {} is in a place of kind {kind}", environment.name);
            Error::NotNow(format!("{what}: ask a process with jobs.provisioner = \"{kind}\""))
        })?;
        Ok(Decided { outcome: GivenOut { connection, access: request.access }, changes: decision.changes })
    }
}
