//! Audit events as responses show them.

use crate::viewpoint::Viewpoint;
use crate::word::Word;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::event::{self as core, EventType};
use tenancy_core::json::Object;
use utoipa::ToSchema;

/// An audit event: the record of one thing that happened.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent<'a> {
    /// Position in the order of all events.
    pub position: i64,
    /// Id of the event.
    #[schema(value_type = String)]
    pub audit_id: Cow<'a, str>,
    /// Tenant that the event belongs to. Omitted for events outside tenants, such as those of organizations and keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<Cow<'a, str>>,
    /// Type of the event.
    #[schema(value_type = crate::schema::EventType)]
    pub event_type: Word<EventType>,
    /// Version of the schema of the payload.
    pub event_version: i64,
    /// Actor that caused the event: `kind:subject`. Only `user` if the actor is a key and the caller may not read keys.
    #[schema(value_type = String)]
    pub actor: Cow<'a, str>,
    /// Name of the key, if the actor is a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub actor_name: Option<Cow<'a, str>>,
    /// Subject on whose behalf the actor acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub on_behalf_of: Option<Cow<'a, str>>,
    /// Details of the event, by type. Empty for events about keys if the caller may not read keys.
    #[schema(value_type = Object)]
    pub payload: Cow<'a, Object>,
    /// Personal data of the event, such as names, aliases and reasons. It is stored outside the log and erased by a
    /// purge.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub private: Option<Cow<'a, Value>>,
    /// `true` if the personal data was changed after the event was recorded, or if the key that decrypts it is missing. It
    /// is then omitted. Omitted otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub tampered: bool,
    /// Correlation id of the request.
    #[schema(value_type = String)]
    pub correlation_id: Cow<'a, str>,
    /// Time of the event.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
}

impl<'a> AuditEvent<'a> {
    /// Builds the response from an event and its position in the log.
    pub fn of(viewpoint: Viewpoint<'_>, position: i64, event: &'a core::Event, tampered: bool) -> Self {
        let (actor, actor_name) = viewpoint.actor(&event.actor);
        let private = event.private.as_ref().filter(|_| !viewpoint.hides_details(event.event_type));
        Self {
            position,
            audit_id: event.audit_id.as_str().into(),
            tenant_id: event.tenant_id.as_ref().map(|id| id.as_str().into()),
            event_type: event.event_type.into(),
            event_version: event.event_version,
            actor,
            actor_name,
            on_behalf_of: event.on_behalf_of.as_deref().and_then(|who| viewpoint.internal(Cow::Borrowed(who))),
            payload: viewpoint.payload(event.event_type, &event.payload),
            private: private.and_then(|private| viewpoint.internal(Cow::Borrowed(&private.content))),
            tampered,
            correlation_id: event.correlation_id.as_str().into(),
            occurred_at: event.occurred_at,
        }
    }
}
