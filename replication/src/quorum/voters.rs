//! Voter sets: who decides, and where the log says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::ids::{BrokerId, Offset};
use wire::primitives::Uuid;
use wire::record::control::{self, KRaftVersionFeature, VotersRecord};

use crate::image::LevelRange;

/// A replica of the metadata log: node and log directory, since a node that lost its disk is
/// another replica and must not vote twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaKey {
    /// `node.id`.
    pub id: BrokerId,
    /// `directory.id` of the metadata log directory; zero while `kraft.version` is 0.
    pub directory: Uuid,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Directory id, zero if not known.
    pub directory: Uuid,
    /// Controller listeners.
    pub endpoints: Vec<VoterEndpoint>,
    /// Levels of `kraft.version` that it supports.
    pub kraft_version: LevelRange,
}

/// Where to reach a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// Listener name.
    pub name: Arc<str>,
    /// Host name or address.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
}

/// The voters by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet {
    /// In order of id.
    pub voters: BTreeMap<BrokerId, Voter>,
}

impl VoterSet {
    /// A set of one.
    #[must_use]
    pub fn of_one(id: BrokerId, voter: Voter) -> Self {
        Self { voters: BTreeMap::from([(id, voter)]) }
    }

    /// Ids in order.
    pub fn ids(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.voters.keys().copied()
    }

    /// Whether `id` is the only voter.
    #[must_use]
    pub fn is_only(&self, id: BrokerId) -> bool {
        self.voters.len() == 1 && self.voters.contains_key(&id)
    }
}

/// Values with the offset of the record that set them, so that a truncation takes them back and a
/// snapshot at some offset shows what held there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<T> {
    entries: Vec<(Offset, T)>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> History<T> {
    /// Notes a value; a snapshot that stands for the empty log (0-0) notes it at offset −1.
    pub fn push(&mut self, at: Offset, value: T) {
        self.entries.retain(|(offset, _)| *offset < at);
        self.entries.push((at, value));
    }

    /// The newest value and where it was set.
    #[must_use]
    pub fn last(&self) -> Option<(Offset, &T)> {
        self.entries.last().map(|(offset, value)| (*offset, value))
    }

    /// What held for a log that ends at `end`.
    #[must_use]
    pub fn before(&self, end: Offset) -> Option<&T> {
        self.entries.iter().rev().find(|(offset, _)| *offset < end).map(|(_, value)| value)
    }

    /// Forgets what a truncation to `end` takes away.
    pub fn truncate(&mut self, end: Offset) {
        self.entries.retain(|(offset, _)| *offset < end);
    }

    /// Forgets what no log starting at `start` needs: all but the newest value before it.
    pub fn trim(&mut self, start: Offset) {
        let kept = self.entries.iter().rposition(|(offset, _)| *offset < start).unwrap_or(0);
        self.entries.drain(..kept);
    }
}

/// A voter set as the control record says it.
pub(super) fn voters_record(set: &VoterSet) -> VotersRecord {
    let voter = |(id, voter): (&BrokerId, &Voter)| control::Voter {
        voter_id: id.0,
        voter_directory_id: voter.directory,
        endpoints: voter
            .endpoints
            .iter()
            .map(|endpoint| control::VoterEndpoint {
                name: endpoint.name.to_string(),
                host: endpoint.host.to_string(),
                port: endpoint.port,
            })
            .collect(),
        k_raft_version_feature: KRaftVersionFeature {
            min_supported_version: voter.kraft_version.min,
            max_supported_version: voter.kraft_version.max,
        },
    };
    VotersRecord { voters: set.voters.iter().map(voter).collect() }
}

/// The voter set that a control record says.
pub(super) fn voter_set(record: &VotersRecord) -> VoterSet {
    let voter = |voter: &control::Voter| {
        let endpoint = |endpoint: &control::VoterEndpoint| VoterEndpoint {
            name: endpoint.name.as_str().into(),
            host: endpoint.host.as_str().into(),
            port: endpoint.port,
        };
        let range = &voter.k_raft_version_feature;
        let kraft_version =
            LevelRange { min: range.min_supported_version, max: range.max_supported_version };
        let endpoints = voter.endpoints.iter().map(endpoint).collect();
        let directory = voter.voter_directory_id;
        (BrokerId(voter.voter_id), Voter { directory, endpoints, kraft_version })
    };
    VoterSet { voters: record.voters.iter().map(voter).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_answers_for_any_end() {
        let mut history = History::default();
        history.push(Offset(-1), "format");
        history.push(Offset(5), "grown");
        history.push(Offset(9), "shrunk");
        assert_eq!(history.before(Offset(0)), Some(&"format"));
        assert_eq!(history.before(Offset(5)), Some(&"format"));
        assert_eq!(history.before(Offset(6)), Some(&"grown"));
        history.truncate(Offset(9));
        assert_eq!(history.last(), Some((Offset(5), &"grown")));
        history.trim(Offset(7));
        assert_eq!(history.before(Offset(0)), None);
        assert_eq!(history.last(), Some((Offset(5), &"grown")));
    }
}
