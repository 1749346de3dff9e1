//! Heartbeats: brokers are unfenced, shut down in control, and fenced when silent.
//!
//! ```text
//! registered ──▶ fenced ──caught up──▶ unfenced ──wants to stop──▶ controlled shutdown
//!                  ▲                      │                                │ leads nothing, and
//!                  └── silent too long ◀──┘                                ▼ the others know
//!                  └──────────────────────────────────────────────── fenced, may stop
//! ```

use std::time::Duration;

use engine::ids::{BrokerId, PartitionId, TopicId};
use wire::primitives::Uuid;
use wire::record::metadata::BrokerRegistrationChangeRecord;

use super::change::{Change, Election, Setting};
use super::{Controller, Decision, Refusal, Turn};
use crate::image::{Broker, Partition};
use crate::record::MetadataRecord;

/// A broker's sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub broker: BrokerId,
    /// In which incarnation.
    pub epoch: i64,
    /// Offset of the last record that it has applied.
    pub metadata_offset: i64,
    /// It does not want to serve (yet).
    pub want_fence: bool,
    /// It wants to stop.
    pub want_shutdown: bool,
    /// Directories that have failed.
    pub offline_directories: Vec<Uuid>,
    /// Directories that take no new partitions; `None` if it does not say.
    pub cordoned_directories: Option<Vec<Uuid>>,
}

/// What the broker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// It has applied its own registration.
    pub is_caught_up: bool,
    /// It must not serve.
    pub is_fenced: bool,
    /// It may stop.
    pub should_shut_down: bool,
}

/// A broker that leaves ISRs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It keeps what it has.
    Clean(BrokerId),
    /// It may have lost records: it is not eligible any more either.
    Unclean(BrokerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutDownNow,
}

