//! KRaft: who leads the metadata log, in which epoch, and what of it is committed.
//!
//! A sans-I/O state machine (KIP-595, KIP-853). The shell replays the log into [`Recovered`],
//! calls [`Quorum::start`], and from then on reports events and executes effects **in order**:
//! an effect may assume that the ones before it are durable.
//!
//! ```text
//!            election timeout               majority of pre-votes        majority of votes
//! Unattached ───────────────▶ Prospective ─────────────────▶ Candidate ──────────────▶ Leader
//!     ▲  ▲                        │ leader known                                        │
//!     │  └──── higher epoch ──────┴────────▶ Follower ◀── BeginQuorumEpoch              │
//!     └───────────────────────────────── Resigned ◀── restart, shutdown, quorum lost ───┘
//! ```
//!
//! A lone voter goes from start to Leader in one step, in a new epoch every time. That is what is
//! built; a voter set with others is refused by name. Everything that persists or leaves this
//! module already has the shape for many: election state with votes, voter sets with their
//! history, a high watermark by majority.

pub mod election;
pub mod format;
pub mod retention;
pub mod snapshot;
pub mod voters;

use std::collections::BTreeMap;
use std::time::Duration;

use engine::ids::{BrokerId, LeaderEpoch, Offset};
use wire::primitives::Uuid;
use wire::record::control::{KRaftVersionRecord, LeaderChangeMessage, LeaderChangeVoter};

pub use self::election::{DataVersion, ElectionState, ElectionStateError};
pub use self::retention::{RetentionPlan, RetentionPolicy, StoredSnapshot, retain};
pub use self::snapshot::{SinceSnapshot, Snapshot, SnapshotError, SnapshotId, SnapshotPolicy};
pub use self::voters::{History, ReplicaKey, Voter, VoterEndpoint, VoterSet};
use self::voters::{voter_set, voters_record};
use crate::image::LevelRange;
use crate::record::ControlRecord;

/// What the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumConfig {
    /// `node.id`.
    pub node: BrokerId,
    /// `directory.id` of the directory that holds the metadata log.
    pub directory: Uuid,
    /// Controller listeners as others reach them.
    pub endpoints: Vec<VoterEndpoint>,
}

/// What the shell read back from disk.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Content of `quorum-state`, if the file exists.
    pub election: Option<ElectionState>,
    /// End of the log.
    pub log_end: Offset,
    /// Epoch of the last batch, or of the snapshot that the log starts at; 0 if neither exists.
    pub last_epoch: i32,
    voters: History<VoterSet>,
    kraft_version: History<i16>,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Quorum {
    config: QuorumConfig,
    state: State,
    epoch: i32,
    voters: History<VoterSet>,
    kraft_version: History<i16>,
    high_watermark: Option<Offset>,
    log_end: Offset,
}

/// What this node is in the present epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Knows the epoch, not its leader.
    Unattached,
    /// Asks whether an election could be won, without an epoch of its own yet (KIP-996).
    Prospective,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader(Leadership),
    /// Fetches from the leader.
    Follower {
        /// Who leads.
        leader: BrokerId,
    },
    /// Led until now and leads no more.
    Resigned,
}

/// What a leader knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Offset of this epoch's `LeaderChange` record.
    pub epoch_start: Offset,
    /// How far each voter's log is known to be durable.
    durable: BTreeMap<BrokerId, Offset>,
    /// Whether the controller has been told; it is once `epoch_start` is committed.
    announced: bool,
}

/// Everything that can run out. One timer of each kind exists; setting it again moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// Unattached, Prospective, Candidate, Resigned: time to try (again) for leadership. Random
    /// in `[t, 2t)` with `controller.quorum.election.timeout.ms`.
    Election,
    /// Follower: the leader has not answered for `controller.quorum.fetch.timeout.ms`.
    Fetch,
    /// Leader: a majority has not fetched for 1.5 × the fetch timeout.
    CheckQuorum,
    /// Leader: remind voters that have not fetched, every half fetch timeout.
    BeginQuorumEpoch,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The log ends at `end`, all of it durable. Reported after every sync, and after the
    /// [`Effect::Append`] of an epoch's start.
    Durable {
        /// End offset, exclusive.
        end: Offset,
    },
    /// A timer ran out.
    Timer(Timer),
    /// The node stops: give up leadership.
    Shutdown,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Replace `quorum-state` by `ElectionState::encode(version)` and sync it.
    Persist {
        /// What to write.
        state: ElectionState,
        /// In which layout.
        version: DataVersion,
    },
    /// Append one control batch of this epoch, whose first record gets the offset `at`.
    Append {
        /// Where the log must end now.
        at: Offset,
        /// Epoch of the batch.
        epoch: LeaderEpoch,
        /// Its records.
        records: Vec<ControlRecord>,
    },
    /// Everything below is committed: apply it.
    CommitAdvanced {
        /// Exclusive.
        high_watermark: Offset,
    },
    /// Leadership of `epoch` holds and its start is committed: once everything below `start` is
    /// applied, the controller may activate.
    BecameLeader {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Offset after the epoch's start batch: where the controller's first record goes.
        next: Offset,
    },
    /// The controller must stop; what it has not seen committed may be lost.
    LostLeadership {
        /// The epoch that is over.
        epoch: LeaderEpoch,
    },
    /// (Re)start a timer.
    SetTimer {
        /// Which.
        timer: Timer,
        /// Monotonic time at which it runs out.
        at: Duration,
    },
}

