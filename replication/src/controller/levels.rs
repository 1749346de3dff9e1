//! UpdateFeatures: levels go up or down, all that are asked for or none (KIP-584).

use std::collections::BTreeMap;

use config::TopicConfig;
use wire::record::metadata::{ConfigRecord, FeatureLevelRecord, MetadataRecord};

use super::activate::MIN_ISR;
use super::{Controller, Decision, ErrorKind, Refusal};
use crate::features::{
    DEPENDENCIES, ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, MetadataVersion, SUPPORTED,
};
use crate::image::{ConfigMap, ConfigResource, ResourceKind};

/// Levels to set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateFeatures {
    /// By name of the feature.
    pub updates: BTreeMap<String, FeatureUpdate>,
    /// Only say whether it would work.
    pub validate_only: bool,
}

/// One feature's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// The level; 0 turns the feature off.
    pub level: i16,
    /// The direction that the caller has in mind.
    pub direction: Direction,
}

/// Kafka's `FeatureUpdate.UpgradeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Up.
    Upgrade,
    /// Down, if nothing is lost by it.
    SafeDowngrade,
    /// Down, whatever is lost.
    UnsafeDowngrade,
    /// None that is known here.
    Unknown,
}

impl Direction {
    /// From Kafka's number.
    #[must_use]
    pub fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
}

impl Controller {
    /// Sets feature levels. A level that is in force already is written again, as in Kafka.
    pub fn update_features(&mut self, request: &UpdateFeatures) -> Decision<Result<(), Refusal>> {
        let mut records = Vec::new();
        for (name, update) in &request.updates {
            match self.update_feature(name, *update, request) {
                Ok(changed) => records.extend(changed),
                Err(text) => {
                    let refusal = Refusal::new(ErrorKind::InvalidUpdateVersion, text);
                    return Decision::unchanged(Err(refusal));
                }
            }
        }
        if request.validate_only {
            return Decision::unchanged(Ok(()));
        }
        self.decide(records, Ok(()))
    }

    fn update_feature(
        &self,
        name: &str,
        update: FeatureUpdate,
        request: &UpdateFeatures,
    ) -> Result<Vec<MetadataRecord>, String> {
        let level = update.level;
        let invalid =
            |why: &str| format!("Invalid update version {level} for feature {name}. {why}");
        if update.direction == Direction::Unknown {
            return Err(invalid("The controller does not support the given upgrade type."));
        }
        if level < 0 {
            return Err(invalid("A feature version cannot be less than 0."));
        }
        self.check_supported(name, level).map_err(|why| invalid(&why))?;
        let current = self.level_of(name);
        if level < current && update.direction == Direction::Upgrade {
            return Err(invalid(
                "Can't downgrade the version of this feature without setting the upgrade type to \
                 either safe or unsafe downgrade.",
            ));
        }
        if level > current && update.direction != Direction::Upgrade {
            return Err(invalid("Can't downgrade to a newer version."));
        }
        if name == KRAFT_VERSION {
            // It is in the quorum's control records, and this quorum is born at the highest level.
            return match level < current {
                true => Err(invalid("Can't downgrade the version of this feature.")),
                false => Ok(Vec::new()),
            };
        }
        if name == METADATA_VERSION {
            check_metadata_version(current, update)?;
        } else {
            self.check_dependencies(name, level, request).map_err(|why| invalid(&why))?;
        }
        let turns_on_elr = name == ELR_VERSION && current == 0 && level > 0;
        let mut records = if turns_on_elr { self.prepare_elr() } else { Vec::new() };
        let name = name.to_owned();
        records.push(FeatureLevelRecord { name, feature_level: level }.into());
        Ok(records)
    }

    /// What this controller and every registered broker must know.
    fn check_supported(&self, name: &str, level: i16) -> Result<(), String> {
        let id = self.options.node;
        let Some(known) = SUPPORTED.iter().find(|feature| feature.name == name) else {
            return Err(format!("Local controller {id} does not support this feature."));
        };
        if !(known.min..=known.max).contains(&level) {
            let (min, max) = (known.min, known.max);
            return Err(format!("Local controller {id} only supports versions {min}-{max}"));
        }
        for broker in self.image.brokers().iter() {
            let (id, range) = (broker.id, broker.features.get(name));
            match range {
                // Level 0 is to be without it, which everybody can.
                _ if level == 0 => {}
                None => return Err(format!("Broker {id} does not support this feature.")),
                Some(range) if !range.contains(level) => {
                    let (min, max) = (range.min, range.max);
                    return Err(format!("Broker {id} only supports versions {min}-{max}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn level_of(&self, name: &str) -> i16 {
        match name {
            METADATA_VERSION => self.metadata_version().0,
            KRAFT_VERSION => self.options.kraft_version,
            name => self.image.features().level(name),
        }
    }

    /// Other features that the level needs, as they will be after the request.
    fn check_dependencies(
        &self,
        name: &str,
        level: i16,
        request: &UpdateFeatures,
    ) -> Result<(), String> {
        let needed = DEPENDENCIES.iter().filter(|needs| needs.name == name && needs.level == level);
        for needs in needed {
            let update = request.updates.get(needs.other);
            let then = update.map_or_else(|| self.level_of(needs.other), |update| update.level);
            if then < needs.other_level {
                let (other, other_level) = (needs.other, needs.other_level);
                return Err(format!(
                    "{name} could not be set to {level} because it depends on {other} level \
                     {other_level}"
                ));
            }
        }
        Ok(())
    }

    /// With eligible leader replicas only the cluster's `min.insync.replicas` may be set, and must.
    fn prepare_elr(&self) -> Vec<MetadataRecord> {
        let record = |resource: &ConfigResource, value| {
            MetadataRecord::from(ConfigRecord {
                resource_type: ResourceKind::Broker.code(),
                resource_name: resource.name.to_string(),
                name: MIN_ISR.to_owned(),
                value,
            })
        };
        let configs = self.image.configs();
        let all = ConfigResource::cluster_default();
        let mut records = Vec::new();
        if configs.value(&all, MIN_ISR).is_none() {
            let fixed = TopicConfig::effective(&self.options.config, &ConfigMap::new());
            records.push(record(&all, Some(fixed.min_insync_replicas.to_string())));
        }
        for name in configs.names(ResourceKind::Broker) {
            let one = ConfigResource::new(ResourceKind::Broker, &name);
            if one != all && configs.value(&one, MIN_ISR).is_some() {
                records.push(record(&one, None));
            }
        }
        records
    }
}

/// Records of a level must stay readable at a lower one.
fn check_metadata_version(current: i16, update: FeatureUpdate) -> Result<(), String> {
    let level = update.level;
    if level >= current {
        return Ok(());
    }
    let why = match update.direction {
        Direction::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
        _ if MetadataVersion(current).loses_records_at(MetadataVersion(level)) => {
            "Refusing to perform the requested downgrade because it might delete metadata \
             information."
        }
        _ => return Ok(()),
    };
    Err(format!("Unsupported metadata.version downgrade from {current} to {level}. {why}"))
}
