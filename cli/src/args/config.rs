//! `odradek config …`.

use clap::{ArgGroup, Args, Subcommand};

use super::Bootstrap;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show what holds for a topic, a broker, all brokers, a group or a set of client metrics.
    Describe {
        #[command(flatten)]
        bootstrap: Bootstrap,
        #[command(flatten)]
        entity: Entity,
        /// Only these keys.
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
        /// Also what nobody has set.
        #[arg(long)]
        all: bool,
        /// Every place that a value could come from, in order of precedence.
        #[arg(long)]
        synonyms: bool,
        /// What each key means.
        #[arg(long)]
        documentation: bool,
    },
    /// Change what holds, while brokers run.
    #[command(group = ArgGroup::new("change").required(true).multiple(true))]
    Alter {
        #[command(flatten)]
        bootstrap: Bootstrap,
        #[command(flatten)]
        entity: Entity,
        /// A value to set; may be repeated.
        #[arg(long, visible_alias = "add", value_name = "KEY=VALUE", group = "change")]
        set: Vec<String>,
        /// A key to take back to what holds without it; may be repeated.
        #[arg(long, value_name = "KEY", group = "change")]
        delete: Vec<String>,
        /// A value to add to a list; may be repeated.
        #[arg(long, value_name = "KEY=VALUE", group = "change")]
        append: Vec<String>,
        /// A value to take from a list; may be repeated.
        #[arg(long, value_name = "KEY=VALUE", group = "change")]
        subtract: Vec<String>,
        /// Only ask the broker whether it would do it.
        #[arg(long)]
        dry_run: bool,
    },
    /// Every key with its type, default, range and meaning.
    Reference {
        /// As a commented configuration file instead of a page.
        #[arg(long)]
        toml: bool,
    },
}

/// What is configured.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Entity {
    /// A topic.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// A broker, by its id.
    #[arg(long, value_name = "ID")]
    pub(crate) broker: Option<i32>,
    /// All brokers that have nothing of their own.
    #[arg(long, visible_alias = "broker-defaults")]
    pub(crate) broker_default: bool,
    /// The loggers of a broker, by its id.
    #[arg(long, value_name = "ID")]
    pub(crate) broker_loggers: Option<i32>,
    /// A group.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// A set of client metrics.
    #[arg(long, value_name = "NAME")]
    pub(crate) client_metrics: Option<String>,
}
