//! Members of a consumer group that do anything, topics that come, grow and go, a log that may fail, a
//! broker that may be killed. What must hold:
//!
//! - no two members have a partition at the same time;
//! - every request is answered once;
//! - members that behave, left alone, share all partitions that they read;
//! - nothing is left of a group that is deleted.
//!
//! A failure prints the seed that tells it again.

use std::collections::BTreeSet;

use super::consumers::{first, next};
use super::*;
use crate::testing::{Choices, for_seeds};

#[derive(Debug)]
struct Client {
    id: String,
    instance: Option<String>,
    topics: Vec<String>,
    pattern: String,
    assignor: Option<String>,
    joined: bool,
    epoch: i32,
    has: BTreeSet<(Uuid, i32)>,
    /// It has to say what it has.
    tells: bool,
    /// It has to say everything.
    tells_all: bool,
    waits: Option<Ticket>,
}

struct Run {
    world: World,
    rng: Choices,
    clients: Vec<Client>,
    fresh: u64,
}

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Choices(seed);
        let mut settings = settings();
        settings.consumer.pace.assignment_interval_ms = if rng.one_in(2) { 0 } else { 1_000 };
        // Small, so that an assignment takes several batches.
        settings.append_bytes_max = if rng.one_in(2) { 1 << 20 } else { 700 };
        let world = World::with(settings);
        for topic in TOPICS {
            world.topics.set(topic, rng.below(6) as i32);
        }
        let count = 1 + rng.below(5);
        let mut run = Self { world, rng, clients: Vec::new(), fresh: 0 };
        for n in 0..count {
            let instance = run.rng.one_in(3).then(|| format!("i{n}"));
            let client = Client {
                id: run.fresh_id(),
                instance,
                topics: Vec::new(),
                pattern: String::new(),
                assignor: run.rng.one_in(3).then(|| "range".to_owned()),
                joined: false,
                epoch: 0,
                has: BTreeSet::new(),
                tells: false,
                tells_all: false,
                waits: None,
            };
            run.clients.push(client);
            run.subscribe(n as usize);
        }
        run
    }

    fn fresh_id(&mut self) -> String {
        self.fresh += 1;
        format!("m{}", self.fresh)
    }

    fn subscribe(&mut self, which: usize) {
        let all = self.rng.one_in(2);
        let rng = &mut self.rng;
        let topics = TOPICS.iter().filter(|_| all || rng.one_in(2));
        let topics = topics.map(|topic| (*topic).to_owned()).collect();
        let pattern = if self.rng.one_in(3) { "[bc].*" } else { "" };
        let client = &mut self.clients[which];
        (client.topics, client.pattern) = (topics, pattern.to_owned());
        client.tells_all = true;
    }

    fn step(&mut self) {
        self.world.writes = false;
        let which = self.rng.below(self.clients.len() as u64) as usize;
        match self.rng.below(60) {
            0..=29 => self.act(which),
            30..=44 => self.world.write(Ok(())),
            45 => self.fail_writes(),
            46 => self.crash(),
            47 => self.subscribe(which),
            48 => self.vanish(which),
            49 => self.leave(which),
            50 => {
                let topic = TOPICS[self.rng.below(4) as usize];
                match self.rng.one_in(4) {
                    true => self.world.topics.delete(topic),
                    false => self.world.topics.set(topic, self.rng.below(9) as i32),
                }
            }
            51..=53 => self.world.resolve(),
            54..=58 => self.pass(self.rng.0 % 2_000),
            _ => {
                let ms = self.rng.below(40_000);
                self.pass(ms);
            }
        }
        self.settle();
    }

    fn pass(&mut self, ms: u64) {
        self.world.pass(Duration::from_millis(ms));
    }

    /// What is queued behind a failed append fails with it.
    fn fail_writes(&mut self) {
        for _ in 0..self.world.under_way.len() {
            self.world.write(Err(GroupError::Unwritten));
        }
    }

    fn act(&mut self, which: usize) {
        let says = self.rng.one_in(4);
        let client = &self.clients[which];
        if client.waits.is_some() {
            return;
        }
        let has = client.has.iter().map(|(topic, id)| (*topic, vec![*id])).collect();
        let all = !client.joined || client.tells_all;
        let base = match client.joined {
            true => next(&client.id, client.epoch),
            false => first(&client.id),
        };
        let beat = ConsumerBeat {
            instance: client.instance.clone(),
            topics: all.then(|| client.topics.clone()),
            pattern: all.then(|| client.pattern.clone()),
            rebalance_timeout_ms: if all { 30_000 } else { -1 },
            assignor: client.assignor.clone(),
            owned: (all || client.tells || says).then_some(has),
            ..base
        };
        let ticket = self.world.send_beat(beat);
        let client = &mut self.clients[which];
        (client.tells, client.tells_all) = (false, false);
        client.waits = Some(ticket);
    }

    /// It is killed, and comes back as somebody else, or its static self.
    fn vanish(&mut self, which: usize) {
        let id = self.fresh_id();
        let client = &mut self.clients[which];
        client.id = id;
        client.reset();
        client.waits = None;
    }

    fn leave(&mut self, which: usize) {
        let client = &self.clients[which];
        if client.joined && client.waits.is_none() {
            let epoch = if client.instance.is_some() && self.rng.one_in(2) { -2 } else { -1 };
            let instance = self.clients[which].instance.clone();
            let beat = ConsumerBeat { instance, ..next(&self.clients[which].id, epoch) };
            self.world.send_beat(beat);
        }
        self.vanish(which);
    }

    fn crash(&mut self) {
        self.world.crash();
        for client in &mut self.clients {
            client.tells_all |= client.waits.take().is_some();
        }
    }

    fn settle(&mut self) {
        self.world.pump();
        for (ticket, answer) in std::mem::take(&mut self.world.answers) {
            let Answer::Beaten(told) = answer else { panic!("{answer:?}") };
            // Whoever waited for it may have vanished.
            if let Some(client) = self.clients.iter_mut().find(|it| it.waits == Some(ticket)) {
                client.waits = None;
                client.take(told);
            }
        }
        self.check();
    }

    fn check(&self) {
        let Ok(group) = self.world.shard.describe_consumer("g") else { return };
        let members: BTreeSet<_> = group.members.iter().map(|member| &member.member).collect();
        let mut all = BTreeSet::new();
        for client in self.clients.iter().filter(|it| it.joined && members.contains(&it.id)) {
            for place in &client.has {
                assert!(all.insert(place), "{place:?} twice");
            }
        }
    }

    fn calm(&mut self) {
        self.world.writes = true;
        self.settle();
        for _ in 0..200 {
            for which in 0..self.clients.len() {
                self.act(which);
                self.settle();
            }
            self.world.resolve();
            self.pass(1_000);
            self.settle();
            if self.agrees() {
                return;
            }
        }
        let group = self.world.shard.describe_consumer("g");
        panic!("stuck: {group:?}\n{:?}", self.clients);
    }

    fn agrees(&self) -> bool {
        let Ok(group) = self.world.shard.describe_consumer("g") else { return false };
        let known = self.world.topics.partitions.borrow();
        let read = |topic: &str| {
            let by = |it: &Client| {
                it.topics.iter().any(|name| name == topic)
                    || !it.pattern.is_empty() && ["b", "c"].contains(&topic)
            };
            self.clients.iter().any(by)
        };
        let wanted = known.iter().filter(|(name, _)| read(name));
        let wanted: BTreeSet<(Uuid, i32)> =
            wanted.flat_map(|(_, (id, count))| (0..*count).map(|n| (*id, n))).collect();
        let has: BTreeSet<_> = self.clients.iter().flat_map(|it| it.has.clone()).collect();
        let joined = self.clients.iter().all(|it| it.joined && it.epoch == group.epoch);
        joined
            && has == wanted
            && group.state == "Stable"
            && group.members.len() == self.clients.len()
    }

    fn end(&mut self) {
        for which in 0..self.clients.len() {
            let client = &self.clients[which];
            let beat = ConsumerBeat { instance: client.instance.clone(), ..next(&client.id, -1) };
            self.world.send_beat(beat);
        }
        self.world.delete();
    }
}

impl Client {
    fn reset(&mut self) {
        self.joined = false;
        self.epoch = 0;
        self.has.clear();
    }

    fn take(&mut self, told: Result<Beaten, GroupError>) {
        match told {
            Ok(told) => {
                assert_eq!(told.member, self.id);
                self.joined = true;
                self.epoch = told.epoch;
                if let Some(assignment) = told.assignment {
                    let all = assignment.into_iter();
                    let all = all.flat_map(|(id, ids)| ids.into_iter().map(move |n| (id, n)));
                    let now: BTreeSet<_> = all.collect();
                    // It says so when it has given something up or got it.
                    self.tells |= now != self.has;
                    self.has = now;
                }
            }
            Err(GroupError::Unwritten) => self.tells_all = true,
            Err(
                GroupError::UnknownMember
                | GroupError::FencedMemberEpoch { .. }
                | GroupError::NotFound
                | GroupError::UnreleasedInstance,
            ) => self.reset(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn whatever_members_do_no_partition_is_with_two() {
    for_seeds(600, |seed| {
        let mut run = Run::new(seed);
        (0..300).for_each(|_| run.step());
        run.calm();
        run.end();
    });
}