/// Why the node can't take part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Neither the log nor `quorum-state` names any voter.
    #[error(
        "the metadata log names no voters: the directory is not formatted, or is a broker's of a \
         cluster whose controllers are elsewhere"
    )]
    NoVoters,
    /// This node may not vote.
    #[error("node {node} (directory {directory}) is not among the voters {voters:?}")]
    NotAVoter {
        /// This node.
        node: BrokerId,
        /// This directory.
        directory: Uuid,
        /// Ids of the voters.
        voters: Vec<BrokerId>,
    },
    /// There are others.
    #[error(
        "the metadata log has the voters {voters:?}; this version runs as the only voter: remove \
         the others first (kafka-metadata-quorum.sh remove-controller)"
    )]
    OtherVoters {
        /// Ids of the voters.
        voters: Vec<BrokerId>,
    },
    /// The log asks for a protocol that is not known here.
    #[error("the metadata log has kraft.version {0}; this program supports 0 and 1")]
    KraftVersion(i16),
    /// Epochs are 31 bits.
    #[error("the quorum epoch {0} cannot be raised any more")]
    EpochExhausted(i32),
}

impl Recovered {
    /// Notes a control record found in the log, or in the snapshot it starts at. Records of the
    /// 0-0 snapshot, which stands for the empty log, have offset −1; those of another snapshot
    /// the offset before its end.
    pub fn observe(&mut self, at: Offset, record: &ControlRecord) {
        observe(&mut self.voters, &mut self.kraft_version, at, record);
    }
}

impl Quorum {
    /// Starts on what was recovered. A lone voter takes leadership of a new epoch.
    ///
    /// # Errors
    /// If this node is not the only voter, or the log is of a protocol not known here.
    pub fn start(
        now: Duration,
        config: QuorumConfig,
        recovered: Recovered,
    ) -> Result<(Self, Vec<Effect>), StartError> {
        let Recovered { election, log_end, last_epoch, mut voters, kraft_version } = recovered;
        let level = kraft_version.last().map_or(0, |(_, &level)| level);
        if !(0..=KRAFT_VERSION_MAX).contains(&level) {
            return Err(StartError::KraftVersion(level));
        }
        if voters.last().is_none()
            && let Some(ids) = election.as_ref().map(|election| &election.voters)
            && !ids.is_empty()
        {
            voters.push(Offset(-1), static_voters(&config, ids));
        }
        let set = voters.last().map(|(_, set)| set).ok_or(StartError::NoVoters)?;
        check_lone_voter(&config, set)?;
        let epoch = election.as_ref().map_or(0, |election| election.epoch).max(last_epoch);
        if epoch == i32::MAX {
            return Err(StartError::EpochExhausted(epoch));
        }
        let state = State::Unattached;
        let high_watermark = None;
        let mut quorum =
            Self { config, state, epoch, voters, kraft_version, high_watermark, log_end };
        let mut effects = Vec::new();
        quorum.elect(now, &mut effects);
        Ok((quorum, effects))
    }

