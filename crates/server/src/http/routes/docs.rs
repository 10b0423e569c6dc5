//! `/openapi.json`, and `/docs`: the same content as an HTML page without external resources.

mod shape;

use self::shape::{Schemas, escape, pretty, prose};
use crate::http::openapi::{self, TAGS};
use crate::http::respond::bytes;
use axum::http::header::{CONTENT_SECURITY_POLICY, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// Redirects to `/docs`.
#[utoipa::path(get, path = "/", tag = "docs", operation_id = "root", responses((status = 307)))]
pub async fn root() -> Response {
    let mut response = bytes(StatusCode::TEMPORARY_REDIRECT, "text/plain", "see /docs\n");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/docs"));
    response
}

/// Returns the OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", tag = "docs", operation_id = "openapi", responses((status = 200, body = Object)))]
pub async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(openapi::text);
    bytes(StatusCode::OK, "application/json", TEXT.as_str())
}

/// Returns the API reference as HTML.
#[utoipa::path(get, path = "/docs", tag = "docs", operation_id = "docs", responses((status = 200, body = String, content_type = "text/html")))]
pub async fn docs() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| html(&openapi::document(crate::http::router::all())));
    let mut response = bytes(StatusCode::OK, "text/html; charset=utf-8", TEXT.as_str());
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// Long words wrap, so that nothing is wider than the window. In a narrow window, the cells of a row are stacked.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2733;\
    overflow-wrap:anywhere}h2{margin:2rem 0 .5rem;text-transform:capitalize}nav a{margin-right:1rem;text-transform:capitalize;\
    display:inline-block}a{color:#0b5cad}details{border:1px solid #d5dde5;border-radius:6px;margin:.4rem 0}\
    summary{padding:.4rem .7rem;cursor:pointer}details>div{padding:.2rem 1rem 1rem}code,pre{font:14px/1.4 ui-monospace,monospace}\
    pre{background:#f4f6f8;padding:.7rem;white-space:pre-wrap;border-radius:4px}b.m{display:inline-block;width:4.5rem}\
    table{border-collapse:collapse;margin:.3rem 0}td{padding:.15rem .8rem .15rem 0;vertical-align:top;\
    overflow-wrap:break-word}td:first-child{white-space:nowrap}.q{color:#5b6b7a}\
    @media(max-width:600px){tr,td{display:block;padding:0}td:first-child{white-space:normal}tr{margin:.4rem 0}}";

/// Order of the methods on a path.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Returns the page: a table of contents, the routes by tag with parameters, body and answers, then the schemas.
fn html(document: &Value) -> String {
    let schemas = Schemas::of(document);
    let tags = by_tag(document, &schemas);
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Tenancy</title><style>{STYLE}</style>\
         <h1>Tenancy</h1><p>The HTTP API. OpenAPI document: <a href=/openapi.json>openapi.json</a>. \
         Send a key as <code>Authorization: Bearer …</code>.</p><nav>"
    );
    for tag in tags.iter().map(|(tag, _)| tag.as_str()).chain(["schemas"]) {
        let tag = escape(tag);
        let _ = write!(page, "<a href=\"#tag-{tag}\">{tag}</a>");
    }
    page.push_str("</nav>");
    for (tag, text) in &tags {
        let tag = escape(tag);
        let _ = write!(page, "<h2 id=\"tag-{tag}\">{tag}</h2>{text}");
    }
    let _ = write!(page, "<h2 id=\"tag-schemas\">Schemas</h2>{}", schemas.all());
    page + "</html>\n"
}

/// Returns the routes of each tag, in the order of the tags.
fn by_tag<'a>(document: &'a Value, schemas: &Schemas<'a>) -> Vec<(String, String)> {
    let mut tags = Vec::<(String, String)>::new();
    for (path, item) in object(&document["paths"]) {
        let mut operations: Vec<_> = object(item).collect();
        operations.sort_by_key(|(method, _)| METHODS.iter().position(|known| known == method));
        for (method, operation) in operations {
            let tag = operation["tags"][0].as_str().unwrap_or("other").to_owned();
            let shown = operation_html(&method.to_uppercase(), path, operation, schemas);
            match tags.iter_mut().find(|(name, _)| *name == tag) {
                Some((_, text)) => text.push_str(&shown),
                None => tags.push((tag, shown)),
            }
        }
    }
    // An unknown tag comes before those about the server itself.
    let place = |tag: &str| TAGS.iter().position(|(known, _)| *known == tag).unwrap_or(TAGS.len() - 2);
    tags.sort_by_key(|(tag, _)| place(tag));
    tags
}

fn operation_html<'a>(method: &str, path: &str, operation: &'a Value, schemas: &Schemas<'a>) -> String {
    let text = |value: &Value| prose(value.as_str().unwrap_or_default());
    let mut shown = format!(
        "<details><summary><b class=m>{method}</b><code>{}</code> <span class=q>{}</span></summary><div>",
        escape(path),
        text(&operation["summary"])
    );
    if let Some(more) = operation["description"].as_str() {
        more.split("\n\n").for_each(|paragraph| shown += &format!("<p>{}</p>", prose(paragraph)));
    }
    shown.push_str("<table>");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        let _ = write!(shown, "<tr><td><code>{name}</code><td class=q>{place}<td>{}", text(&parameter["description"]));
    }
    shown.push_str("</table>");
    if let Some(what) = operation["requestBody"]["description"].as_str() {
        let _ = write!(shown, "<p>{}</p>", prose(what));
    }
    for (media, content) in object(&operation["requestBody"]["content"]) {
        let schema = &content["schema"];
        let _ = write!(shown, "<p>Body, <code>{}</code>: {}</p>", escape(media), schemas.name_of(schema));
        shown.push_str(&schemas.properties(schema));
        if let Some(example) = content.get("example").or_else(|| schemas.example(schema)) {
            let _ = write!(shown, "<p>For example</p>{}", pretty(example));
        }
    }
    for (status, response) in object(&operation["responses"]) {
        let response = schemas.response(response);
        let (status, what) = (escape(status), text(&response["description"]));
        let _ = write!(shown, "<p>Answers <b>{status}</b> <span class=q>{what}</span>");
        for content in object(&response["content"]).map(|(_, content)| content) {
            let _ = write!(shown, ": {}", schemas.name_of(&content["schema"]));
        }
        shown.push_str("</p>");
    }
    shown + "</div></details>"
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        html(&openapi::document(crate::http::router::all()))
    }

    #[test]
    fn must_show_every_route_and_fetch_nothing() {
        let page = page();
        for route in crate::http::router::all() {
            assert!(page.contains(&format!("<code>{}</code>", route.path)), "{}", route.path);
        }
        assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("http://"));
    }

    #[test]
    fn must_begin_with_tenants_and_end_with_the_server_itself() {
        let page = page();
        let places: Vec<_> = TAGS.iter().map(|(tag, _)| page.find(&format!("<h2 id=\"tag-{tag}\">"))).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
        assert_eq!(page.matches("<h2 id=\"tag-").count(), TAGS.len() + 1, "every tag has its place");
    }

    #[test]
    fn must_lead_from_every_link_to_what_it_names() {
        let page = page();
        let links: Vec<_> = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(links.contains(&"TenantManifest") && links.contains(&"tag-tenants"), "{links:?}");
        for link in links {
            assert_eq!(page.matches(&format!("id=\"{link}\"")).count(), 1, "{link}");
        }
    }

    #[test]
    fn must_show_properties_by_name_and_no_raw_markup() {
        let page = page();
        let at = page.find("<b class=m>PUT</b><code>/v1/tenants/{tenant_id}</code>").expect("the route");
        let put = page[at..].split("</details>").next().expect("its text");
        for part in ["<code>organization_id</code>", "<code>dataResidency</code>", "For example", "Acme Europe"] {
            assert!(put.contains(part), "{part}\n{put}");
        }
        assert!(!page.contains("$ref") && !page.contains('`'));
    }
}
