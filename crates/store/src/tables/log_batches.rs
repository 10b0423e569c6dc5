//! List of committed batches. It defines the order of positions in the log.

use crate::rows::{Column, Table, Type};

/// Committed batches.
pub const TABLE: &Table = &Table {
    name: "log_batches",
    key: &["last_position"],
    columns: &[
        Column { name: "last_position", ty: Type::Int },
        Column { name: "first_position", ty: Type::Int },
        Column { name: "committed_at", ty: Type::Time },
    ],
};
