//! Records of control batches: what a log says about itself.
//!
//! The key is a version (0) and a type, both i16. The value of the KRaft records begins with the
//! version it is written in; a transaction marker's value does too, and has no tagged fields.

use crate::cursor::Cursor;
use crate::error::{DecodeError, EncodeError};
use crate::primitives::Uuid;
use crate::schema::{self, Message, wire};
use crate::writer::Writer;

/// A record of a control batch.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord {
    /// 0: the producer's transaction is aborted.
    Abort(EndTxnMarker),
    /// 1: the producer's transaction is committed.
    Commit(EndTxnMarker),
    /// 2: a quorum leader's first record in its epoch.
    LeaderChange(LeaderChangeMessage),
    /// 3: a snapshot's first record.
    SnapshotHeader(SnapshotHeaderRecord),
    /// 4: a snapshot's last record.
    SnapshotFooter(SnapshotFooterRecord),
    /// 5: `kraft.version` is finalized.
    KRaftVersion(KRaftVersionRecord),
    /// 6: the quorum's voters are these, from this record on, committed or not (KIP-853).
    KRaftVoters(VotersRecord),
}

/// A control record cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlRecordError {
    /// A type written by a newer release. Kafka skips these.
    #[error("unknown control record type {0}")]
    UnknownType(i16),
    /// The bytes are not a control record.
    #[error("{name}: {error}")]
    Invalid {
        /// Kafka's name of the record, or `key`.
        name: &'static str,
        /// What is wrong.
        error: DecodeError,
    },
}

impl ControlRecord {
    /// Reads a control record's key and value.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, ControlRecordError> {
        let control_type = Self::decode_type(key)?;
        let mut cur = Cursor::new(value);
        let cur = &mut cur;
        match control_type {
            0 => decode_marker(cur).map(Self::Abort),
            1 => decode_marker(cur).map(Self::Commit),
            2 => decode_value(cur).map(Self::LeaderChange),
            3 => decode_value(cur).map(Self::SnapshotHeader),
            4 => decode_value(cur).map(Self::SnapshotFooter),
            5 => decode_value(cur).map(Self::KRaftVersion),
            6 => decode_value(cur).map(Self::KRaftVoters),
            unknown => Err(ControlRecordError::UnknownType(unknown)),
        }
    }

    /// The record type in a control record's key. Later key versions may add bytes behind it.
    pub fn decode_type(key: &[u8]) -> Result<i16, ControlRecordError> {
        let invalid = |error| ControlRecordError::Invalid { name: "key", error };
        let mut cur = Cursor::new(key);
        cur.i16().map_err(invalid)?;
        cur.i16().map_err(invalid)
    }

    /// The record's type.
    #[must_use]
    pub const fn control_type(&self) -> i16 {
        match self {
            Self::Abort(_) => 0,
            Self::Commit(_) => 1,
            Self::LeaderChange(_) => 2,
            Self::SnapshotHeader(_) => 3,
            Self::SnapshotFooter(_) => 4,
            Self::KRaftVersion(_) => 5,
            Self::KRaftVoters(_) => 6,
        }
    }

    /// The record's key.
    #[must_use]
    pub fn key(&self) -> [u8; 4] {
        let [high, low] = self.control_type().to_be_bytes();
        [0, 0, high, low]
    }

    /// The record's value in the version that Kafka 4.3 writes: 0 of each, also with
    /// `kraft.version` 1. A [`LeaderChangeMessage`] that carries directory ids is written in
    /// version 1, the only one that can say them.
    pub fn value(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        match self {
            Self::Abort(marker) | Self::Commit(marker) => encode_value(marker, &mut w, 0)?,
            Self::LeaderChange(message) => encode_value(message, &mut w, message.version())?,
            Self::SnapshotHeader(record) => encode_value(record, &mut w, 0)?,
            Self::SnapshotFooter(record) => encode_value(record, &mut w, 0)?,
            Self::KRaftVersion(record) => encode_value(record, &mut w, 0)?,
            Self::KRaftVoters(record) => encode_value(record, &mut w, 0)?,
        }
        Ok(w.into_bytes())
    }
}

impl LeaderChangeMessage {
    /// Lowest version that has every field set here.
    fn version(&self) -> i16 {
        let mut voters = self.voters.iter().chain(&self.granting_voters);
        i16::from(voters.any(|voter| !voter.voter_directory_id.is_zero()))
    }
}

/// A marker of a newer version begins like the newest known one and is read as that, as Kafka
/// does: a transaction must end whatever else its marker says.
fn decode_marker(cur: &mut Cursor<'_>) -> Result<EndTxnMarker, ControlRecordError> {
    let invalid = |error| ControlRecordError::Invalid { name: EndTxnMarker::NAME, error };
    let version = cur.i16().map_err(invalid)?;
    schema::decode(cur, version.min(EndTxnMarker::MAX_VERSION)).map_err(invalid)
}

/// A quorum record of a newer version is refused: half understood, it would split the quorum.
fn decode_value<M: for<'a> Message<'a>>(cur: &mut Cursor<'_>) -> Result<M, ControlRecordError> {
    let invalid = |error| ControlRecordError::Invalid { name: M::NAME, error };
    let version = cur.i16().map_err(invalid)?;
    schema::decode(cur, version).map_err(invalid)
}

