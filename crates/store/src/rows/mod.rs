//! Each kind of row, described once: both databases' statements are made from these descriptions.

mod log;
mod record;
mod table;
mod value;
mod writes;

pub use log::{AuditRow, LOG_BATCHES, PLATFORM_AUDIT, PrivateRow, TENANT_AUDIT};
pub use record::{
    ALIASES as TABLE_ALIASES, API_KEYS as TABLE_API_KEYS, AliasRow, ENVIRONMENTS as TABLE_ENVIRONMENTS,
    HOLDS as TABLE_HOLDS, IDEMPOTENCY_RECORDS as TABLE_IDEMPOTENCY_RECORDS, STAMPS, Stamp,
    TENANT_JOBS as TABLE_TENANT_JOBS, TENANT_WEBHOOKS as TABLE_TENANT_WEBHOOKS, TENANTS as TABLE_TENANTS, UsageRow,
};
pub use table::{Check, Column, Dialect, Record, Table, WriteShape, parameter_type, unnest};
pub use value::{Corrupt, Field, Type, Value, size};
pub use writes::{INSERT_ANSWER, INSERT_PRIVATE, INSERT_USAGE, KindIndex, WRITES, rows};

/// Every table that is described: for the test that holds descriptions against the catalogs, and for the model.
#[cfg(any(test, feature = "model"))]
pub const TABLES: &[&Table] = &[
    record::ORGANIZATIONS,
    record::ORGANIZATION_USAGE,
    record::TENANTS,
    record::TENANT_VERSIONS,
    record::ENVIRONMENTS,
    record::ENVIRONMENT_VERSIONS,
    record::HOLDS,
    record::ALIASES,
    record::TENANT_WEBHOOKS,
    record::TENANT_JOBS,
    record::IDEMPOTENCY_RECORDS,
    record::API_KEYS,
    log::TENANT_AUDIT,
    log::PLATFORM_AUDIT,
    log::AUDIT_PRIVATE,
    log::LOG_BATCHES,
];

/// Describes a table whose columns are the fields of a type.
macro_rules! described {
    ($(#[$doc:meta])* $rust:ty as $TABLE:ident $name:literal [$($key:ident),+] { $($field:ident: $ty:ty),+ $(,)? }) => {
        $(#[$doc])*
        pub const $TABLE: &$crate::rows::Table = &$crate::rows::Table {
            name: $name,
            key: &[$(stringify!($key)),+],
            columns: &[$($crate::rows::Column {
                name: stringify!($field),
                ty: <$ty as $crate::rows::Field>::TYPE,
            }),+],
        };

        impl $crate::rows::Record for $rust {
            const TABLE: &'static $crate::rows::Table = $TABLE;

            fn values(&self) -> Vec<$crate::rows::Value> {
                vec![$($crate::rows::Field::put(&self.$field)),+]
            }

            fn from_values(values: Vec<$crate::rows::Value>) -> Result<Self, $crate::rows::Corrupt> {
                let mut values = values.into_iter();
                Ok(Self { $($field: {
                    let value = values.next().unwrap_or($crate::rows::Value::Null);
                    <$ty as $crate::rows::Field>::take(value)
                        .map_err(|error| $crate::rows::Corrupt(format!("{}.{}: {}", $name, stringify!($field), error.0)))?
                }),+ })
            }
        }
    };
}
pub(crate) use described;
