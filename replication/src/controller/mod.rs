//! The active controller: turns requests into metadata records.
//!
//! A request is judged against the *pending* image: the committed one with every record proposed
//! since. Its records are replayed there at once, so that the next request sees them; the shell
//! appends them as one batch and answers when that is committed.
//!
//! ```text
//! request ──▶ Controller::<operation>(turn, request) ──▶ Decision { records, outcome }
//!                      │ pending image                        │ append, sync, commit
//!                      ▼                                      ▼
//!              next request sees it                    outcome is answered
//! ```
//!
//! If an append fails, everything proposed after it is void: the shell drops the controller and
//! activates a new one on the committed image.
//!
//! Where to put things: one file per operation; what several share is in [`change`] (one change of
//! one partition), [`place`] (which brokers), [`sessions`] (who is alive).

pub mod activate;
pub mod adopt;
pub mod brokers;
pub mod change;
pub mod configs;
pub mod create;
pub mod delete;
pub mod directories;
pub mod elect;
pub mod grow;
pub mod heartbeat;
pub mod isr;
pub mod levels;
pub mod names;
pub mod place;
pub mod producer_ids;
mod random;
pub mod reassign;
mod refusal;
mod sessions;

use std::time::Duration;

use config::Config;
use engine::ids::{BrokerId, Offset, PartitionId, TopicId};
use wire::primitives::Uuid;

pub use self::random::Random;
pub use self::refusal::{ErrorKind, Refusal};
use self::sessions::Sessions;
use crate::features::{ELR_VERSION, MetadataVersion};
use crate::image::{Image, Topic, directory};
use crate::record::{self, BATCH_BYTES_MAX, BatchPlace, MetadataRecord};

/// What the controller is told once.
#[derive(Clone, Debug)]
pub struct ControllerOptions {
    /// `node.id` of the node that the controller runs in.
    pub node: BrokerId,
    /// The cluster's id; a broker of another cluster is refused.
    pub cluster_id: String,
    /// Level of `kraft.version` in force, which every broker must support.
    pub kraft_version: i16,
    /// How long a silent broker stays unfenced.
    pub session_timeout: Duration,
    /// This node's static configuration.
    pub config: Config,
}

/// `broker.session.timeout.ms` by default.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(9);

/// The active controller.
#[derive(Debug)]
pub struct Controller {
    options: ControllerOptions,
    /// Static configuration under the dynamic one of this node, as the pending image has it.
    config: Config,
    /// Everything committed and everything proposed.
    image: Image,
    /// Offset of the next record.
    next: Offset,
    sessions: Sessions,
}

/// What an operation may use of its surroundings.
pub struct Turn<'a> {
    /// Monotonic time.
    pub now: Duration,
    /// Random bits.
    pub random: Random<'a>,
}

/// What to append, and what to answer once that is committed.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "records not appended leave the controller ahead of the log"]
pub struct Decision<T> {
    /// Records in order, one batch; none if nothing changes: answer at once then, or (for a
    /// linearizable read) after what was proposed before.
    pub records: Vec<MetadataRecord>,
    /// The answer.
    pub outcome: T,
    values: Vec<Vec<u8>>,
    /// Each record holds by itself: after a crash some may be in the log, and later ones not.
    divisible: bool,
}

/// A batch to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedBatch {
    /// Where it goes.
    pub place: BatchPlace,
    /// How many of the decision's records it holds.
    pub records: usize,
    /// The batch.
    pub bytes: Vec<u8>,
}

/// What was decided cannot be said in one batch, and holds only as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change takes {bytes} bytes of metadata, more than the {BATCH_BYTES_MAX} of one batch")]
pub struct TooLarge {
    /// Bytes that it takes.
    pub bytes: usize,
}

/// A controller as it was before a decision; see [`Controller::mark`].
#[derive(Clone, Debug)]
pub struct Mark {
    image: Image,
    next: Offset,
}

impl<T> Decision<T> {
    /// Nothing to append.
    fn unchanged(outcome: T) -> Self {
        Self { records: Vec::new(), outcome, values: Vec::new(), divisible: false }
    }

    /// The same, whose records need not be committed together: what follows from the state of a
    /// broker concerns every partition that it has, however many.
    fn divisible(self) -> Self {
        Self { divisible: true, ..self }
    }

