//! Client for Rust programs: typed requests, and a cache of what tenants may do that follows the event feed.
//!
//! ```no_run
//! # async fn example() -> Result<(), tenancy_client::Error> {
//! use tenancy_client::{AccessCache, Client, Follower};
//!
//! let client = Client::new("https://tenancy.example.com", std::env::var("TENANCY_TOKEN").ok())?;
//! let tenant = client.tenant("host:acme.example.com").await?;
//! println!("{} is {}", tenant.row.tenant_id, tenant.row.state);
//!
//! let cache = AccessCache::new();
//! let stop = tokio_util::sync::CancellationToken::new();
//! tokio::spawn(Follower::new(client, cache.clone()).run(stop.clone()));
//! cache.ready().await;
//! let is_allowed = cache.get("acme-eu").is_some_and(|known| known.access.allowed);
//! # Ok(())
//! # }
//! ```

pub mod cache;
pub mod client;
pub mod error;
pub mod follower;
pub mod requests;
pub mod snapshot_file;
pub mod sse;

pub use cache::{AccessCache, Known};
pub use client::Client;
pub use error::Error;
pub use follower::{Follower, Link};
pub use snapshot_file::SnapshotFile;
pub use tenancy_api as api;
