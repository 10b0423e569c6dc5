//! The position up to which events have become deliveries. Upkeep writes it.

use crate::rows::{Column, Table, Type};

/// The only row.
pub const TABLE: &Table = &Table {
    name: "webhook_dispatch",
    key: &["only_row"],
    columns: &[
        Column { name: "only_row", ty: Type::Bool },
        Column { name: "position", ty: Type::Int },
        Column { name: "lease_holder", ty: Type::Text },
        Column { name: "lease_epoch", ty: Type::Int },
        Column { name: "lease_until", ty: Type::Time },
    ],
};
