//! `odradek group …`.

use clap::{ArgGroup, Args, Subcommand};

use super::{Bootstrap, ResetTo};

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List the groups.
    List {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Only groups in these states, such as stable,empty.
        #[arg(long, value_name = "STATES", value_delimiter = ',')]
        state: Vec<String>,
        /// Only groups of these kinds: classic, consumer.
        #[arg(long = "type", visible_alias = "kind", value_name = "KINDS", value_delimiter = ',')]
        kind: Vec<String>,
    },
    /// Show how far groups have come, how far they are behind, and who reads what.
    Describe {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Names of the groups.
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Show the members of a group.
    Members {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Name of the group.
        group: String,
    },
    /// Show how many records groups are behind, by topic.
    Lag {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Names of the groups [default: all].
        groups: Vec<String>,
    },
    /// Move the offsets of groups without members.
    Reset(ResetArgs),
    /// Delete groups without members, and their offsets.
    Delete {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Names of the groups.
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

/// `odradek group reset`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("to").required(true).args([
        "to_earliest", "to_latest", "to_current", "to_offset", "shift_by", "to_datetime",
        "to_timestamp", "by_duration", "from_file",
    ]),
    group = ArgGroup::new("of").args(["groups", "all_groups"]).required(true),
    group = ArgGroup::new("at").args(["topics", "all_topics", "from_file"]).required(true),
    after_help = "\
Offsets outside of what a partition holds are moved to its nearer end. Without `--execute` the new
offsets are only shown. A group that has members is left as it is."
)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    pub(crate) bootstrap: Bootstrap,
    /// Names of the groups.
    pub(crate) groups: Vec<String>,
    /// Every group.
    #[arg(long)]
    pub(crate) all_groups: bool,
    /// A topic, or some of its partitions as TOPIC:0,1; may be repeated.
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
    /// Every partition in which the group has an offset.
    #[arg(long)]
    pub(crate) all_topics: bool,
    #[command(flatten)]
    pub(crate) to: ResetTo,
    /// To the first record of this time or later (Unix milliseconds).
    #[arg(long, value_name = "MS")]
    pub(crate) to_timestamp: Option<i64>,
    /// Print the plan as a file for --from-file.
    #[arg(long)]
    pub(crate) export: bool,
    /// Only show the plan, which is what happens without `--execute`.
    #[arg(long, conflicts_with = "execute")]
    pub(crate) dry_run: bool,
    /// Do it.
    #[arg(long)]
    pub(crate) execute: bool,
}
