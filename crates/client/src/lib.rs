//! Client for Rust programs, with a cache of tenants that follows the event feed.
