//! Finalized feature levels.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::features::{METADATA_VERSION, MetadataVersion};

/// Levels in force; a feature that is not listed is at level 0. `kraft.version` is not here: it
/// lives in the quorum's control records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    pub(super) levels: BTreeMap<Arc<str>, i16>,
}

impl Features {
    /// The level of a feature, 0 if it is off.
    #[must_use]
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// `metadata.version`, which decides the versions of records; `None` before the bootstrap.
    #[must_use]
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.levels.get(METADATA_VERSION).map(|&level| MetadataVersion(level))
    }

    /// All levels in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i16)> {
        self.levels.iter().map(|(name, &level)| (name, level))
    }
}
