//! A route: its handler, its OpenAPI description and its requirement, registered together.

use super::gate::{FOLLOWS, Gate, WAITS, gate};
use super::key_traffic::Weight;
use super::server::Server;
use crate::authentication::Requirement;
use axum::middleware::from_fn_with_state;
use std::sync::Arc;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::Operation;
use utoipa_axum::router::UtoipaMethodRouter;

/// One method on one path. It cannot be created without a requirement.
pub struct Route {
    /// What the route requires of its caller.
    pub requirement: Requirement,
    /// HTTP method.
    pub method: &'static str,
    /// Path, with parameters in braces.
    pub path: String,
    /// What its requests demand of the server.
    pub weight: Weight,
    methods: UtoipaMethodRouter<Arc<Server>>,
}

/// A registration without a method. The tests of every route find it.
fn nothing() -> (String, &'static str, Weight) {
    (String::new(), "", Weight::Light)
}

/// Returns what a request demands, by the parameters of its route, so that no list is forgotten.
fn weight(operation: &Operation) -> Weight {
    let has = |name: &str| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters.any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.name == name))
    };
    if has(FOLLOWS) {
        // It takes a seat for lists itself, while it reads one.
        return Weight::Waiting;
    }
    match (has("limit"), has(WAITS)) {
        (true, _) => Weight::Heavy,
        (false, true) => Weight::Waiting,
        (false, false) => Weight::Light,
    }
}

impl Route {
    /// Creates the route of `routes!(handler)`, which has one method on one path.
    pub fn new(requirement: Requirement, methods: UtoipaMethodRouter<Arc<Server>>) -> Self {
        let first = methods.1.paths.first_key_value();
        let (path, method, weight) = first.map_or_else(nothing, |(path, item)| {
            let methods = [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("PATCH", &item.patch),
                ("DELETE", &item.delete),
            ];
            let method = methods.iter().find_map(|(method, operation)| Some((*method, operation.as_ref()?)));
            method.map_or_else(nothing, |(method, operation)| (path.clone(), method, weight(operation)))
        });
        Self { requirement, method, path, weight, methods }
    }

    /// Returns the registration without the gate, for the OpenAPI document.
    pub fn documented(self) -> UtoipaMethodRouter<Arc<Server>> {
        self.methods
    }

    /// Returns the registration behind the gate.
    pub fn gated(self, server: &Arc<Server>) -> UtoipaMethodRouter<Arc<Server>> {
        let stands_before = Arc::new(Gate {
            server: Arc::clone(server),
            requirement: self.requirement,
            method: self.method,
            metrics: server.metrics.route(self.method, &self.path),
            path: self.path,
            weight: self.weight,
        });
        let (schemas, paths, methods) = self.methods;
        (schemas, paths, methods.route_layer(from_fn_with_state(stands_before, gate)))
    }
}
