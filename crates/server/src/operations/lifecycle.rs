//! Lifecycle: holds placed and released, transitions asked for.

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
    /// Its id or an alias.
    pub tenant: String,
    /// Which hold, why, until when.
    pub document: Value,
    /// On what it depends, if anything was said.
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
    /// Its id or an alias.
    pub tenant: String,
    /// Which hold; the operator's when it is left out.
    pub hold: Option<String>,
    /// On what it depends, if anything was said.
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

/// Asks for `delete`, `undelete` or `purge`.
#[derive(Debug)]
pub struct Request {
    /// Its id or an alias.
    pub tenant: String,
    /// What is asked for.
    pub action: Action,
    /// On what it depends; `delete` needs it.
    pub precondition: Precondition,
    /// The version that the body says it was decided on.
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
