//! Webhooks of tenants, of organizations and of the platform. The routes of all owners are the same, below different
//! paths.

pub mod deliveries;

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::respond::{self, digested, text, versioned};
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::documents::desired::How;
use crate::operations::webhooks::deliveries::statuses;
use crate::operations::webhooks::{self, Change, Create, Found, Of, Remove, Rotate, Switch, Written};
use crate::tenancy::Tenancy;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use tenancy_api::delivery::WebhookStatus;
use tenancy_api::webhook::{ListedWebhook, NewWebhook, OwnedWebhook};
use tenancy_core::webhook::{Webhook, WebhookOwner};

/// Defines the module with the routes of one kind of owner. `$path` is the path of the list, `$one` that of one webhook.
/// `$named` and `$named_one` extract what the path contains, and `$of` returns the owner.
macro_rules! routes_of {
    (
        $module:ident, $description:literal, $list:literal, $one:literal, $rotate:literal, $enable:literal,
        $disable:literal, [$($owner:tt)*], $named:ty, $named_one:ty, $of:expr, $of_one:expr,
        [$list_id:literal, $create_id:literal, $get_id:literal, $put_id:literal, $patch_id:literal, $remove_id:literal,
            $rotate_id:literal, $enable_id:literal, $disable_id:literal]
    ) => {
        #[doc = $description]
        pub mod $module {
            use crate::http::caller::By;
            use crate::http::path::Named;
            use crate::http::problem::Problem;
            use crate::http::query::{NoQuery, Query};
            use crate::http::server::Server;
            use crate::http::write::WriteRequest;
            use crate::operations::documents::desired::How;
            use crate::operations::webhooks::Of;
            use axum::extract::State;
            use axum::response::Response;
            use std::sync::Arc;
            use tenancy_api::document::{DecidedOn, WebhookManifest, WebhookRequest, WebhookRotation};
            use tenancy_api::list::List;
            use tenancy_api::webhook::{ListedWebhook, NewWebhook, OwnedWebhook};

            fn of(named: $named) -> Of {
                ($of)(named)
            }

            fn of_one(named: $named_one) -> (Of, String) {
                ($of_one)(named)
            }

            /// Lists webhooks, in order of their names.
            #[utoipa::path(
                get, path = $list, tag = "webhooks", operation_id = $list_id,
                params(
                    $($owner)*
                    ("status" = Option<bool>, Query,
                        description = "With `true`, each webhook contains how its deliveries go."),
                    ("limit" = Option<u64>, Query,
                        description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
                    ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
                ),
                responses((status = 200, body = List<ListedWebhook>)),
            )]
            pub async fn list(
                State(server): State<Arc<Server>>,
                By(caller): By,
                Named(named): Named<$named>,
                query: Query,
            ) -> Result<Response, Problem> {
                super::list(&server, &caller, of(named), query).await
            }

            /// Creates a webhook. Only this answer contains its secret.
            #[utoipa::path(
                post, path = $list, tag = "webhooks", operation_id = $create_id,
                params($($owner)*),
                request_body = WebhookRequest,
                responses((status = 201, body = NewWebhook, headers(("ETag"), ("Location")))),
            )]
            pub async fn create(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::create(&server, of(named), write).await
            }

            /// Returns a webhook, without its secrets.
            #[utoipa::path(
                get, path = $one, tag = "webhooks", operation_id = $get_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                responses((status = 200, body = OwnedWebhook, headers(("ETag")))),
            )]
            pub async fn get(
                State(server): State<Arc<Server>>,
                By(caller): By,
                Named(named): Named<$named_one>,
                _: NoQuery,
            ) -> Result<Response, Problem> {
                super::get(&server, &caller, of_one(named)).await
            }

            /// Replaces a webhook with a complete entry. Its secrets stay. With `If-None-Match: *`, creates it.
            #[utoipa::path(
                put, path = $one, tag = "webhooks", operation_id = $put_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                request_body = WebhookManifest,
                responses(
                    (status = 200, body = NewWebhook, headers(("ETag"))),
                    (status = 201, body = NewWebhook, headers(("ETag"), ("Location"))),
                ),
            )]
            pub async fn put(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named_one>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::change(&server, of_one(named), How::Replace, write).await
            }

            /// Changes the fields in a JSON Merge Patch.
            #[utoipa::path(
                patch, path = $one, tag = "webhooks", operation_id = $patch_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                request_body(content = Object, content_type = "application/merge-patch+json",
                    example = json!({"events": ["TENANCY_*", "JOB_FAILED"]})),
                responses((status = 200, body = NewWebhook, headers(("ETag")))),
            )]
            pub async fn patch(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named_one>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::change(&server, of_one(named), How::Merge, write).await
            }

            /// Deletes a webhook with its secrets. What was not delivered yet is not sent any more.
            #[utoipa::path(
                delete, path = $one, tag = "webhooks", operation_id = $remove_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                request_body(content = Option<DecidedOn>),
                responses((status = 204)),
            )]
            pub async fn remove(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named_one>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::remove(&server, of_one(named), write).await
            }

            /// Gives a webhook a new secret. Only this answer contains it.
            ///
            /// Requests are also signed with the former secrets for `overlap_seconds`: one day by default, seven days at
            /// most. A webhook has at most ten live secrets.
            #[utoipa::path(
                post, path = $rotate, tag = "webhooks", operation_id = $rotate_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                request_body(content = Option<WebhookRotation>),
                responses((status = 200, body = NewWebhook, headers(("ETag")))),
            )]
            pub async fn rotate(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named_one>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::rotate(&server, of_one(named), write).await
            }

            /// Enables a webhook, also one that the server has disabled.
            #[utoipa::path(
                post, path = $enable, tag = "webhooks", operation_id = $enable_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                responses((status = 200, body = NewWebhook, headers(("ETag")))),
            )]
            pub async fn enable(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named_one>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::switch(&server, of_one(named), true, write).await
            }

            /// Disables a webhook: it receives no events until it is enabled.
            #[utoipa::path(
                post, path = $disable, tag = "webhooks", operation_id = $disable_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                responses((status = 200, body = NewWebhook, headers(("ETag")))),
            )]
            pub async fn disable(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named_one>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::switch(&server, of_one(named), false, write).await
            }
        }
    };
}

