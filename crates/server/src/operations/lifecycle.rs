//! Lifecycle: place and release holds, request transitions.

use super::tenants::{self, Written, changed};
use super::{Command, Decided};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_core::Error;
use tenancy_core::action::Action;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::rules::lifecycle::{Suspension, activate, request, suspend};

/// Places a hold on a tenant.
#[derive(Debug)]
pub struct Suspend {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Kind, reason and end of the hold.
    pub document: Value,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Suspend {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let suspension = Suspension::read(&tenancy.declared, &self.document, context.now)?;
        let snapshot = tenants::find(tenancy, caller, &self.tenant).await?;
        self.precondition.check_if_said(None, snapshot.tenant.terms.version)?;
        Ok(changed(suspend(&tenancy.declared, &snapshot, &suspension, context)?))
    }
}

/// Releases a hold on a tenant.
#[derive(Debug)]
pub struct Activate {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Kind of the hold. Defaults to `operator`.
    pub hold: Option<String>,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Activate {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let snapshot = tenants::find(tenancy, caller, &self.tenant).await?;
        self.precondition.check_if_said(None, snapshot.tenant.terms.version)?;
        Ok(changed(activate(&tenancy.declared, &snapshot, self.hold.as_deref(), context)?))
    }
}

/// Requests `delete`, `undelete` or `purge`.
#[derive(Debug)]
pub struct Request {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Requested action.
    pub action: Action,
    /// Precondition, which `delete` requires.
    pub precondition: Precondition,
    /// `version` in the body.
    pub read_at: Option<i64>,
}

impl Command for Request {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let snapshot = tenants::find(tenancy, caller, &self.tenant).await?;
        let version = snapshot.tenant.terms.version;
        match self.action {
            Action::Delete => self.precondition.check(self.read_at, version)?,
            _ => self.precondition.check_if_said(self.read_at, version)?,
        }
        Ok(changed(request(&tenancy.declared, &snapshot, self.action, context)?))
    }
}
