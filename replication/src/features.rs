//! Feature levels that this program understands.
//!
//! A feature level, once finalized in the log, is a promise that every node knows what it means.
//! A node that doesn't must not serve: [`check`] names the feature.

use crate::image::Features;

/// The level of `metadata.version`: which records, fields and behaviours are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataVersion(pub i16);

/// A feature and the levels known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name in the protocol.
    pub name: &'static str,
    /// Lowest level known.
    pub min: i16,
    /// Highest level known.
    pub max: i16,
    /// Level of a new cluster.
    pub default: i16,
}

/// Why a cluster's levels can't be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// A feature that this program has never heard of is in force.
    #[error(
        "the cluster uses feature {name} at level {level}, which this program does not know; \
         start a version that does"
    )]
    Unknown {
        /// Its name.
        name: String,
        /// Its finalized level.
        level: i16,
    },
    /// The level in force is outside of what this program knows.
    #[error(
        "the cluster uses {name} at level {level}; this program supports {min} to {max}, start a \
         version that supports it"
    )]
    Level {
        /// Its name.
        name: &'static str,
        /// Its finalized level.
        level: i16,
        /// Lowest level known here.
        min: i16,
        /// Highest level known here.
        max: i16,
    },
}

/// Name of the feature that decides the versions of records.
pub const METADATA_VERSION: &str = "metadata.version";
/// Name of the feature that lets voters change (KIP-853); finalized by a control record.
pub const KRAFT_VERSION: &str = "kraft.version";
/// Name of the feature for eligible leader replicas (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";

/// Everything that a Kafka 4.3 node advertises, `metadata.version` first, then by name.
pub const SUPPORTED: [Feature; 7] = [
    Feature { name: METADATA_VERSION, min: 7, max: 30, default: 30 },
    Feature { name: ELR_VERSION, min: 0, max: 1, default: 1 },
    Feature { name: "group.version", min: 0, max: 1, default: 1 },
    Feature { name: KRAFT_VERSION, min: 0, max: 1, default: 1 },
    Feature { name: "share.version", min: 0, max: 1, default: 1 },
    Feature { name: "streams.version", min: 0, max: 1, default: 1 },
    Feature { name: "transaction.version", min: 0, max: 2, default: 2 },
];

/// A level that needs another feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The feature.
    pub name: &'static str,
    /// Its level.
    pub level: i16,
    /// What that needs.
    pub other: &'static str,
    /// At least at this level.
    pub other_level: i16,
}

/// All that there are.
pub const DEPENDENCIES: &[Dependency] =
    &[Dependency { name: ELR_VERSION, level: 1, other: METADATA_VERSION, other_level: 23 }];

/// Checks that every level in force is known here.
///
/// # Errors
/// Names the first feature that isn't.
pub fn check(finalized: &Features) -> Result<(), FeatureError> {
    for (name, level) in finalized.iter() {
        let Some(known) = SUPPORTED.iter().find(|feature| feature.name == &**name) else {
            return Err(FeatureError::Unknown { name: name.to_string(), level });
        };
        if !(known.min..=known.max).contains(&level) {
            let Feature { name, min, max, .. } = *known;
            return Err(FeatureError::Level { name, level, min, max });
        }
    }
    Ok(())
}

// Which version of a record a level writes is in `wire`: `MetadataRecord::version_at`.
impl MetadataVersion {
    /// The newest that is released.
    pub const LATEST: Self = Self(30);
    /// Kafka 3.3, the oldest that KRaft in production had.
    pub const MINIMUM: Self = Self(7);

    /// Whether replicas are assigned to log directories.
    #[must_use]
    pub fn has_directories(self) -> bool {
        self.0 >= 17
    }

    /// Whether directories can be cordoned.
    #[must_use]
    pub fn has_cordoned_directories(self) -> bool {
        self.0 >= 30
    }

    /// Whether partition records can carry eligible leader replicas.
    #[must_use]
    pub fn has_elr(self) -> bool {
        self.0 >= 23
    }

    /// Whether controllers register.
    #[must_use]
    pub fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Whether SCRAM credentials may be written.
    #[must_use]
    pub fn has_scram(self) -> bool {
        self.0 >= 11
    }

    /// Whether delegation tokens may be written.
    #[must_use]
    pub fn has_delegation_tokens(self) -> bool {
        self.0 >= 14
    }

    /// Whether metadata transactions may be written.
    #[must_use]
    pub fn has_transactions(self) -> bool {
        self.0 >= 13
    }

    /// Whether brokers need a new leader epoch when an ISR shrinks (a bug before Kafka 3.6).
    #[must_use]
    pub fn bumps_epoch_on_shrink(self) -> bool {
        self.0 < 12
    }

    /// Whether a level after `lower`, up to this one, brought records or fields that `lower` cannot
    /// say.
    #[must_use]
    pub fn loses_records_at(self, lower: Self) -> bool {
        const BROUGHT_RECORDS: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];
        BROUGHT_RECORDS.iter().any(|level| lower.0 < *level && *level <= self.0)
    }

    /// Kafka's name of the level, e.g. `4.3-IV0`.
    #[must_use]
    pub fn name(self) -> String {
        let index = usize::try_from(self.0 - Self::MINIMUM.0).ok();
        let known = index.and_then(|index| NAMES.get(index));
        known.map_or_else(|| format!("unknown [{}]", self.0), |name| (*name).to_owned())
    }
}

/// Names of the levels from [`MetadataVersion::MINIMUM`] on.
const NAMES: [&str; 24] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
    "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0",
    "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
];
