//! Every key that can be set: its name, type, default, range and reason.
//!
//! One row of a table in [`keys`] is all there is to a key. From the rows come the typed structs
//! that the rest of Odradek reads ([`Settings`], [`TopicConfig`]), the checks with Kafka's wording
//! ([`ConfigError`]), what DescribeConfigs answers ([`Described`]), the reference page and the
//! example file ([`docs`]).
//!
//! ```text
//! rows ── defaults < TOML file < --set ──> Config ── < cluster default < per broker ──> Config
//!                                            │
//!                                            └── < overrides of one topic ──> TopicConfig
//! ```
//!
//! This crate reads one file at start-up and otherwise does no I/O; nothing in it changes in
//! place. A changed setting is a new [`Config`], handed to whoever needs it.

pub mod alter;
pub mod cpus;
pub mod docs;
pub mod keys;
pub mod listener;

mod choice;
mod describe;
mod error;
mod file;
mod group;
mod layer;
mod load;
mod memory;
mod node;
mod table;
mod topic;
mod value;

pub use choice::{
    BatchValidation, CleanupPolicy, CompressionType, Durability, LogFormat, LogLevel, TimestampType,
};
pub use describe::{Described, DescribedSynonym};
pub use error::{ConfigError, LoadError, LoadErrors, Origin, Problem};
pub use group::{validate_group_change, validate_subscription};
pub use keys::{GroupConfig, Settings, TopicConfig};
pub use layer::Source;
pub use load::ConfigBuilder;
pub use memory::CoreMemory;
pub use node::{BrokerScope, Config, validate_broker_dynamic};
pub use table::{DefaultValue, Key, Kind, Scope, Standing, Synonym, Unit};
pub use topic::{
    inert_topic_overrides, validate_internal_overrides, validate_topic_change,
    validate_topic_overrides,
};
pub use value::Value;
