//! The `wire!` macro.
//!
//! ```text
//! wire! {
//!     /// A classic-group member says it is alive.
//!     request HeartbeatRequest<'a> 12, 0..=4, flexible 4 {
//!         group_id: &'a str,
//!         generation_id: i32,
//!         member_id: &'a str,
//!         /// Static member's name (KIP-345).
//!         group_instance_id: Option<&'a str> [3..] = None,
//!     }
//!     response HeartbeatResponse 12, 0..=4, flexible 4 {
//!         throttle_time_ms: i32 [1.., ignorable],
//!         error_code: i16,
//!     }
//! }
//! ```
//!
//! **Items**, any number in one `wire!`:
//!
//! | item | is |
//! |---|---|
//! | `request Name key, min..=max, flexible n` | a request |
//! | `response Name key, min..=max, flexible n` | a response |
//! | `record Name key, min..=max, flexible n` | something Kafka persists |
//! | `struct Name` | part of any of these, in their versions |
//!
//! `flexible never` is for what has no flexible version. A struct that borrows says `<'a>`. The
//! numbers of a request or response are compared with the [API table](crate::api_key) at build
//! time.
//!
//! **Fields**: `name: Type [attributes] = default`, in wire order; tagged ones by ascending tag
//! (checked at build time), anywhere among the others. No attributes, no brackets; no default,
//! [`Value::empty`](super::Value::empty), which for an `Option` is *some* empty value, as in Kafka.
//!
//! | attribute | the field |
//! |---|---|
//! | `3..`, `..=6`, `3..=6` | exists in these versions; elsewhere it reads as its default |
//! | `null 5..` | may be null from version 5 on only (an `Option` alone: whenever it exists) |
//! | `tag 0` | is a tagged field, left out while it equals its default |
//! | `ignorable` | may be dropped, whatever its value, in a version that lacks it |
//!
//! Of a field that is not ignorable only the default may be dropped; any other value is an
//! [`EncodeError::NotInVersion`](crate::error::EncodeError::NotInVersion).
//!
//! **Types**: `bool i8 i16 u16 i32 u32 i64 f64 Uuid`, structs, and
//!
//! | | requests, responses | records |
//! |---|---|---|
//! | text | `&'a str` | `String` |
//! | bytes | `&'a [u8]`, [`Records`](crate::primitives::Records) | `Vec<u8>` |
//! | arrays | [`List`](crate::list::List) | `Vec<T>` |
//! | nullable | `Option` of any of these or of a struct | same |
//!
//! A struct that may be null has a byte in front saying so, in every version that has the field.
//!
//! **Expansion**: per struct the struct itself (`Clone`, `Debug`, `PartialEq`, `Default`) and a
//! [`Value`](super::Value) whose functions are one line per field; per message also
//! [`Message`](super::Message) and inherent `decode` and `encode`. Each field's versions are a
//! constant, so what a version check decides is left to the compiler. The macro recurses once per
//! attribute, never per field or token.

