//! HTTP: handlers take, call an operation, and answer.

pub mod apply;
pub mod audit;
pub mod auth;
pub mod body;
pub mod correlation;
pub mod docs;
pub mod environments;
pub mod gate;
pub mod health;
pub mod jobs;
pub mod keys;
pub mod lifecycle;
pub mod openapi;
pub mod organization_holds;
pub mod organizations;
pub mod path;
pub mod problem;
pub mod query;
pub mod rendered;
pub mod respond;
pub mod route;
pub mod router;
pub mod server;
pub mod tenants;
pub mod versions;
pub mod write;
