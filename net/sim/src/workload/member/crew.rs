//! Who is in groups: drawn from the seed, apart from all else, so that a run without members is what
//! it was before there were any.

use std::rc::Rc;
use std::time::Duration;

use super::Member;
use crate::rng::Rng;
use crate::workload::Scene;

/// The groups of a run.
#[derive(Debug)]
pub(crate) struct Crews {
    rng: Rng,
    pace: Pace,
    /// Each with the number of its members.
    crews: Vec<(Crew, u64)>,
}

/// What the members of a group have in common.
#[derive(Clone, Debug)]
pub(super) struct Crew {
    pub(super) group: String,
    pub(super) pace: Pace,
    /// Of the topic that all read.
    pub(super) partitions: i32,
    mix: Mix,
}

/// How fast the groups go: far faster than in life, as a run takes a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long a member may be silent.
    pub(super) session: Duration,
    /// Between two heartbeats.
    pub(super) beat: Duration,
    /// How long the group waits for a member in a rebalance.
    pub(super) rebalance: Duration,
    /// How long a group of KIP-848 goes on with an assignment at least.
    pub(super) assignment: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Mix {
    One(Protocol),
    Both,
}

/// How a member speaks to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// JoinGroup, SyncGroup.
    Classic,
    /// ConsumerGroupHeartbeat: KIP-848.
    Modern,
}

impl Crews {
    /// Those of the run with this seed; in many runs there are none.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ APART);
        let session_ms = *rng.pick(&[30, 60, 150]);
        let pace = Pace {
            session: Duration::from_millis(session_ms),
            beat: Duration::from_millis(session_ms / rng.between(4, 10)),
            rebalance: Duration::from_millis(session_ms * rng.between(1, 3)),
            assignment: Duration::from_millis(*rng.pick(&[0, 20, 200])),
        };
        let partitions = i32::try_from(rng.between(3, 6)).expect("few");
        let count = if rng.one_in(RUNS_WITH_MEMBERS_ONE_IN) { rng.between(1, 2) } else { 0 };
        let crews = (0..count).map(|n| {
            let both =
                [Mix::Both, Mix::Both, Mix::One(Protocol::Classic), Mix::One(Protocol::Modern)];
            let mix = *rng.pick(&both);
            let size = rng.between(2, if count == 1 { 4 } else { 3 });
            (Crew { group: format!("crew{n}"), pace, partitions, mix }, size)
        });
        let crews = crews.collect();
        Self { rng, pace, crews }
    }

    /// The node's settings, `KEY=VALUE`.
    pub(crate) fn settings(&mut self) -> Vec<String> {
        if self.crews.is_empty() {
            return Vec::new();
        }
        let millis = |time: Duration| time.as_millis();
        let delay = *self.rng.pick(&[0, 20, 100]);
        vec![
            "group.min.session.timeout.ms=1".to_owned(),
            "group.consumer.min.session.timeout.ms=1".to_owned(),
            "group.consumer.min.heartbeat.interval.ms=1".to_owned(),
            format!("group.initial.rebalance.delay.ms={delay}"),
            format!("group.consumer.session.timeout.ms={}", millis(self.pace.session)),
            format!("group.consumer.heartbeat.interval.ms={}", millis(self.pace.beat)),
            format!("group.consumer.assignment.interval.ms={}", millis(self.pace.assignment)),
        ]
    }

    /// Starts the members.
    pub(crate) fn start(&mut self, scene: &Rc<Scene>) {
        let mut founds = true;
        if !self.crews.is_empty() {
            scene.leisure.set(LEISURE);
        }
        for (crew, size) in std::mem::take(&mut self.crews) {
            let crew = Rc::new(crew);
            for _ in 0..size {
                let (crew, founds) = (Rc::clone(&crew), std::mem::take(&mut founds));
                scene.start(&mut self.rng, move |client| {
                    super::run(Member::new(client, crew, founds))
                });
            }
        }
    }
}

impl Crew {
    /// The protocol that a member comes with.
    pub(super) fn protocol(&self, rng: &mut Rng) -> Protocol {
        match self.mix {
            Mix::One(protocol) => protocol,
            Mix::Both => *rng.pick(&[Protocol::Classic, Protocol::Modern]),
        }
    }

    /// Whether all speak the same protocol.
    pub(super) fn is_alike(&self) -> bool {
        matches!(self.mix, Mix::One(_))
    }
}

impl Pace {
    pub(super) fn session_micros(&self) -> u64 {
        u64::try_from(self.session.as_micros()).expect("short")
    }
}

/// Enough to find what there is to find in groups; the others have the time for themselves.
const RUNS_WITH_MEMBERS_ONE_IN: u64 = 2;
/// Where there are members, the others leave them time for some generations.
const LEISURE: u64 = 6;
const APART: u64 = 0x6d65_6d62_6572_7321;
