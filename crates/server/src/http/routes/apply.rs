//! `/v1/apply`: a file of manifests; `dry_run=true` is plan.

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

/// Applies manifests: all are checked before any is written, then each is its own commit with its own line.
#[utoipa::path(
    post, path = "/v1/apply", tag = "apply", operation_id = "apply",
    params(
        ("dry_run" = Option<bool>, Query, description = "Write nothing: say what would be"),
        ("allow" = Option<Vec<String>>, Query, description = "Kinds of changes that may destroy data and are wanted"),
    ),
    request_body(description = "Documents of kind Organization or Tenant, as many as there are; in JSON one, or a list", content(
        (String = "application/yaml",
            example = "kind: Organization\norganization_id: acme\n---\nkind: Tenant\ntenant_id: acme-eu\norganization_id: acme\nregion: eu-west-1\n"),
        (Vec<Object> = "application/json",
            example = json!([{"kind": "Organization", "organization_id": "acme"}])),
    )),
    responses((status = 200, body = AppliedView)),
)]
pub async fn apply(State(server): State<Arc<Server>>, mut write: WriteRequest) -> Result<Response, Problem> {
    let documents = write.documents()?;
    let organizations =
        documents.iter().any(|document| document.get("kind").and_then(Value::as_str) == Some("Organization"));
    if organizations && !write.dry_run {
        write.request.caller.require(Operation::WriteOrganizations)?;
    }
    let (allow, dry_run, key) = (std::mem::take(&mut write.allow), write.dry_run, write.key);
    let (request, apply) = (write.request, Apply { documents, allow, dry_run });
    let tenancy = Arc::clone(&server.tenancy);
    // What is wrong with a file is an answer of the work, and no error that would stop it.
    let work = async move { Ok(apply.run(&tenancy, &request, key.as_ref()).await) };
    let results = server.tenancy.to_its_end(work).await??;
    json(&AppliedView { results, dry_run })
}

/// Schemas that the answer's lines are made of, for the OpenAPI document.
pub type Schemas = (AppliedDocument, DifferenceView, ProblemError);
