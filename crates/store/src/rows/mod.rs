//! What tables are described with: columns, values, and the statements that both databases get from a description.

mod dialect;
mod table;
mod value;
mod write;

pub use dialect::{Dialect, parameter_type};
pub use table::{Column, Record, Table};
pub use value::{Corrupt, Field, Type, Value, size};
pub use write::{Check, WriteShape, unnest};

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
