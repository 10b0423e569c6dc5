//! `/v1/keys` and `/v1/whoami`.

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::caller::By;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::{NoQuery, Query};
use crate::http::respond::{self, json, text};
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::keys::{self, Create, NewKey, Revoke, Rotate, find};
use crate::tenancy::Tenancy;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::document::{KeyRequest, KeyRevocation, KeyRotation};
use tenancy_api::key::{Key as KeyView, NewKey as NewKeyView, WhoAmI as WhoAmIView};
use tenancy_api::list::List;
use tenancy_api::schema;
use tenancy_core::Error;
use tenancy_core::apikey::ApiKey;
use tenancy_core::gated_change::LAST_ADMIN_KEY;

/// Returns the key that this request is sent with.
#[utoipa::path(
    get, path = "/v1/whoami", tag = "keys", operation_id = "whoami",
    responses((status = 200, body = WhoAmIView)),
)]
pub async fn whoami(By(caller): By, _: NoQuery) -> Result<Response, Problem> {
    json(&WhoAmIView::of(caller.key().ok_or(Error::Unauthenticated)?))
}

/// Lists API keys, in order of their ids.
#[utoipa::path(
    get, path = "/v1/keys", tag = "keys", operation_id = "list_keys",
    params(
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
    ),
    responses((status = 200, body = List<KeyView>)),
)]
pub async fn list(State(server): State<Arc<Server>>, By(caller): By, mut query: Query) -> Result<Response, Problem> {
    let wanted = query.page()?;
    query.no_others()?;
    let listed = keys::list(&server.tenancy, &caller, &wanted).await?;
    respond::listed(listed.items.len(), move || respond::page(&listed, KeyView::of)).await
}

/// Creates a key. Only this answer contains its token.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", operation_id = "create_key",
    request_body = KeyRequest,
    responses((status = 201, body = NewKeyView, headers(("Location")))),
)]
pub async fn create(State(server): State<Arc<Server>>, write: WriteRequest) -> Result<Response, Problem> {
    let command = Create { document: write.document().await? };
    write.carry_out_kept(&server, command, made, made_before).await.map(secret)
}

/// Returns a key.
#[utoipa::path(
    get, path = "/v1/keys/{key_id}", tag = "keys", operation_id = "get_key",
    params(("key_id" = String, Path, description = "Id of the key.")),
    responses((status = 200, body = KeyView)),
)]
pub async fn get(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named(key): Named<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    json(&KeyView::of(&find(&server.tenancy, &caller, &key).await?))
}

/// Revokes a key, which is refused from then on. With `with_children`, also revokes the keys created with it.
///
/// If no admin key without a scope would remain, the answer is 409 unless `allow` contains `last-admin-key`.
#[utoipa::path(
    delete, path = "/v1/keys/{key_id}", tag = "keys", operation_id = "revoke_key",
    params(
        ("key_id" = String, Path, description = "Id of the key."),
        ("allow" = Option<Vec<schema::Allow>>, Query,
            description = "`last-admin-key` allows to revoke the last admin key. Only `tenancy db key` on the machine \
                of the server then creates another."),
    ),
    request_body(content = Option<KeyRevocation>),
    responses((status = 200, body = KeyView)),
)]
pub async fn revoke(
    State(server): State<Arc<Server>>,
    Named(key): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let allows_last_admin = write.allow.iter().any(|kind| kind == LAST_ADMIN_KEY);
    let command = Revoke { key, document: write.document_if_any().await?, allows_last_admin };
    write.carry_out(&server, command, revoked).await
}

/// Gives a key a new token. Only this answer contains it.
///
/// The former token stays valid for `overlap_seconds`: one day by default, 30 days at most.
#[utoipa::path(
    post, path = "/v1/keys/{key_id}/rotate", tag = "keys", operation_id = "rotate_key",
    params(("key_id" = String, Path, description = "Id of the key.")),
    request_body(content = Option<KeyRotation>),
    responses((status = 200, body = NewKeyView)),
)]
pub async fn rotate(
    State(server): State<Arc<Server>>,
    Named(key): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let command = Rotate { key, document: write.document_if_any().await? };
    write.carry_out_kept(&server, command, rotated, rotated_before).await.map(secret)
}

/// Returns an answer that contains a token. Nobody on its way may store it.
fn secret(mut answer: Response) -> Response {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn made(_: &Tenancy, _: &Caller, made: &NewKey) -> Answer {
    new_key(made, Some(made.token.reveal()))
}

/// Returns the answer to store for an Idempotency-Key: everything except the token.
fn made_before(_: &Tenancy, _: &Caller, made: &NewKey) -> Answer {
    new_key(made, None)
}

fn rotated(_: &Tenancy, _: &Caller, rotated: &NewKey) -> Answer {
    Answer { status: 200, location: None, ..new_key(rotated, Some(rotated.token.reveal())) }
}

fn rotated_before(_: &Tenancy, _: &Caller, rotated: &NewKey) -> Answer {
    Answer { status: 200, location: None, ..new_key(rotated, None) }
}

fn new_key(made: &NewKey, token: Option<&str>) -> Answer {
    Answer {
        status: 201,
        location: Some(format!("/v1/keys/{}", made.key.key_id)),
        body: text(&NewKeyView::of(&made.key, token)),
        etag: None,
    }
}

fn revoked(_: &Tenancy, _: &Caller, key: &ApiKey) -> Answer {
    Answer { status: 200, body: text(&KeyView::of(key)), ..Answer::default() }
}
