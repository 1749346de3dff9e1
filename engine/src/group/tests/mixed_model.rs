//! Members of both protocols that do anything, and roll from one to the other; a log that may fail, a
//! broker that may be killed. What must hold:
//!
//! - no two members that the group knows have a partition at the same time;
//! - an offset that was acknowledged never goes back;
//! - every request is answered once;
//! - members that behave, left alone, share all partitions, in a group of the protocol that they
//!   need;
//! - a broker that is killed then finds the same group;
//! - nothing is left of a group that is deleted.
//!
//! A failure prints the seed that tells it again.

use std::collections::BTreeSet;

use super::commits::Commits;
use super::consumers::{first, next};
use super::*;
use crate::group::subscription::{Subscription, read_assignment, write_assignment};
use crate::testing::{Choices, for_seeds};

#[derive(Clone, Debug)]
enum Phase {
    Out,
    Joining(Ticket),
    Joined(Joined),
    Syncing(Ticket, Joined),
    Member,
    /// A heartbeat of KIP-848 is under way.
    Beating(Ticket),
}

#[derive(Debug)]
struct Client {
    classic: bool,
    instance: Option<String>,
    /// Empty while it has none.
    id: String,
    phase: Phase,
    /// Generation or epoch.
    epoch: i32,
    has: BTreeSet<i32>,
    /// It has to say everything.
    tells_all: bool,
    tells: bool,
}

struct Run {
    world: World,
    rng: Choices,
    clients: Vec<Client>,
    /// Whether classic members keep what they have while they join.
    cooperative: bool,
    fresh: u64,
    commits: Commits,
}

