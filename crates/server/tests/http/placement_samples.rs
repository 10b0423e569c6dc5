//! Samples of the routes of placements.

use crate::every_route::{Sample, read, versioned, write};
use serde_json::{Value, json};

const PLACEMENT: &str = "/v1/placements/{placement}";
const DISK: &str = "/v1/placements/disk-1";

/// Samples of all routes of placements. `disk-1` exists.
pub fn all() -> Vec<Sample> {
    let mut capped = disk("disk-1");
    capped["max_environments"] = json!(7);
    vec![
        read("/v1/placements", "/v1/placements"),
        write("POST", "/v1/placements", "/v1/placements", disk("disk-2"), "PLACEMENT_CREATED"),
        read(PLACEMENT, DISK),
        versioned("PUT", PLACEMENT, DISK, capped, "PLACEMENT_UPDATED"),
        versioned("PATCH", PLACEMENT, DISK, json!({"cordoned": true}), "PLACEMENT_UPDATED"),
        versioned("DELETE", PLACEMENT, DISK, Value::Null, "PLACEMENT_DELETED"),
    ]
}

/// Manifest of a placement.
pub fn disk(name: &str) -> Value {
    json!({"name": name, "place_kind": "sqlite", "region": "eu-west-1"})
}
