//! A route: its handler, its place in the OpenAPI document, and what is required of a caller, registered in one.

use super::gate::{Gate, gate};
use super::server::Server;
use crate::authentication::Requirement;
use axum::middleware::from_fn_with_state;
use std::sync::Arc;
use utoipa_axum::router::UtoipaMethodRouter;

/// One method on one path. There is no way to make one without saying what is required of a caller.
pub struct Route {
    /// What is required of a caller.
    pub requirement: Requirement,
    /// The method.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: String,
    methods: UtoipaMethodRouter<Arc<Server>>,
}

impl Route {
    /// The route of `routes!(handler)`, which stands for one method on one path.
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

    /// Its registration, without the gate: for the OpenAPI document.
    pub fn documented(self) -> UtoipaMethodRouter<Arc<Server>> {
        self.methods
    }

    /// Its registration, behind the gate.
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
