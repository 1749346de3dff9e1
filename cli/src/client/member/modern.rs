//! A member of a group whose broker assigns (KIP-848): one request says all, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use wire::error_code::ErrorCode;
use wire::msg::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use wire::primitives::Uuid;

use super::{Event, Line, MemberOptions, Order, Over, RETRY_PAUSE, Wanted, random_id};
use crate::client::conn::{check_with, code_of};
use crate::client::groups::{Groups, may_pass};
use crate::client::partitions::{TopicPartition, by_topic};

/// Is a member until told to leave.
pub(super) fn run(options: &MemberOptions, line: &Line) -> Result<()> {
    let groups = Groups::of(options.connect()?);
    line.set_identity(&random_id(), JOINS);
    let mut member = Member {
        options,
        line,
        groups,
        has: BTreeSet::new(),
        gives_up: BTreeSet::new(),
        target: None,
        interval: RETRY_PAUSE,
        says_all: true,
        ids: BTreeMap::new(),
    };
    loop {
        match member.turn() {
            Ok(Ok(())) => {}
            Ok(Err(Over)) => return member.leave(),
            Err(failure) => match code_of(&failure) {
                // A coordinator that is gone for longer than the attempts took.
                _ if may_pass(&failure) => std::thread::sleep(RETRY_PAUSE),
                // Somebody else has its name until the session of that one ends.
                ErrorCode::UNRELEASED_INSTANCE_ID => std::thread::sleep(RETRY_PAUSE),
                ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH => {
                    if member.begin_anew().is_err() {
                        return Ok(());
                    }
                }
                _ => return Err(failure),
            },
        }
    }
}

struct Member<'a> {
    options: &'a MemberOptions,
    line: &'a Line,
    groups: Groups,
    /// What the member has, and what of it the reader was asked to give up.
    has: BTreeSet<TopicPartition>,
    gives_up: BTreeSet<TopicPartition>,
    /// What the member is to have, where that is not reached.
    target: Option<BTreeSet<TopicPartition>>,
    interval: Duration,
    /// The next heartbeat repeats what the coordinator may not know.
    says_all: bool,
    /// Topics by id.
    ids: BTreeMap<Uuid, String>,
}

/// What the coordinator answered.
struct Answer {
    epoch: i32,
    interval: Duration,
    target: Option<Vec<(Uuid, Vec<i32>)>>,
}

