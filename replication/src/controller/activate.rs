//! Taking over: the first records of a new leader, and of a new cluster.

use std::time::Duration;

use config::TopicConfig;
use engine::ids::{BrokerId, Offset};
use wire::primitives::Uuid;
use wire::record::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, ControllerEndpoint,
    ControllerFeature, EndTransactionRecord, NoOpRecord, RegisterControllerRecord,
};

use super::sessions::Sessions;
use super::{Controller, ControllerOptions, Decision, ErrorKind, Refusal};
use crate::features::{self, ELR_VERSION, FeatureError, MetadataVersion, SUPPORTED};
use crate::image::{ConfigMap, Endpoint, Image, Loader, ResourceKind};
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
        let record = RegisterControllerRecord {
            controller_id: request.id.0,
            incarnation_id: request.incarnation,
            zk_migration_ready: false,
            end_points: request
                .endpoints
                .iter()
                .map(|endpoint| ControllerEndpoint {
                    name: endpoint.name.to_string(),
                    host: endpoint.host.to_string(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                })
                .collect(),
            features: SUPPORTED
                .iter()
                .map(|feature| ControllerFeature {
                    name: feature.name.to_owned(),
                    min_supported_version: feature.min,
                    max_supported_version: feature.max,
                })
                .collect(),
        };
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