const PARTITIONS: i32 = 6;
const TOPIC: Uuid = Uuid([b't'; 16]);

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Choices(seed);
        let mut settings = settings();
        settings.consumer.pace.assignment_interval_ms = if rng.one_in(2) { 0 } else { 1_000 };
        settings.initial_delay = Duration::from_secs(3 * rng.below(2));
        settings.append_bytes_max = if rng.one_in(4) { 6_000 } else { 1 << 20 };
        let world = World::with(settings);
        world.topics.set("t", PARTITIONS);
        let count = 1 + rng.below(5);
        let client = |n: u64| Client {
            classic: rng.one_in(2),
            instance: rng.one_in(3).then(|| format!("i{n}")),
            id: String::new(),
            phase: Phase::Out,
            epoch: 0,
            has: BTreeSet::new(),
            tells_all: false,
            tells: false,
        };
        let clients = (0..count).map(client).collect();
        Self {
            cooperative: rng.one_in(2),
            world,
            rng,
            clients,
            fresh: 0,
            commits: Commits::default(),
        }
    }

    fn step(&mut self) {
        self.world.writes = false;
        let which = self.rng.below(self.clients.len() as u64) as usize;
        match self.rng.below(60) {
            0..=29 => self.act(which),
            30..=32 => self.commit(which),
            33..=45 => self.world.write(Ok(())),
            // What is queued behind a failed append fails with it.
            46 => (0..self.world.under_way.len())
                .for_each(|_| self.world.write(Err(GroupError::Unwritten))),
            47 => self.crash(),
            48 => self.clients[which].vanish(),
            49 => self.leave(which),
            50..=51 => self.roll(which),
            52..=57 => self.world.pass(Duration::from_millis(self.rng.below(3_000))),
            _ => self.world.pass(Duration::from_millis(self.rng.below(40_000))),
        }
        self.settle();
    }

    /// A client does what is next.
    fn act(&mut self, which: usize) {
        let client = &self.clients[which];
        match (client.classic, client.phase.clone()) {
            (true, Phase::Out) => self.join(which),
            (true, Phase::Joined(joined)) => {
                let dealt = if joined.skip_assignment { vec![] } else { self.deal(&joined) };
                let dealt: Vec<_> = dealt.iter().map(|(id, own)| (id.as_str(), &**own)).collect();
                let ticket = self.world.send_sync(&joined, &dealt);
                self.clients[which].phase = Phase::Syncing(ticket, joined);
            }
            (true, Phase::Member) => {
                let (shard, now) = (&mut self.world.shard, self.world.now);
                let told = shard.heartbeat(now, "g", client.epoch, &client.id, None);
                self.world.pump();
                if let Err(error) = told {
                    self.clients[which].turned_away(error);
                }
            }
            (false, Phase::Out | Phase::Member) => self.beat(which),
            (_, Phase::Joining(_) | Phase::Syncing(..) | Phase::Beating(_)) => {}
            (false, Phase::Joined(_)) => unreachable!("only classic members join"),
        }
    }

    fn join(&mut self, which: usize) {
        self.fresh += 1;
        let fresh = format!("m{}", self.fresh);
        let client = &mut self.clients[which];
        if !self.cooperative {
            client.has.clear();
        }
        let request = JoinRequest {
            member: client.id.clone(),
            instance: client.instance.clone(),
            knows_member_id_required: self.fresh.is_multiple_of(2),
            knows_skip_assignment: self.fresh.is_multiple_of(3),
            protocols: vec![("p".into(), owning_subscription(&client.has))],
            ..join(&fresh)
        };
        let ticket = self.world.send_join(request);
        self.clients[which].phase = Phase::Joining(ticket);
    }

    /// What a leader assigns: where members keep what they have, nothing that another has.
    fn deal(&self, joined: &Joined) -> Vec<(String, Vec<u8>)> {
        let all = &joined.members;
        let owned = all.iter().map(|member| {
            let said = Subscription::read(&member.metadata).expect("our own");
            said.owned.into_iter().flat_map(|(_, ids)| ids).collect::<BTreeSet<i32>>()
        });
        let owned: Vec<_> = owned.collect();
        let dealt = all.iter().enumerate().map(|(n, member)| {
            let free =
                |id: &i32| owned.iter().enumerate().all(|(m, owned)| m == n || !owned.contains(id));
            let own = (0..PARTITIONS).filter(|id| *id as usize % all.len() == n).filter(free);
            let own = vec![("t".to_owned(), own.collect())];
            (member.member.clone(), write_assignment(&member.metadata, &own))
        });
        dealt.collect()
    }

    fn beat(&mut self, which: usize) {
        let says = self.rng.one_in(4);
        let client = &mut self.clients[which];
        if client.id.is_empty() {
            self.fresh += 1;
            client.id = format!("m{}", self.fresh);
        }
        let joined = matches!(client.phase, Phase::Member);
        let all = !joined || client.tells_all;
        let has = client.has.iter().copied().collect();
        let beat = ConsumerBeat {
            instance: client.instance.clone(),
            topics: all.then(|| vec!["t".into()]),
            rebalance_timeout_ms: if all { 30_000 } else { -1 },
            owned: (all || client.tells || says)
                .then(|| if client.has.is_empty() { vec![] } else { vec![(TOPIC, has)] }),
            ..if joined { next(&client.id, client.epoch) } else { first(&client.id) }
        };
        (client.tells, client.tells_all) = (false, false);
        let ticket = self.world.send_beat(beat);
        self.clients[which].phase = Phase::Beating(ticket);
    }

    fn leave(&mut self, which: usize) {
        let client = &self.clients[which];
        let (id, instance) = (client.id.clone(), client.instance.clone());
        if client.classic && !id.is_empty() {
            let (ticket, now) = (self.world.ticket(), self.world.now);
            let leaver = Leaver { member: id, instance };
            self.world.shard.leave(now, ticket, "g", &[leaver]);
        } else if matches!(client.phase, Phase::Member) {
            let epoch = if instance.is_some() && self.rng.one_in(2) { -2 } else { -1 };
            self.world.send_beat(ConsumerBeat { instance, ..next(&id, epoch) });
        }
        self.clients[which].vanish();
    }

    /// It is restarted with the other protocol.
    fn roll(&mut self, which: usize) {
        let is_static = self.clients[which].instance.is_some();
        match self.rng.below(4) {
            0 => self.clients[which].vanish(),
            _ if is_static && self.clients[which].classic => self.clients[which].vanish(),
            _ => self.leave(which),
        }
        self.clients[which].classic ^= true;
    }

    fn commit(&mut self, which: usize) {
        let client = &self.clients[which];
        if !matches!(client.phase, Phase::Member | Phase::Beating(_)) {
            return;
        }
        let (id, instance) = (&client.id, client.instance.as_deref());
        self.commits.send(&mut self.world, id, instance, client.epoch);
    }

    fn crash(&mut self) {
        self.world.crash();
        for client in &mut self.clients {
            // Nobody answers any more; who knew its place asks again.
            client.phase = match client.phase.clone() {
                Phase::Syncing(_, joined) => Phase::Joined(joined),
                Phase::Joining(_) => Phase::Out,
                Phase::Beating(_) if client.epoch == 0 => Phase::Out,
                Phase::Beating(_) => {
                    client.tells_all = true;
                    Phase::Member
                }
                phase => phase,
            };
        }
        self.commits.forget();
    }

    /// Takes the answers, and checks what must hold.
    fn settle(&mut self) {
        self.world.pump();
        for (ticket, answer) in std::mem::take(&mut self.world.answers) {
            if self.commits.take(ticket, &answer) {
                continue;
            }
            let client = self.clients.iter_mut().find(|client| match &client.phase {
                Phase::Joining(own) | Phase::Syncing(own, _) | Phase::Beating(own) => {
                    *own == ticket
                }
                _ => false,
            });
            // Whoever waited for it may have vanished.
            let Some(client) = client else { continue };
            match answer {
                Answer::Joined(joined) => client.take_join(joined),
                Answer::Synced(synced) => client.take_sync(synced),
                Answer::Beaten(told) => client.take_beat(told),
                Answer::Parts(_) => panic!("not asked for"),
            }
        }
        self.commits.check(&self.world);
        self.check();
    }

    /// Members that the group would listen to.
    fn check(&self) {
        let members = self.members();
        let mut all = BTreeMap::new();
        for client in &self.clients {
            let Some(epoch) = members.get(&client.id) else { continue };
            if client.classic && client.epoch != *epoch {
                continue;
            }
            for place in &client.has {
                let other = all.insert(place, &client.id);
                assert_eq!(other, None, "{place} also of {}:\n{:#?}", client.id, self.clients);
            }
        }
    }

    /// Ids and epochs.
    fn members(&self) -> BTreeMap<String, i32> {
        if let Ok(group) = self.world.shard.describe_consumer("g") {
            return group.members.into_iter().map(|it| (it.member, it.epoch)).collect();
        }
        let Ok(group) = self.world.shard.describe("g") else { return BTreeMap::new() };
        // The generation is not told: that of those who joined last.
        let ids: BTreeSet<_> = group.members.into_iter().map(|member| member.member).collect();
        let known = self.clients.iter().filter(|it| it.classic && ids.contains(&it.id));
        let generation = known.map(|it| it.epoch).max().unwrap_or(0);
        ids.into_iter().map(|id| (id, generation)).collect()
    }

    fn calm(&mut self) {
        self.world.writes = true;
        self.settle();
        for _ in 0..2_000 {
            for which in 0..self.clients.len() {
                self.act(which);
                self.settle();
            }
            self.world.pass(Duration::from_millis(500));
            self.settle();
            if self.agrees() {
                return;
            }
        }
        let state = (self.world.shard.describe("g"), self.world.shard.describe_consumer("g"));
        panic!("stuck: {state:#?}\n{:#?}", self.clients);
    }

    fn agrees(&self) -> bool {
        let listing = self.world.shard.list().find(|it| it.group == "g");
        let Some(listing) = listing else { return false };
        let kind = if self.clients.iter().all(|it| it.classic) { "classic" } else { "consumer" };
        let members = self.members();
        let joined = |it: &Client| {
            matches!(it.phase, Phase::Member) && members.get(&it.id) == Some(&it.epoch)
        };
        let has: BTreeSet<_> = self.clients.iter().flat_map(|it| it.has.clone()).collect();
        listing.state == "Stable"
            && listing.kind == kind
            && members.len() == self.clients.len()
            && self.clients.iter().all(joined)
            && has == (0..PARTITIONS).collect()
    }

    /// The same group is found by a broker that starts.
    fn reload(&mut self) {
        let before = (self.world.shard.describe_consumer("g"), self.world.shard.describe("g"));
        self.world.crash();
        let after = (self.world.shard.describe_consumer("g"), self.world.shard.describe("g"));
        assert_eq!(before, after);
        self.settle();
        for which in 0..self.clients.len() {
            self.act(which);
            self.settle();
            assert!(matches!(self.clients[which].phase, Phase::Member), "it goes on");
        }
    }

    fn end(&mut self) {
        (0..self.clients.len()).for_each(|which| {
            let is_classic = self.clients[which].classic;
            let (id, instance) = (self.clients[which].id.clone(), None);
            match is_classic {
                true => drop(self.world.leave(&id, None)),
                false => drop(self.world.send_beat(ConsumerBeat { instance, ..next(&id, -1) })),
            }
        });
        self.world.answers.clear();
        self.world.delete();
    }
}