impl Member<'_> {
    /// One heartbeat, and what follows from its answer.
    fn turn(&mut self) -> Result<Result<(), Over>> {
        let answer = self.heartbeat()?;
        let joined = self.line.identity().epoch == JOINS;
        self.line.set_identity(&self.line.identity().member_id, answer.epoch);
        self.interval = answer.interval;
        self.says_all = false;
        if let Some(target) = answer.target {
            self.target = Some(self.named(&target)?);
        }
        if joined && self.target.is_none() {
            self.target = Some(BTreeSet::new());
        }
        if self.reconcile().is_err() {
            return Ok(Err(Over));
        }
        if self.says_all {
            // The coordinator waits to hear what the member has now.
            return Ok(Ok(()));
        }
        let next = Instant::now() + self.interval;
        match self.line.order(next) {
            Ok(Some(Order::GaveUp)) => {
                let gone = std::mem::take(&mut self.gives_up);
                self.has.retain(|at| !gone.contains(at));
                Ok(self.reconcile())
            }
            Ok(_) => Ok(Ok(())),
            Err(over) => Ok(Err(over)),
        }
    }

    /// Towards the target: first what has to go, then what comes.
    fn reconcile(&mut self) -> Result<(), Over> {
        let Some(target) = &self.target else { return Ok(()) };
        if !self.gives_up.is_empty() {
            return Ok(());
        }
        let gone: BTreeSet<_> = self.has.difference(target).cloned().collect();
        if !gone.is_empty() {
            self.gives_up.clone_from(&gone);
            return self.line.tell(Event::Revoke(gone.into_iter().collect()));
        }
        self.has = self.target.take().unwrap_or_default();
        self.says_all = true;
        self.line.tell(Event::Assigned(self.has.iter().cloned().collect()))
    }

    /// The group went on without this member.
    fn begin_anew(&mut self) -> Result<(), Over> {
        self.has.clear();
        self.gives_up.clear();
        self.target = None;
        self.says_all = true;
        self.line.set_identity(&self.line.identity().member_id, JOINS);
        self.line.tell(Event::Lost)?;
        self.line.drain()
    }

    fn heartbeat(&mut self) -> Result<Answer> {
        let identity = self.line.identity();
        let joins = identity.epoch == JOINS;
        let (names, pattern): (Vec<&str>, _) = match &self.options.wanted {
            Wanted::Topics(names) => (names.iter().map(String::as_str).collect(), None),
            Wanted::Pattern(pattern) => (Vec::new(), Some(pattern.as_str())),
        };
        let has = self.says_all.then(|| self.by_id());
        let request = ConsumerGroupHeartbeatRequest {
            group_id: &self.options.group,
            member_id: &identity.member_id,
            member_epoch: identity.epoch,
            instance_id: joins.then_some(self.options.instance_id.as_deref()).flatten(),
            rack_id: None,
            rebalance_timeout_ms: match joins {
                true => i32::try_from(self.options.rebalance_timeout.as_millis())?,
                false => -1,
            },
            subscribed_topic_names: (joins && pattern.is_none()).then(|| (&names).into()),
            subscribed_topic_regex: joins.then_some(pattern).flatten(),
            server_assignor: joins.then_some(self.options.assignor.as_deref()).flatten(),
            topic_partitions: has.map(Into::into),
        };
        self.groups.ask(&self.options.group, |conn, _| {
            let answer: ConsumerGroupHeartbeatResponse<'_> = conn.call(&request)?;
            let what = format!("group {}", self.options.group);
            check_with(answer.error_code, answer.error_message, &what)?;
            let target = answer.assignment.as_ref().map(|assignment| {
                let topics = assignment.topic_partitions.iter();
                topics.map(|topic| (topic.topic_id, topic.partitions.to_vec())).collect()
            });
            let interval = u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0).max(100);
            let interval = Duration::from_millis(interval);
            Ok(Answer { epoch: answer.member_epoch, interval, target })
        })
    }

    /// What the member has, as the coordinator names it.
    fn by_id(&self) -> Vec<TopicPartitions<'static>> {
        let id_of = |name: &str| self.ids.iter().find(|(_, known)| *known == name);
        let topics = by_topic(self.has.iter().map(|at| (at, ()))).into_iter();
        let topics = topics.filter_map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(id, ())| id).collect::<Vec<_>>();
            let (topic_id, _) = id_of(name)?;
            Some(TopicPartitions { topic_id: *topic_id, partitions: partitions.into() })
        });
        topics.collect()
    }

    /// Partitions by name. Of a topic that is gone already nothing can be read.
    fn named(&mut self, target: &[(Uuid, Vec<i32>)]) -> Result<BTreeSet<TopicPartition>> {
        if target.iter().any(|(id, _)| !self.ids.contains_key(id)) {
            let topics = self.groups.cluster().topics()?.into_iter();
            self.ids = topics.map(|topic| (topic.id, topic.name)).collect();
        }
        let known = target.iter().filter_map(|(id, partitions)| {
            let name = self.ids.get(id)?;
            Some(partitions.iter().map(move |&id| TopicPartition::new(&**name, id)))
        });
        Ok(known.flatten().collect())
    }

    /// A static member only says that it is away, and may come back.
    fn leave(&mut self) -> Result<()> {
        let identity = self.line.identity();
        if identity.epoch == JOINS {
            return Ok(());
        }
        let request = ConsumerGroupHeartbeatRequest {
            group_id: &self.options.group,
            member_id: &identity.member_id,
            member_epoch: if self.options.instance_id.is_some() { IS_AWAY } else { LEAVES },
            instance_id: self.options.instance_id.as_deref(),
            ..Default::default()
        };
        self.groups.ask(&self.options.group, |conn, _| {
            let answer: ConsumerGroupHeartbeatResponse<'_> = conn.call(&request)?;
            check_with(answer.error_code, answer.error_message, "leaving")
        })
    }
}

/// Member epochs with a meaning of their own.
const JOINS: i32 = 0;
const LEAVES: i32 = -1;
const IS_AWAY: i32 = -2;
