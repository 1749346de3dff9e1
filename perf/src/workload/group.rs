//! Loads of consumer groups: members that join, stay alive and commit.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Topic, one};
use crate::units::Span;

/// How members and coordinator agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Members say what they read, the coordinator assigns (KIP-848).
    #[default]
    Consumer,
    /// Members join a generation, and one of them assigns.
    Classic,
}

/// What of a group's doing is counted and timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measured {
    /// Heartbeats of members that have joined.
    #[default]
    Heartbeat,
    /// Commits.
    Commit,
    /// How long a member is without partitions: from its joining, or from hearing that it has to
    /// join again, to its assignment.
    Join,
}

/// Groups of members, each with a connection of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    /// What the load is called in reports.
    #[serde(default = "group_name")]
    pub name: String,
    /// Number of groups.
    #[serde(default = "one")]
    pub groups: u32,
    /// Members of each.
    #[serde(default = "one")]
    pub members: u32,
    /// How they agree.
    #[serde(default)]
    pub protocol: Protocol,
    /// What is measured.
    #[serde(default)]
    pub measure: Measured,
    /// How often each member sends a heartbeat; 0 for the next as soon as one is answered.
    #[serde(default = "heartbeat")]
    pub heartbeat: Span,
    /// How often each member commits offsets of all its partitions; 0 for the next as soon as one
    /// is answered, none for never.
    #[serde(default)]
    pub commit: Option<Span>,
    /// How long after it got partitions the first member of each group leaves, to join again; none
    /// for never.
    #[serde(default)]
    pub stay: Option<Span>,
}

impl Group {
    pub(super) fn check(&self, topic: &Topic) -> Result<()> {
        ensure!(self.groups > 0 && self.members > 0, "there is no member");
        ensure!(
            self.members <= topic.partitions,
            "{} members and {} partitions: each member is to have one, so there are at least as many",
            self.members,
            topic.partitions
        );
        ensure!(
            self.measure != Measured::Commit || self.commit.is_some(),
            "say how often to commit, since that is measured"
        );
        Ok(())
    }
}

fn group_name() -> String {
    "group".to_owned()
}

fn heartbeat() -> Span {
    Span(Duration::from_secs(3))
}
