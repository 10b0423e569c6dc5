//! The OpenAPI 3.1 document, generated from the routes.
//!
//! Adds what holds for every route: permissions, idempotency and precondition headers, and the form of errors.

mod changes;
mod errors;
mod limits;
mod operations;
mod schemas;

use self::operations::Kind;
use super::route::Route;
use serde_json::{Value, json};
use tenancy_api::problem::Problem as ProblemView;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenancy",
        description = "A control plane for tenants. A later release can add fields to answers and words to enumerations: \
            ignore what you do not know."
    ),
    components(schemas(ProblemView))
)]
struct Head;

/// Groups of operations with their descriptions, most used first, those about the server itself last.
pub const TAGS: [(&str, &str); 15] = [
    ("tenants", "Tenants: isolated instances of customers, declared by manifests."),
    ("environments", "Environments of a tenant, such as `dev` and `prod`."),
    ("versions", "Accepted versions of tenants and environments."),
    ("lifecycle", "Lifecycle actions on a tenant. Each requests a job."),
    ("jobs", "Jobs, which carry out lifecycle actions in steps."),
    ("access", "Whether tenants may be served now. Gateways and services ask it."),
    ("organizations", "Organizations: customers, which own tenants."),
    ("apply", "Files of manifests."),
    ("audit", "The audit log: what happened, in one order."),
    ("events", "The event feed: what happens, as it happens."),
    ("placements", "Placements: database servers and disks on which environments are made."),
    ("webhooks", "Webhooks of tenants, of organizations and of the platform, and what is delivered to them."),
    ("keys", "API keys with their roles and scopes."),
    ("health", "Health, metrics and background loops of the server."),
    ("docs", "This documentation."),
];

/// Returns the document without its paths.
pub fn head() -> utoipa::openapi::OpenApi {
    let mut head = Head::openapi();
    let components = head.components.get_or_insert_default();
    components.schemas.extend(tenancy_api::schema::enumerations().schemas);
    components.add_security_scheme("key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    head
}

/// Returns the complete document of these routes.
pub fn document(routes: Vec<Route>) -> Value {
    let needs: Vec<_> = routes
        .iter()
        .map(|route| (route.path.clone(), route.method, route.requirement, route.gives_verdicts))
        .collect();
    let router =
        routes.into_iter().fold(OpenApiRouter::with_openapi(head()), |router, route| router.routes(route.documented()));
    let mut document = serde_json::to_value(router.into_openapi()).unwrap_or_default();
    document["servers"] = json!([{"url": "/", "description": "The server that serves this document."}]);
    document["tags"] = TAGS.map(|(name, description)| json!({"name": name, "description": description})).into();
    let kinds: Vec<_> = needs
        .iter()
        .map(|(path, method, needs, gives_verdicts)| {
            let parameters = &document["paths"][path][method.to_lowercase()]["parameters"];
            let takes_allow = parameters.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "allow"));
            Kind { path, method, needs: *needs, takes_allow, gives_verdicts: *gives_verdicts }
        })
        .collect();
    schemas::simplify(&mut document);
    operations::describe_headers(&mut document);
    for kind in &kinds {
        operations::complete(&mut document["paths"][kind.path][kind.method.to_lowercase()], kind);
    }
    errors::describe(&mut document, &kinds);
    limits::limit(&mut document);
    changes::describe(&mut document);
    schemas::omit_nulls(&mut document);
    schemas::close(&mut document);
    document
}

