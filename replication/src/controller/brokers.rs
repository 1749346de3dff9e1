//! Registration of brokers.

use std::collections::BTreeSet;

use engine::ids::BrokerId;
use wire::primitives::Uuid;
use wire::record::metadata::{
    BrokerEndpoint, BrokerFeature, RegisterBrokerRecord, UnregisterBrokerRecord,
};

use super::heartbeat::Departure;
use super::{Controller, Decision, ErrorKind, Refusal, STRING_LEN_MAX, Turn};
use crate::features::{KRAFT_VERSION, METADATA_VERSION};
use crate::image::{Endpoint, LevelRange, directory};

/// A broker that introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBroker {
    /// `node.id`.
    pub id: BrokerId,
    /// The cluster that it wants to join.
    pub cluster_id: String,
    /// Random, new with every start of the process.
    pub incarnation: Uuid,
    /// Advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// Levels that it supports.
    pub features: Vec<(String, LevelRange)>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Ids of its log directories.
    pub directories: Vec<Uuid>,
    /// Epoch of the incarnation before, if that one stopped without losing what it had
    /// acknowledged (in Kafka: cleanly); −1 otherwise.
    pub previous_epoch: i64,
}

impl Controller {
    /// Registers a broker, fenced; the answer is its epoch, the offset of the record. If the
    /// incarnation before may have lost records, it leaves ISR and ELR everywhere first.
    pub fn register_broker(
        &mut self,
        turn: &mut Turn<'_>,
        request: &RegisterBroker,
    ) -> Decision<Result<i64, Refusal>> {
        if let Err(refusal) = self.check_registration(turn, request) {
            return Decision::unchanged(Err(refusal));
        }
        let id = request.id;
        let existing = self.image.brokers().get(id).cloned();
        let same = existing.as_ref().filter(|known| known.incarnation == request.incarnation);
        let mut records = Vec::new();
        if same.is_none() {
            let clean =
                existing.as_ref().is_some_and(|known| known.epoch == request.previous_epoch);
            let departure = if self.elr_enabled() && !clean {
                Departure::Unclean(id)
            } else {
                Departure::Clean(id)
            };
            self.depart(departure, &mut records);
        }
        let offset = self.next.0 + i64::try_from(records.len()).expect("records in memory");
        let epoch = same.map_or(offset, |known| known.epoch);
        let directories = self.metadata_version().has_directories();
        let record = RegisterBrokerRecord {
            broker_id: id.0,
            is_migrating_zk_broker: false,
            incarnation_id: request.incarnation,
            broker_epoch: epoch,
            end_points: request.endpoints.iter().map(endpoint).collect(),
            features: request.features.iter().map(feature).collect(),
            rack: request.rack.clone(),
            fenced: same.is_none_or(|known| known.fenced),
            in_controlled_shutdown: same.is_some_and(|known| known.in_controlled_shutdown),
            log_dirs: if directories { request.directories.clone() } else { Vec::new() },
            cordoned_log_dirs: None,
        };
        if same.is_none() {
            self.sessions.forget(id);
        }
        self.sessions.register(id, offset);
        records.push(record.into());
        self.decide(records, Ok(epoch)).divisible()
    }

    /// Removes a broker's registration for good. Not that of the controller's own node: Kafka does
    /// that, and the broker serves nothing any more until it is started again.
    pub fn unregister_broker(&mut self, id: BrokerId) -> Decision<Result<(), Refusal>> {
        if id == self.options.node {
            let text =
                format!("Broker ID {id} is the active controller's own and cannot be removed");
            return Decision::unchanged(Err(Refusal::new(ErrorKind::InvalidRequest, text)));
        }
        let Some(known) = self.image.brokers().get(id) else {
            return Decision::unchanged(Err(Refusal::new(
                ErrorKind::BrokerIdNotRegistered,
                format!("Broker ID {id} is not currently registered"),
            )));
        };
        let record = UnregisterBrokerRecord { broker_id: id.0, broker_epoch: known.epoch };
        let mut records = Vec::new();
        self.depart(Departure::Clean(id), &mut records);
        records.push(record.into());
        self.sessions.forget(id);
        self.decide(records, Ok(())).divisible()
    }