impl Controller {
    /// Takes in a heartbeat.
    pub fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        beat: &Heartbeat,
    ) -> Decision<Result<HeartbeatReply, Refusal>> {
        let id = beat.broker;
        if let Err(refusal) = self.check_broker_epoch(id, beat.epoch) {
            return Decision::unchanged(Err(refusal));
        }
        let broker = self.image.brokers().get(id).cloned().expect("its epoch was checked");
        let (now, next) = self.standings(&broker, beat);
        let mut records = Vec::new();
        if now != next {
            match next {
                Standing::Fenced | Standing::ShutDownNow => self.fence(&broker, &mut records),
                Standing::Unfenced => self.unfence(&broker, &mut records),
                Standing::ControlledShutdown => self.start_shutdown(&broker, &mut records),
            }
        }
        let fenced = matches!(next, Standing::Fenced | Standing::ShutDownNow);
        self.sessions.touch(turn.now, id, fenced, beat.metadata_offset);
        if self.metadata_version().has_directories() {
            self.directories_offline(&broker, &beat.offline_directories, &mut records);
        }
        self.cordon(&broker, beat.cordoned_directories.as_deref(), &mut records);
        let reply = HeartbeatReply {
            is_caught_up: self.is_caught_up(beat),
            is_fenced: fenced,
            should_shut_down: next == Standing::ShutDownNow,
        };
        let decision = self.decide(records, Ok(reply)).divisible();
        if next == Standing::ControlledShutdown {
            self.sessions.shutting_down(id, self.next.0 - 1);
        }
        decision
    }

    /// Fences the broker that has been silent for longest, if that is too long; call it until
    /// nothing is decided, at [`Controller::next_session_deadline`].
    pub fn fence_stale_broker(&mut self, now: Duration) -> Decision<Option<BrokerId>> {
        let Some(id) = self.sessions.stale(now, self.options.session_timeout) else {
            return Decision::unchanged(None);
        };
        let mut records = Vec::new();
        if let Some(broker) = self.image.brokers().get(id).cloned() {
            self.fence(&broker, &mut records);
        }
        self.sessions.touch(now, id, true, -1);
        self.decide(records, Some(id)).divisible()
    }

    /// Monotonic time after which a broker may have been silent for too long.
    #[must_use]
    pub fn next_session_deadline(&self) -> Option<Duration> {
        self.sessions.next_deadline(self.options.session_timeout)
    }

    /// Takes a broker out of every ISR (and ELR) that it is in.
    pub(super) fn depart(&self, departure: Departure, records: &mut Vec<MetadataRecord>) {
        let (Departure::Clean(id) | Departure::Unclean(id)) = departure;
        let unclean = matches!(departure, Departure::Unclean(_));
        let acceptable = |broker| broker != id && self.image.brokers().is_active(broker);
        self.update_partitions(&acceptable, unclean.then_some(id), records, |_, _, partition| {
            let concerned = partition.isr.contains(&id) || unclean && partition.elr.contains(&id);
            concerned.then(|| without(&partition.isr, id))
        });
    }

    /// Elects, for partitions that `isr_of` gives an ISR to, by the rules of their topics.
    /// `acceptable` says who is alive.
    pub(super) fn update_partitions(
        &self,
        acceptable: &dyn Fn(BrokerId) -> bool,
        unclean_shutdown: Option<BrokerId>,
        records: &mut Vec<MetadataRecord>,
        isr_of: impl Fn(TopicId, PartitionId, &Partition) -> Option<Vec<BrokerId>>,
    ) {
        let mut rules = None;
        for (topic, id, partition) in self.image.topics().partitions() {
            let Some(isr) = isr_of(topic.id, id, partition) else { continue };
            let (_, rules) = match &mut rules {
                Some((of, rules)) if *of == topic.id => (*of, *rules),
                other => *other.insert((topic.id, self.election_rules(topic))),
            };
            let may_lead = |broker| acceptable(broker) && self.is_online(broker, partition);
            let default_directory = |broker| self.default_directory(broker);
            let setting = self.setting(&may_lead, &default_directory, rules.min_isr);
            let election = if rules.unclean { Election::Unclean } else { Election::Online };
            let change = Change::new(setting, topic.id, id, partition)
                .election(election)
                .unclean_shutdown(unclean_shutdown)
                .isr(isr);
            records.extend(change.build().map(MetadataRecord::from));
        }
    }

    /// Builds one change with the present state of the brokers; `None` if nothing changes.
    pub(super) fn change(
        &self,
        topic: TopicId,
        id: PartitionId,
        with: impl for<'a> FnOnce(Change<'a>, bool) -> Change<'a>,
    ) -> Option<MetadataRecord> {
        let of = self.topic(topic);
        let partition = of.partition(id)?;
        let rules = self.election_rules(of);
        let may_lead =
            |broker| self.image.brokers().is_active(broker) && self.is_online(broker, partition);
        let default_directory = |broker| self.default_directory(broker);
        let setting = self.setting(&may_lead, &default_directory, rules.min_isr);
        let change = with(Change::new(setting, topic, id, partition), rules.unclean);
        change.build().map(MetadataRecord::from)
    }

    /// What one change is built in.
    fn setting<'a>(
        &self,
        acceptable: &'a dyn Fn(BrokerId) -> bool,
        default_directory: &'a dyn Fn(BrokerId) -> Uuid,
        min_isr: usize,
    ) -> Setting<'a> {
        let (version, elr_enabled) = (self.metadata_version(), self.elr_enabled());
        Setting { acceptable, default_directory, version, elr_enabled, min_isr }
    }

    /// Whether the replica's directory is not known to have failed.
    pub(super) fn is_online(&self, broker: BrokerId, partition: &Partition) -> bool {
        let directory = partition.directory_of(broker);
        match (directory, self.image.brokers().get(broker)) {
            (Some(directory), Some(broker)) => broker.has_online(directory),
            // About to become a replica: its directory is not known yet.
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    fn standings(&self, broker: &Broker, beat: &Heartbeat) -> (Standing, Standing) {
        let session = self.sessions.get(broker.id);
        let shutdown_offset = session.and_then(|session| session.shutdown_offset);
        let leads =
            || self.image.topics().partitions().any(|(_, _, part)| part.leader == Some(broker.id));
        if let Some(offset) = shutdown_offset {
            let known = offset <= self.sessions.lowest_active_offset();
            let next = if !leads() && known {
                Standing::ShutDownNow
            } else {
                Standing::ControlledShutdown
            };
            return (Standing::ControlledShutdown, next);
        }
        if broker.fenced {
            let next = if beat.want_shutdown {
                Standing::ShutDownNow
            } else if !beat.want_fence && self.is_caught_up(beat) {
                Standing::Unfenced
            } else {
                Standing::Fenced
            };
            return (Standing::Fenced, next);
        }
        let next = match (beat.want_fence, beat.want_shutdown) {
            (true, true) => Standing::ShutDownNow,
            (true, false) => Standing::Fenced,
            (false, true) if leads() => Standing::ControlledShutdown,
            (false, true) => Standing::ShutDownNow,
            (false, false) => Standing::Unfenced,
        };
        (Standing::Unfenced, next)
    }

    fn is_caught_up(&self, beat: &Heartbeat) -> bool {
        let session = self.sessions.get(beat.broker);
        session.is_some_and(|session| beat.metadata_offset >= session.registered_at)
    }

    fn fence(&self, broker: &Broker, records: &mut Vec<MetadataRecord>) {
        self.depart(Departure::Clean(broker.id), records);
        let record = BrokerRegistrationChangeRecord { fenced: FENCE, ..change_of(broker) };
        if !broker.fenced {
            records.push(record.into());
        }
    }

    /// The broker serves; what has no leader may get one.
    fn unfence(&self, broker: &Broker, records: &mut Vec<MetadataRecord>) {
        let record = BrokerRegistrationChangeRecord { fenced: UNFENCE, ..change_of(broker) };
        records.push(record.into());
        let acceptable = |id| id == broker.id || self.image.brokers().is_active(id);
        self.update_partitions(&acceptable, None, records, |_, _, partition| {
            partition.leader.is_none().then(|| partition.isr.clone())
        });
    }

    fn start_shutdown(&self, broker: &Broker, records: &mut Vec<MetadataRecord>) {
        if !broker.in_controlled_shutdown {
            let record =
                BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..change_of(broker) };
            records.push(record.into());
        }
        self.depart(Departure::Clean(broker.id), records);
    }

    /// Replicas in directories that have newly failed leave the ISR.
    fn directories_offline(
        &self,
        broker: &Broker,
        offline: &[Uuid],
        records: &mut Vec<MetadataRecord>,
    ) {
        let (lost, left): (Vec<Uuid>, Vec<Uuid>) =
            broker.directories.iter().partition(|dir| offline.contains(dir));
        if lost.is_empty() {
            return;
        }
        let id = broker.id;
        let acceptable = |other| other != id && self.image.brokers().is_active(other);
        self.update_partitions(&acceptable, None, records, |_, _, partition| {
            let here = partition.directory_of(id).is_some_and(|dir| lost.contains(&dir));
            here.then(|| without(&partition.isr, id))
        });
        // Kafka can't say "none left": an empty list means no change. The broker then stops by
        // itself, having lost its last directory.
        if !left.is_empty() {
            let record = BrokerRegistrationChangeRecord { log_dirs: left, ..change_of(broker) };
            records.push(record.into());
        }
    }

    fn cordon(
        &self,
        broker: &Broker,
        cordoned: Option<&[Uuid]>,
        records: &mut Vec<MetadataRecord>,
    ) {
        let Some(cordoned) = cordoned else { return };
        if self.metadata_version().has_cordoned_directories()
            && broker.cordoned.as_deref() != Some(cordoned)
        {
            let cordoned_log_dirs = Some(cordoned.to_vec());
            let record = BrokerRegistrationChangeRecord { cordoned_log_dirs, ..change_of(broker) };
            records.push(record.into());
        }
    }
}

fn change_of(broker: &Broker) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch,
        ..BrokerRegistrationChangeRecord::default()
    }
}

pub(super) fn without(isr: &[BrokerId], gone: BrokerId) -> Vec<BrokerId> {
    isr.iter().copied().filter(|broker| *broker != gone).collect()
}

/// `fenced` of a BrokerRegistrationChange.
const FENCE: i8 = 1;
const UNFENCE: i8 = -1;
