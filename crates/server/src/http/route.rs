//! A route: its handler, its place in the OpenAPI document, and what a caller needs, registered in one.

use super::gate::{Gate, gate};
use super::server::Server;
use axum::middleware::from_fn_with_state;
use std::sync::Arc;
use tenancy_core::permission::Operation;
use utoipa_axum::router::UtoipaMethodRouter;

/// What a caller needs to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the route is open, and says nothing of any tenant.
    Nothing,
    /// A good key.
    Key,
    /// A good key that may do this.
    Permission(Operation),
}

/// One method on one path. There is no way to make one without saying what a caller needs.
pub struct Route {
    /// What a caller needs.
    pub needs: Needs,
    /// The method.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: String,
    methods: UtoipaMethodRouter<Arc<Server>>,
}

impl Route {
    /// The route of `routes!(handler)`, which stands for one method on one path.
    pub fn new(needs: Needs, methods: UtoipaMethodRouter<Arc<Server>>) -> Self {
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
        Self { needs, method, path, methods }
    }

    /// Its registration, without the gate: for the OpenAPI document.
    pub fn documented(self) -> UtoipaMethodRouter<Arc<Server>> {
        self.methods
    }

    /// Its registration, behind the gate.
    pub fn gated(self, server: &Arc<Server>) -> UtoipaMethodRouter<Arc<Server>> {
        let stands_before = Arc::new(Gate {
            server: Arc::clone(server),
            needs: self.needs,
            method: self.method,
            metrics: server.metrics.route(self.method, &self.path),
            path: self.path,
        });
        let (schemas, paths, methods) = self.methods;
        (schemas, paths, methods.route_layer(from_fn_with_state(stands_before, gate)))
    }
}
