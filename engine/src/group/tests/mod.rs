//! A shard with a log that the test writes, or does not.

mod commits;
mod consumers;
mod consumers_model;
mod joins;
mod members;
mod mixed;
mod mixed_model;
mod model;
mod offsets;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use wire::primitives::Uuid;
use wire::record::group::GroupRecord;

use super::*;

/// A shard, its log, and the answers that have come.
struct World {
    shard: Shard,
    memory: Rc<GroupMemory>,
    settings: Rc<GroupSettings>,
    topics: Rc<Topics>,
    /// Expressions that the shard asked about.
    to_resolve: VecDeque<(Rc<str>, Vec<Rc<str>>)>,
    now: Now,
    /// What is durable.
    log: Vec<Entry>,
    /// What is not.
    under_way: VecDeque<Append>,
    answers: BTreeMap<Ticket, Answer>,
    next: u64,
    /// Whether what is appended is durable at once.
    writes: bool,
}

fn settings() -> GroupSettings {
    GroupSettings {
        session_timeout_ms_min: 6_000,
        session_timeout_ms_max: 1_800_000,
        initial_delay: Duration::ZERO,
        members_max: usize::MAX,
        metadata_len_max: 4_096,
        retention_ms: 7 * 86_400_000,
        append_bytes_max: 1 << 20,
        consumer: ConsumerSettings {
            pace: Pace {
                session_timeout: Duration::from_secs(45),
                heartbeat_interval_ms: 5_000,
                assignment_interval_ms: 0,
            },
            members_max: usize::MAX,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            pattern_refresh_ms: 600_000,
            migration: MigrationPolicy::Bidirectional,
        },
        plant: None,
    }
}

/// Topics that a test makes.
#[derive(Debug, Default)]
struct Topics {
    partitions: RefCell<BTreeMap<Arc<str>, (Uuid, i32)>>,
    version: Cell<i64>,
    /// Of groups that have one of their own.
    paces: RefCell<BTreeMap<String, Pace>>,
}

impl Topics {
    /// Makes a topic, or changes it.
    fn set(&self, name: &str, partitions: i32) {
        let id = Uuid([name.as_bytes()[0]; 16]);
        self.partitions.borrow_mut().insert(name.into(), (id, partitions));
        self.version.set(self.version.get() + 1);
    }

    fn delete(&self, name: &str) {
        self.partitions.borrow_mut().remove(name);
        self.version.set(self.version.get() + 1);
    }
}

impl TopicSource for Topics {
    fn version(&self) -> i64 {
        self.version.get()
    }

    fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        self.partitions.borrow().get(name).copied()
    }

    fn name(&self, id: Uuid) -> Option<Arc<str>> {
        let all = self.partitions.borrow();
        all.iter().find(|(_, (of, _))| *of == id).map(|(name, _)| Arc::clone(name))
    }

    fn racks(&self, _: Uuid, _: i32) -> Vec<Arc<str>> {
        Vec::new()
    }

    fn pace(&self, group: &str) -> Option<Pace> {
        self.paces.borrow().get(group).copied()
    }
}

