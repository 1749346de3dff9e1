//! What formatting writes before the first start.

use engine::ids::Offset;
use wire::error::EncodeError;
use wire::record::metadata::{FeatureLevelRecord, MetadataRecord};

use super::snapshot::{self, Place};
use super::voters::{Voter, VoterSet};
use super::{OWN_KRAFT_VERSIONS, QuorumConfig};
use crate::features::{KRAFT_VERSION, MetadataVersion, SUPPORTED};

/// `bootstrap.checkpoint`: the feature levels of the new cluster, in Kafka's order.
///
/// # Errors
/// Never for levels known here; the error is that of the encoder.
pub fn bootstrap_checkpoint(now_ms: i64) -> Result<Vec<u8>, EncodeError> {
    let place = Place { epoch: 0, now_ms };
    snapshot::file(place, 0, None, &bootstrap_levels(), MetadataVersion::LATEST)
}

/// `00000000000000000000-0000000000.checkpoint`: this node as the first voter.
///
/// # Errors
/// If a listener's name or host is beyond 32 767 bytes.
pub fn empty_log_checkpoint(config: &QuorumConfig, now_ms: i64) -> Result<Vec<u8>, EncodeError> {
    let voters = (1, own_voter_set(config));
    let place = Place { epoch: 0, now_ms };
    snapshot::file(place, now_ms, Some(&voters), &[], MetadataVersion::LATEST)
}

/// Levels of a default cluster: `metadata.version` first, the others by name. `kraft.version` is
/// in the 0-0 checkpoint.
#[must_use]
pub fn bootstrap_levels() -> Vec<MetadataRecord> {
    let levels = SUPPORTED.iter().filter(|feature| feature.name != KRAFT_VERSION);
    let record = levels.map(|feature| FeatureLevelRecord {
        name: feature.name.to_owned(),
        feature_level: feature.default,
    });
    record.map(MetadataRecord::from).collect()
}

/// The voter set of one that formatting writes.
#[must_use]
pub fn own_voter_set(config: &QuorumConfig) -> VoterSet {
    let voter = Voter {
        directory: config.directory,
        endpoints: config.endpoints.clone(),
        kraft_version: OWN_KRAFT_VERSIONS,
    };
    VoterSet::of_one(config.node, voter)
}

/// Where the records of the 0-0 checkpoint count as standing: before the log.
pub const BEFORE_LOG: Offset = Offset(-1);
