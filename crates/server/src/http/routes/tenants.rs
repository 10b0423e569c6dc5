//! `/v1/tenants`

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::caller::By;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::{NoQuery, Query};
use crate::http::respond::{self, text};
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::documents::desired::How;
use crate::operations::tenants::{self, Change, Register, Written};
use crate::tenancy::Tenancy;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::document::TenantManifest;
use tenancy_api::list::List;
use tenancy_api::schema;
use tenancy_api::tenant::{Tenant as TenantView, TenantRow, etag};
use tenancy_api::written::Written as WrittenView;
use tenancy_core::Error;
use tenancy_core::ids::OrganizationId;
use tenancy_core::manifest::{LABEL_KEY_RULE, MAX_LABELS, is_label_key};
use tenancy_core::normal_form::nfc;
use tenancy_core::tenant::{Profile, State as TenantState};
use tenancy_store::page::TenantFilter;

/// Lists tenants, in order of their ids.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "tenants", operation_id = "list_tenants",
    params(
        ("state" = Option<Vec<schema::State>>, Query,
            description = "Only tenants in one of these states. Repeat the parameter, or separate states with commas."),
        ("region" = Option<String>, Query, description = "Only tenants with this home region."),
        ("profile" = Option<schema::Profile>, Query, description = "Only tenants with this profile."),
        ("organization_id" = Option<String>, Query, description = "Only tenants of this organization."),
        ("label" = Option<Vec<String>>, Query,
            description = "Only tenants with this label, as `key=value`. Repeat it to require several labels."),
        ("q" = Option<String>, Query,
            description = "Only tenants whose id, display name or alias starts with this text, in any case."),
        ("created_from" = Option<String>, Query, description = "Only tenants registered at this time or later."),
        ("created_before" = Option<String>, Query, description = "Only tenants registered before this time."),
        ("purged" = Option<bool>, Query, description = "If `true`, include tombstones of purged tenants."),
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
    ),
    responses((status = 200, body = List<TenantRow>)),
)]
pub async fn list(State(server): State<Arc<Server>>, By(caller): By, mut query: Query) -> Result<Response, Problem> {
    let (filter, wanted) = (filter(&mut query)?, query.page()?);
    query.no_others()?;
    let listed = tenants::list(&server.tenancy, &caller, &filter, &wanted).await?;
    let count = listed.items.len();
    let render = move || {
        let viewpoint = caller.viewpoint(&server.tenancy);
        respond::page(&listed, |row| TenantRow::of(viewpoint, row))
    };
    respond::listed(count, render).await
}

fn filter(query: &mut Query) -> Result<TenantFilter, Error> {
    Ok(TenantFilter {
        states: query.words("state", TenantState::WORDS)?,
        region: query.text("region")?,
        profile: query.word("profile", Profile::WORDS)?,
        organization_id: query.text("organization_id")?.map(OrganizationId::known),
        labels: labels(query)?,
        q: query.text("q")?,
        created_from: query.time("created_from")?,
        created_before: query.time("created_before")?,
        purged: query.flag("purged")?,
    })
}

/// Returns the labels of the filter: at most as many as a tenant can have, with valid keys.
fn labels(query: &mut Query) -> Result<Vec<(String, String)>, Error> {
    // Commas do not separate labels, since the value of a label can contain a comma.
    let pairs: Vec<_> = query.all("label").map(str::to_owned).collect();
    if pairs.len() > MAX_LABELS {
        let message = format!(
            "query parameter label must not occur more than {MAX_LABELS} times; it occurs {} times",
            pairs.len()
        );
        return Err(Error::Malformed(message));
    }
    let label = |pair: &String| match pair.split_once('=') {
        Some((key, value)) if is_label_key(key) => Ok((key.to_owned(), nfc(value).into_owned())),
        Some((key, _)) => Err(Error::Malformed(format!("query parameter label has the key {key:?}: {LABEL_KEY_RULE}"))),
        None => Err(Error::Malformed(format!("query parameter label must be key=value, not {pair:?}"))),
    };
    pairs.iter().map(label).collect()
}

/// Registers a tenant in state Draft and queues its `create` job.
#[utoipa::path(
    post, path = "/v1/tenants", tag = "tenants", operation_id = "register_tenant",
    params(
        ("allow" = Option<Vec<schema::Allow>>, Query,
            description = "Kinds of gated changes to allow. For a new tenant: `unknown-keys`, for keys that look misspelt."),
    ),
    request_body = TenantManifest,
    responses((status = 201, body = WrittenView<TenantView>, headers(("ETag"), ("Location")))),
)]
pub async fn register(State(server): State<Arc<Server>>, mut write: WriteRequest) -> Result<Response, Problem> {
    let allow = std::mem::take(&mut write.allow);
    let command = Register { document: write.document().await?, precondition: write.precondition.clone(), allow };
    write.carry_out(&server, command, written).await
}

/// Returns a tenant with its environments, webhooks, holds and open job.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}", tag = "tenants", operation_id = "get_tenant",
    params(("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`.")),
    responses((status = 200, body = TenantView, headers(("ETag")))),
)]
pub async fn get(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named(tenant): Named<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    server.response_cache.tenant(&server.tenancy, &caller, &tenant).await
}

/// Replaces the manifest of a tenant: fields and keys of maps that the document omits are removed. With `If-None-Match: *`, registers the tenant with this id.
#[utoipa::path(
    put, path = "/v1/tenants/{tenant_id}", tag = "tenants", operation_id = "put_tenant",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("allow" = Option<Vec<schema::Allow>>, Query,
            description = "Kinds of gated changes to allow. A gated change can destroy data."),
    ),
    request_body = TenantManifest,
    responses(
        (status = 200, body = WrittenView<TenantView>, headers(("ETag"))),
        (status = 201, body = WrittenView<TenantView>, headers(("ETag"), ("Location"))),
    ),
)]
pub async fn put(
    State(server): State<Arc<Server>>,
    Named(tenant): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    change(&server, tenant, How::Replace, write).await
}

/// Changes the fields in a JSON Merge Patch. Maps are merged: `null` removes a key. A list replaces the whole list.
#[utoipa::path(
    patch, path = "/v1/tenants/{tenant_id}", tag = "tenants", operation_id = "patch_tenant",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("allow" = Option<Vec<schema::Allow>>, Query,
            description = "Kinds of gated changes to allow. A gated change can destroy data."),
    ),
    request_body(content = Object, content_type = "application/merge-patch+json", example = json!({"quotas": {"apiRateLimit": 400}})),
    responses((status = 200, body = WrittenView<TenantView>, headers(("ETag")))),
)]
pub async fn patch(
    State(server): State<Arc<Server>>,
    Named(tenant): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    change(&server, tenant, How::Merge, write).await
}

async fn change(server: &Server, tenant: String, how: How, mut write: WriteRequest) -> Result<Response, Problem> {
    let (document, allow) = (write.document().await?, std::mem::take(&mut write.allow));
    let command = Change { tenant, document, how, precondition: write.precondition.clone(), allow };
    write.carry_out(server, command, written).await
}

fn written(tenancy: &Tenancy, caller: &Caller, written: &Written) -> Answer {
    let tenant = &written.snapshot.tenant;
    Answer {
        status: if written.created { 201 } else { 200 },
        etag: Some(etag(tenant)),
        location: written.created.then(|| format!("/v1/tenants/{}", tenant.tenant_id)),
        body: text(&WrittenView::of(
            TenantView::of(&tenancy.declared, caller.viewpoint_of_writes(), &written.snapshot),
            &written.warnings,
        )),
    }
}
