//! `/v1/apply`: a file of manifests. With `dry_run=true` this is a plan.

use crate::http::problem::Problem;
use crate::http::respond::json;
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::apply::Apply;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;
use tenancy_api::applied::{Applied as AppliedView, AppliedDocument, Difference as DifferenceView};
use tenancy_api::problem::ProblemError;
use tenancy_core::permission::Operation;

/// Applies manifests.
///
/// Checks all documents before it writes any. Then commits each document separately and returns one result for each.
/// Without `dry_run`, also requires permission: write tenants; and if the file contains organizations, write
/// organizations.
#[utoipa::path(
    post, path = "/v1/apply", tag = "apply", operation_id = "apply",
    params(
        ("dry_run" = Option<bool>, Query, description = "If `true`, write nothing and return what would change."),
        ("allow" = Option<Vec<String>>, Query,
            description = "Kinds of gated changes to allow. A gated change can destroy data."),
    ),
    request_body(description = "Documents of kind Organization or Tenant. In JSON, one document or a list.", content(
        (String = "application/yaml",
            example = "kind: Organization\norganization_id: acme\n---\nkind: Tenant\ntenant_id: acme-eu\norganization_id: acme\nregion: eu-west-1\n"),
        (Vec<Object> = "application/json",
            example = json!([{"kind": "Organization", "organization_id": "acme"}])),
    )),
    responses((status = 200, body = AppliedView)),
)]
pub async fn apply(State(server): State<Arc<Server>>, mut write: WriteRequest) -> Result<Response, Problem> {
    let documents = write.documents().await?;
    let organizations =
        documents.iter().any(|document| document.get("kind").and_then(Value::as_str) == Some("Organization"));
    if organizations && !write.dry_run {
        write.request.caller.require(Operation::WriteOrganizations)?;
    }
    let (allow, dry_run, key) = (std::mem::take(&mut write.allow), write.dry_run, write.key);
    let (request, apply) = (write.request, Apply { documents, allow, dry_run });
    let tenancy = Arc::clone(&server.tenancy);
    // Errors in a file are part of the answer; the work itself always succeeds.
    let work = async move { Ok(apply.run(&tenancy, &request, key.as_ref()).await) };
    let results = server.tenancy.to_its_end(work).await??;
    json(&AppliedView { results, dry_run })
}

/// Schemas of the results, for the OpenAPI document.
pub type Schemas = (AppliedDocument, DifferenceView, ProblemError);