impl Client {
    /// It is killed, and comes back as somebody else, or its static self.
    fn vanish(&mut self) {
        self.id.clear();
        self.reset();
    }

    fn reset(&mut self) {
        self.phase = Phase::Out;
        self.epoch = 0;
        self.has.clear();
    }

    fn turned_away(&mut self, error: GroupError) {
        self.phase = Phase::Out;
        match error {
            GroupError::UnknownMember | GroupError::FencedInstance => self.vanish(),
            GroupError::IllegalGeneration { .. } => self.reset(),
            GroupError::Rebalancing | GroupError::Unwritten | GroupError::NotFound => {}
            error => panic!("{error}"),
        }
    }

    fn take_join(&mut self, joined: Result<Joined, (GroupError, String)>) {
        match joined {
            Ok(joined) => {
                self.id.clone_from(&joined.member);
                self.epoch = joined.generation;
                self.phase = Phase::Joined(joined);
            }
            Err((GroupError::MemberIdRequired, id)) => {
                self.id = id;
                self.phase = Phase::Out;
            }
            Err((error, _)) => self.turned_away(error),
        }
    }

    fn take_sync(&mut self, synced: Result<Synced, GroupError>) {
        match synced {
            Ok(synced) => {
                let (owned, _) = read_assignment(&synced.assignment).unwrap_or_default();
                let now: BTreeSet<i32> = owned.into_iter().flat_map(|(_, ids)| ids).collect();
                let revokes = !self.has.is_subset(&now);
                self.has = now;
                // Others are to have what it has given up: it joins again.
                self.phase = if revokes { Phase::Out } else { Phase::Member };
            }
            Err(error) => self.turned_away(error),
        }
    }

