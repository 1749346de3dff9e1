//! Who of a consumer group is to have which partitions: the broker's own assignors (KIP-848).
//!
//! All are pure: the same members and topics are always dealt alike. What a member was to have before
//! counts for something in [`uniform`], which moves as little as it can. None looks at racks, as in
//! Kafka 4.3.

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use wire::primitives::Uuid;

/// Partitions by topic; no topic without any.
pub(super) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// A way to assign, by Kafka's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// As many partitions for each, and as few moves as possible.
    Uniform,
    /// Of each topic a run of neighbours for each.
    Range,
}

impl Assignor {
    /// As clients and settings call it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What each of the members is to have, in their order.
    pub(super) fn assign(
        self,
        members: &[Claim<'_>],
        topics: &BTreeMap<Uuid, i32>,
    ) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform::assign(members, topics),
            Self::Range => range::assign(members, topics),
        }
    }
}

/// A member to assign to.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) id: &'a str,
    pub(super) instance: Option<&'a str>,
    /// The topics that it reads; shared by members that read the same.
    pub(super) topics: Rc<BTreeSet<Uuid>>,
    /// What it was to have before.
    pub(super) had: Option<&'a Partitions>,
}
