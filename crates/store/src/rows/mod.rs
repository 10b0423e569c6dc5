//! Descriptions of tables: columns, values, and the statements that are generated from them for both databases.

mod dialect;
mod table;
mod value;
mod write;

pub use dialect::{Dialect, parameter_type};
pub use table::{Column, Part, Record, Table, take};
pub use value::{Corrupt, Field, Type, Value, size};
pub use write::{Check, WriteShape, unnest};

/// Describes a table whose columns are the fields of a type, followed by the fields of its parts. An update of a part
/// sets the columns of the part and the columns named after `with`; this list is generated from the description. Columns
/// after `=>` follow from the type or from the part, and are written with it; they are never read back into it.
macro_rules! described {
    (
        $(#[$doc:meta])* $rust:ty as $TABLE:ident $name:literal [$($key:ident),+] { $($field:ident: $ty:ty),+ $(,)? }
        $(=> { $($derived:ident: $derived_type:ty = $derive:expr),+ $(,)? })?
        $(
            $part:ident: $part_type:ident as $SET:ident with $with:ident { $($inner:ident: $inner_type:ty),+ $(,)? }
            $(=> { $($follows:ident: $follows_type:ty = $follow:expr),+ $(,)? })?
        )*
    ) => {
        $(#[$doc])*
        pub const $TABLE: &$crate::rows::Table = &$crate::rows::Table {
            name: $name,
            key: &[$(stringify!($key)),+],
            columns: &[
                $($crate::rows::Column::of::<$ty>(stringify!($field)),)+
                $(
                    $($crate::rows::Column::of::<$inner_type>(stringify!($inner)),)+
                    $($($crate::rows::Column::of::<$follows_type>(stringify!($follows)),)+)?
                )*
                $($($crate::rows::Column::of::<$derived_type>(stringify!($derived)),)+)?
            ],
        };

        $(
            /// Columns that an update of this part sets, in the order of their values.
            const $SET: &[&str] =
                &[$(stringify!($inner),)+ $($(stringify!($follows),)+)? stringify!($with)];

            impl $crate::rows::Part for $part_type {
                fn values(&self) -> Vec<$crate::rows::Value> {
                    vec![
                        $($crate::rows::Field::put(&self.$inner),)+
                        $($($crate::rows::Field::put(&$follow(self)),)+)?
                    ]
                }
            }
        )*

        impl $crate::rows::Record for $rust {
            const TABLE: &'static $crate::rows::Table = $TABLE;

            fn values(&self) -> Vec<$crate::rows::Value> {
                vec![
                    $($crate::rows::Field::put(&self.$field),)+
                    $(
                        $($crate::rows::Field::put(&self.$part.$inner),)+
                        $($($crate::rows::Field::put(&$follow(&self.$part)),)+)?
                    )*
                    $($($crate::rows::Field::put(&$derive(self)),)+)?
                ]
            }

            fn from_values(values: Vec<$crate::rows::Value>) -> Result<Self, $crate::rows::Corrupt> {
                let mut values = values.into_iter();
                Ok(Self {
                    $($field: $crate::rows::take::<$ty>(&mut values, $name, stringify!($field))?,)+
                    $($part: {
                        let part = $part_type {
                            $($inner: $crate::rows::take::<$inner_type>(&mut values, $name, stringify!($inner))?,)+
                        };
                        $($(
                            let _: $follows_type =
                                $crate::rows::take(&mut values, $name, stringify!($follows))?;
                        )+)?
                        part
                    },)*
                })
            }
        }
    };
}
pub(crate) use described;