    fn check_registration(&self, turn: &Turn<'_>, request: &RegisterBroker) -> Result<(), Refusal> {
        let cluster_id = &self.options.cluster_id;
        if request.cluster_id != *cluster_id {
            return Err(Refusal::new(
                ErrorKind::InconsistentClusterId,
                format!(
                    "Expected cluster ID {cluster_id}, but got cluster ID {}",
                    request.cluster_id
                ),
            ));
        }
        let timeout = self.options.session_timeout;
        let known = self.image.brokers().get(request.id);
        if known.is_some_and(|known| !known.fenced && known.incarnation != request.incarnation)
            && self.sessions.is_alive(turn.now, request.id, timeout)
        {
            return Err(Refusal::new(ErrorKind::DuplicateBrokerRegistration, DUPLICATE));
        }
        check_lengths(request)?;
        self.check_directories(request)?;
        self.check_features(request)
    }

    fn check_directories(&self, request: &RegisterBroker) -> Result<(), Refusal> {
        if !self.metadata_version().has_directories() {
            return Ok(());
        }
        let refuse = |text: &str| Err(Refusal::new(ErrorKind::InvalidRegistration, text));
        if request.directories.is_empty() {
            return refuse("No directories specified in request");
        }
        if request.directories.iter().any(|&id| directory::is_reserved(id)) {
            return refuse("Reserved directory ID in request");
        }
        if request.directories.iter().collect::<BTreeSet<_>>().len() != request.directories.len() {
            return refuse("Duplicate directory ID in request");
        }
        for broker in self.image.brokers().iter().filter(|broker| broker.id != request.id) {
            let shared = request.directories.iter().find(|dir| broker.directories.contains(dir));
            if let Some(shared) = shared {
                let id = broker.id;
                return refuse(&format!(
                    "Broker {id} is already registered with directory {shared}"
                ));
            }
        }
        Ok(())
    }

    /// Every level in force must be among those that the broker supports.
    fn check_features(&self, request: &RegisterBroker) -> Result<(), Refusal> {
        if !request.features.iter().any(|(name, _)| name == METADATA_VERSION) {
            return Err(Refusal::new(
                ErrorKind::InvalidRegistration,
                format!("Request features do not contain '{METADATA_VERSION}'"),
            ));
        }
        let finalized = self.image.features().iter().map(|(name, level)| (&**name, level));
        for (name, level) in finalized.chain([(KRAFT_VERSION, self.options.kraft_version)]) {
            let sent = request.features.iter().find(|(sent, _)| sent == name);
            let range = sent.map_or(LevelRange { min: 0, max: 0 }, |(_, range)| *range);
            if !range.contains(level) {
                return Err(Refusal::new(
                    ErrorKind::UnsupportedVersion,
                    format!(
                        "Unable to register because the broker does not support finalized version \
                         {level} of {name}. The broker wants a version between {} and {}, \
                         inclusive.",
                        range.min, range.max
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// A record can't say longer strings. A request can't either, but the node's own configuration may.
fn check_lengths(request: &RegisterBroker) -> Result<(), Refusal> {
    let endpoints =
        request.endpoints.iter().flat_map(|endpoint| [&*endpoint.name, &*endpoint.host]);
    let features = request.features.iter().map(|(name, _)| name.as_str());
    let mut strings = endpoints.chain(features).chain(request.rack.as_deref());
    match strings.find(|text| text.len() > STRING_LEN_MAX) {
        Some(text) => Err(Refusal::new(
            ErrorKind::InvalidRegistration,
            format!("A name of {} bytes is longer than {STRING_LEN_MAX}", text.len()),
        )),
        None => Ok(()),
    }
}

fn endpoint(endpoint: &Endpoint) -> BrokerEndpoint {
    BrokerEndpoint {
        name: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    }
}

fn feature((name, range): &(String, LevelRange)) -> BrokerFeature {
    BrokerFeature {
        name: name.clone(),
        min_supported_version: range.min,
        max_supported_version: range.max,
    }
}

const DUPLICATE: &str = "Another broker is registered with that broker id. If the broker was \
                         recently restarted this should self-resolve once the heartbeat manager \
                         expires the broker's session.";
