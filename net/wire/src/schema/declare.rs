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
//! | `request Name key, min..=max, flexible n` | a request; key, versions and `n` are compared with the API table at build time |
//! | `response Name key, min..=max, flexible n` | a response, likewise |
//! | `record Name key, min..=max, flexible n` | something Kafka persists |
//! | `struct Name` | part of any of these, in their versions |
//!
//! `flexible never` is for what has no flexible version. A struct that borrows says `<'a>`.
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
//! | `ignorable` | is dropped by an encoder for a version that lacks it, whatever its value; without this, only its default is, and any other value is [`NotInVersion`](crate::error::EncodeError::NotInVersion) |
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
            use $crate::cursor::Cursor;
            use $crate::error::{DecodeError, EncodeError};
            use $crate::schema::{At, Nullable, Shape, Spec, StructShape, Value, read_tagged};
            use $crate::writer::Writer;

            /// What the declaration says of each field.
            enum Fields {}

            // Named as the fields, so that one repetition can reach both.
            #[allow(non_upper_case_globals)]
            impl Fields {
                $( const $field: Spec = $crate::schema::declare::spec!([Spec::new(stringify!($field))] $($attr)*); )*
                const ALL: &[Spec] = &[$( Self::$field ),*];
            }

            Spec::check(Fields::ALL);

            impl<$lt> Default for $name $($generics)* {
                fn default() -> Self {
                    Self { $( $field: $crate::schema::declare::default_of!($ty $(, $default)?), )* }
                }
            }

            impl<$lt> Value<$lt> for $name $($generics)* {
                const SHAPE: Shape = Shape::Struct(&StructShape {
                    name: stringify!($name),
                    fields: &[$( (Fields::$field, <$ty as Value<$lt>>::SHAPE) ),*],
                });

                fn min_size(at: At) -> usize {
                    usize::from(at.flexible) $( + Fields::$field.min_size::<$ty>(at) )*
                }

                fn empty() -> Self {
                    Self::default()
                }

                // A struct may have no fields.
                #[allow(unused_mut)]
                fn read(cur: &mut Cursor<$lt>, at: At) -> Result<Self, DecodeError> {
                    let mut this = Self {
                        $( $field: Fields::$field.read(cur, at, || $crate::schema::declare::default_of!($ty $(, $default)?))?, )*
                    };
                    if at.flexible {
                        read_tagged(cur, |_tag, _value| {
                            $( if Fields::$field.takes(_tag, at) {
                                this.$field = Fields::$field.read_value(_value, at)?;
                                return Ok(true);
                            } )*
                            Ok(false)
                        })?;
                    }
                    Ok(this)
                }

                fn write(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
                    $( Fields::$field.write(w, at, &self.$field, || $crate::schema::declare::default_of!($ty $(, $default)?))?; )*
                    if at.flexible {
                        w.uvarint(0 $( + u32::from(
                            Fields::$field.tagged(at, &self.$field, || $crate::schema::declare::default_of!($ty $(, $default)?))
                        ) )*);
                        $( Fields::$field.write_tagged(
                            w, at, &self.$field, || $crate::schema::declare::default_of!($ty $(, $default)?)
                        )?; )*
                    }
                    Ok(())
                }
            }

            impl<$lt> Nullable<$lt> for $name $($generics)* {
                fn null_size(_: At) -> usize {
                    1
                }

                fn read_nullable(
                    cur: &mut Cursor<$lt>,
                    at: At,
                ) -> Result<Option<Self>, DecodeError> {
                    if cur.i8()? < 0 { Ok(None) } else { Self::read(cur, at).map(Some) }
                }

                fn write_present(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
                    w.i8(1);
                    self.write(w, at)
                }

                fn write_null(w: &mut Writer, _: At) {
                    w.i8(-1);
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
            use $crate::cursor::Cursor;
            use $crate::error::{DecodeError, EncodeError};
            use $crate::schema::declare::{check_table, flexible_from};
            use $crate::schema::{self, Message};
            use $crate::writer::Writer;

            check_table!($kind, $key, $min, $max, flexible_from!($flexible));

            impl<$lt> Message<$lt> for $name $($generics)* {
                const NAME: &'static str = stringify!($name);
                const KEY: i16 = $key;
                const MIN_VERSION: i16 = $min;
                const MAX_VERSION: i16 = $max;
                const FLEXIBLE_FROM: i16 = flexible_from!($flexible);
            }

            impl<$lt> $name $($generics)* {
                /// Reads the message; see [`schema::decode`].
                pub fn decode(cur: &mut Cursor<$lt>, version: i16) -> Result<Self, DecodeError> {
                    schema::decode(cur, version)
                }

                /// Writes the message; see [`schema::encode`].
                pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
                    schema::encode(self, w, version)
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
        $crate::api_key::ApiKey::check($key, $min, $max, $flexible);
    };
}

pub(crate) use {
    check_table, declare_message, declare_struct, default_of, flexible_from, spec, wire,
};
