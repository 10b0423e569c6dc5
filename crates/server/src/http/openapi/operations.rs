//! What holds for every operation: permissions, headers of requests and answers, optional bodies.

use super::schemas::{inside, items, without_null};
use crate::authentication::Requirement;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tenancy_core::permission::UNSCOPED_ONLY;

/// An operation, by what its requests and answers depend on.
pub struct Kind<'a> {
    /// Path with parameters in braces.
    pub path: &'a str,
    /// HTTP method.
    pub method: &'static str,
    /// What the caller needs.
    pub needs: Requirement,
    /// Whether the operation has gated changes.
    pub takes_allow: bool,
}

impl Kind<'_> {
    /// Whether the path leads to one resource with versions.
    pub fn has_versions(&self) -> bool {
        self.path.contains('{') && !self.path.starts_with("/v1/keys/") && !self.path.ends_with("/webhooks")
    }

    /// Whether a write compares version and counter, and not only the version.
    fn is_action(&self) -> bool {
        self.method == "POST" || self.path.ends_with("{tenant_id}") && self.method == "DELETE"
    }
}

/// Headers of answers: name, whether the answers that describe it always have it, description.
const HEADERS: [(&str, bool, &str); 10] = [
    ("X-Correlation-Id", true, "Correlation id of the request, sent or generated."),
    ("ETag", true, "Tag of the resource. Send it as `If-Match` of a write, or as `If-None-Match` of a read."),
    ("Location", true, "Path of the new resource, or of the job that carries out the request."),
    ("Retry-After", true, "Time after which the request can be repeated, in seconds."),
    ("WWW-Authenticate", true, "Challenge (RFC 6750). It has `error=\"invalid_token\"` if a token was sent."),
    ("Accept-Patch", true, "Media types of the body of PATCH (RFC 5789)."),
    (
        "Idempotency-Replayed",
        false,
        "`true` if this is the stored answer to an earlier request with the same key. Otherwise omitted.",
    ),
    ("RateLimit", false, "Remaining requests of the key. Omitted if the key has no limit."),
    ("RateLimit-Policy", false, "Rate limit of the key. Omitted if the key has no limit."),
    ("Cache-Control", true, "Always `no-store`: the answer contains a token or a secret."),
];

/// Returns a reference to the description of a header of answers.
pub fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// Adds the descriptions of the headers of answers.
pub fn describe_headers(document: &mut Value) {
    for (name, is_always_there, description) in HEADERS {
        document["components"]["headers"][name] =
            json!({"description": description, "required": is_always_there, "schema": {"type": "string"}});
    }
}

/// Completes the description of an operation.
pub fn complete(operation: &mut Value, kind: &Kind<'_>) {
    security(operation, kind.needs);
    requirement(operation, kind.needs);
    body(operation);
    parameters(operation);
    request_headers(operation, kind);
    responses(operation, kind);
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

/// A body that can be omitted is not required, instead of `null`.
fn body(operation: &mut Value) {
    if operation.get("requestBody").is_none() {
        return;
    }
    let mut is_optional = false;
    for (_, content) in inside(operation, "/requestBody/content") {
        is_optional |= without_null(&mut content["schema"]);
    }
    operation["requestBody"]["required"] = json!(!is_optional);
}

/// A parameter is omitted, and never `null`.
fn parameters(operation: &mut Value) {
    for parameter in items(operation, "/parameters") {
        without_null(&mut parameter["schema"]);
    }
}

/// Adds the headers that requests of this kind can have.
fn request_headers(operation: &mut Value, kind: &Kind<'_>) {
    let (method, path) = (kind.method, kind.path);
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
            path if path.contains("/webhooks") => " Only the first answer contains a secret.",
            _ => "",
        };
        let same = "Makes the request safe to repeat for 24 hours. A repetition with the same key has no effect and \
                    returns the first answer.";
        header("Idempotency-Key", &format!("{same}{but}"));
    }
    if method != "GET" && kind.has_versions() {
        let compared = match kind.is_action() {
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
    if method == "GET" && operation_has_tag(path) {
        header(
            "If-None-Match",
            "ETag from an earlier answer: if it is still current, the answer is 304 without a body.",
        );
    }
    if method == "PUT" {
        header("If-None-Match", "`*`: create the resource. If it exists, the answer is 412. Excludes `If-Match`.");
    }
    let correlation = "Connects the request with its audit events, jobs and log lines. The answer has the same header. \
                       Generated if omitted.";
    header("X-Correlation-Id", correlation);
    if method == "PUT" {
        let creates = items(operation, "/parameters").filter(|parameter| parameter["name"] == "If-None-Match");
        // A `const` would be simpler, but openapi-python-client takes none in a header.
        creates.for_each(|parameter| parameter["schema"]["pattern"] = json!(r"^\*$"));
    }
}

/// Whether a read of this path answers with an ETag.
fn operation_has_tag(path: &str) -> bool {
    ["{tenant_id}", "{organization_id}", "{environment}", "{webhook}"].iter().any(|end| path.ends_with(end))
}

/// Adds the headers and descriptions that answers of this kind have.
fn responses(operation: &mut Value, kind: &Kind<'_>) {
    if kind.method == "GET" && operation_has_tag(kind.path) {
        operation["responses"]["304"] = json!({
            "description": "Not Modified: the tag in `If-None-Match` is current.", "headers": {"ETag": header("ETag")},
        });
    }
    for (status, response) in inside(operation, "/responses") {
        let words = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        let words = words.and_then(|status| status.canonical_reason()).unwrap_or("Answer");
        if response["description"].as_str().is_none_or(str::is_empty) {
            response["description"] = json!(words);
        }
        let mut names: Vec<_> =
            response["headers"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        names.push("X-Correlation-Id".to_owned());
        if kind.needs != Requirement::Nothing {
            names.extend(["RateLimit".to_owned(), "RateLimit-Policy".to_owned()]);
        }
        if kind.method != "GET" && kind.path != "/v1/apply" {
            names.push("Idempotency-Replayed".to_owned());
        }
        if matches!(status.as_str(), "201" | "202" | "307") {
            names.push("Location".to_owned());
        }
        let makes_webhook = kind.path.contains("/webhooks") && status == "201";
        if kind.path == "/v1/keys" && kind.method == "POST" || kind.path.ends_with("/rotate") || makes_webhook {
            names.push("Cache-Control".to_owned());
        }
        response["headers"] = names.into_iter().map(|name| (name.clone(), header(&name))).collect();
    }
}
