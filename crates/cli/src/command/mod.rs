//! The commands: one verb or noun in each file.

pub mod activate;
pub mod apply;
pub mod audit;
pub mod completions;
pub mod context;
pub mod db;
pub mod delete;
pub mod describe;
pub mod dev;
pub mod diff;
pub mod example;
pub mod explain;
pub mod export;
pub mod get;
pub mod key;
pub mod lifecycle;
pub mod logs;
pub mod plan;
pub mod purge;
pub mod rollback;
pub mod serve;
pub mod set;
pub mod status;
pub mod suspend;
pub mod undelete;
pub mod wait;
