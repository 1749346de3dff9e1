//! Taking over: the first records of a new leader, and of a new cluster.

use std::time::Duration;

use config::TopicConfig;
use engine::ids::{BrokerId, Offset};
use wire::primitives::Uuid;
use wire::record::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord, NoOpRecord,
};

use super::sessions::Sessions;
use super::{Controller, ControllerOptions, Decision, ErrorKind, Refusal};
use crate::features::{self, ELR_VERSION, Feature, FeatureError, MetadataVersion, SUPPORTED};
use crate::image::{
    ConfigMap, ControllerNode, Endpoint, Image, LevelRange, Loader, ResourceKind,
    register_controller,
};
use crate::record::MetadataRecord;

/// A controller that introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterController {
    /// `node.id`.
    pub id: BrokerId,
    /// Random, new with every start of the process.
    pub incarnation: Uuid,
    /// Controller listeners as others reach them.
    pub endpoints: Vec<Endpoint>,
}

impl Controller {
    /// Becomes active on everything committed, once the quorum says so; `next` is where its first
    /// record goes. A transaction that a former leader left open is aborted; if nothing was ever
    /// recorded, `bootstrap` (from `bootstrap.checkpoint`) makes the cluster.
    ///
    /// # Errors
    /// If the cluster has a feature level in force that this program does not know, or the
    /// bootstrap asks for one.
    ///
    /// # Panics
    /// If `bootstrap` contradicts itself: take it from an image, as `snapshot::decode` makes one.
    pub fn activate(
        now: Duration,
        options: ControllerOptions,
        committed: &Loader,
        next: Offset,
        bootstrap: &[MetadataRecord],
    ) -> Result<(Self, Decision<()>), FeatureError> {
        let image = committed.image().clone();
        features::check(image.features())?;
        let sessions = Sessions::activate(now, image.brokers(), options.node);
        let config = options.config.clone();
        let unborn = image.is_unborn();
        let mut controller = Self { options, config, image, next, sessions };
        controller.reconfigure();
        let mut records = Vec::new();
        if committed.open_transaction().is_some() {
            let reason = Some("Controller failover".to_owned());
            records.push(AbortTransactionRecord { reason }.into());
        }
        if unborn {
            records.extend(controller.birth(bootstrap));
        }
        let decision = controller.decide(records, ());
        features::check(controller.image.features())?;
        Ok((controller, decision))
    }

    /// Records a controller's listeners and features.
    pub fn register_controller(
        &mut self,
        request: &RegisterController,
    ) -> Decision<Result<(), Refusal>> {
        if !self.metadata_version().has_controller_registration() {
            return Decision::unchanged(Err(Refusal::new(
                ErrorKind::UnsupportedVersion,
                "The current MetadataVersion is too old to support controller registrations.",
            )));
        }
        let range = |feature: &Feature| LevelRange { min: feature.min, max: feature.max };
        let node = ControllerNode {
            id: request.id,
            incarnation: request.incarnation,
            zk_migration_ready: false,
            endpoints: request.endpoints.clone(),
            features: SUPPORTED
                .iter()
                .map(|feature| (feature.name.into(), range(feature)))
                .collect(),
        };
        let record = register_controller(&node);
        self.decide(vec![record.into()], Ok(()))
    }

    /// A record that says nothing but moves the log on: Kafka's brokers judge by it whether they
    /// are up to date.
    pub fn no_op(&mut self) -> Decision<()> {
        self.decide(vec![NoOpRecord {}.into()], ())
    }

    /// The first records of a cluster, as one transaction where the level has them.
    fn birth(&self, bootstrap: &[MetadataRecord]) -> Vec<MetadataRecord> {
        let mut born = Image::default();
        for record in bootstrap {
            born.replay(record).expect("a bootstrap is records of an image");
        }
        let version = born.features().metadata_version().unwrap_or(MetadataVersion::MINIMUM);
        let mut records = bootstrap.to_vec();
        if version.has_elr() && born.features().level(ELR_VERSION) >= 1 {
            let static_topic = TopicConfig::effective(&self.options.config, &ConfigMap::new());
            let min_isr = static_topic.min_insync_replicas;
            records.push(MetadataRecord::from(ConfigRecord {
                resource_type: ResourceKind::Broker.code(),
                resource_name: String::new(),
                name: MIN_ISR.to_owned(),
                value: Some(min_isr.to_string()),
            }));
        }
        if version.has_transactions() {
            let name = Some("Bootstrap records".to_owned());
            records.insert(0, BeginTransactionRecord { name }.into());
            records.push(EndTransactionRecord {}.into());
        }
        records
    }
}

/// The config that eligible leader replicas need cluster-wide.
pub(super) const MIN_ISR: &str = "min.insync.replicas";
