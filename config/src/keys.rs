//! THE TABLE: every key, one row each.
//!
//! To add a key, add a row to the table of its kind and run
//! `UPDATE_DOCS=1 cargo test -p odradek-config docs`; nothing else has to learn of it. A row reads
//!
//! ```text
//! "kafka.name" rust_field: Column = default, what may be set, who may set it, "What it does.";
//! ```
//!
//! | table | rows become | |
//! |---|---|---|
//! | [`topic::TOPIC`] | fields of [`TopicConfig`] | set on a topic |
//! | [`broker::BROKER`] | fields of [`Settings`] | set on a broker, read by its code |
//! | [`defaults::DEFAULTS`] | nothing | set on a broker, read through the topic keys that name them as synonyms |
//! | [`inert::INERT`] | nothing | set on a broker in Kafka, without effect here |
//! | [`group::CONSUMER`] | fields of [`GroupConfig`] | set on a group |
//! | [`group::OTHER`], [`group::SUBSCRIPTION`] | nothing | set on a group or a telemetry subscription in Kafka, without effect here |
//! | [`foreign`] | refusals | keys of Kafka's that Odradek does not have, and why |
//!
//! Columns are the types of the module `value`; what follows the default are the `const` methods of
//! [`Key`].

pub mod broker;
pub mod defaults;
pub mod foreign;
pub mod group;
pub mod inert;
pub mod topic;

pub use broker::Settings;
pub use group::GroupConfig;
pub use topic::TopicConfig;

use crate::table::Key;

