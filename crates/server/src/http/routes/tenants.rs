//! `/v1/tenants`

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::caller::By;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::{NoQuery, Query};
use crate::http::respond::json;
use crate::http::respond::text;
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::documents::desired::How;
use crate::operations::tenants::{self, Change, Register, Written};
use crate::tenancy::Tenancy;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::document::TenantManifest;
use tenancy_api::list::{List, page};
use tenancy_api::tenant::{Tenant as TenantView, TenantRow, etag};
use tenancy_api::written::Written as WrittenView;
use tenancy_core::Error;
use tenancy_core::ids::OrganizationId;
use tenancy_core::manifest::{LABEL_KEY_RULE, MAX_LABELS, is_label_key};
use tenancy_core::tenant::{Profile, State as TenantState};
use tenancy_store::page::TenantFilter;

/// Tenants, in order of their ids.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "tenants", operation_id = "list_tenants",
    params(
        ("state" = Option<String>, Query, description = "In this state"),
        ("region" = Option<String>, Query, description = "With this home region"),
        ("profile" = Option<String>, Query, description = "Of this profile"),
        ("organization_id" = Option<String>, Query, description = "Of this organization"),
        ("label" = Option<Vec<String>>, Query, description = "With all these labels, each `key=value`"),
        ("q" = Option<String>, Query, description = "Whose id or an alias begins so, or whose display name does, A to Z in either case"),
        ("created_from" = Option<String>, Query, description = "Registered at this time or later"),
        ("created_before" = Option<String>, Query, description = "Registered before this time"),
        ("purged" = Option<bool>, Query, description = "Also tombstones"),
        ("limit" = Option<u64>, Query, description = "Items of a page, 1 to 500; 50 when it is left out"),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses((status = 200, body = List<TenantRow>)),
)]
pub async fn list(State(server): State<Arc<Server>>, By(caller): By, mut query: Query) -> Result<Response, Problem> {
    let (filter, wanted) = (filter(&mut query)?, query.page()?);
    query.no_others()?;
    let listed = tenants::list(&server.tenancy, &caller, &filter, &wanted).await?;
    json(&page(&listed.items, listed.next, |row| TenantRow::of(caller.viewpoint(&server.tenancy), row)))
}

fn filter(query: &mut Query) -> Result<TenantFilter, Error> {
    Ok(TenantFilter {
        state: query.word("state", TenantState::WORDS)?,
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

/// The labels that are asked for: as many as a tenant may have, with keys that one may have.
fn labels(query: &mut Query) -> Result<Vec<(String, String)>, Error> {
    // Not listed with commas: a label's value may have one.
    let pairs: Vec<_> = query.all("label").filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    if pairs.len() > MAX_LABELS {
        let message = format!("the query's label may be given {MAX_LABELS} times, not {}", pairs.len());
        return Err(Error::Malformed(message));
    }
    let label = |pair: &String| match pair.split_once('=') {
        Some((key, value)) if is_label_key(key) => Ok((key.to_owned(), value.to_owned())),
        Some((key, _)) => Err(Error::Malformed(format!("the query's label has the key {key:?}: {LABEL_KEY_RULE}"))),
        None => Err(Error::Malformed(format!("the query's label must be key=value, not {pair:?}"))),
    };
    pairs.iter().map(label).collect()
}

/// Registers a tenant: a Draft, whose `create` job is queued.
#[utoipa::path(
    post, path = "/v1/tenants", tag = "tenants", operation_id = "register_tenant",
    request_body = TenantManifest,
    responses((status = 201, body = WrittenView<TenantView>, headers(("ETag"), ("Location")))),
)]
pub async fn register(State(server): State<Arc<Server>>, write: WriteRequest) -> Result<Response, Problem> {
    let command = Register { document: write.document()?, precondition: write.precondition };
    write.carry_out(&server, command, written).await
}

/// A tenant with its environments, webhooks, holds and open job.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}", tag = "tenants", operation_id = "get_tenant",
    params(("tenant_id" = String, Path, description = "Its id, or an alias `kind:value`")),
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

/// Takes a tenant to a whole manifest; `If-None-Match: *` registers it under this id.
#[utoipa::path(
    put, path = "/v1/tenants/{tenant_id}", tag = "tenants", operation_id = "put_tenant",
    params(
        ("tenant_id" = String, Path, description = "Its id, or an alias `kind:value`"),
        ("allow" = Option<Vec<String>>, Query, description = "Kinds of changes that may destroy data and are wanted"),
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

/// Changes what a JSON Merge Patch names; a list replaces the list.
#[utoipa::path(
    patch, path = "/v1/tenants/{tenant_id}", tag = "tenants", operation_id = "patch_tenant",
    params(
        ("tenant_id" = String, Path, description = "Its id, or an alias `kind:value`"),
        ("allow" = Option<Vec<String>>, Query, description = "Kinds of changes that may destroy data and are wanted"),
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
    let (document, allow) = (write.document()?, std::mem::take(&mut write.allow));
    let command = Change { tenant, document, how, precondition: write.precondition, allow };
    write.carry_out(server, command, written).await
}

fn written(tenancy: &Tenancy, caller: &Caller, written: &Written) -> Answer {
    let tenant = &written.snapshot.tenant;
    Answer {
        status: if written.created { 201 } else { 200 },
        etag: Some(etag(tenant)),
        location: written.created.then(|| format!("/v1/tenants/{}", tenant.tenant_id)),
        body: text(&WrittenView::of(
            TenantView::of(&tenancy.declared, caller.viewpoint(tenancy), &written.snapshot),
            &written.warnings,
        )),
    }
}