fn encode_value<M: for<'a> Message<'a>>(
    record: &M,
    w: &mut Writer,
    version: i16,
) -> Result<(), EncodeError> {
    w.i16(version);
    schema::encode(record, w, version)
}

// The number of each is its control record type; of the marker, that of a commit.
wire! {
    /// The end of a producer's transaction in one partition.
    record EndTxnMarker 1, 0..=0, flexible never {
        /// Epoch of the transaction coordinator, which fences a former one.
        coordinator_epoch: i32,
    }

    /// Who leads the quorum in this epoch, and by whose votes. v1 adds directory ids.
    record LeaderChangeMessage 2, 0..=1, flexible 0 {
        leader_id: i32,
        voters: Vec<LeaderChangeVoter>,
        granting_voters: Vec<LeaderChangeVoter>,
    }

    /// A voter in a [`LeaderChangeMessage`].
    struct LeaderChangeVoter {
        voter_id: i32,
        voter_directory_id: Uuid [1..],
    }

    /// Opens a snapshot.
    record SnapshotHeaderRecord 3, 0..=0, flexible 0 {
        /// Append time of the last batch that the snapshot covers, Unix milliseconds.
        last_contained_log_timestamp: i64,
    }

    /// Closes a snapshot: without it, it is not whole.
    record SnapshotFooterRecord 4, 0..=0, flexible 0 {}

    /// The finalized `kraft.version`.
    record KRaftVersionRecord 5, 0..=0, flexible 0 {
        k_raft_version: i16,
    }

    /// The whole set of voters.
    record VotersRecord 6, 0..=0, flexible 0 {
        voters: Vec<Voter>,
    }

    /// A voter, known by id and directory.
    struct Voter {
        voter_id: i32,
        voter_directory_id: Uuid,
        endpoints: Vec<VoterEndpoint>,
        k_raft_version_feature: KRaftVersionFeature,
    }

    /// Where a voter can be reached.
    struct VoterEndpoint {
        /// Listener name.
        name: String,
        host: String,
        port: u16,
    }

    /// The range of `kraft.version` that a voter supports.
    struct KRaftVersionFeature {
        min_supported_version: i16,
        max_supported_version: i16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kafkas() {
        let change = ControlRecord::LeaderChange(LeaderChangeMessage {
            leader_id: 1,
            voters: vec![LeaderChangeVoter { voter_id: 1, ..Default::default() }],
            granting_voters: vec![LeaderChangeVoter { voter_id: 1, ..Default::default() }],
        });
        assert_eq!(change.key(), [0, 0, 0, 2]);
        assert_eq!(change.value().unwrap(), b"\0\0\0\0\0\x01\x02\0\0\0\x01\0\x02\0\0\0\x01\0\0");
        let version = ControlRecord::KRaftVersion(KRaftVersionRecord { k_raft_version: 1 });
        assert_eq!(version.value().unwrap(), b"\0\0\0\x01\0");
        let commit = ControlRecord::Commit(EndTxnMarker { coordinator_epoch: 7 });
        assert_eq!(
            (commit.key(), commit.value().unwrap()),
            ([0, 0, 0, 1], b"\0\0\0\0\0\x07".to_vec())
        );
    }

    #[test]
    fn every_record_comes_back() {
        let voter = Voter {
            voter_id: 3,
            voter_directory_id: Uuid([9; 16]),
            endpoints: vec![VoterEndpoint {
                name: "CONTROLLER".into(),
                host: "localhost".into(),
                port: 9093,
            }],
            k_raft_version_feature: KRaftVersionFeature {
                min_supported_version: 0,
                max_supported_version: 1,
            },
        };
        let elected = LeaderChangeVoter { voter_id: 3, voter_directory_id: Uuid::ONE };
        for record in [
            ControlRecord::Abort(EndTxnMarker { coordinator_epoch: 1 }),
            ControlRecord::LeaderChange(LeaderChangeMessage {
                leader_id: 3,
                voters: vec![elected],
                granting_voters: vec![],
            }),
            ControlRecord::SnapshotHeader(SnapshotHeaderRecord { last_contained_log_timestamp: 5 }),
            ControlRecord::SnapshotFooter(SnapshotFooterRecord {}),
            ControlRecord::KRaftVersion(KRaftVersionRecord { k_raft_version: 1 }),
            ControlRecord::KRaftVoters(VotersRecord { voters: vec![voter] }),
        ] {
            let value = record.value().unwrap();
            assert_eq!(ControlRecord::decode(&record.key(), &value), Ok(record));
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert_eq!(
            ControlRecord::decode(&[0, 0, 0, 7], &[]),
            Err(ControlRecordError::UnknownType(7))
        );
        let error = ControlRecord::decode(&[0, 0, 0, 5], &[0, 9, 0, 1, 0]).unwrap_err();
        assert_eq!(error.to_string(), "KRaftVersionRecord: version 9 is outside 0..=0");
        assert!(ControlRecord::decode(&[0, 0, 0], &[]).is_err());
        assert_eq!(
            ControlRecord::decode(&[0, 0, 0, 1], &[0, 9, 0, 0, 0, 7, 1, 2]),
            Ok(ControlRecord::Commit(EndTxnMarker { coordinator_epoch: 7 })),
            "a newer marker still ends its transaction"
        );
    }
}
