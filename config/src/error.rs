//! Why a setting was refused.
//!
//! [`ConfigError`] is about a request of a client and carries the text that Kafka sends;
//! [`LoadError`] is about the file or the command line and says where to look.

use std::fmt;
use std::path::PathBuf;

use crate::table::Kind;

/// A key or value that a client may not set.
///
/// The texts are Kafka's; where Odradek knows more, it is added behind. On a topic Kafka answers
/// INVALID_CONFIG unless a variant says otherwise; on a broker INVALID_REQUEST, but INVALID_CONFIG
/// for [`ConfigError::UnknownBrokerKey`], [`ConfigError::NotAList`] and the two about ELR.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No topic has such a key.
    #[error("Unknown topic config name: {key}{}", in_parens(.hint))]
    UnknownTopicKey {
        /// The key as sent.
        key: String,
        /// A key that was probably meant, or why the key is not known.
        hint: Option<String>,
    },
    /// No broker has such a key. Kafka accepts and forgets these.
    #[error("Unknown config name: {key}{}", in_parens(.hint))]
    UnknownBrokerKey {
        /// The key as sent.
        key: String,
        /// A key that was probably meant, or why the key is not known.
        hint: Option<String>,
    },
    /// No group has such a key.
    #[error("Unknown group config name: {key}")]
    UnknownGroupKey {
        /// The key as sent.
        key: String,
    },
    /// No telemetry subscription has such a key. INVALID_REQUEST.
    #[error("Unknown client metrics configuration: {key}")]
    UnknownSubscriptionKey {
        /// The key as sent.
        key: String,
    },
    /// Clients cannot be asked that often or that seldom. INVALID_REQUEST.
    #[error(
        "Invalid value {value} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
    )]
    SubscriptionInterval {
        /// The value, milliseconds.
        value: i64,
    },
    /// The value is of the wrong type or outside its range.
    #[error("Invalid value {} for configuration {key}: {problem}", .problem.part().unwrap_or(value))]
    Invalid {
        /// The key.
        key: &'static str,
        /// The value as sent.
        value: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The value is valid in Kafka and not built here yet.
    #[error("Invalid value {value} for configuration {key}: {why}")]
    NotBuilt {
        /// The key.
        key: &'static str,
        /// The value as sent.
        value: String,
        /// What is missing and what can be set meanwhile.
        why: &'static str,
    },
    /// Keys that are read once at start.
    #[error("Cannot update these configs dynamically: [{}]", .keys.join(", "))]
    NotDynamic {
        /// The keys.
        keys: Vec<&'static str>,
    },
    /// Keys that make sense for one broker only.
    #[error(
        "Cannot update these configs at default cluster level, broker id must be specified: [{}]",
        .keys.join(", ")
    )]
    NotClusterWide {
        /// The keys.
        keys: Vec<&'static str>,
    },
    /// APPEND or SUBTRACT on a key that is no list.
    #[error("Can't {op} to key {key} because its type is not LIST.")]
    NotAList {
        /// The key as sent.
        key: String,
        /// `APPEND` or `SUBTRACT`.
        op: &'static str,
    },
    /// A list has a part without text.
    #[error("Configuration '{key}' values must not be empty.")]
    EmptyPart {
        /// The key.
        key: &'static str,
    },
    /// A key is set to null. INVALID_REQUEST also on a topic.
    #[error("Null value not supported for : {key}")]
    Null {
        /// The key as sent.
        key: String,
    },
    /// A key of a topic is set to null where it is created.
    #[error("Null value not supported for topic configs: {key}")]
    NullOnTopic {
        /// The key as sent.
        key: String,
    },
    /// A request names a key more than once. INVALID_REQUEST also on a topic.
    #[error("Error due to duplicate config keys")]
    DuplicateKeys,
    /// Values that are valid alone contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// With eligible leader replicas only the cluster-wide value may exist.
    #[error("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")]
    MinIsrOfBrokerWithElr,
    /// With eligible leader replicas the cluster-wide value must exist.
    #[error("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")]
    MinIsrRemovedWithElr,
}

/// What is wrong with a value, in Kafka's words.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// Neither `true` nor `false`.
    NotABool,
    /// Not a number, or wider than its type.
    NotANumber(Kind),
    /// Below the least value.
    AtLeast(i64),
    /// Above the greatest value.
    AtMost(i64),
    /// Outside a range and not the one value allowed beside it.
    BetweenOr {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
        /// The one value allowed outside.
        or: i64,
    },
    /// None of the words.
    OneOf {
        /// The words.
        names: &'static [&'static str],
        /// The part of a list that is none of them.
        part: Option<String>,
    },
    /// A list has a part without text.
    EmptyPart,
    /// Anything else.
    Text(String),
}

/// Something wrong in the file or on the command line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct LoadError {
    /// Where it was said.
    pub origin: Origin,
    /// Key, value and what is allowed.
    pub message: String,
}

/// Everything wrong with a start's configuration, one line each.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadErrors(pub Vec<LoadError>);

/// Where a static value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// In a file.
    File {
        /// As given.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// By `--set KEY=VALUE`.
    Set,
    /// By the option named, such as `--listen`.
    Flag(&'static str),
    /// By nobody: it follows from defaults.
    Default,
}

impl Problem {
    /// Names the part of a list that is at fault.
    pub(crate) fn of_part(self, part: &str) -> Self {
        match self {
            Self::OneOf { names, .. } => Self::OneOf { names, part: Some(part.to_owned()) },
            problem => problem,
        }
    }

    fn part(&self) -> Option<&String> {
        match self {
            Self::OneOf { part, .. } => part.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABool => f.write_str("Expected value to be either true or false"),
            Self::NotANumber(kind) => write!(f, "Not a number of type {kind}"),
            Self::AtLeast(min) => write!(f, "Value must be at least {min}"),
            Self::AtMost(max) => write!(f, "Value must be no more than {max}"),
            Self::BetweenOr { min, max, or } => {
                write!(f, "Value must be between {min} and {max} or equal to {or}")
            }
            Self::OneOf { names, .. } => write!(f, "String must be one of: {}", names.join(", ")),
            Self::EmptyPart => f.write_str("no part of the list may be empty"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Set => f.write_str("--set"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Default => f.write_str("configuration"),
        }
    }
}

fn in_parens(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default()
}
