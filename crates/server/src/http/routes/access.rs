//! `/v1/access`: whether a tenant may be served. Gateways and services ask it.

use crate::authentication::Requirement;
use crate::http::access_stream::AccessStream;
use crate::http::auth;
use crate::http::caller::By;
use crate::http::following::KeyCheck;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::server::Server;
use crate::http::verdict;
use crate::operations::access;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::access::{Access, Asked, BAD_REQUEST, TENANT_UNKNOWN};
use tenancy_core::Error;
use tenancy_core::permission::Operation;

/// Path of [`auth`] without a suffix.
const AUTH: &str = "/v1/access/auth";

/// Returns whether a tenant may be served now and why not, and its quotas in effect. The answer is 200 in both cases.
///
/// As soon as a hold suspends the tenant, or its manifest asks for `Suspended`, `allowed` is `false`: it does not wait
/// for the job. `Cache-Control: no-cache` lets a client keep the answer and ask with `If-None-Match` whether it is still
/// current.
#[utoipa::path(
    get, path = "/v1/access", tag = "access", operation_id = "get_access",
    params(
        ("tenant" = Option<String>, Query,
            description = "Id of the tenant, or an alias as `kind:value`. Either `tenant` or `alias` is required."),
        ("alias" = Option<String>, Query, description = "Alias of the tenant, as `kind:value`: `host:acme.example.com`."),
        ("environment" = Option<String>, Query,
            description = "Name of an environment: `allowed`, `quotas` and `region` are then those of the environment."),
    ),
    responses((status = 200, body = Access, headers(("ETag"), ("Cache-Control")))),
)]
pub async fn get(State(server): State<Arc<Server>>, By(caller): By, mut query: Query) -> Result<Response, Problem> {
    let (tenant, alias) = (query.text("tenant")?, query.text("alias")?);
    let environment = query.text("environment")?;
    query.no_others()?;
    let named = match (tenant, alias) {
        (Some(named), None) => named,
        (None, Some(alias)) if alias.contains(':') => alias,
        (None, Some(_)) => {
            return Err(Error::Malformed("query parameter alias must have the form kind:value".to_owned()).into());
        }
        (Some(_), Some(_)) | (None, None) => {
            let message =
                "Name the tenant with query parameter tenant (an id) or alias (kind:value), but not with both.";
            return Err(Error::Malformed(message.to_owned()).into());
        }
    };
    let found = server.response_cache.access(&server.tenancy, &caller, &named).await?;
    Ok(found.response(environment.as_deref()))
}

/// Answers a gateway whether its request may be served: 200 or 403, and no other status.
///
/// For `auth_request` of nginx and `ext_authz` of Envoy over HTTP. It accepts any method and any suffix of the path. The
/// tenant is named by the header `X-Tenant` (an id, or an alias as `kind:value`), by the query, by `X-Forwarded-Host`,
/// or by `Host`: the last two as an alias of kind `host`. The environment is named by `X-Tenant-Environment` or by the
/// query. The query counts only on the path without a suffix, because a gateway that appends the path of its client
/// also appends the query of its client.
///
/// The headers `X-Tenant-Id`, `X-Tenant-Organization`, `X-Tenant-State`, `X-Tenant-Plan`, `X-Tenant-Region`,
/// `X-Tenant-Environment`, `X-Tenant-Version` and one `X-Tenant-Quota-…` per quota describe the tenant.
/// `X-Tenant-Reason` says why the answer is 403: the `reason` of `/v1/access`, `tenant_unknown`, `tenant_not_named`,
/// `bad_request`, or the code of an error such as `unauthenticated` or `unavailable`. A gateway must remove `X-Tenant`
/// and `X-Tenant-…` from the requests of its clients.
#[utoipa::path(
    get, path = "/v1/access/auth", tag = "access", operation_id = "get_access_verdict",
    params(
        ("tenant" = Option<String>, Query, description = "Id of the tenant, or an alias as `kind:value`."),
        ("alias" = Option<String>, Query, description = "Alias of the tenant, as `kind:value`."),
        ("environment" = Option<String>, Query, description = "Name of an environment."),
        ("X-Tenant" = Option<String>, Header, description = "Id of the tenant, or an alias as `kind:value`."),
        ("X-Tenant-Environment" = Option<String>, Header, description = "Name of an environment."),
        ("X-Forwarded-Host" = Option<String>, Header, description = "Host that the client asked for."),
    ),
    responses(
        (status = 200, description = "The request may be served.", headers(("Cache-Control"))),
        (status = 403, description = "The request must not be served. `X-Tenant-Reason` says why.",
            headers(("Cache-Control"), ("X-Tenant-Reason"))),
    ),
)]
pub async fn auth(
    State(server): State<Arc<Server>>,
    By(caller): By,
    query: Result<Query, Problem>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = match asked(&request, query) {
        Ok(asked) => asked,
        Err(reason) => return Ok(verdict::refused(reason)),
    };
    match server.response_cache.access(&server.tenancy, &caller, &asked.tenant).await {
        Ok(found) => Ok(match asked.environment {
            None => verdict::on(&found.access),
            Some(environment) => verdict::on(&found.access.in_environment(&environment)),
        }),
        Err(Error::NotFound { .. }) => Ok(verdict::refused(TENANT_UNKNOWN)),
        Err(error) => Err(error.into()),
    }
}