/// Writes a table of keys, and the struct that holds their values where a name is given for it.
macro_rules! keys {
    (
        $(#[$table_doc:meta])* table $TABLE:ident;
        $(#[$struct_doc:meta])* struct $Struct:ident;
        $( $group:literal { $(
            $name:literal $field:ident: $column:ident $(= $default:literal)?
                $(, $word:ident $(($($arg:expr),* $(,)?))?)*, $doc:literal;
        )+ } )+
    ) => {
        $crate::keys::keys! {
            $(#[$table_doc])* table $TABLE;
            $( $group { $(
                $name: $column $(= $default)? $(, $word $(($($arg),*))?)*, $doc;
            )+ } )+
        }

        $(#[$struct_doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Struct { $( $(
            #[doc = concat!("`", $name, "`: ", $doc)]
            pub $field: $crate::value::rust_type!($column),
        )+ )+ }

        impl $Struct {
            /// Builds the struct from the value of each row.
            pub(crate) fn read(
                mut value: impl FnMut(&'static $crate::table::Key) -> $crate::value::Value,
            ) -> Self {
                // A struct expression evaluates its fields as written: in the order of the rows.
                let mut rows = $TABLE.iter();
                let mut next = || value(rows.next().expect("each field is one row"));
                Self { $( $(
                    $field: <$crate::keys::columns::$column as $crate::value::Typed>::read(&next()),
                )+ )+ }
            }
        }
    };
    (
        $(#[$table_doc:meta])* table $TABLE:ident;
        $( $group:literal { $(
            $name:literal: $column:ident $(= $default:literal)?
                $(, $word:ident $(($($arg:expr),* $(,)?))?)*, $doc:literal;
        )+ } )+
    ) => {
        $(#[$table_doc])*
        pub const $TABLE: &[$crate::table::Key] = &[ $( $(
            $crate::keys::column!($column, $name)
                .described($group, $doc)
                $(.default($crate::keys::default!($column, $default)))?
                $(.$word($($($arg),*)?))*,
        )+ )+ ];
    };
}
use keys;

/// Kafka's type and the unit behind a column.
macro_rules! column {
    (Bool, $name:expr) => { $crate::keys::column!(@ Bool, None, $name) };
    (Int, $name:expr) => { $crate::keys::column!(@ Int, None, $name) };
    (Count, $name:expr) => { $crate::keys::column!(@ Int, None, $name) };
    (Short, $name:expr) => { $crate::keys::column!(@ Short, None, $name) };
    (Long, $name:expr) => { $crate::keys::column!(@ Long, None, $name) };
    (Double, $name:expr) => { $crate::keys::column!(@ Double, None, $name) };
    (Bytes, $name:expr) => { $crate::keys::column!(@ Long, Bytes, $name) };
    (LimitBytes, $name:expr) => { $crate::keys::column!(@ Long, Bytes, $name) };
    (IntBytes, $name:expr) => { $crate::keys::column!(@ Int, Bytes, $name) };
    (Millis, $name:expr) => { $crate::keys::column!(@ Long, Millis, $name) };
    (LimitMillis, $name:expr) => { $crate::keys::column!(@ Long, Millis, $name) };
    (IntMillis, $name:expr) => { $crate::keys::column!(@ Int, Millis, $name) };
    (List, $name:expr) => { $crate::keys::column!(@ List, None, $name) };
    (CleanupPolicy, $name:expr) => { $crate::keys::column!(@ List, None, $name) };
    (Password, $name:expr) => { $crate::keys::column!(@ Password, None, $name) };
    (@ $kind:ident, $unit:ident, $name:expr) => {
        $crate::table::Key::new($name, $crate::table::Kind::$kind, $crate::table::Unit::$unit)
    };
    ($text:ident, $name:expr) => { $crate::keys::column!(@ String, None, $name) };
}
use column;

/// The default of a row, by its column.
macro_rules! default {
    (Bool, $value:literal) => {
        $crate::table::DefaultValue::Bool($value)
    };
    (Double, $value:literal) => {
        $crate::table::DefaultValue::Double($value)
    };
    (Text, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    (OptText, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    (List, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    (CleanupPolicy, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    (CompressionType, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    (TimestampType, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    (Durability, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    (BatchValidation, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    (LogFormat, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    (LogLevel, $value:literal) => {
        $crate::table::DefaultValue::Text($value)
    };
    ($number:ident, $value:literal) => {
        $crate::table::DefaultValue::Int($value)
    };
}
use default;

/// What a row may name as its column.
mod columns {
    pub(super) use crate::choice::{
        BatchValidation, CleanupPolicy, CompressionType, Durability, LogFormat, LogLevel,
        TimestampType,
    };
    pub(super) use crate::value::{
        Bool, Bytes, Count, Double, Int, IntBytes, IntMillis, LimitBytes, LimitMillis, List, Long,
        Millis, OptText, Short, Text,
    };
}

/// Every key of a broker: those its own code reads, those that topics read, and
/// those that change nothing.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    broker::BROKER.iter().chain(defaults::DEFAULTS).chain(inert::INERT)
}

/// Every key of a topic.
pub fn topic_keys() -> impl Iterator<Item = &'static Key> {
    topic::TOPIC.iter()
}

/// Every key of a group.
pub fn group_keys() -> impl Iterator<Item = &'static Key> {
    group::CONSUMER.iter().chain(group::OTHER)
}

/// The group key of that name.
#[must_use]
pub fn group_key(name: &str) -> Option<&'static Key> {
    group_keys().find(|key| key.name == name)
}

/// Every key of a telemetry subscription.
pub fn subscription_keys() -> impl Iterator<Item = &'static Key> {
    group::SUBSCRIPTION.iter()
}

/// The key of a telemetry subscription of that name.
#[must_use]
pub fn subscription_key(name: &str) -> Option<&'static Key> {
    subscription_keys().find(|key| key.name == name)
}

/// The broker key of that name.
#[must_use]
pub fn broker_key(name: &str) -> Option<&'static Key> {
    broker_keys().find(|key| key.name == name)
}

/// The topic key of that name.
#[must_use]
pub fn topic_key(name: &str) -> Option<&'static Key> {
    topic_keys().find(|key| key.name == name)
}

/// Why `name` is not among `keys`, for the person who typed it: a key of Kafka's that Odradek does
/// not have, or a near miss.
pub(crate) fn hint(name: &str, keys: impl Iterator<Item = &'static Key>) -> Option<String> {
    if let Some(why) = foreign::why(name) {
        return Some(why.to_owned());
    }
    // No slip of a finger is that long, and comparing takes the product of the lengths.
    if name.len() > HINTED_LEN_MAX {
        return None;
    }
    // A third of the name may differ: enough for a slip or a missing word, not for another key.
    let most = name.len().div_ceil(3);
    keys.map(|key| (distance(name, key.name), key.name))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, near)| format!("did you mean {near}?"))
}

/// Longer than any key.
const HINTED_LEN_MAX: usize = 128;

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
