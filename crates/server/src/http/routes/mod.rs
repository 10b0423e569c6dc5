//! The handlers, one file for each noun. A handler takes a request, calls one operation and answers.

pub mod access;
pub mod apply;
pub mod audit;
pub mod connections;
pub mod docs;
pub mod environments;
pub mod event_types;
pub mod events;
pub mod health;
pub mod jobs;
pub mod keys;
pub mod lifecycle;
pub mod organization_holds;
pub mod organizations;
pub mod placements;
pub mod tenants;
pub mod versions;
pub mod webhooks;
