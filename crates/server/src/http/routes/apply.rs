//! `/v1/apply`: a file of manifests. With `dry_run=true` this is a plan.

use crate::http::problem::Problem;
use crate::http::respond::json;
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::manifests::flatten;
use crate::operations::apply::Apply;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;
use tenancy_api::applied::Applied as AppliedView;
use tenancy_api::document::Document;
use tenancy_api::schema;
use tenancy_core::permission::Operation;

/// Applies manifests.
///
/// Decides on all documents before it writes any. If one document is refused, nothing is written; the answer has all
/// errors, and the results as they would be. With `partial=true`, the other documents are written. Each document is
/// committed separately; one that another request changes in between is refused alone.
///
/// A field that a document omits is left alone. A field that is present is the whole field: `labels`, `quotas`,
/// `policies`, `billing`, `caps`, `aliases`, the `quotas` of an environment and the `retry_policy` of a webhook lose the
/// keys that the document no longer has. Environments and webhooks are matched by name. PATCH merges instead.
///
/// A file has at most 20,000 documents and 32 MiB. A key applies or plans one file at a time; another one at the same
/// time is answered with 429. Without `dry_run`, also requires permission: write tenants; and if the file contains
/// organizations, write organizations, or, if only their webhooks change, write webhooks of organizations.
#[utoipa::path(
    post, path = "/v1/apply", tag = "apply", operation_id = "apply",
    params(
        ("dry_run" = Option<bool>, Query, description = "If `true`, write nothing and return what would change."),
        ("partial" = Option<bool>, Query, description = "If `true`, write the other documents if some are refused."),
        ("allow" = Option<Vec<schema::Allow>>, Query,
            description = "Kinds of gated changes to allow. A gated change can destroy data."),
    ),
    request_body(description = "Documents of kind Organization or Tenant. A list, or a document of kind List with `items`, stands for its items. YAML documents can also be separated by `---`.", content(
        (Vec<Document> = "application/yaml",
            example = json!([{"kind": "Organization", "organization_id": "acme"},
                {"kind": "Tenant", "tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1"}])),
        (Vec<Document> = "application/json",
            example = json!([{"kind": "Organization", "organization_id": "acme"}])),
    )),
    responses((status = 200, body = AppliedView)),
)]
pub async fn apply(State(server): State<Arc<Server>>, write: WriteRequest) -> Result<Response, Problem> {
    let key = write.request.caller.key().map(|key| key.key_id.clone());
    let turn = key.as_ref().map(|key| server.tenancy.applies.begin(key).ok_or_else(in_progress)).transpose()?;
    let documents: Vec<_> = flatten(write.documents().await?).into_iter().map(|found| found.content).collect();
    let organizations =
        documents.iter().any(|document| document.get("kind").and_then(Value::as_str) == Some("Organization"));
    if organizations && !write.dry_run {
        let caller = &write.request.caller;
        // The decision on a document refuses what else a scoped key would change.
        let organizations = caller.require(Operation::WriteOrganizations);
        organizations.or_else(|refused| caller.require(Operation::WriteOrganizationWebhooks).map_err(|_| refused))?;
    }
    let WriteRequest { request, allow, dry_run, partial, key, .. } = write;
    let apply = Apply { documents, allow, dry_run, partial };
    let tenancy = Arc::clone(&server.tenancy);
    // Errors in a file are part of the answer; the work itself always succeeds.
    let work = async move {
        let done = apply.run(&tenancy, &request, key.as_ref()).await;
        drop(turn);
        Ok(done)
    };
    let results = server.tenancy.to_its_end(work).await??;
    json(&AppliedView { results, dry_run })
}

fn in_progress() -> Problem {
    let detail = "This key is applying another file. Wait until that request is answered, then send this one again.";
    Problem::Http(StatusCode::TOO_MANY_REQUESTS, "apply_in_progress", detail.to_owned())
}