/// Declares messages; see the [module](self).
macro_rules! wire {
    ($(
        $(#[$meta:meta])*
        $kind:ident $name:ident $(<$lt:lifetime>)?
            $($key:literal, $min:literal ..= $max:literal, flexible $flexible:tt)?
        {
            $( $(#[$field_meta:meta])* $field:ident : $ty:ty
               $([ $($attr:tt)+ ])? $(= $default:expr)? ),* $(,)?
        }
    )+) => { $(
        $crate::schema::declare::declare_struct! { ($($lt)?)
            $(#[$meta])* $name {
                $( $(#[$field_meta])* $field: $ty, [$($($attr)+)?], [$($default)?] )*
            }
        }
        $crate::schema::declare::declare_message! { ($($lt)?)
            $kind $name $(, $key, $min, $max, $flexible)?
        }
    )+ };
}

/// The struct, its defaults, and its decoder and encoder.
macro_rules! declare_struct {
    (() $($item:tt)+) => {
        $crate::schema::declare::declare_struct! { @ ['wire] [] $($item)+ }
    };
    (($lt:lifetime) $($item:tt)+) => {
        $crate::schema::declare::declare_struct! { @ [$lt] [<$lt>] $($item)+ }
    };
    (@ [$lt:lifetime] [$($generics:tt)*]
        $(#[$meta:meta])* $name:ident {
            $( $(#[$field_meta:meta])* $field:ident : $ty:ty, [$($attr:tt)*], [$($default:expr)?] )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name $($generics)* {
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        const _: () = {
            use $crate::schema::declare::scope;

            /// What the declaration says of each field.
            enum Fields {}

            // Named as the fields, so that one repetition can reach both.
            #[allow(non_upper_case_globals)]
            impl Fields {
                $( const $field: scope::Spec = scope::spec!(
                    [scope::Spec::new(stringify!($field))] $($attr)*
                ); )*
                const ALL: &[scope::Spec] = &[$( Self::$field ),*];
            }

            scope::Spec::check(Fields::ALL);

            impl<$lt> Default for $name $($generics)* {
                fn default() -> Self {
                    Self { $( $field: scope::default_of!($ty $(, $default)?), )* }
                }
            }

            impl<$lt> scope::Value<$lt> for $name $($generics)* {
                const SHAPE: scope::Shape = scope::Shape::Struct(&scope::StructShape {
                    name: stringify!($name),
                    fields: &[$( (Fields::$field, <$ty as scope::Value<$lt>>::SHAPE) ),*],
                });

                fn min_size(at: scope::At) -> usize {
                    usize::from(at.flexible) $( + Fields::$field.min_size::<$ty>(at) )*
                }

                fn empty() -> Self {
                    Self::default()
                }

                // A struct may have no fields.
                #[allow(unused_mut)]
                fn read(
                    cur: &mut scope::Cursor<$lt>,
                    at: scope::At,
                ) -> Result<Self, scope::DecodeError> {
                    let mut this = Self { $(
                        $field: Fields::$field.read(
                            cur, at, || scope::default_of!($ty $(, $default)?)
                        )?,
                    )* };
                    if at.flexible {
                        scope::read_tagged(cur, |_tag, _value| {
                            // A constant: of fields without a tag nothing is generated.
                            $( if const { Fields::$field.tag.is_some() }
                                && Fields::$field.takes(_tag, at)
                            {
                                this.$field = Fields::$field.read_tagged(_value, at)?;
                                return Ok(true);
                            } )*
                            Ok(false)
                        })?;
                    }
                    Ok(this)
                }

                fn write(
                    &self,
                    w: &mut scope::Writer,
                    at: scope::At,
                ) -> Result<(), scope::EncodeError> {
                    $( Fields::$field.write(
                        w, at, &self.$field, || scope::default_of!($ty $(, $default)?)
                    )?; )*
                    if at.flexible {
                        w.uvarint(0 $( + Fields::$field.tagged(
                            at, &self.$field, || scope::default_of!($ty $(, $default)?)
                        ) )*);
                        $( if const { Fields::$field.tag.is_some() } {
                            Fields::$field.write_tagged(
                                w, at, &self.$field, || scope::default_of!($ty $(, $default)?)
                            )?;
                        } )*
                    }
                    Ok(())
                }
            }

            impl<$lt> scope::Nullable<$lt> for $name $($generics)* {
                fn null_size(_: scope::At) -> usize {
                    1
                }

                fn read_nullable(
                    cur: &mut scope::Cursor<$lt>,
                    at: scope::At,
                ) -> Result<Option<Self>, scope::DecodeError> {
                    scope::read_nullable(cur, at)
                }

                fn write_present(
                    &self,
                    w: &mut scope::Writer,
                    at: scope::At,
                ) -> Result<(), scope::EncodeError> {
                    w.i8(1);
                    scope::Value::write(self, w, at)
                }

                fn write_null(w: &mut scope::Writer, _: scope::At) {
                    w.i8(-1);
                }

                fn read_nullable_tagged(
                    cur: &mut scope::Cursor<$lt>,
                    at: scope::At,
                ) -> Result<Option<Self>, scope::DecodeError> {
                    scope::read_nullable_tagged(cur, at)
                }

                fn write_null_tagged(w: &mut scope::Writer, _: scope::At) {
                    w.uvarint(0);
                }
            }
        };
    };
}

/// What a message has beyond a struct.
macro_rules! declare_message {
    (($($lt:lifetime)?) struct $name:ident) => {};
    (() $kind:ident $($item:tt)+) => {
        $crate::schema::declare::declare_message! { @ $kind ['wire] [] $($item)+ }
    };
    (($lt:lifetime) $kind:ident $($item:tt)+) => {
        $crate::schema::declare::declare_message! { @ $kind [$lt] [<$lt>] $($item)+ }
    };
    (@ $kind:ident [$lt:lifetime] [$($generics:tt)*]
        $name:ident, $key:literal, $min:literal, $max:literal, $flexible:tt
    ) => {
        const _: () = {
            use $crate::schema::declare::scope;

            scope::check_table!($kind, $key, $min, $max, scope::flexible_from!($flexible));

            impl<$lt> scope::Message<$lt> for $name $($generics)* {
                const NAME: &'static str = stringify!($name);
                const KEY: i16 = $key;
                const MIN_VERSION: i16 = $min;
                const MAX_VERSION: i16 = $max;
                const FLEXIBLE_FROM: i16 = scope::flexible_from!($flexible);
            }

            impl<$lt> $name $($generics)* {
                /// Reads the message; see [`crate::schema::decode`].
                pub fn decode(
                    cur: &mut scope::Cursor<$lt>,
                    version: i16,
                ) -> Result<Self, scope::DecodeError> {
                    scope::decode(cur, version)
                }

                /// Writes the message; see [`crate::schema::encode`].
                pub fn encode(
                    &self,
                    w: &mut scope::Writer,
                    version: i16,
                ) -> Result<(), scope::EncodeError> {
                    scope::encode(self, w, version)
                }
            }
        };
    };
}

/// A field's attributes as a [`Spec`](super::Spec), one per step.
macro_rules! spec {
    ([$spec:expr]) => { $spec };
    ([$spec:expr] $since:literal .. $(, $($rest:tt)*)?) => {
        $crate::schema::declare::spec!([$spec.since($since)] $($($rest)*)?)
    };
    ([$spec:expr] ..= $until:literal $(, $($rest:tt)*)?) => {
        $crate::schema::declare::spec!([$spec.until($until)] $($($rest)*)?)
    };
    ([$spec:expr] $since:literal ..= $until:literal $(, $($rest:tt)*)?) => {
        $crate::schema::declare::spec!([$spec.since($since).until($until)] $($($rest)*)?)
    };
    ([$spec:expr] null $since:literal .. $(, $($rest:tt)*)?) => {
        $crate::schema::declare::spec!([$spec.null_since($since)] $($($rest)*)?)
    };
    ([$spec:expr] tag $tag:literal $(, $($rest:tt)*)?) => {
        $crate::schema::declare::spec!([$spec.tag($tag)] $($($rest)*)?)
    };
    ([$spec:expr] ignorable $(, $($rest:tt)*)?) => {
        $crate::schema::declare::spec!([$spec.ignorable()] $($($rest)*)?)
    };
}

/// A field's default.
macro_rules! default_of {
    ($ty:ty) => {
        <$ty as $crate::schema::Value<'_>>::empty()
    };
    ($ty:ty, $default:expr) => {
        $default
    };
}

/// `flexible 4` or `flexible never`.
macro_rules! flexible_from {
    (never) => {
        i16::MAX
    };
    ($from:literal) => {
        $from
    };
}

/// Requests and responses agree with the API table; records have none.
macro_rules! check_table {
    (record, $($row:tt)*) => {};
    ($kind:ident, $key:expr, $min:expr, $max:expr, $flexible:expr) => {
        $crate::schema::declare::scope::ApiKey::check($key, $min, $max, $flexible);
    };
}

/// Everything the expansion names, under one name of its own: Kafka has structs called `Cursor`,
/// and may come to have others that would clash.
pub(crate) mod scope {
    pub(crate) use crate::api_key::ApiKey;
    pub(crate) use crate::cursor::Cursor;
    pub(crate) use crate::error::{DecodeError, EncodeError};
    pub(crate) use crate::schema::{
        At, Message, Nullable, Shape, Spec, StructShape, Value, decode, encode, read_nullable,
        read_nullable_tagged, read_tagged,
    };
    pub(crate) use crate::writer::Writer;

    pub(crate) use super::{check_table, default_of, flexible_from, spec};
}

pub(crate) use {
    check_table, declare_message, declare_struct, default_of, flexible_from, spec, wire,
};