/// Follows the access of all tenants that the key reaches, for caches in gateways.
///
/// The answer is a stream of Server-Sent Events that does not end by itself. It begins with the current access of each
/// tenant, as events `tenant` without an id. The event `caught-up` says once that the client knows everything that had
/// happened when it connected. Afterwards each committed event of a tenant, and each hold on its organization, is
/// followed by an event `tenant` with the access as it is then. Events `position` say, at least every two seconds, that
/// nothing else has happened up to now: the server has just read the log. Without them, for example while the database
/// is away, what the client knows gets older; comments do not change that. `unreadable` names a row that cannot be read,
/// and `end` the reason why the server ends the stream.
///
/// A client that connects again sends the last id as `Last-Event-ID` or `after`, and gets what has happened since then,
/// without the other tenants. If that is no longer kept, the answer is 410: connect without it.
#[utoipa::path(
    get, path = "/v1/access/events", tag = "access", operation_id = "follow_access",
    params(
        ("after" = Option<String>, Query, description = "`id` of the last event that was received."),
        ("Last-Event-ID" = Option<String>, Header,
            description = "`id` of the last event that was received. It takes the place of `after`."),
    ),
    responses((status = 200, description = "A stream of access answers.", content((String = "text/event-stream")))),
)]
pub async fn events(
    State(server): State<Arc<Server>>,
    By(caller): By,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Problem> {
    let after = query.text("after")?;
    query.no_others()?;
    let last_event_id = match headers.get("last-event-id") {
        None => None,
        Some(id) => {
            let bad = |_| Error::Malformed("header Last-Event-ID is not a cursor".to_owned());
            Some(id.to_str().map_err(bad)?.to_owned())
        }
    };
    let (after, end) = match last_event_id.or(after) {
        None => (None, server.tenancy.feed.newest().await?),
        Some(cursor) => {
            let (position, end) = access::resume(&server.tenancy, &caller, &cursor).await?;
            (Some(position), end)
        }
    };
    let seat = server.event_seats.take(caller.key().map(|key| &key.key_id))?;
    let requirement = Requirement::Permission(Operation::ReadAccess);
    let key = KeyCheck::new(Arc::clone(&server), auth::shown(&headers)?, requirement, seat);
    Ok(AccessStream::new(key, caller, after, &end).into_response())
}

/// Returns what the gateway asks about, or the reason of the refusal.
fn asked(request: &Request, query: Result<Query, Problem>) -> Result<Asked, &'static str> {
    let mut pairs = Vec::new();
    // The query of a path with a suffix is that of the gateway's client.
    if request.uri().path() == AUTH {
        let mut query = query.map_err(|_| BAD_REQUEST)?;
        for name in ["tenant", "alias", "environment"] {
            let value = query.text(name).map_err(|_| BAD_REQUEST)?;
            pairs.extend(value.map(|value| (name.to_owned(), value)));
        }
        query.no_others().map_err(|_| BAD_REQUEST)?;
    }
    // No name contains U+FFFD, so that a value that cannot be read finds nothing.
    let headers = request.headers().iter();
    let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("\u{fffd}"))).collect();
    Asked::of(headers.iter().copied(), &pairs)
}
