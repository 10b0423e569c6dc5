//! The OpenAPI 3.1 document, generated from the routes.
//!
//! What holds for every route is said here once: who may, how writes are made safe to repeat, what a refusal looks like.

use super::route::{Needs, Route};
use crate::view::problem::{DocumentRef, ProblemError, ProblemView};
use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

#[derive(OpenApi)]
#[openapi(
    info(title = "Tenancy", description = "A control plane for tenants."),
    components(schemas(
        ProblemView,
        ProblemError,
        DocumentRef,
        crate::view::applied::AppliedDocument,
        crate::view::applied::DifferenceView,
    ))
)]
struct Head;

/// The document without its paths.
pub fn head() -> utoipa::openapi::OpenApi {
    let mut head = Head::openapi();
    let components = head.components.get_or_insert_default();
    components.add_security_scheme("key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    head
}

/// The whole document of these routes.
pub fn document(routes: Vec<Route>) -> Value {
    let needs: Vec<_> = routes.iter().map(|route| (route.path.clone(), route.method, route.needs)).collect();
    let router =
        routes.into_iter().fold(OpenApiRouter::with_openapi(head()), |router, route| router.routes(route.documented()));
    let mut document = serde_json::to_value(router.into_openapi()).unwrap_or_default();
    for (path, method, needs) in needs {
        finish(&mut document["paths"][&path][method.to_lowercase()], method, &path, needs);
    }
    document
}

/// Whether a path leads to one thing that has versions.
fn has_versions(path: &str) -> bool {
    path.contains('{') && !path.starts_with("/v1/keys/")
}

/// Says what holds for every route.
fn finish(operation: &mut Value, method: &str, path: &str, needs: Needs) {
    match needs {
        Needs::Nothing => operation["security"] = json!([]),
        Needs::Key => operation["security"] = json!([{"key": []}]),
        Needs::Permission(permission) => {
            operation["security"] = json!([{"key": []}]);
            operation["x-permission"] = json!(permission);
        }
    }
    let mut header = |name: &str, description: &str| {
        let parameter = json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": {"type": "string"},
        });
        if !operation["parameters"].is_array() {
            operation["parameters"] = json!([]);
        }
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.push(parameter);
        }
    };
    if method != "GET" {
        let but = match path {
            "/v1/apply" => "; documents that were refused, or had nothing to change, are decided anew",
            "/v1/keys" => "; the token stands in the first answer alone",
            _ => "",
        };
        let same = "Send the same again with the same key, and it has one effect and one answer, for 24 hours";
        header("Idempotency-Key", &format!("{same}{but}"));
    }
    if method != "GET" && has_versions(path) {
        header("If-Match", "The version that the write was decided on: an ETag as it was answered, or `*`");
    }
    if method == "PUT" {
        header("If-None-Match", "`*`: make it, and do nothing if it is there");
    }
    header("X-Correlation-Id", "Ties the request to its audit events, jobs and log lines; the answer has it too");
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        let words = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        let words = words.and_then(|status| status.canonical_reason()).unwrap_or("The answer");
        if response.get("description").is_none() {
            response["description"] = json!(words);
        }
    }
    if needs != Needs::Nothing {
        operation["responses"]["default"] = json!({
            "description": "Why it was refused",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
    }
}

/// The document as it is committed.
pub fn text() -> String {
    let document = document(super::router::all());
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi.json");

    /// `TENANCY_WRITE_OPENAPI=1 cargo test -p tenancy-server openapi` writes it anew.
    #[test]
    fn must_be_the_document_that_is_committed() {
        if std::env::var_os("TENANCY_WRITE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, text()).expect("written");
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        let same = committed == text();
        assert!(
            same,
            "the API changed: run TENANCY_WRITE_OPENAPI=1 cargo test -p tenancy-server openapi, and look at the difference"
        );
    }

    #[test]
    fn must_resolve_every_reference() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(object) => {
                    found.extend(object.get("$ref").and_then(Value::as_str));
                    object.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document(super::super::router::all());
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn must_have_one_operation_for_each_route() {
        let document = document(super::super::router::all());
        let mut ids = std::collections::BTreeSet::new();
        for route in super::super::router::all() {
            assert!(!route.method.is_empty(), "{}", route.path);
            let operation = &document["paths"][&route.path][route.method.to_lowercase()];
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            assert!(ids.insert(id.clone()), "{id} twice");
            assert_eq!(operation["security"] == json!([]), route.needs == Needs::Nothing, "{}", route.path);
        }
    }
}