/// Returns the document as it is committed to the repository.
pub fn text() -> String {
    let document = document(super::router::all());
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::Requirement;

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
            ("/v1/organizations/{organization_id}", "organization_id", json!([])),
            ("/v1/tenants/{tenant_id}", "tenant_id", json!(["organization_id", "region"])),
            ("/v1/tenants/{tenant_id}/environments/{environment}", "name", json!([])),
        ] {
            let content = document["paths"][path]["put"]["requestBody"]["content"].as_object().expect("a body");
            let reference = content.values().next().and_then(|content| content["schema"]["$ref"].as_str());
            let schema = document.pointer(reference.expect("a schema").trim_start_matches('#')).expect("it is there");
            assert!(schema["properties"][id].is_object(), "{path}");
            assert_eq!(schema["required"], requires, "{path}");
        }
    }

    #[test]
    fn must_contain_no_null_outside_of_examples() {
        each(&document(super::super::router::all()), "", &mut |at, value| assert!(!value.is_null(), "{at} is null"));
    }

    /// Calls `check` for each object of the document, with the keys that lead to it. Examples are not schemas.
    fn each(value: &Value, at: &str, check: &mut impl FnMut(&str, &Value)) {
        check(at, value);
        match value {
            Value::Object(object) => {
                let inside = object.iter().filter(|(key, _)| !matches!(key.as_str(), "example" | "examples"));
                inside.for_each(|(key, value)| each(value, &format!("{at}/{}", key.replace('/', "~1")), check));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| each(item, &format!("{at}/{index}"), check));
            }
            _ => {}
        }
    }

    #[test]
    fn must_name_each_set_of_words_once_and_compose_nothing() {
        let document = document(super::super::router::all());
        let mut sets = std::collections::BTreeMap::new();
        each(&document, "", &mut |at, value| {
            assert!(value.get("allOf").is_none(), "{at} has allOf");
            if let Some(words) = value.get("enum").filter(|words| words.is_array()) {
                let is_named = at.rsplit_once('/').is_some_and(|(parent, _)| parent == "/components/schemas");
                assert!(is_named, "{at} has an enumeration without a name");
                let other = sets.insert(words.to_string(), at.to_owned());
                assert_eq!(other, None, "{at} has the same words");
            }
        });
        assert!(sets.len() >= 10, "{sets:?}");
        for name in ["State", "ProblemCode", "Allow", "JobState", "EventType"] {
            assert!(document["components"]["schemas"][name]["enum"].is_array(), "{name}");
        }
    }

    #[test]
    fn must_say_of_every_object_whether_it_has_other_keys() {
        let document = document(super::super::router::all());
        each(&document, "", &mut |at, value| {
            let is_object = value["type"] == "object"
                || value["type"].as_array().is_some_and(|words| words.iter().any(|word| word == "object"));
            assert!(!is_object || value.get("additionalProperties").is_some(), "{at}");
        });
        let schemas = &document["components"]["schemas"];
        for (name, others) in [("TenantManifest", false), ("Tenant", false), ("Policies", true), ("Document", true)] {
            assert_eq!(schemas[name]["additionalProperties"], others, "{name}");
        }
        assert_eq!(schemas["TenantManifest"]["properties"]["quotas"]["additionalProperties"], true);
    }

    #[test]
    fn must_take_no_null_for_a_body_and_answer_none_for_what_is_omitted() {
        let document = document(super::super::router::all());
        each(&document["paths"], "", &mut |at, value| {
            if let Some(schema) = value.get("schema") {
                assert!(schema.get("oneOf").is_none() && !schema["type"].is_array(), "{at} takes null: {schema}");
            }
            if let Some(body) = value.get("requestBody") {
                assert!(body["required"].is_boolean(), "{at}");
            }
        });
        let tenants = &document["paths"]["/v1/tenants/{tenant_id}/suspend"]["post"]["requestBody"];
        assert_eq!(tenants["required"], false);
        assert_eq!(document["components"]["schemas"]["Tenant"]["properties"]["display_name"]["type"], "string");
        assert_eq!(
            document["components"]["schemas"]["TenantRowList"]["properties"]["next"]["type"],
            json!(["string", "null"])
        );
    }

    #[test]
    fn must_describe_the_errors_of_every_operation_by_status() {
        let document = document(super::super::router::all());
        for route in super::super::router::all().into_iter().filter(|route| !route.gives_verdicts) {
            let responses = &document["paths"][&route.path][route.method.to_lowercase()]["responses"];
            let mut least = Vec::new();
            if route.requirement != Requirement::Nothing {
                least.extend(["400", "401", "429", "500", "503"]);
            }
            if matches!(route.requirement, Requirement::Permission(_)) {
                least.push("403");
            }
            if route.path.contains('{') {
                least.push("404");
            }
            if route.method != "GET" {
                least.extend(["408", "409", "413", "415", "422"]);
            }
            if matches!(route.method, "PUT" | "PATCH") {
                least.extend(["412", "428"]);
            }
            for status in least {
                let response = match responses[status]["$ref"].as_str() {
                    Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("it is there"),
                    None => &responses[status],
                };
                let content = &response["content"]["application/problem+json"];
                let examples = content["examples"].as_object();
                let names = examples.into_iter().flatten().map(|(name, _)| name).collect::<Vec<_>>();
                assert!(!names.is_empty(), "{} {} does not describe {status}", route.method, route.path);
                for name in names {
                    let value = &document["components"]["examples"][name]["value"];
                    assert_eq!((&value["code"], value["status"].to_string().as_str()), (&json!(name), status));
                }
            }
            assert!(responses.get("default").is_none(), "{}", route.path);
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