impl World {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: GroupSettings) -> Self {
        let (memory, settings) = (GroupMemory::new(64 << 20), Rc::new(settings));
        let topics = Rc::new(Topics::default());
        Self {
            shard: Shard::new(Rc::clone(&settings), &memory, Rc::clone(&topics) as Rc<_>),
            topics,
            to_resolve: VecDeque::new(),
            memory,
            settings,
            now: Now { at: Instant::ZERO, wall_ms: 1_700_000_000_000 },
            log: Vec::new(),
            under_way: VecDeque::new(),
            answers: BTreeMap::new(),
            next: 0,
            writes: true,
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// The group, whose members have left, is deleted: nothing of it stays, in memory or in the log.
    fn delete(&mut self) {
        let ticket = self.ticket();
        self.shard.delete_group(ticket, "g");
        self.pump();
        assert_eq!(self.parts(ticket), Ok(vec![]));
        assert_eq!(self.memory.used(), 0);
        self.crash();
        assert!(self.shard.is_empty());
    }

    /// Takes what has come out; writes it, if that is how things are.
    fn pump(&mut self) {
        loop {
            match self.shard.poll_effect() {
                Some(Effect::Answer(ticket, answer)) => {
                    assert!(self.answers.insert(ticket, answer).is_none(), "answered twice");
                }
                Some(Effect::Append(append)) => self.under_way.push_back(append),
                Some(Effect::Resolve { group, patterns }) => {
                    self.to_resolve.push_back((group, patterns));
                }
                None if self.writes && !self.under_way.is_empty() => self.write(Ok(())),
                None => return,
            }
        }
    }

    /// The oldest append becomes durable, or does not.
    fn write(&mut self, outcome: Result<(), GroupError>) {
        let Some(append) = self.under_way.pop_front() else { return };
        if outcome.is_ok() {
            self.log.extend(append.records);
        }
        self.shard.appended(self.now, append.id, outcome);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.at + time;
        while let Some(next) = self.shard.next_deadline().filter(|next| *next <= until) {
            self.at(next.max(self.now.at));
            self.shard.expire_due(self.now);
            self.pump();
        }
        self.at(until);
    }

    fn at(&mut self, at: Instant) {
        self.now.wall_ms += i64::try_from(at.since(self.now.at).as_millis()).expect("small");
        self.now.at = at;
    }

    /// The broker is killed: what was not durable is lost, and everybody's answer.
    fn crash(&mut self) {
        self.under_way.clear();
        self.to_resolve.clear();
        let topics = Rc::clone(&self.topics) as Rc<_>;
        let mut shard = Shard::new(Rc::clone(&self.settings), &self.memory, topics);
        for entry in &self.log {
            let record = GroupRecord::decode(&entry.key, entry.value.as_deref());
            shard.replay(record.expect("our own"));
        }
        shard.loaded(self.now);
        self.shard = shard;
    }

    fn send_join(&mut self, request: JoinRequest) -> Ticket {
        let ticket = self.ticket();
        self.shard.join(self.now, ticket, request);
        self.pump();
        ticket
    }

    fn joined(&mut self, ticket: Ticket) -> Result<Joined, (GroupError, String)> {
        match self.answers.remove(&ticket) {
            Some(Answer::Joined(joined)) => joined,
            other => panic!("{other:?}"),
        }
    }

    fn waits(&self, ticket: Ticket) -> bool {
        !self.answers.contains_key(&ticket)
    }

    fn send_sync(&mut self, joined: &Joined, assignments: &[(&str, &[u8])]) -> Ticket {
        let ticket = self.ticket();
        let assignments =
            assignments.iter().map(|(id, bytes)| ((*id).to_owned(), bytes.to_vec())).collect();
        let request = SyncRequest {
            group: "g".into(),
            generation: joined.generation,
            member: joined.member.clone(),
            assignments,
            ..SyncRequest::default()
        };
        self.shard.sync(self.now, ticket, request);
        self.pump();
        ticket
    }

    fn synced(&mut self, ticket: Ticket) -> Result<Vec<u8>, GroupError> {
        match self.answers.remove(&ticket) {
            Some(Answer::Synced(synced)) => synced.map(|synced| synced.assignment),
            other => panic!("{other:?}"),
        }
    }

    fn beat(&mut self, joined: &Joined) -> Result<(), GroupError> {
        let told = self.shard.heartbeat(self.now, "g", joined.generation, &joined.member, None);
        self.pump();
        told
    }

    /// One member alone in the group, with an assignment.
    fn alone(&mut self) -> Joined {
        let ticket = self.send_join(join("a"));
        let joined = self.joined(ticket).expect("it is alone");
        let ticket = self.send_sync(&joined, &[(&joined.member, b"all")]);
        assert_eq!(self.synced(ticket), Ok(b"all".to_vec()));
        joined
    }

    fn leave(&mut self, member: &str, instance: Option<&str>) -> Result<(), GroupError> {
        let ticket = self.ticket();
        let leaver = Leaver { member: member.into(), instance: instance.map(str::to_owned) };
        self.shard.leave(self.now, ticket, "g", &[leaver]);
        self.pump();
        match self.parts(ticket) {
            Ok(parts) => parts[0],
            Err(error) => Err(error),
        }
    }

    fn parts(&mut self, ticket: Ticket) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        match self.answers.remove(&ticket) {
            Some(Answer::Parts(parts)) => parts,
            other => panic!("{other:?}"),
        }
    }
}

/// A new dynamic member of group `g`, of a client too old to come twice.
fn join(fresh: &str) -> JoinRequest {
    JoinRequest {
        group: "g".into(),
        fresh: fresh.into(),
        client_id: "client".into(),
        client_host: "/192.0.2.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription(&["t"]))],
        ..JoinRequest::default()
    }
}

/// The same member again.
fn rejoin(id: &str) -> JoinRequest {
    JoinRequest { member: id.into(), ..join("unused") }
}

/// A static member.
fn join_static(fresh: &str, instance: &str) -> JoinRequest {
    JoinRequest {
        instance: Some(instance.into()),
        knows_member_id_required: true,
        knows_skip_assignment: true,
        ..join(fresh)
    }
}

/// What a consumer of these topics says.
fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).expect("few").to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}
