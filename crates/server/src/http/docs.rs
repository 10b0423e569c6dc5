//! `/openapi.json`, and `/docs`: the same for people, one page without anything from elsewhere.

use super::openapi;
use super::respond::bytes;
use axum::http::header::{CONTENT_SECURITY_POLICY, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// Leads to `/docs`.
#[utoipa::path(get, path = "/", tag = "docs", operation_id = "root", responses((status = 307)))]
pub async fn root() -> Response {
    let mut response = bytes(StatusCode::TEMPORARY_REDIRECT, "text/plain", "see /docs\n");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/docs"));
    response
}

/// The OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", tag = "docs", operation_id = "openapi", responses((status = 200, body = Object)))]
pub async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(openapi::text);
    bytes(StatusCode::OK, "application/json", TEXT.as_str())
}

/// The OpenAPI document, for people.
#[utoipa::path(get, path = "/docs", tag = "docs", operation_id = "docs", responses((status = 200, body = String, content_type = "text/html")))]
pub async fn docs() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| html(&openapi::document(super::router::all())));
    let mut response = bytes(StatusCode::OK, "text/html; charset=utf-8", TEXT.as_str());
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2733}\
    h2{margin:2rem 0 .5rem;text-transform:capitalize}details{border:1px solid #d5dde5;border-radius:6px;margin:.4rem 0}\
    summary{padding:.4rem .7rem;cursor:pointer}details>div{padding:.2rem 1rem 1rem}code,pre{font:14px/1.4 ui-monospace,monospace}\
    pre{background:#f4f6f8;padding:.7rem;overflow:auto;border-radius:4px}b.m{display:inline-block;width:4.5rem}\
    table{border-collapse:collapse}td{padding:.15rem .8rem .15rem 0;vertical-align:top}.q{color:#5b6b7a}";

/// The page: routes by their tags, each with parameters, body and answers; then the schemas.
fn html(document: &Value) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Tenancy</title><style>{STYLE}</style>\
         <h1>Tenancy</h1><p>The HTTP API. The same for machines: <a href=/openapi.json>openapi.json</a>. \
         Send a key as <code>Authorization: Bearer …</code>.</p>"
    );
    let mut tags = Vec::<(String, String)>::new();
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            let tag = operation["tags"][0].as_str().unwrap_or("other").to_owned();
            let shown = operation_html(&method.to_uppercase(), path, operation);
            match tags.iter_mut().find(|(name, _)| *name == tag) {
                Some((_, text)) => text.push_str(&shown),
                None => tags.push((tag, shown)),
            }
        }
    }
    for (tag, text) in tags {
        let _ = write!(page, "<h2>{}</h2>{text}", escape(&tag));
    }
    page.push_str("<h2>Schemas</h2>");
    for (name, schema) in object(&document["components"]["schemas"]) {
        let name = escape(name);
        let _ = write!(
            page,
            "<details id=\"{name}\"><summary><code>{name}</code></summary><div>{}</div></details>",
            pretty(schema)
        );
    }
    page + "</html>\n"
}

fn operation_html(method: &str, path: &str, operation: &Value) -> String {
    let text = |value: &Value| escape(value.as_str().unwrap_or_default());
    let mut shown = format!(
        "<details><summary><b class=m>{method}</b><code>{}</code> <span class=q>{}</span></summary><div>",
        escape(path),
        text(&operation["summary"])
    );
    if let Some(permission) = operation["x-permission"].as_str() {
        let _ = write!(shown, "<p class=q>For who may {}.</p>", escape(permission));
    }
    shown.push_str("<table>");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        let _ = write!(shown, "<tr><td><code>{name}</code><td class=q>{place}<td>{}", text(&parameter["description"]));
    }
    shown.push_str("</table>");
    for (media, content) in object(&operation["requestBody"]["content"]) {
        let _ = write!(shown, "<p>Body, <code>{}</code></p>{}", escape(media), pretty(&content["schema"]));
        if let Some(example) = content.get("example") {
            let _ = write!(shown, "<p>For example</p>{}", pretty(example));
        }
    }
    for (status, response) in object(&operation["responses"]) {
        let (status, what) = (escape(status), text(&response["description"]));
        let _ = write!(shown, "<p>Answers <b>{status}</b> <span class=q>{what}</span></p>");
        for content in object(&response["content"]).map(|(_, content)| content) {
            shown.push_str(&pretty(&content["schema"]));
        }
    }
    shown + "</div></details>"
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn pretty(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    format!("<pre>{}</pre>", escape(&text))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_show_every_route_and_fetch_nothing() {
        let page = html(&openapi::document(crate::http::router::all()));
        for route in crate::http::router::all() {
            assert!(page.contains(&format!("<code>{}</code>", route.path)), "{}", route.path);
        }
        assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("http://"));
    }
}
