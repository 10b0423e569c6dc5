//! Requests for the connection data of an environment.

use super::Decision;
use super::change_builder::ChangeBuilder;
use crate::decision_context::{DecisionContext, cut};
use crate::declared::Declared;
use crate::document::read;
use crate::environment::Environment;
use crate::error::Error;
use crate::event::EventType;
use crate::hold::MAX_REASON_LENGTH_BYTES;
use crate::lifecycle::suspending_holds;
use crate::placement::{Access, EnvironmentPlacement, PlacementKind};
use crate::snapshot::TenantSnapshot;
use crate::tenant::State;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A request for connection data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRequest {
    /// Why the caller connects, for people.
    pub reason: String,
    /// What the connection may do: [`Access::Full`] or [`Access::ReadOnly`].
    pub access: Access,
    /// Time for which a login that is given out is valid, in seconds.
    pub expires_in_seconds: i64,
}

/// Default of [`ConnectionRequest::expires_in_seconds`]: one hour.
pub const DEFAULT_SECONDS: i64 = 3600;
/// Range of [`ConnectionRequest::expires_in_seconds`]: one minute to one week.
pub const SECONDS: std::ops::RangeInclusive<i64> = 60..=7 * 24 * 3600;

impl ConnectionRequest {
    /// Reads a request: `reason` is required, `access` is `read_only` if it is left out.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all violations.
    pub fn read(document: &Value) -> Result<Self, Error> {
        read(document, |fields, findings| {
            fields.required("reason", "say why you connect: the audit log keeps it", findings);
            let reason = fields.text("reason", MAX_REASON_LENGTH_BYTES, findings);
            let word = fields.text("access", 32, findings);
            let access = match word.as_deref() {
                None | Some("read_only") => Access::ReadOnly,
                Some("full") => Access::Full,
                Some(_) => {
                    findings.bad(&fields.at("access"), "unknown_word", "must be full or read_only");
                    return None;
                }
            };
            let seconds = fields.integer("expires_in_seconds", SECONDS, findings);
            Some(Self { reason: reason?, access, expires_in_seconds: seconds.unwrap_or(DEFAULT_SECONDS) })
        })
    }
}

/// Decision on a request for connection data.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionDecision<'s> {
    /// Changes to commit: the event.
    pub decision: Decision,
    /// Place of the environment.
    pub placement: &'s EnvironmentPlacement,
    /// Time at which a login ends that is given out; `None` for a SQLite file, which has no logins.
    pub until: Option<Timestamp>,
}

/// Records that a caller gets the connection data of an environment.
///
/// # Errors
/// [`Error::NotNow`] if the environment has no place, is not provisioned, or is not in service.
pub fn connect<'s>(
    declared: &Declared,
    snapshot: &'s TenantSnapshot,
    environment: &Environment,
    request: &ConnectionRequest,
    context: &mut DecisionContext,
) -> Result<ConnectionDecision<'s>, Error> {
    let (name, state) = (&environment.name, environment.state);
    if environment.provisioned_at.is_none() {
        return Err(Error::NotNow(format!("environment {name} is not provisioned yet: wait until its job ends")));
    }
    let Some(placement) = snapshot.placement(&environment.env_id) else {
        let why = "the server only recorded it, and made nothing that a program could connect to";
        return Err(Error::NotNow(format!("environment {name} has no place: {why}")));
    };
    let is_held = suspending_holds(declared, snapshot).next().is_some();
    if state != State::Active || is_held {
        let why = if is_held { "held".to_owned() } else { state.to_string() };
        let id = &snapshot.tenant.tenant_id;
        return Err(Error::NotNow(format!(
            "environment {name} is {why}, and refuses connections: {id} must be Active and without a hold that suspends it"
        )));
    }
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    let end = builder.context.now.checked_add(SignedDuration::from_secs(request.expires_in_seconds));
    let until = (placement.kind != PlacementKind::Sqlite).then(|| cut(end.unwrap_or(Timestamp::MAX)));
    let mut payload = json!({
        "env_id": environment.env_id,
        "name": name,
        "kind": placement.kind,
        "access": request.access,
    });
    if let Some(until) = until {
        payload["expires_at"] = json!(until);
    }
    builder.event(EventType::EnvironmentConnected, payload, json!({"reason": request.reason}));
    Ok(ConnectionDecision { decision: builder.finish(Vec::new())?, placement, until })
}
