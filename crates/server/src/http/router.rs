//! The table of all routes.

use super::gate::without_route;
use super::openapi;
use super::problem::Problem;
use super::route::Route;
use super::routes::{
    access, apply, audit, connections, docs, environments, event_types, events, health, jobs, keys, lifecycle,
    organization_holds, organizations, placements, tenants, versions, webhooks,
};
use super::server::Server;
use crate::authentication::Requirement;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::any;
use std::sync::Arc;
use tenancy_core::Error;
use tenancy_core::permission::Operation::{
    ConnectEnvironments, ManageKeys, Plan, ReadAccess, ReadAudit, ReadJobs, ReadKeys, ReadOrganizations,
    ReadPlacements, ReadPlatformWebhooks, ReadStatus, ReadTenants, RegisterTenants, RunLifecycle, VerifyAudit,
    WriteEnvironments, WriteOrganizationWebhooks, WriteOrganizations, WritePlacements, WritePlatformWebhooks,
    WriteTenants,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Returns every route, with its requirement.
pub fn all() -> Vec<Route> {
    let open = |methods| Route::new(Requirement::Nothing, methods);
    let key = |methods| Route::new(Requirement::Key, methods);
    let may = |operation, methods| Route::new(Requirement::Permission(operation), methods);
    let mut routes = vec![
        open(routes!(docs::root)),
        open(routes!(docs::docs)),
        open(routes!(docs::openapi)),
        open(routes!(health::healthz)),
        open(routes!(health::readyz)),
        open(routes!(health::metrics)),
        key(routes!(event_types::list)),
        key(routes!(event_types::get)),
        key(routes!(keys::whoami)),
        may(ReadStatus, routes!(health::status)),
        may(ReadOrganizations, routes!(organizations::list)),
        may(WriteOrganizations, routes!(organizations::create)),
        may(ReadOrganizations, routes!(organizations::get)),
        may(WriteOrganizations, routes!(organizations::put)),
        may(WriteOrganizations, routes!(organizations::patch)),
        may(WriteOrganizations, routes!(organizations::close)),
        may(RunLifecycle, routes!(organization_holds::suspend)),
        may(RunLifecycle, routes!(organization_holds::activate)),
        may(ReadTenants, routes!(tenants::list)),
        may(RegisterTenants, routes!(tenants::register)),
        may(ReadTenants, routes!(tenants::get)),
        may(WriteTenants, routes!(tenants::put)),
        may(WriteTenants, routes!(tenants::patch)),
        may(RunLifecycle, routes!(lifecycle::delete)),
        may(RunLifecycle, routes!(lifecycle::activate)),
        may(RunLifecycle, routes!(lifecycle::suspend)),
        may(RunLifecycle, routes!(lifecycle::undelete)),
        may(RunLifecycle, routes!(lifecycle::purge)),
        may(ReadAccess, routes!(access::get)),
        may(ReadAccess, routes!(access::events)),
        Route::for_gateways(Requirement::Permission(ReadAccess), routes!(access::auth), any(access::auth)),
        may(ReadTenants, routes!(versions::of_tenant)),
        may(ReadTenants, routes!(versions::get)),
        may(ReadJobs, routes!(jobs::of_tenant)),
        may(ReadJobs, routes!(jobs::get)),
        may(RunLifecycle, routes!(jobs::cancel)),
        may(ReadJobs, routes!(jobs::list)),
        may(ReadAudit, routes!(audit::of_tenant)),
        may(ReadAudit, routes!(audit::list)),
        may(VerifyAudit, routes!(audit::verify)),
        may(ReadAudit, routes!(events::follow)),
        may(ReadKeys, routes!(keys::list)),
        may(ManageKeys, routes!(keys::create)),
        may(ReadKeys, routes!(keys::get)),
        may(ManageKeys, routes!(keys::rotate)),
        may(ManageKeys, routes!(keys::revoke)),
        may(Plan, routes!(apply::apply)),
    ];
    routes.extend(of_placements());
    routes.extend(of_environments());
    routes.extend(of_webhooks());
    routes
}

/// Returns the routes of placements.
fn of_placements() -> Vec<Route> {
    let may = |operation, methods| Route::new(Requirement::Permission(operation), methods);
    vec![
        may(ReadPlacements, routes!(placements::list)),
        may(WritePlacements, routes!(placements::create)),
        may(ReadPlacements, routes!(placements::get)),
        may(WritePlacements, routes!(placements::put)),
        may(WritePlacements, routes!(placements::patch)),
        may(WritePlacements, routes!(placements::remove)),
    ]
}

/// Returns the routes of environments.
fn of_environments() -> Vec<Route> {
    let may = |operation, methods| Route::new(Requirement::Permission(operation), methods);
    vec![
        may(ReadTenants, routes!(environments::list)),
        may(ReadTenants, routes!(environments::get)),
        may(WriteEnvironments, routes!(environments::put)),
        may(WriteEnvironments, routes!(environments::patch)),
        may(WriteEnvironments, routes!(environments::remove)),
        may(ConnectEnvironments, routes!(connections::connect)),
        may(ReadTenants, routes!(versions::of_environment)),
    ]
}

/// Returns the routes of webhooks, for each kind of owner.
fn of_webhooks() -> Vec<Route> {
    let may = |operation, methods| Route::new(Requirement::Permission(operation), methods);
    vec![
        may(ReadTenants, routes!(webhooks::tenant::list)),
        may(WriteTenants, routes!(webhooks::tenant::create)),
        may(ReadTenants, routes!(webhooks::tenant::get)),
        may(WriteTenants, routes!(webhooks::tenant::put)),
        may(WriteTenants, routes!(webhooks::tenant::patch)),
        may(WriteTenants, routes!(webhooks::tenant::remove)),
        may(WriteTenants, routes!(webhooks::tenant::rotate)),
        may(WriteTenants, routes!(webhooks::tenant::enable)),
        may(WriteTenants, routes!(webhooks::tenant::disable)),
        may(ReadOrganizations, routes!(webhooks::organization::list)),
        may(WriteOrganizationWebhooks, routes!(webhooks::organization::create)),
        may(ReadOrganizations, routes!(webhooks::organization::get)),
        may(WriteOrganizationWebhooks, routes!(webhooks::organization::put)),
        may(WriteOrganizationWebhooks, routes!(webhooks::organization::patch)),
        may(WriteOrganizationWebhooks, routes!(webhooks::organization::remove)),
        may(WriteOrganizationWebhooks, routes!(webhooks::organization::rotate)),
        may(WriteOrganizationWebhooks, routes!(webhooks::organization::enable)),
        may(WriteOrganizationWebhooks, routes!(webhooks::organization::disable)),
        may(ReadPlatformWebhooks, routes!(webhooks::platform::list)),
        may(WritePlatformWebhooks, routes!(webhooks::platform::create)),
        may(ReadPlatformWebhooks, routes!(webhooks::platform::get)),
        may(WritePlatformWebhooks, routes!(webhooks::platform::put)),
        may(WritePlatformWebhooks, routes!(webhooks::platform::patch)),
        may(WritePlatformWebhooks, routes!(webhooks::platform::remove)),
        may(WritePlatformWebhooks, routes!(webhooks::platform::rotate)),
        may(WritePlatformWebhooks, routes!(webhooks::platform::enable)),
        may(WritePlatformWebhooks, routes!(webhooks::platform::disable)),
        may(ReadTenants, routes!(webhooks::deliveries::tenant::list)),
        may(ReadTenants, routes!(webhooks::deliveries::tenant::get)),
        may(WriteTenants, routes!(webhooks::deliveries::tenant::resend)),
        may(WriteTenants, routes!(webhooks::deliveries::tenant::replay)),
        may(WriteTenants, routes!(webhooks::deliveries::tenant::test)),
        may(ReadTenants, routes!(webhooks::deliveries::tenant::status)),
        may(ReadOrganizations, routes!(webhooks::deliveries::organization::list)),
        may(ReadOrganizations, routes!(webhooks::deliveries::organization::get)),
        may(WriteOrganizationWebhooks, routes!(webhooks::deliveries::organization::resend)),
        may(WriteOrganizationWebhooks, routes!(webhooks::deliveries::organization::replay)),
        may(WriteOrganizationWebhooks, routes!(webhooks::deliveries::organization::test)),
        may(ReadOrganizations, routes!(webhooks::deliveries::organization::status)),
        may(ReadPlatformWebhooks, routes!(webhooks::deliveries::platform::list)),
        may(ReadPlatformWebhooks, routes!(webhooks::deliveries::platform::get)),
        may(WritePlatformWebhooks, routes!(webhooks::deliveries::platform::resend)),
        may(WritePlatformWebhooks, routes!(webhooks::deliveries::platform::replay)),
        may(WritePlatformWebhooks, routes!(webhooks::deliveries::platform::test)),
        may(ReadPlatformWebhooks, routes!(webhooks::deliveries::platform::status)),
    ]
}

/// Path of the metrics.
const METRICS: &str = "/metrics";

/// Returns the router, with a gate before each route.
pub fn router(server: &Arc<Server>) -> Router {
    router_of(server, |_| true)
}

/// Returns the router without `/metrics`, for a server that has another address for them.
pub fn router_without_metrics(server: &Arc<Server>) -> Router {
    router_of(server, |path| path != METRICS)
}

/// Returns the router of that address.
pub fn metrics_router(server: &Arc<Server>) -> Router {
    router_of(server, |path| path == METRICS)
}

fn router_of(server: &Arc<Server>, has: impl Fn(&str) -> bool) -> Router {
    let mut gated = OpenApiRouter::with_openapi(openapi::head());
    let mut with_suffix = Vec::new();
    for route in all().into_iter().filter(|route| has(&route.path)) {
        let (path, gives_verdicts) = (route.path.clone(), route.gives_verdicts);
        let methods = route.gated(server);
        if gives_verdicts {
            with_suffix.push((path, methods.2.clone()));
        }
        gated = gated.routes(methods);
    }
    let (mut router, _) = gated.split_for_parts();
    for (path, methods) in with_suffix {
        router = router.route(&format!("{path}/"), methods.clone()).route(&format!("{path}/{{*suffix}}"), methods);
    }
    router.fallback(no_such_route).method_not_allowed_fallback(no_such_method).with_state(Arc::clone(server))
}

async fn no_such_route(State(server): State<Arc<Server>>, request: Request) -> Response {
    let problem = Problem::from(Error::not_found("route", request.uri().path()));
    without_route(&server, &request, problem)
}

async fn no_such_method(State(server): State<Arc<Server>>, request: Request) -> Response {
    let detail = format!(
        "{} does not support {}. The Allow header lists the supported methods.",
        request.uri().path(),
        request.method()
    );
    let problem = Problem::Http(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
    without_route(&server, &request, problem)
}
