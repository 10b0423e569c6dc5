//! Which errors each kind of operation answers: one table, with an example of each error.

use super::operations::{Kind, header};
use super::schemas::inside;
use crate::authentication::Requirement;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tenancy_api::problem::Problem;
use tenancy_core::changes::Conflict;
use tenancy_core::gated_change::GatedChange;
use tenancy_core::ids::{Alias, KeyId, OrganizationId, PlacementName, TenantId, WebhookId};
use tenancy_core::{Error, Violation};

/// An error with the operations that answer it.
struct Row {
    /// Example of the error. It has the status and the code.
    example: Problem,
    applies: fn(&Kind<'_>) -> bool,
}

const CORRELATION_ID: &str = "0198f2a4-6c1e-7d3a-9b52-3f1c2a4d5e6f";

fn row(error: &Error, applies: fn(&Kind<'_>) -> bool) -> Row {
    Row { example: Problem::of(error, &[], CORRELATION_ID), applies }
}

fn http(status: StatusCode, code: &'static str, detail: &str, applies: fn(&Kind<'_>) -> bool) -> Row {
    let title = status.canonical_reason().unwrap_or("Refused");
    Row { example: Problem::plain(status.as_u16(), title, code, detail.to_owned(), CORRELATION_ID), applies }
}

fn has_key(kind: &Kind<'_>) -> bool {
    kind.needs != Requirement::Nothing
}

fn has_permission(kind: &Kind<'_>) -> bool {
    matches!(kind.needs, Requirement::Permission(_))
}

fn writes(kind: &Kind<'_>) -> bool {
    kind.method != "GET"
}

fn applies_file(kind: &Kind<'_>) -> bool {
    kind.path == "/v1/apply"
}

/// Whether the body of the operation is a manifest, or a file of manifests.
fn declares(kind: &Kind<'_>) -> bool {
    let creates = kind.method == "POST" && !kind.path.contains('{') && kind.path != "/v1/keys" || adds_webhook(kind);
    creates || matches!(kind.method, "PUT" | "PATCH")
}

fn is_of_webhooks(kind: &Kind<'_>) -> bool {
    kind.path.contains("/webhooks")
}

fn adds_webhook(kind: &Kind<'_>) -> bool {
    kind.method == "POST" && kind.path.ends_with("/webhooks")
}

fn declares_tenant(kind: &Kind<'_>) -> bool {
    declares(kind) && !kind.path.starts_with("/v1/organizations") && !is_of_webhooks(kind) && !is_of_placements(kind)
}

fn declares_organization(kind: &Kind<'_>) -> bool {
    declares(kind) && !kind.path.starts_with("/v1/tenants") && !is_of_webhooks(kind) && !is_of_placements(kind)
}

fn is_of_placements(kind: &Kind<'_>) -> bool {
    kind.path.starts_with("/v1/placements")
}

fn names_one(kind: &Kind<'_>) -> bool {
    kind.path.contains('{') || matches!(kind.path, "/v1/access" | "/v1/events")
}

fn compares(kind: &Kind<'_>) -> bool {
    writes(kind) && kind.has_versions() || declares(kind)
}

/// Errors of the request itself, before the operation looks at the record.
fn of_requests() -> Vec<Row> {
    let violation = Violation {
        code: "undeclared_region",
        pointer: "/region".to_owned(),
        message: "must be eu-west-1 or us-east-1, not \"eu-west\"; did you mean \"eu-west-1\"?".to_owned(),
    };
    let field = Violation {
        code: "forbidden",
        pointer: "/billing".to_owned(),
        message: "this key may not write billing".to_owned(),
    };
    vec![
        row(
            &Error::Malformed("query parameter limit must be a whole number from 1 to 500, not \"many\"".to_owned()),
            has_key,
        ),
        row(&Error::Unauthenticated, has_key),
        row(&Error::Forbidden("this key may not write tenants".to_owned()), has_permission),
        row(&Error::FieldsForbidden(vec![field]), |kind| declares(kind) && !is_of_placements(kind)),
        http(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "The request body did not arrive within 30 seconds. Send it again.",
            writes,
        ),
        row(
            &Error::TooLarge(
                "The request body must not exceed 1048576 bytes. Split it into several requests.".to_owned(),
            ),
            writes,
        ),
        http(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Content-Type text/csv is not supported here. Send application/json.",
            writes,
        ),
        http(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_encoding",
            "Content-Encoding gzip is not supported. Send the body without Content-Encoding.",
            writes,
        ),
        http(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_charset",
            "Charset latin1 is not supported. Send the body in UTF-8.",
            writes,
        ),
        row(&Error::Invalid(vec![violation]), writes),
        row(&Error::IdempotencyKeyReused, writes),
        row(&Error::RateLimited { retry_after_seconds: 2 }, has_key),
        row(&Error::TooManyAtOnce, has_key),
        http(
            StatusCode::TOO_MANY_REQUESTS,
            "apply_in_progress",
            "This key is applying another file. Wait until that request is answered, then send this one again.",
            applies_file,
        ),
    ]
}

/// Errors of the operation: what the record does not permit.
fn of_the_record() -> Vec<Row> {
    let tenant = || TenantId::known("acme-eu");
    let acme = || OrganizationId::known("acme");
    let disk = || PlacementName::known("disk-1");
    let gate = GatedChange {
        allow: "move-region",
        pointer: "/region".to_owned(),
        message: "moves the data from eu-west-1 to us-east-1".to_owned(),
    };
    vec![
        row(&Error::not_found("tenant", "acme-eu"), |kind| names_one(kind) || applies_file(kind)),
        row(&Error::NotNow("tenant acme-eu is Active: suspend it first".to_owned()), writes),
        row(&Error::Gated(vec![gate]), |kind| kind.takes_allow),
        row(&Error::Conflict(Conflict::TenantExists(tenant())), |kind| {
            declares_tenant(kind) && !kind.path.contains("{environment}")
        }),
        row(&Error::Conflict(Conflict::AliasTaken(Alias::known("stripe:cus_9s6"))), |kind| {
            declares_tenant(kind) && !kind.path.contains("{environment}")
        }),
        row(&Error::Conflict(Conflict::OrganizationClosed(acme())), |kind| {
            declares(kind) && !is_of_placements(kind) || kind.path.starts_with("/v1/organizations/") && writes(kind)
        }),
        row(&Error::Conflict(Conflict::OrganizationExists(acme())), declares_organization),
        row(&Error::Conflict(Conflict::OrganizationMissing(acme())), declares_tenant),
        http(
            StatusCode::CONFLICT,
            "organization_cap_exceeded",
            "organization acme may have 10 tenants and has 10: raise caps.tenants, or purge a tenant",
            |kind| declares(kind) && !is_of_placements(kind) || kind.path.ends_with("/undelete"),
        ),
        row(&Error::Conflict(Conflict::ApiKeyExists("ci".to_owned())), |kind| kind.path == "/v1/keys" && writes(kind)),
        row(&Error::Conflict(Conflict::ApiKeyMoved(KeyId::known("key_7q2m"))), |kind| {
            kind.path.starts_with("/v1/keys/") && writes(kind)
        }),
        row(&Error::Conflict(Conflict::WebhookExists("main".to_owned())), |kind| {
            adds_webhook(kind) || is_of_webhooks(kind) && kind.method == "PUT"
        }),
        row(&Error::Conflict(Conflict::WebhookMoved(WebhookId::known("whk_7q2m"))), |kind| {
            is_of_webhooks(kind) && writes(kind) && !kind.path.starts_with("/v1/tenants")
        }),
        row(&Error::Conflict(Conflict::PlacementExists(disk())), |kind| {
            is_of_placements(kind) && declares(kind) || applies_file(kind)
        }),
        row(&Error::Conflict(Conflict::PlacementMoved(disk())), |kind| {
            is_of_placements(kind) && names_one(kind) && writes(kind)
        }),
        http(
            StatusCode::CONFLICT,
            "idempotency_key_used",
            "another request with this Idempotency-Key was carried out at the same time: repeat the request",
            writes,
        ),
        row(&Error::AnswerErased, |kind| writes(kind) && (kind.path.starts_with("/v1/tenants") || applies_file(kind))),
        row(&Error::CursorExpired { oldest: "6c6f673a313a343037".to_owned(), is_lost: false }, |kind| {
            matches!(kind.path, "/v1/events" | "/v1/access/events")
        }),
        row(&Error::StaleVersion { expected: Some(6), current: 7 }, compares),
        row(&Error::VersionRequired { current: 7 }, |kind| {
            kind.has_versions() && matches!(kind.method, "PUT" | "PATCH" | "DELETE")
        }),
    ]
}

/// Errors of the server and of the database.
fn of_the_server() -> Vec<Row> {
    vec![
        row(&Error::Internal(String::new()), has_key),
        row(&Error::Unreadable("tenants.labels".to_owned()), has_key),
        row(&Error::Busy, has_key),
        row(&Error::Unavailable, has_key),
        row(&Error::KeysUnavailable, has_key),
        row(&Error::DatabaseGone, has_key),
        row(&Error::Locked, writes),
        row(&Error::OutcomeUnknown, writes),
    ]
}

fn all() -> Vec<Row> {
    of_requests().into_iter().chain(of_the_record()).chain(of_the_server()).collect()
}

/// Adds the errors of each operation, by status, and the examples that they share.
pub fn describe(document: &mut Value, kinds: &[Kind<'_>]) {
    let rows = all();
    for Row { example, .. } in &rows {
        document["components"]["examples"][&*example.code] = json!({"summary": example.title, "value": example});
    }
    for kind in kinds.iter().filter(|kind| !kind.gives_verdicts) {
        let responses = &mut document["paths"][kind.path][kind.method.to_lowercase()]["responses"];
        for row in rows.iter().filter(|row| (row.applies)(kind)) {
            add(responses, row, kind);
        }
    }
    share(document);
}

/// Gives the most frequent form of each error a name that operations refer to.
fn share(document: &mut Value) {
    let mut counts = BTreeMap::<String, BTreeMap<String, usize>>::new();
    for (_, item) in inside(document, "/paths") {
        for (status, response) in inside(item, "").flat_map(|(_, operation)| inside(operation, "/responses")) {
            if response.pointer("/content/application~1problem+json").is_some() {
                *counts.entry(status.clone()).or_default().entry(response.to_string()).or_default() += 1;
            }
        }
    }
    for (status, forms) in counts {
        let Some((form, _)) = forms.into_iter().max_by_key(|(_, count)| *count) else { continue };
        let Ok(form) = serde_json::from_str::<Value>(&form) else { continue };
        let name = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        let name: String = name.and_then(|status| status.canonical_reason()).unwrap_or("Refused").split(' ').collect();
        for (_, item) in inside(document, "/paths") {
            let responses = inside(item, "").flat_map(|(_, operation)| inside(operation, "/responses"));
            for (_, response) in responses.filter(|(_, response)| **response == form) {
                *response = json!({"$ref": format!("#/components/responses/{name}")});
            }
        }
        document["components"]["responses"][name] = form;
    }
}

/// Adds one error to the answer with its status.
fn add(responses: &mut Value, row: &Row, kind: &Kind<'_>) {
    let Problem { status, code, title, .. } = &row.example;
    let status = status.to_string();
    if responses.get(&status).is_none() {
        responses[&status] = json!({
            "description": format!("{title}. Codes: `{code}`"),
            "headers": headers(&status, kind),
            "content": {"application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}, "examples": {},
            }},
        });
    } else if let Some(text) = responses[&status]["description"].as_str() {
        responses[&status]["description"] = json!(format!("{text}, `{code}`"));
    }
    let examples = &mut responses[&status]["content"]["application/problem+json"]["examples"];
    examples[&**code] = json!({"$ref": format!("#/components/examples/{code}")});
}

fn headers(status: &str, kind: &Kind<'_>) -> Value {
    let always = ["X-Correlation-Id", "RateLimit", "RateLimit-Policy"];
    let more: &[&str] = match status {
        "401" => &["WWW-Authenticate"],
        "415" if kind.method == "PATCH" => &["Accept-Patch"],
        "429" | "503" => &["Retry-After"],
        _ => &[],
    };
    let named = always.iter().chain(more).map(|name| ((*name).to_owned(), header(name)));
    Value::Object(named.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tenancy_api::problem::CODES;

    #[test]
    fn must_have_an_example_of_every_code_that_an_operation_answers() {
        let shown: BTreeSet<_> = all().into_iter().map(|row| row.example.code.into_owned()).collect();
        // 405 belongs to no operation; the other two codes never leave the server.
        let others =
            ["method_not_allowed", "lease_lost", "placement_missing", "slot_taken", "conflict"].map(str::to_owned);
        let described: BTreeSet<_> = shown.into_iter().chain(others).collect();
        assert_eq!(described, CODES.map(str::to_owned).into());
    }
}