    fn take_beat(&mut self, told: Result<Beaten, GroupError>) {
        self.phase = if self.epoch == 0 { Phase::Out } else { Phase::Member };
        match told {
            Ok(told) => {
                assert_eq!(told.member, self.id);
                self.phase = Phase::Member;
                self.epoch = told.epoch;
                if let Some(assignment) = told.assignment {
                    let now = assignment.into_iter().flat_map(|(_, ids)| ids).collect();
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
                // A group whose records are too many for one batch stays what it is.
                | GroupError::TooLarge { .. }
                | GroupError::NotConsumer
                | GroupError::NotUpgraded(_)
                | GroupError::UnreleasedInstance,
            ) => self.reset(),
            Err(GroupError::FencedInstance) => self.vanish(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a consumer of `t` says that has these of it.
fn owning_subscription(has: &BTreeSet<i32>) -> Vec<u8> {
    let mut bytes = subscription(&["t"]);
    bytes[1] = 1;
    let owned = write_assignment(&[], &vec![("t".to_owned(), has.iter().copied().collect())]);
    // Without its version, and the assignor's bytes.
    bytes.extend(&owned[2..owned.len() - 4]);
    bytes
}

#[test]
fn whatever_members_of_both_protocols_do_the_group_keeps_its_promises() {
    for_seeds(600, |seed| {
        let mut run = Run::new(seed);
        (0..400).for_each(|_| run.step());
        run.calm();
        run.reload();
        run.end();
    });
}
