//! Schemas of the bodies of PUT and PATCH: what a manifest declares, and the facts of an answer, so that an answer can be
//! edited and sent back.

use super::schemas::{Schemas, reference, with_null};
use crate::operations::documents::facts::{ENVIRONMENT, Facts, ORGANIZATION, TENANT};
use serde_json::{Map, Value, json};

/// A kind of resource that PUT and PATCH change.
struct Kind {
    /// Name of the resource and of the schema of its answers.
    name: &'static str,
    path: &'static str,
    /// Field that the path contains. It is therefore optional in the body.
    id: &'static str,
    facts: &'static Facts,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "Environment",
        path: "/v1/tenants/{tenant_id}/environments/{environment}",
        id: "name",
        facts: &ENVIRONMENT,
    },
    Kind { name: "Tenant", path: "/v1/tenants/{tenant_id}", id: "tenant_id", facts: &TENANT },
    Kind {
        name: "Organization",
        path: "/v1/organizations/{organization_id}",
        id: "organization_id",
        facts: &ORGANIZATION,
    },
];

/// Adds the schemas, and uses them in the bodies.
pub fn describe(document: &mut Value) {
    for kind in KINDS {
        let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
        let put = put(schemas, &kind);
        let patch = patch(&put, &kind);
        for (method, schema) in [("put", put), ("patch", patch)] {
            let name = format!("{}{}", kind.name, if method == "put" { "Put" } else { "Patch" });
            document["components"]["schemas"][&name] = schema;
            let content = &mut document["paths"][kind.path][method]["requestBody"]["content"];
            for (_, content) in content.as_object_mut().into_iter().flatten() {
                content["schema"] = reference(&name);
            }
        }
    }
    let manifests = [("TenantManifest", "Tenant"), ("OrganizationManifest", "Organization")];
    for (name, kind) in manifests {
        document["components"]["schemas"][name]["properties"]["kind"] = kind_of(kind);
    }
}

fn kind_of(kind: &str) -> Value {
    json!({"type": "string", "const": kind, "description": "Kind of the document. Optional, since the route implies it."})
}

/// Returns the schema of the body of PUT.
fn put(schemas: &Schemas, kind: &Kind) -> Value {
    let mut schema = schemas.get(&format!("{}Manifest", kind.name)).cloned().unwrap_or_default();
    let answer = &schemas.get(&format!("Written{}", kind.name)).unwrap_or(&Value::Null)["properties"];
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| name != kind.id);
    }
    let Some(properties) = schema["properties"].as_object_mut() else { return schema };
    for fact in kind.facts.fixed.iter().chain(kind.facts.moving) {
        properties.insert((*fact).to_owned(), read_only(&answer[*fact]));
    }
    let version = "Version that the change is based on, as an alternative to `If-Match`.";
    properties
        .insert("version".to_owned(), json!({"type": ["integer", "null"], "format": "int64", "description": version}));
    if kind.name != "Environment" {
        properties.insert("kind".to_owned(), kind_of(kind.name));
    }
    if properties.contains_key("environments") {
        properties["environments"]["items"] = reference("EnvironmentPut");
    }
    schema["description"] = json!(format!(
        "Complete manifest. Fields of an answer that the manifest does not set can be sent back with their current values. \
         `{}` is optional, since the path contains it.",
        kind.id
    ));
    schema
}

/// Returns the schema of a fact. Generators leave it out of what a caller has to send.
fn read_only(fact: &Value) -> Value {
    let mut fact = fact.clone();
    if let Some(fact) = fact.as_object_mut() {
        fact.insert("readOnly".to_owned(), json!(true));
    }
    fact
}

/// Returns the schema of the body of PATCH: no field is required, and `null` removes one.
fn patch(put: &Value, kind: &Kind) -> Value {
    let nullable = |(name, property): (&String, &Value)| {
        let is_kept = property["readOnly"] == true || name == "kind";
        (name.clone(), if is_kept { property.clone() } else { with_null(property) })
    };
    let properties: Map<_, _> = put["properties"].as_object().into_iter().flatten().map(nullable).collect();
    json!({
        "type": "object",
        "description": format!("JSON Merge Patch (RFC 7396) of the manifest of {}. A field that is omitted stays; `null` \
            removes a field or a key of a map; a list replaces the whole list.", article(kind.name)),
        "properties": properties,
    })
}

fn article(name: &str) -> String {
    let name = name.to_lowercase();
    if name.starts_with(['a', 'e', 'o']) { format!("an {name}") } else { format!("a {name}") }
}
