//! The OpenAPI 3.1 document, generated from the routes.
//!
//! Adds what holds for every route: permissions, idempotency and precondition headers, and the form of errors.

use super::route::Route;
use crate::authentication::Requirement;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tenancy_api::problem::{DocumentRef, Problem as ProblemView, ProblemError};
use tenancy_core::permission::UNSCOPED_ONLY;
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
        tenancy_api::applied::AppliedDocument,
        tenancy_api::applied::Difference,
    ))
)]
struct Head;

/// Returns the document without its paths.
pub fn head() -> utoipa::openapi::OpenApi {
    let mut head = Head::openapi();
    let components = head.components.get_or_insert_default();
    components.add_security_scheme("key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    head
}

/// Returns the complete document of these routes.
pub fn document(routes: Vec<Route>) -> Value {
    let needs: Vec<_> = routes.iter().map(|route| (route.path.clone(), route.method, route.requirement)).collect();
    let router =
        routes.into_iter().fold(OpenApiRouter::with_openapi(head()), |router, route| router.routes(route.documented()));
    let mut document = serde_json::to_value(router.into_openapi()).unwrap_or_default();
    for (path, method, needs) in needs {
        if method == "PUT" {
            named_by_path(&mut document, &path);
        }
        let operation = &mut document["paths"][&path][method.to_lowercase()];
        security(operation, needs);
        requirement(operation, needs);
        request_headers(operation, method, &path);
        responses(operation, method, &path, needs);
    }
    document
}

/// Returns whether a path leads to one resource with versions.
fn has_versions(path: &str) -> bool {
    path.contains('{') && !path.starts_with("/v1/keys/")
}

/// Replaces the schema of a document that is sent with PUT. The id is in the path, so it is optional in the body.
fn named_by_path(document: &mut Value, path: &str) {
    let Some(content) = document["paths"][path]["put"]["requestBody"]["content"].as_object() else { return };
    let name = content.values().find_map(|content| content["schema"]["$ref"].as_str()?.rsplit('/').next());
    let Some(name) = name.map(str::to_owned) else { return };
    let id = if path.ends_with("{organization_id}") { "organization_id" } else { "name" };
    let mut schema = document["components"]["schemas"][&name].clone();
    let Some(required) = schema["required"].as_array_mut().filter(|names| names.iter().any(|name| name == id)) else {
        return;
    };
    required.retain(|name| name != id);
    if required.is_empty() {
        schema.as_object_mut().map(|schema| schema.remove("required"));
    }
    let named = format!("{name}AtItsPath");
    let reference = json!({"$ref": format!("#/components/schemas/{named}")});
    document["components"]["schemas"][&named] = schema;
    let put = &mut document["paths"][path]["put"]["requestBody"]["content"];
    for (_, content) in put.as_object_mut().into_iter().flatten() {
        content["schema"] = reference.clone();
    }
}

fn security(operation: &mut Value, needs: Requirement) {
    match needs {
        Requirement::Nothing => operation["security"] = json!([]),
        Requirement::Key => operation["security"] = json!([{"key": []}]),
        Requirement::Permission(permission) => {
            operation["security"] = json!([{"key": []}]);
            operation["x-permission"] = json!(permission);
        }
    }
}

/// Adds what the caller needs to the description of an operation.
fn requirement(operation: &mut Value, needs: Requirement) {
    let needed = match needs {
        Requirement::Nothing => "Requires no key.".to_owned(),
        Requirement::Key => "Requires a valid key. Any role may call this.".to_owned(),
        Requirement::Permission(permission) => {
            let scope = if UNSCOPED_ONLY.contains(&permission) { " An unscoped key is required." } else { "" };
            format!("Requires permission: {permission}.{scope}")
        }
    };
    let described = operation["description"].as_str().map(|text| format!("{text}\n\n{needed}"));
    operation["description"] = json!(described.unwrap_or(needed));
}

/// Adds the headers that requests of this kind can have.
fn request_headers(operation: &mut Value, method: &str, path: &str) {
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
            "/v1/apply" => " Documents that were refused or unchanged are processed again.",
            "/v1/keys" => " Only the first answer contains the token.",
            _ => "",
        };
        let same = "Makes the request safe to repeat for 24 hours. A repetition with the same key has no effect and \
                    returns the first answer.";
        header("Idempotency-Key", &format!("{same}{but}"));
    }
    if method != "GET" && has_versions(path) {
        let is_action = method == "POST" || path.ends_with("{tenant_id}") && method == "DELETE";
        let compared = match is_action {
            true => "version and counter are compared",
            false => "the version is compared",
        };
        let version = format!(
            "Tag that the write is based on: an ETag from an earlier answer, a list of them, or `*` for any version. Of a \
             tag, {compared}. If none is current, the answer is 412."
        );
        let required = if method == "POST" {
            ""
        } else {
            " Required unless the body contains `version`, or a PUT has `If-None-Match: *`: without it, the answer is 428."
        };
        header("If-Match", &format!("{version}{required}"));
    }
    if method == "GET" && path.contains('}') && path.ends_with('}') {
        header(
            "If-None-Match",
            "ETag from an earlier answer: if it is still current, the answer is 304 without a body.",
        );
    }
    if method == "PUT" {
        header("If-None-Match", "`*`: create the resource. If it exists, the answer is 412.");
    }
    let correlation = "Connects the request with its audit events, jobs and log lines. The answer has the same header. \
                       Generated if omitted.";
    header("X-Correlation-Id", correlation);
}

