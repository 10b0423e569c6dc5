//! Deliveries of a webhook, below the path of the webhook of each kind of owner.

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::respond::{self, json, text};
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::webhooks::Of;
use crate::operations::webhooks::deliveries::{self, Ping, Replay, ReplayChange, Resend};
use crate::tenancy::Tenancy;
use crate::webhooks::sending::Attempt as Sent;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::delivery::{Attempt, Delivery, DeliveryWithAttempts, Header, WebhookStatus, WebhookTest};
use tenancy_core::delivery::{Delivery as Row, DeliveryState};
use tenancy_core::document;
use tenancy_core::json::Pointer;
use tenancy_core::rules::webhook_requests::Which;
use tenancy_store::page::DeliveryFilter;
use tokio::sync::OnceCell;

/// Defines the module with the routes of one kind of owner.
macro_rules! deliveries_of {
    (
        $module:ident, $description:literal, $list:literal, $one:literal, $resend:literal, $replay:literal, $test:literal,
        $status:literal, [$($owner:tt)*], $named:ty, $named_one:ty, $of:expr, $of_one:expr,
        [$list_id:literal, $get_id:literal, $resend_id:literal, $replay_id:literal, $test_id:literal, $status_id:literal]
    ) => {
        #[doc = $description]
        pub mod $module {
            use crate::http::caller::By;
            use crate::http::path::Named;
            use crate::http::problem::Problem;
            use crate::http::query::{NoQuery, Query};
            use crate::http::server::Server;
            use crate::http::write::WriteRequest;
            use crate::operations::webhooks::Of;
            use axum::extract::State;
            use axum::response::Response;
            use std::sync::Arc;
            use tenancy_api::delivery::{Delivery, DeliveryWithAttempts, ReplayRequest, WebhookStatus, WebhookTest};
            use tenancy_api::list::List;
            use tenancy_api::schema;

            fn of(named: $named) -> (Of, String) {
                ($of)(named)
            }

            fn of_one(named: $named_one) -> ((Of, String), String) {
                ($of_one)(named)
            }

            /// Lists the deliveries of a webhook, those of the newest events first.
            #[utoipa::path(
                get, path = $list, tag = "webhooks", operation_id = $list_id,
                params(
                    $($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`."),
                    ("state" = Option<Vec<schema::DeliveryState>>, Query,
                        description = "Only deliveries in one of these states. Repeat the parameter, or separate states with commas."),
                    ("limit" = Option<u64>, Query,
                        description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
                    ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
                ),
                responses((status = 200, body = List<Delivery>)),
            )]
            pub async fn list(
                State(server): State<Arc<Server>>,
                By(caller): By,
                Named(named): Named<$named>,
                query: Query,
            ) -> Result<Response, Problem> {
                super::list(&server, &caller, of(named), query).await
            }

            /// Returns a delivery with its attempts, the newest first.
            #[utoipa::path(
                get, path = $one, tag = "webhooks", operation_id = $get_id,
                params(
                    $($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`."),
                    ("delivery_id" = String, Path, description = "Id of the delivery: the header `webhook-id`."),
                ),
                responses((status = 200, body = DeliveryWithAttempts)),
            )]
            pub async fn get(
                State(server): State<Arc<Server>>,
                By(caller): By,
                Named(named): Named<$named_one>,
                _: NoQuery,
            ) -> Result<Response, Problem> {
                super::get(&server, &caller, of_one(named)).await
            }

            /// Sends a delivery again, whatever its state. The `webhook-id` stays the same.
            #[utoipa::path(
                post, path = $resend, tag = "webhooks", operation_id = $resend_id,
                params(
                    $($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`."),
                    ("delivery_id" = String, Path, description = "Id of the delivery: the header `webhook-id`."),
                ),
                responses((status = 202, body = Delivery)),
            )]
            pub async fn resend(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named_one>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::resend(&server, of_one(named), write).await
            }

            /// Sends the events since a time again, or pauses or continues that.
            ///
            /// Each event has the same `webhook-id` as before. The replay goes on after a restart of the server; a new one
            /// replaces it. `status` shows how far it is.
            #[utoipa::path(
                post, path = $replay, tag = "webhooks", operation_id = $replay_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                request_body = ReplayRequest,
                responses((status = 202)),
            )]
            pub async fn replay(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::replay(&server, of(named), write).await
            }

            /// Sends a test message of the type `WEBHOOK_TEST` now, and returns the request and the answer.
            #[utoipa::path(
                post, path = $test, tag = "webhooks", operation_id = $test_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                responses((status = 200, body = WebhookTest)),
            )]
            pub async fn test(
                State(server): State<Arc<Server>>,
                Named(named): Named<$named>,
                write: WriteRequest,
            ) -> Result<Response, Problem> {
                super::test(&server, of(named), write).await
            }

            /// Returns how deliveries to a webhook go: the last success, the last failure, and what waits.
            #[utoipa::path(
                get, path = $status, tag = "webhooks", operation_id = $status_id,
                params($($owner)* ("webhook" = String, Path, description = "Name of the webhook, or its `webhook_id`.")),
                responses((status = 200, body = WebhookStatus)),
            )]
            pub async fn status(
                State(server): State<Arc<Server>>,
                By(caller): By,
                Named(named): Named<$named>,
                _: NoQuery,
            ) -> Result<Response, Problem> {
                super::status(&server, &caller, of(named)).await
            }
        }
    };
}

deliveries_of!(
    tenant,
    "`/v1/tenants/{tenant_id}/webhooks/{webhook}/deliveries`",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}/deliveries",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}/deliveries/{delivery_id}",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}/deliveries/{delivery_id}/resend",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}/replay",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}/test",
    "/v1/tenants/{tenant_id}/webhooks/{webhook}/status",
    [("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),],
    (String, String),
    (String, String, String),
    |(tenant, webhook)| (Of::Tenant(tenant), webhook),
    |(tenant, webhook, delivery)| ((Of::Tenant(tenant), webhook), delivery),
    [
        "list_tenant_webhook_deliveries",
        "get_tenant_webhook_delivery",
        "resend_tenant_webhook_delivery",
        "replay_tenant_webhook",
        "test_tenant_webhook",
        "get_tenant_webhook_status"
    ]
);

deliveries_of!(
    organization,
    "`/v1/organizations/{organization_id}/webhooks/{webhook}/deliveries`",
    "/v1/organizations/{organization_id}/webhooks/{webhook}/deliveries",
    "/v1/organizations/{organization_id}/webhooks/{webhook}/deliveries/{delivery_id}",
    "/v1/organizations/{organization_id}/webhooks/{webhook}/deliveries/{delivery_id}/resend",
    "/v1/organizations/{organization_id}/webhooks/{webhook}/replay",
    "/v1/organizations/{organization_id}/webhooks/{webhook}/test",
    "/v1/organizations/{organization_id}/webhooks/{webhook}/status",
    [("organization_id" = String, Path, description = "Id of the organization."),],
    (String, String),
    (String, String, String),
    |(organization, webhook)| (Of::Organization(organization), webhook),
    |(organization, webhook, delivery)| ((Of::Organization(organization), webhook), delivery),
    [
        "list_organization_webhook_deliveries",
        "get_organization_webhook_delivery",
        "resend_organization_webhook_delivery",
        "replay_organization_webhook",
        "test_organization_webhook",
        "get_organization_webhook_status"
    ]
);

deliveries_of!(
    platform,
    "`/v1/webhooks/{webhook}/deliveries`",
    "/v1/webhooks/{webhook}/deliveries",
    "/v1/webhooks/{webhook}/deliveries/{delivery_id}",
    "/v1/webhooks/{webhook}/deliveries/{delivery_id}/resend",
    "/v1/webhooks/{webhook}/replay",
    "/v1/webhooks/{webhook}/test",
    "/v1/webhooks/{webhook}/status",
    [],
    String,
    (String, String),
    |webhook| (Of::Platform, webhook),
    |(webhook, delivery)| ((Of::Platform, webhook), delivery),
    [
        "list_platform_webhook_deliveries",
        "get_platform_webhook_delivery",
        "resend_platform_webhook_delivery",
        "replay_platform_webhook",
        "test_platform_webhook",
        "get_platform_webhook_status"
    ]
);

async fn list(
    server: &Server,
    caller: &Caller,
    (of, webhook): (Of, String),
    mut query: Query,
) -> Result<Response, Problem> {
    let filter = DeliveryFilter { states: query.words("state", DeliveryState::WORDS)? };
    let wanted = query.page()?;
    query.no_others()?;
    let listed = deliveries::list(&server.tenancy, caller, (&of, &webhook), &filter, &wanted).await?;
    let count = listed.items.len();
    respond::listed(count, move || respond::page(&listed, Delivery::of)).await
}

async fn get(
    server: &Server,
    caller: &Caller,
    ((of, webhook), delivery): ((Of, String), String),
) -> Result<Response, Problem> {
    let (delivery, attempts) = deliveries::find(&server.tenancy, caller, (&of, &webhook), &delivery).await?;
    let log = attempts.iter().map(Attempt::of).collect();
    json(&DeliveryWithAttempts { delivery: Delivery::of(&delivery), log })
}

async fn status(server: &Server, caller: &Caller, (of, webhook): (Of, String)) -> Result<Response, Problem> {
    let (lane, waiting) = deliveries::status(&server.tenancy, caller, (&of, &webhook)).await?;
    json(&WebhookStatus::of(lane.as_ref(), waiting, server.tenancy.now()))
}

async fn resend(
    server: &Server,
    ((of, webhook), delivery): ((Of, String), String),
    write: WriteRequest,
) -> Result<Response, Problem> {
    write.nothing_said().await?;
    let command = Resend { of, webhook, delivery };
    let answer = |_: &Tenancy, _: &Caller, delivery: &Row| Answer {
        status: 202,
        body: text(&Delivery::of(delivery)),
        ..Answer::default()
    };
    write.carry_out(server, command, answer).await
}

async fn replay(server: &Server, (of, webhook): (Of, String), write: WriteRequest) -> Result<Response, Problem> {
    let what = document::read(&write.document().await?, |fields, findings| {
        let since = fields.time("since", findings);
        let only = fields.flag("only_undelivered", findings);
        let paused = fields.flag("paused", findings);
        match (since, paused) {
            (Some(since), None) => {
                let which = if only == Some(true) { Which::Undelivered } else { Which::All };
                Some(ReplayChange::Begin(since, which))
            }
            (None, Some(is_paused)) => Some(ReplayChange::Pause(is_paused)),
            _ => {
                let message = "give either since, to begin a replay, or paused, to pause or continue one";
                findings.bad(&Pointer::root().key("since"), "required", message);
                None
            }
        }
    })?;
    let retention_days = server.deliverer.retention_days();
    let command = Replay { of, webhook, what, retention_days };
    write.carry_out(server, command, |_, _, ()| Answer { status: 202, ..Answer::default() }).await
}

async fn test(server: &Server, (of, webhook): (Of, String), write: WriteRequest) -> Result<Response, Problem> {
    write.nothing_said().await?;
    let (deliverer, sent) = (Arc::clone(&server.deliverer), OnceCell::new());
    let command = Ping { of, webhook, deliverer, sent };
    write
        .carry_out(server, command, |_, _, sent| Answer { status: 200, body: text(&shown(sent)), ..Answer::default() })
        .await
}

fn shown(sent: &Sent) -> WebhookTest<'_> {
    let header = |(name, value): &(&'static str, String)| Header { name: (*name).to_owned(), value: value.clone() };
    WebhookTest {
        outcome: deliveries::outcome(sent).into(),
        request_headers: sent.request.headers.iter().map(header).collect(),
        request_body_bytes: sent.request.body_bytes,
        status: sent.status,
        connect_ms: sent.connect_ms,
        total_ms: sent.total_ms,
        answer_start: sent.answer_start.as_str().into(),
        error: sent.error.map(Into::into),
        detail: sent.detail.as_deref().map(Into::into),
    }
}
