//! A route: its handler, its OpenAPI description and its requirement, registered together.

use super::gate::{Gate, gate};
use super::server::Server;
use crate::authentication::Requirement;
use axum::middleware::from_fn_with_state;
use std::sync::Arc;
use utoipa_axum::router::UtoipaMethodRouter;

/// One method on one path. It cannot be created without a requirement.
pub struct Route {
    /// What the route requires of its caller.
    pub requirement: Requirement,
    /// HTTP method.
    pub method: &'static str,
    /// Path, with parameters in braces.
    pub path: String,
    methods: UtoipaMethodRouter<Arc<Server>>,
}

impl Route {
    /// Creates the route of `routes!(handler)`, which has one method on one path.
    pub fn new(requirement: Requirement, methods: UtoipaMethodRouter<Arc<Server>>) -> Self {
        let (path, method) = methods.1.paths.first_key_value().map_or_else(Default::default, |(path, item)| {
            let methods = [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("PATCH", &item.patch),
                ("DELETE", &item.delete),
            ];
            let method = methods.iter().find(|(_, operation)| operation.is_some()).map_or("", |(method, _)| *method);
            (path.clone(), method)
        });
        Self { requirement, method, path, methods }
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
        });
        let (schemas, paths, methods) = self.methods;
        (schemas, paths, methods.route_layer(from_fn_with_state(stands_before, gate)))
    }
}
