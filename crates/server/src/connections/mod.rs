//! Connections of clients: who may open one, how long a client may take, and how much memory it may hold.

pub mod accept;
pub mod connection;
pub mod limits;
pub mod open_files;
pub mod response_budget;
pub mod seats;
pub mod stream;
pub mod tls;