/// Adds the headers and descriptions that answers of this kind have.
fn responses(operation: &mut Value, method: &str, path: &str, needs: Requirement) {
    if needs != Requirement::Nothing {
        operation["responses"]["default"] = json!({
            "description": "Error",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
    }
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        let words = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        let words = words.and_then(|status| status.canonical_reason()).unwrap_or("Answer");
        if response.get("description").is_none() {
            response["description"] = json!(words);
        }
        response["headers"]["X-Correlation-Id"] = text("Correlation id of the request, sent or generated.");
        if method != "GET" && status != "default" && path != "/v1/apply" {
            let replayed =
                "`true` if this is the stored answer to an earlier request with the same key. Otherwise omitted.";
            response["headers"]["Idempotency-Replayed"] = text(replayed);
        }
        match status.as_str() {
            "201" => response["headers"]["Location"] = text("Path of the new resource."),
            "202" => {
                response["headers"]["Location"] =
                    text("Path of the job that is queued or running, or of the resource if there is none.")
            }
            _ => {}
        }
    }
}

/// Returns the document as it is committed to the repository.
pub fn text() -> String {
    let document = document(super::router::all());
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi.json");

    /// `TENANCY_WRITE_OPENAPI=1 cargo test -p tenancy-server openapi` writes the document.
    #[test]
    fn must_be_the_document_that_is_committed() {
        if std::env::var_os("TENANCY_WRITE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, text()).expect("written");
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        let same = committed == text();
        assert!(
            same,
            "the API has changed: run TENANCY_WRITE_OPENAPI=1 cargo test -p tenancy-server openapi, review the diff"
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
    fn must_require_nothing_that_the_path_says() {
        let document = document(super::super::router::all());
        for (path, id, requires) in [
            ("/v1/organizations/{organization_id}", "organization_id", json!(null)),
            ("/v1/tenants/{tenant_id}", "tenant_id", json!(["organization_id", "region"])),
            ("/v1/tenants/{tenant_id}/environments/{environment}", "name", json!(null)),
        ] {
            let content = document["paths"][path]["put"]["requestBody"]["content"].as_object().expect("a body");
            let reference = content.values().next().and_then(|content| content["schema"]["$ref"].as_str());
            let schema = document.pointer(reference.expect("a schema").trim_start_matches('#')).expect("it is there");
            assert!(schema["properties"][id].is_object(), "{path}");
            assert_eq!(schema["required"], requires, "{path}");
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
            assert_eq!(operation["security"] == json!([]), route.requirement == Requirement::Nothing, "{}", route.path);
        }
    }
}