    /// The same records with another answer.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Decision<U> {
        let Self { records, outcome, values, divisible } = self;
        Decision { records, outcome: f(outcome), values, divisible }
    }

    /// The batches to append, in order, from `place` on; the log patches offset and epoch. None if
    /// nothing changes, one as a rule.
    ///
    /// # Errors
    /// If it is too large for one batch, and does not hold in parts.
    pub fn batches(&self, place: BatchPlace) -> Result<Vec<DecidedBatch>, TooLarge> {
        if !self.divisible {
            let bytes = record::metadata_batch(place, &self.values);
            return match bytes.len() {
                _ if self.values.is_empty() => Ok(Vec::new()),
                len if len > BATCH_BYTES_MAX => Err(TooLarge { bytes: len }),
                _ => Ok(vec![DecidedBatch { place, records: self.values.len(), bytes }]),
            };
        }
        let (mut batches, mut place, mut rest) = (Vec::new(), place, self.values.as_slice());
        while !rest.is_empty() {
            let (values, later) = rest.split_at(record::batch_len(rest));
            let bytes = record::metadata_batch(place, values);
            batches.push(DecidedBatch { place, records: values.len(), bytes });
            place.base = place.base.plus(i64::try_from(values.len()).expect("records in memory"));
            rest = later;
        }
        Ok(batches)
    }

    /// The values of the records, encoded.
    #[must_use]
    pub fn values(&self) -> &[Vec<u8>] {
        &self.values
    }
}

impl Controller {
    /// The image with everything proposed; for reads that must see what was asked for before.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Offset that the next record will have.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// This node's configuration with the dynamic one of the pending image.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The controller as it is now, to come back to if what it decides next cannot be appended.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { image: self.image.clone(), next: self.next }
    }

    /// Forgets what was decided since `mark`. Who was heard of meanwhile, was heard of.
    pub fn return_to(&mut self, mark: Mark) {
        (self.image, self.next) = (mark.image, mark.next);
        self.reconfigure();
    }

    /// Encodes, replays on the pending image, and numbers.
    fn decide<T>(&mut self, records: Vec<MetadataRecord>, outcome: T) -> Decision<T> {
        let version = self.metadata_version();
        let values = record::encode(&records, version)
            .expect("the controller bounds strings and fields before it writes a record");
        let mut image = self.image.clone();
        for record in &records {
            match record {
                MetadataRecord::BeginTransaction(_)
                | MetadataRecord::EndTransaction(_)
                | MetadataRecord::AbortTransaction(_) => {}
                record => image
                    .replay(record)
                    .expect("the controller proposes records that follow from its own image"),
            }
        }
        let reconfigured = records.iter().any(|record| matches!(record, MetadataRecord::Config(_)));
        self.image = image;
        self.next = self.next.plus(i64::try_from(records.len()).expect("records in memory"));
        if reconfigured {
            self.reconfigure();
        }
        Decision { records, outcome, values, divisible: false }
    }

    fn reconfigure(&mut self) {
        // What can't be read was reported when it was set, or is by the node that reads it.
        (self.config, _) = self.image.configs().of_node(&self.options.config, self.options.node);
    }

    fn metadata_version(&self) -> MetadataVersion {
        self.image.features().metadata_version().unwrap_or(MetadataVersion::MINIMUM)
    }

    fn elr_enabled(&self) -> bool {
        self.metadata_version().has_elr() && self.image.features().level(ELR_VERSION) >= 1
    }

    /// What elections need to know of a topic.
    fn election_rules(&self, topic: &Topic) -> ElectionRules {
        let config = self.image.configs().of_topic(&self.config, &topic.name);
        let replicas = topic.partition(PartitionId(0)).map_or(1, |part| part.replicas.len());
        ElectionRules {
            min_isr: usize::try_from(config.min_insync_replicas).unwrap_or(1).min(replicas),
            unclean: config.unclean_leader_election_enable,
        }
    }

    /// Where a new replica goes unless its broker says otherwise: its directory if it has one,
    /// else the broker picks.
    fn default_directory(&self, broker: BrokerId) -> Uuid {
        match self.image.brokers().get(broker).map(|broker| broker.directories.as_slice()) {
            Some([only]) => *only,
            Some([]) => directory::MIGRATING,
            _ => directory::UNASSIGNED,
        }
    }

    fn check_broker_epoch(&self, broker: BrokerId, epoch: i64) -> Result<(), Refusal> {
        let Some(known) = self.image.brokers().get(broker) else {
            return Err(Refusal::new(
                ErrorKind::StaleBrokerEpoch,
                format!("No broker registration found for broker id {broker}"),
            ));
        };
        if known.epoch == epoch {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorKind::StaleBrokerEpoch,
            format!("Expected broker epoch {}, but got broker epoch {epoch}", known.epoch),
        ))
    }

    fn topic(&self, id: TopicId) -> &Topic {
        self.image.topics().get(id).expect("taken from the image")
    }
}

/// See [`Controller::election_rules`].
#[derive(Clone, Copy, Debug)]
struct ElectionRules {
    /// `min.insync.replicas`, at most the number of replicas.
    min_isr: usize,
    /// `unclean.leader.election.enable`.
    unclean: bool,
}

/// Most partitions that one request may create.
const NEW_PARTITIONS_MAX: usize = 10_000;

/// Longest string that a record can say, in bytes.
const STRING_LEN_MAX: usize = 32_767;

#[cfg(test)]
mod tests;