    /// Takes in what happened.
    pub fn handle(&mut self, _now: Duration, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Durable { end } => self.durable(end, &mut effects),
            // A lone voter sets no timer; one that is late has nothing to say.
            Event::Timer(_) => {}
            Event::Shutdown => self.resign(&mut effects),
        }
        effects
    }

    /// Notes a control record that this node appended beside the epoch's start, or replicated.
    pub fn observe(&mut self, at: Offset, record: &ControlRecord) {
        observe(&mut self.voters, &mut self.kraft_version, at, record);
    }

    /// Forgets voter sets that only a log starting earlier needs.
    pub fn trim(&mut self, log_start: Offset) {
        self.voters.trim(log_start);
        self.kraft_version.trim(log_start);
    }

    /// The present epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.epoch)
    }

    /// What this node is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Who leads, if known.
    #[must_use]
    pub fn leader(&self) -> Option<BrokerId> {
        match &self.state {
            State::Leader(_) => Some(self.config.node),
            State::Follower { leader } => Some(*leader),
            State::Unattached | State::Prospective | State::Candidate | State::Resigned => None,
        }
    }

    /// End of what is committed, exclusive; unknown until this epoch's start is.
    #[must_use]
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// The level of `kraft.version` in force.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.kraft_version.last().map_or(0, |(_, &level)| level)
    }

    /// The voters, committed or not: the last set in the log counts at once.
    #[must_use]
    pub fn voters(&self) -> &VoterSet {
        self.voters.last().map(|(_, set)| set).expect("a quorum does not start without voters")
    }

    /// What a snapshot that ends at `end` must say of the quorum: `None` below `kraft.version` 1.
    #[must_use]
    pub fn snapshot_voters(&self, end: Offset) -> Option<(i16, VoterSet)> {
        let level = *self.kraft_version.before(end)?;
        let set = self.voters.before(end)?;
        (level >= 1).then(|| (level, set.clone()))
    }

    /// For DescribeQuorum, as a leader sees it; `None` if another node leads.
    #[must_use]
    pub fn describe(&self, wall_ms: i64) -> Option<QuorumDescription> {
        let State::Leader(leadership) = &self.state else { return None };
        let replica = |(&id, voter): (&BrokerId, &Voter)| ReplicaDescription {
            id,
            directory: voter.directory,
            log_end: if id == self.config.node {
                Some(self.log_end)
            } else {
                leadership.durable.get(&id).copied()
            },
            last_fetch_ms: (id == self.config.node).then_some(wall_ms),
            last_caught_up_ms: (id == self.config.node).then_some(wall_ms),
        };
        Some(QuorumDescription {
            leader: self.config.node,
            epoch: self.epoch(),
            high_watermark: self.high_watermark,
            voters: self.voters().voters.iter().map(replica).collect(),
            observers: Vec::new(),
            nodes: self
                .voters()
                .voters
                .iter()
                .map(|(&id, voter)| (id, voter.endpoints.clone()))
                .collect(),
        })
    }

    /// Candidate and, with the only vote there is, leader of the next epoch. The two states are
    /// persisted as one: no vote is asked for in between.
    fn elect(&mut self, _now: Duration, effects: &mut Vec<Effect>) {
        self.state = State::Candidate;
        self.epoch += 1;
        effects.push(self.persist(Some(self.config.node)));
        let at = self.log_end;
        let change_voter =
            |id: BrokerId| LeaderChangeVoter { voter_id: id.0, ..LeaderChangeVoter::default() };
        let mut records = vec![ControlRecord::LeaderChange(LeaderChangeMessage {
            leader_id: self.config.node.0,
            voters: self.voters().ids().map(change_voter).collect(),
            granting_voters: vec![change_voter(self.config.node)],
        })];
        if let Some(set) = self.voters_to_write() {
            let k_raft_version = self.kraft_version();
            records.push(ControlRecord::KRaftVersion(KRaftVersionRecord { k_raft_version }));
            records.push(ControlRecord::KRaftVoters(voters_record(&set)));
        }
        for (offset, record) in (at.0..).zip(&records) {
            observe(&mut self.voters, &mut self.kraft_version, Offset(offset), record);
        }
        self.log_end = at.plus(i64::try_from(records.len()).expect("at most three records"));
        effects.push(Effect::Append { at, epoch: self.epoch(), records });
        let durable = BTreeMap::new();
        self.state = State::Leader(Leadership { epoch_start: at, durable, announced: false });
    }

    /// The voter set, if this epoch must start with it: it is only in the 0-0 snapshot so far, or
    /// this node is reached in another way than it says.
    fn voters_to_write(&self) -> Option<VoterSet> {
        if self.kraft_version() < 1 {
            return None;
        }
        let (at, set) = self.voters.last()?;
        let mut updated = set.clone();
        let own = updated.voters.get_mut(&self.config.node)?;
        own.endpoints.clone_from(&self.config.endpoints);
        own.kraft_version = OWN_KRAFT_VERSIONS;
        (at.0 < 0 || updated != *set).then_some(updated)
    }

    fn durable(&mut self, end: Offset, effects: &mut Vec<Effect>) {
        let (only_vote, node) = (self.voters().ids().count() / 2, self.config.node);
        self.log_end = self.log_end.max(end);
        let State::Leader(leadership) = &mut self.state else { return };
        leadership.durable.insert(node, end);
        let mut ends: Vec<_> = self
            .voters
            .last()
            .into_iter()
            .flat_map(|(_, set)| set.ids())
            .map(|id| leadership.durable.get(&id).copied().unwrap_or(Offset::ZERO))
            .collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&majority) = ends.get(only_vote) else { return };
        // A leader commits by counting only from its own epoch on (Raft §5.4.2).
        if majority <= leadership.epoch_start || Some(majority) <= self.high_watermark {
            return;
        }
        self.high_watermark = Some(majority);
        effects.push(Effect::CommitAdvanced { high_watermark: majority });
        if !leadership.announced {
            leadership.announced = true;
            let (epoch, next) = (LeaderEpoch(self.epoch), self.log_end);
            effects.push(Effect::BecameLeader { epoch, next });
        }
    }

    fn resign(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.state, State::Leader(_)) {
            self.state = State::Resigned;
            effects.push(Effect::LostLeadership { epoch: self.epoch() });
        }
    }

    fn persist(&self, leader: Option<BrokerId>) -> Effect {
        let dynamic = self.kraft_version() >= 1;
        let state = ElectionState {
            epoch: self.epoch,
            leader,
            voted: None,
            voters: if dynamic { Vec::new() } else { self.voters().ids().collect() },
        };
        Effect::Persist { state, version: if dynamic { DataVersion::V1 } else { DataVersion::V0 } }
    }
}

