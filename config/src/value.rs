//! Values: from text as Kafka reads it, to text as Kafka shows it, and into Rust's types.

use std::fmt;

use crate::error::Problem;
use crate::table::Kind;

/// A value of one of Kafka's config types. `Display` is Kafka's text form.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number (INT or LONG).
    Int(i64),
    /// A floating point number.
    Double(f64),
    /// Text, also a password.
    Text(String),
    /// The trimmed parts of a comma-separated list, each once.
    List(Vec<String>),
}

impl Value {
    /// The whole number; 0 of anything else.
    pub(crate) fn number(&self) -> i64 {
        match self {
            Self::Int(n) => *n,
            _ => 0,
        }
    }

    /// Kafka's text form; `None` for null.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            value => Some(value.to_string()),
        }
    }

    /// The value of a synonym in the unit of the key it stands in for.
    pub(crate) fn scaled(self, scale: i64) -> Self {
        match self {
            // A negative number means "no limit" in every unit.
            Self::Int(n) if n >= 0 => Self::Int(n.saturating_mul(scale)),
            value => value,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            // Debug, because Java writes 1.0 where Rust's Display writes 1.
            // As Java writes it.
            Self::Double(value) => f.write_str(&format!("{value:?}").replace('e', "E")),
            Self::Text(text) => f.write_str(text),
            Self::List(parts) => f.write_str(&parts.join(",")),
        }
    }
}

/// Reads text as Kafka's `ConfigDef.parseType` does: trimmed, numbers within their width,
/// lists without repetitions.
pub(crate) fn parse(kind: Kind, text: &str) -> Result<Value, Problem> {
    let text = text.trim();
    let not_a_number = || Problem::NotANumber(kind);
    match kind {
        Kind::Bool if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Kind::Bool if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        Kind::Bool => Err(Problem::NotABool),
        Kind::Short => {
            text.parse::<i16>().map(|n| Value::Int(n.into())).map_err(|_| not_a_number())
        }
        Kind::Int => text.parse::<i32>().map(|n| Value::Int(n.into())).map_err(|_| not_a_number()),
        Kind::Long => text.parse().map(Value::Int).map_err(|_| not_a_number()),
        Kind::Double => match text.parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(Value::Double(n)),
            _ => Err(not_a_number()),
        },
        Kind::String | Kind::Password => Ok(Value::Text(text.to_owned())),
        Kind::List if text.is_empty() => Ok(Value::List(Vec::new())),
        Kind::List => {
            let mut parts: Vec<String> = Vec::new();
            for part in text.split(',').map(str::trim) {
                if !parts.iter().any(|other| other == part) {
                    parts.push(part.to_owned());
                }
            }
            Ok(Value::List(parts))
        }
    }
}

/// How a column of the key table looks in Rust: reads a value that passed the row's check.
pub(crate) trait Typed {
    type Out;
    fn read(value: &Value) -> Self::Out;
}

/// The Rust type behind a column of the key table; see `keys!`.
macro_rules! rust_type {
    (Bool) => { bool };
    (Int) => { i32 };
    (Long) => { i64 };
    (Double) => { f64 };
    (Count) => { u32 };
    (Short) => { i16 };
    (Bytes) => { u64 };
    (IntBytes) => { u64 };
    (Millis) => { i64 };
    (IntMillis) => { i64 };
    (LimitBytes) => { Option<u64> };
    (LimitMillis) => { Option<i64> };
    (Text) => { String };
    (OptText) => { Option<String> };
    (List) => { Vec<String> };
    ($choice:ident) => { crate::choice::$choice };
}
pub(crate) use rust_type;

/// Declares the columns that read one shape of [`Value`]: `name: pattern => expression`.
macro_rules! columns {
    ($( $(#[$doc:meta])* $name:ident: $pattern:pat => $out:expr, otherwise $null:expr; )*) => { $(
        $(#[$doc])*
        pub(crate) struct $name;

        impl Typed for $name {
            type Out = rust_type!($name);

            fn read(value: &Value) -> Self::Out {
                match value {
                    $pattern => $out,
                    Value::Null => $null,
                    other => unreachable!("a {} row holds {other:?}", stringify!($name)),
                }
            }
        }
    )* };
}

columns! {
    /// BOOLEAN.
    Bool: Value::Bool(value) => *value, otherwise false;
    /// INT that may be negative.
    Int: Value::Int(n) => i32::try_from(*n).unwrap_or(i32::MAX), otherwise 0;
    /// LONG that may be negative.
    Long: Value::Int(n) => *n, otherwise 0;
    /// DOUBLE.
    Double: Value::Double(n) => *n, otherwise 0.0;
    /// INT that counts.
    Count: Value::Int(n) => u32::try_from((*n).max(0)).unwrap_or(u32::MAX), otherwise 0;
    /// SHORT.
    Short: Value::Int(n) => i16::try_from(*n).unwrap_or(i16::MAX), otherwise 0;
    /// LONG of bytes.
    Bytes: Value::Int(n) => unsigned(*n), otherwise 0;
    /// INT of bytes.
    IntBytes: Value::Int(n) => unsigned(*n), otherwise 0;
    /// LONG of milliseconds.
    Millis: Value::Int(n) => *n, otherwise 0;
    /// INT of milliseconds.
    IntMillis: Value::Int(n) => *n, otherwise 0;
    /// LONG of bytes, negative for no limit.
    LimitBytes: Value::Int(n) => (*n >= 0).then(|| unsigned(*n)), otherwise None;
    /// LONG of milliseconds, negative for no limit.
    LimitMillis: Value::Int(n) => (*n >= 0).then_some(*n), otherwise None;
    /// STRING.
    Text: Value::Text(text) => text.clone(), otherwise String::new();
    /// STRING that may be null.
    OptText: Value::Text(text) => Some(text.clone()), otherwise None;
    /// LIST.
    List: Value::List(parts) => parts.clone(), otherwise Vec::new();
}

/// A negative number is 0; rows whose negative values mean something say so by their column.
fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
