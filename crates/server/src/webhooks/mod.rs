//! Webhooks: what is sent to the endpoints of tenants, organizations and the platform.

pub mod sending;