/// The quorum as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    /// Who leads.
    pub leader: BrokerId,
    /// Since which epoch.
    pub epoch: LeaderEpoch,
    /// End of what is committed, exclusive.
    pub high_watermark: Option<Offset>,
    /// Who decides.
    pub voters: Vec<ReplicaDescription>,
    /// Who follows without a vote.
    pub observers: Vec<ReplicaDescription>,
    /// Where the voters are.
    pub nodes: Vec<(BrokerId, Vec<VoterEndpoint>)>,
}

/// How far a replica of the metadata log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDescription {
    /// Node.
    pub id: BrokerId,
    /// Directory, zero if not known.
    pub directory: Uuid,
    /// End of its log, if it has fetched.
    pub log_end: Option<Offset>,
    /// Unix milliseconds of its last fetch.
    pub last_fetch_ms: Option<i64>,
    /// Unix milliseconds at which it last had everything.
    pub last_caught_up_ms: Option<i64>,
}

/// Voters that only `quorum-state` names: static configuration, with directories and the others'
/// endpoints not known.
fn static_voters(config: &QuorumConfig, ids: &[BrokerId]) -> VoterSet {
    let voter = |&id: &BrokerId| {
        let endpoints = if id == config.node { config.endpoints.clone() } else { Vec::new() };
        (id, Voter { directory: Uuid::ZERO, endpoints, kraft_version: OWN_KRAFT_VERSIONS })
    };
    VoterSet { voters: ids.iter().map(voter).collect() }
}

fn check_lone_voter(config: &QuorumConfig, set: &VoterSet) -> Result<(), StartError> {
    let voters: Vec<_> = set.ids().collect();
    let own = set.voters.get(&config.node);
    if !own.is_some_and(|own| own.directory.is_zero() || own.directory == config.directory) {
        let QuorumConfig { node, directory, .. } = *config;
        return Err(StartError::NotAVoter { node, directory, voters });
    }
    if set.is_only(config.node) { Ok(()) } else { Err(StartError::OtherVoters { voters }) }
}

fn observe(
    voters: &mut History<VoterSet>,
    kraft_version: &mut History<i16>,
    at: Offset,
    record: &ControlRecord,
) {
    match record {
        ControlRecord::KRaftVersion(record) => kraft_version.push(at, record.k_raft_version),
        ControlRecord::KRaftVoters(record) => voters.push(at, voter_set(record)),
        _ => {}
    }
}

/// Highest level of `kraft.version` known here.
const KRAFT_VERSION_MAX: i16 = 1;

/// What this node says of itself in the voter set.
pub(crate) const OWN_KRAFT_VERSIONS: LevelRange = LevelRange { min: 0, max: KRAFT_VERSION_MAX };

#[cfg(test)]
mod tests;