routes_of!(
    tenant,
    "`/v1/tenants/{tenant_id}/webhooks`",
    "/v1/tenants/{tenant_id}/webhooks",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}/rotate",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}/enable",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}/disable",
    [("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),],
    String,
    (String, String),
    Of::Tenant,
    |(tenant, webhook)| (Of::Tenant(tenant), webhook),
    [
        "list_tenant_webhooks",
        "create_tenant_webhook",
        "get_tenant_webhook",
        "put_tenant_webhook",
        "patch_tenant_webhook",
        "delete_tenant_webhook",
        "rotate_tenant_webhook",
        "enable_tenant_webhook",
        "disable_tenant_webhook"
    ]
);

routes_of!(
    organization,
    "`/v1/organizations/{organization_id}/webhooks`",
    "/v1/organizations/{organization_id}/webhooks",
    "/v1/organizations/{organization_id}/webhooks/{webhook}",
    "/v1/organizations/{organization_id}/webhooks/{webhook}/rotate",
    "/v1/organizations/{organization_id}/webhooks/{webhook}/enable",
    "/v1/organizations/{organization_id}/webhooks/{webhook}/disable",
    [("organization_id" = String, Path, description = "Id of the organization."),],
    String,
    (String, String),
    Of::Organization,
    |(organization, webhook)| (Of::Organization(organization), webhook),
    [
        "list_organization_webhooks",
        "create_organization_webhook",
        "get_organization_webhook",
        "put_organization_webhook",
        "patch_organization_webhook",
        "delete_organization_webhook",
        "rotate_organization_webhook",
        "enable_organization_webhook",
        "disable_organization_webhook"
    ]
);

routes_of!(
    platform,
    "`/v1/webhooks`",
    "/v1/webhooks",
    "/v1/webhooks/{webhook}",
    "/v1/webhooks/{webhook}/rotate",
    "/v1/webhooks/{webhook}/enable",
    "/v1/webhooks/{webhook}/disable",
    [],
    (),
    String,
    |()| Of::Platform,
    |webhook| (Of::Platform, webhook),
    [
        "list_platform_webhooks",
        "create_platform_webhook",
        "get_platform_webhook",
        "put_platform_webhook",
        "patch_platform_webhook",
        "delete_platform_webhook",
        "rotate_platform_webhook",
        "enable_platform_webhook",
        "disable_platform_webhook"
    ]
);

async fn list(server: &Server, caller: &Caller, of: Of, mut query: Query) -> Result<Response, Problem> {
    let (wanted, with_status) = (query.page()?, query.flag("status")?);
    query.no_others()?;
    let listed = webhooks::list(&server.tenancy, caller, &of, &wanted).await?;
    let found = if with_status { listed.items.as_slice() } else { &[] };
    let statuses = statuses(&server.tenancy, found).await?;
    let (viewpoint, now) = (caller.viewpoint(&server.tenancy), server.tenancy.now());
    respond::page(&listed, |found: &Found| {
        let webhook = OwnedWebhook::of(viewpoint, &found.webhook, found.version);
        let lane = statuses.get(&found.webhook.webhook_id);
        let status = || WebhookStatus::of(lane.map(|(lane, _)| lane), lane.map_or(0, |(_, waiting)| *waiting), now);
        ListedWebhook { webhook, status: with_status.then(status) }
    })
}

async fn get(server: &Server, caller: &Caller, (of, webhook): (Of, String)) -> Result<Response, Problem> {
    let found = webhooks::get(&server.tenancy, caller, &of, &webhook).await?;
    let viewpoint = caller.viewpoint(&server.tenancy);
    versioned(&found.tag(), &OwnedWebhook::of(viewpoint, &found.webhook, found.version))
}

async fn create(server: &Server, of: Of, write: WriteRequest) -> Result<Response, Problem> {
    let command = Create { of, document: write.document().await?, precondition: write.precondition.clone() };
    write.carry_out_kept(server, command, written, written_before).await.map(secret)
}

async fn change(
    server: &Server,
    (of, webhook): (Of, String),
    how: How,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let (document, precondition) = (write.document().await?, write.precondition.clone());
    let command = Change { of, webhook, document, how, precondition };
    let answer = write.carry_out_kept(server, command, written, written_before).await?;
    // A PUT that creates the webhook makes its secret.
    Ok(if answer.status() == StatusCode::CREATED { secret(answer) } else { answer })
}

async fn remove(server: &Server, (of, webhook): (Of, String), write: WriteRequest) -> Result<Response, Problem> {
    let (read_at, precondition) = (write.version_said().await?, write.precondition.clone());
    let command = Remove { of, webhook, precondition, read_at };
    write.carry_out(server, command, |_, _, ()| Answer { status: 204, ..Answer::default() }).await
}

async fn rotate(server: &Server, (of, webhook): (Of, String), write: WriteRequest) -> Result<Response, Problem> {
    let (document, precondition) = (write.document_if_any().await?, write.precondition.clone());
    let command = Rotate { of, webhook, document, precondition };
    write.carry_out_kept(server, command, written, written_before).await.map(secret)
}

async fn switch(
    server: &Server,
    (of, webhook): (Of, String),
    enabled: bool,
    write: WriteRequest,
) -> Result<Response, Problem> {
    write.nothing_said().await?;
    let command = Switch { of, webhook, enabled, precondition: write.precondition.clone() };
    write.carry_out(server, command, written_before).await
}

/// Returns an answer that can contain a secret. Nobody on its way may store it.
fn secret(mut answer: Response) -> Response {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn written(_: &Tenancy, caller: &Caller, written: &Written) -> Answer {
    let secret = written.secret.as_ref().map(|secret| secret.0.as_str());
    answer(caller, written, secret)
}

/// Returns the answer to store for an Idempotency-Key: everything except the secret.
fn written_before(_: &Tenancy, caller: &Caller, written: &Written) -> Answer {
    answer(caller, written, None)
}

fn answer(caller: &Caller, written: &Written, secret: Option<&str>) -> Answer {
    let found = &written.found;
    let view = OwnedWebhook::of(caller.viewpoint_of_writes(), &found.webhook, found.version);
    // The tag names the resource as a read answers it, without the secret.
    let etag = digested(&found.tag(), &text(&view));
    Answer {
        status: if written.created { 201 } else { 200 },
        etag: Some(etag),
        location: written.created.then(|| path(&found.webhook)),
        body: text(&NewWebhook { webhook: view, secret: secret.map(Into::into) }),
    }
}

fn path(webhook: &Webhook) -> String {
    let below = match &webhook.owner {
        WebhookOwner::Tenant(id) => format!("/tenants/{id}"),
        WebhookOwner::Organization(id) => format!("/organizations/{id}"),
        WebhookOwner::Platform => String::new(),
    };
    format!("/v1{below}/webhooks/{}", webhook.name)
}
