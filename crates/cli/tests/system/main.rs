//! The real program as a server, over HTTP and on both databases, under faults: kills, many connections, lost networks,
//! full disks and invalid requests.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on shall stop")]

mod agent;
mod agree;
mod away;
mod backup;
mod behind;
mod copy;
mod environments;
mod followers;
mod full;
mod gateway;
mod gateway_faults;
mod gone;
mod heard;
mod http;
mod key_program;
mod keys_away;
mod killed;
mod load;
mod peers;
mod place;
mod pooled;
mod receiver;
mod secrets;
mod server;
mod shared;
mod starting;
#[cfg(target_os = "linux")]
mod unsynced;
mod writers;
