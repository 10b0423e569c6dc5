//! `/v1/audit` and the audit log of a tenant, in log order.

use crate::http::caller::By;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::respond::{self, json};
use crate::http::server::Server;
use crate::operations::audit;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::event::AuditEvent as EventView;
use tenancy_api::list::List;
use tenancy_api::schema;
use tenancy_api::verification::LogVerification as VerificationView;
use tenancy_core::Error;
use tenancy_core::event::EventType;
use tenancy_core::ids::{CorrelationId, OrganizationId};
use tenancy_store::page::{AuditFilter, Page};

/// Lists audit events of all tenants that the key can read, in log order.
///
/// With an unscoped key, this includes events that belong to no tenant.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", operation_id = "list_audit",
    params(
        ("event_type" = Option<Vec<schema::EventType>>, Query,
            description = "Only events of these types. Repeat the parameter, or separate types with commas."),
        ("correlation_id" = Option<String>, Query, description = "Only events with this correlation id."),
        ("actor" = Option<String>, Query,
            description = "Only events that this actor caused, such as `user:key_…` or `system:jobs`."),
        ("organization_id" = Option<String>, Query, description = "Only events of tenants of this organization."),
        ("since" = Option<String>, Query, description = "Only events at this time or later."),
        ("until" = Option<String>, Query, description = "Only events before this time."),
        ("order" = Option<schema::Order>, Query,
            description = "`asc` for oldest first, or `desc` for newest first. Defaults to `asc`."),
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query,
            description = "Value of `next` from the previous page, or `end` to start after the newest event. A value \
                that points behind a lost event, after the database was restored to an earlier time, is refused."),
        ("follow" = Option<bool>, Query,
            description = "With `true`, `next` is also set on the last page: pass it later to read only newer events. \
                Only in the order `asc`."),
    ),
    responses((status = 200, body = List<EventView>)),
)]
pub async fn list(State(server): State<Arc<Server>>, By(caller): By, mut query: Query) -> Result<Response, Problem> {
    let organization_id = query.text("organization_id")?.map(OrganizationId::known);
    let (filter, wanted) = read(query)?;
    let filter = AuditFilter { organization_id, ..filter };
    let listed = audit::list(&server.tenancy, &caller, &filter, &wanted).await?;
    server.tenancy.load_key_names(listed.items.iter().map(|logged| logged.event.actor.as_str())).await?;
    let count = listed.items.len();
    let render = move || {
        let viewpoint = caller.viewpoint(&server.tenancy);
        respond::page(&listed, |logged| EventView::of(viewpoint, logged.position, &logged.event, logged.tampered))
    };
    respond::listed(count, render).await
}

/// Lists audit events of a tenant, in log order.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/audit", tag = "audit", operation_id = "list_tenant_audit",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("event_type" = Option<Vec<schema::EventType>>, Query,
            description = "Only events of these types. Repeat the parameter, or separate types with commas."),
        ("correlation_id" = Option<String>, Query, description = "Only events with this correlation id."),
        ("actor" = Option<String>, Query,
            description = "Only events that this actor caused, such as `user:key_…` or `system:jobs`."),
        ("since" = Option<String>, Query, description = "Only events at this time or later."),
        ("until" = Option<String>, Query, description = "Only events before this time."),
        ("order" = Option<schema::Order>, Query,
            description = "`asc` for oldest first, or `desc` for newest first. Defaults to `asc`."),
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query,
            description = "Value of `next` from the previous page, or `end` to start after the newest event. A value \
                that points behind a lost event, after the database was restored to an earlier time, is refused."),
        ("follow" = Option<bool>, Query,
            description = "With `true`, `next` is also set on the last page: pass it later to read only newer events. \
                Only in the order `asc`."),
    ),
    responses((status = 200, body = List<EventView>)),
)]
pub async fn of_tenant(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named(tenant): Named<String>,
    query: Query,
) -> Result<Response, Problem> {
    let (filter, wanted) = read(query)?;
    let listed = audit::of_tenant(&server.tenancy, &caller, &tenant, filter, &wanted).await?;
    server.tenancy.load_key_names(listed.items.iter().map(|logged| logged.event.actor.as_str())).await?;
    let count = listed.items.len();
    let render = move || {
        let viewpoint = caller.viewpoint(&server.tenancy);
        respond::page(&listed, |logged| EventView::of(viewpoint, logged.position, &logged.event, logged.tampered))
    };
    respond::listed(count, render).await
}

/// Verifies a part of the audit log against its seals.
///
/// The server seals the log within about a second of each commit. The verification finds events that were changed,
/// removed or inserted after they were sealed, positions without an event or with several, and personal data that does
/// not fit its event. It ends at the first fault. If there is a `next`, repeat the request with it as `after` until
/// there is none.
#[utoipa::path(
    get, path = "/v1/audit/verification", tag = "audit", operation_id = "verify_audit",
    params(("after" = Option<String>, Query, description = "Value of `next` from the previous part.")),
    responses((status = 200, body = VerificationView)),
)]
pub async fn verify(State(server): State<Arc<Server>>, By(caller): By, mut query: Query) -> Result<Response, Problem> {
    let after = query.text("after")?;
    query.no_others()?;
    let verified = audit::verify(&server.tenancy, &caller, after).await?;
    json(&VerificationView {
        events: verified.events,
        expired: verified.expired,
        seals: verified.seals,
        sealed_position: verified.sealed_position,
        position: verified.position,
        digest: verified.digest,
        fault: verified.fault.as_ref().map(Into::into),
        next: verified.next,
    })
}

fn read(mut query: Query) -> Result<(AuditFilter, Page), Error> {
    let filter = AuditFilter {
        tenant_id: None,
        event_types: query.words("event_type", EventType::WORDS)?,
        correlation_id: query.text("correlation_id")?.map(CorrelationId::known),
        actor: query.text("actor")?,
        organization_id: None,
        since: query.time("since")?,
        until: query.time("until")?,
        newest_first: query.word("order", &[("asc", false), ("desc", true)])?.unwrap_or(false),
        follow: query.flag("follow")?,
    };
    if filter.follow && filter.newest_first {
        return Err(Error::Malformed("follow=true needs order=asc: leave order out".to_owned()));
    }
    let wanted = query.page()?;
    query.no_others()?;
    Ok((filter, wanted))
}
