//! `quorum-state`: what a node must not forget about elections.
//!
//! One line of JSON, written by the quorum's owner alone, replaced atomically and synced **before**
//! anything that depends on it leaves the node: a vote given, or leadership taken.

use engine::ids::BrokerId;
use serde::{Deserialize, Serialize};
use wire::primitives::Uuid;

use super::voters::ReplicaKey;

/// The state of the newest election that this node knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectionState {
    /// Never goes back.
    pub epoch: i32,
    /// The winner, once known.
    pub leader: Option<BrokerId>,
    /// Whom this node voted for in this epoch; forgotten once the winner is known.
    pub voted: Option<ReplicaKey>,
    /// Voters by static configuration; only kept while `kraft.version` is 0.
    pub voters: Vec<BrokerId>,
}

/// Which of the two layouts to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataVersion {
    /// While `kraft.version` is 0.
    V0,
    /// From `kraft.version` 1 on.
    V1,
}

/// Why the file can't be used. Nothing may be guessed here: a forgotten vote can elect two leaders.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElectionStateError {
    /// Not a line of the expected JSON.
    #[error("quorum-state is damaged: {0}")]
    Damaged(String),
    /// Written by a newer version of Kafka or Odradek.
    #[error("quorum-state has data_version {0}; this program reads 0 and 1")]
    Newer(i64),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V0 {
    #[serde(default)]
    cluster_id: String,
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    #[serde(default)]
    applied_offset: i64,
    #[serde(default)]
    current_voters: Vec<V0Voter>,
    #[serde(rename = "data_version")]
    data_version: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V0Voter {
    voter_id: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    voted_directory_id: String,
    #[serde(rename = "data_version")]
    data_version: i64,
}

#[derive(Deserialize)]
struct Probe {
    data_version: i64,
}

impl ElectionState {
    /// The content of the file, byte for byte as Kafka writes it (no end of line).
    #[must_use]
    pub fn encode(&self, version: DataVersion) -> String {
        let leader_id = self.leader.map_or(NONE, |id| id.0);
        let voted_id = self.voted.map_or(NONE, |key| key.id.0);
        let leader_epoch = self.epoch;
        let text = match version {
            DataVersion::V0 => serde_json::to_string(&V0 {
                cluster_id: String::new(),
                leader_id,
                leader_epoch,
                voted_id,
                applied_offset: 0,
                current_voters: self.voters.iter().map(|id| V0Voter { voter_id: id.0 }).collect(),
                data_version: 0,
            }),
            DataVersion::V1 => serde_json::to_string(&V1 {
                leader_id,
                leader_epoch,
                voted_id,
                voted_directory_id: self.voted.map_or(Uuid::ZERO, |key| key.directory).to_string(),
                data_version: 1,
            }),
        };
        text.expect("numbers and plain strings always serialize")
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// If it is not a whole quorum-state of a version known here.
    pub fn decode(text: &str) -> Result<Self, ElectionStateError> {
        let damaged = |error: serde_json::Error| ElectionStateError::Damaged(error.to_string());
        let line = text.lines().next().unwrap_or_default();
        let Probe { data_version } = serde_json::from_str(line).map_err(damaged)?;
        let id = |id: i32| (id != NONE).then_some(BrokerId(id));
        match data_version {
            0 => {
                let v0: V0 = serde_json::from_str(line).map_err(damaged)?;
                let key = |id| ReplicaKey { id, directory: Uuid::ZERO };
                Ok(Self {
                    epoch: v0.leader_epoch,
                    leader: id(v0.leader_id),
                    voted: id(v0.voted_id).map(key),
                    voters: v0.current_voters.iter().map(|v| BrokerId(v.voter_id)).collect(),
                })
            }
            1 => {
                let v1: V1 = serde_json::from_str(line).map_err(damaged)?;
                let directory = v1.voted_directory_id.parse().map_err(|error| {
                    ElectionStateError::Damaged(format!("votedDirectoryId: {error}"))
                })?;
                Ok(Self {
                    epoch: v1.leader_epoch,
                    leader: id(v1.leader_id),
                    voted: id(v1.voted_id).map(|id| ReplicaKey { id, directory }),
                    voters: Vec::new(),
                })
            }
            newer => Err(ElectionStateError::Newer(newer)),
        }
    }
}

/// "No node", as the file writes it.
const NONE: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_kafkas() {
        let leader = ElectionState {
            epoch: 2,
            leader: Some(BrokerId(1)),
            voted: None,
            voters: vec![BrokerId(1)],
        };
        assert_eq!(
            leader.encode(DataVersion::V1),
            r#"{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#
        );
        assert_eq!(
            leader.encode(DataVersion::V0),
            r#"{"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#
        );
        assert_eq!(ElectionState::decode(&leader.encode(DataVersion::V0)), Ok(leader));

        let vote = ElectionState {
            epoch: 7,
            leader: None,
            voted: Some(ReplicaKey { id: BrokerId(3), directory: Uuid([9; 16]) }),
            voters: vec![],
        };
        assert_eq!(ElectionState::decode(&vote.encode(DataVersion::V1)), Ok(vote));
    }

    #[test]
    fn nothing_is_guessed() {
        for text in ["", "{}", "[]", r#"{"data_version":1}"#, "\0\0\0\0", r#"{"data_version":"1"}"#]
        {
            let error = ElectionState::decode(text).expect_err(text);
            assert!(matches!(error, ElectionStateError::Damaged(_)), "{error}");
        }
        assert_eq!(
            ElectionState::decode(r#"{"data_version":2}"#),
            Err(ElectionStateError::Newer(2))
        );
    }
}
