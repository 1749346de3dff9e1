//! Members that do anything, a log that may fail, a broker that may be killed. What must hold:
//!
//! - a partition is with one member alone in a generation;
//! - an offset that was acknowledged never goes back;
//! - every request is answered once;
//! - members that behave, left alone, come to an agreement.
//!
//! A failure prints the seed that tells it again.

use std::collections::btree_map::Entry as MapEntry;

use super::commits::Commits;
use super::*;
use crate::testing::{Choices, for_seeds};

#[derive(Clone, Debug)]
enum Phase {
    Out,
    Joining(Ticket),
    Joined(Joined),
    Syncing(Ticket, Joined),
    Member(Joined),
}

struct Client {
    /// Empty while it has none.
    id: String,
    instance: Option<String>,
    phase: Phase,
}

struct Run {
    world: World,
    rng: Choices,
    clients: Vec<Client>,
    fresh: u64,
    /// Who has each partition, by generation.
    owners: BTreeMap<(i32, u8), String>,
    commits: Commits,
}

const PARTITIONS: u8 = 6;

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Choices(seed);
        let initial_delay = Duration::from_secs(3 * rng.below(2));
        let world = World::with(GroupSettings { initial_delay, ..settings() });
        let count = 1 + rng.below(6);
        let client = |n: u64| Client {
            id: String::new(),
            instance: rng.one_in(3).then(|| format!("i{n}")),
            phase: Phase::Out,
        };
        let clients = (0..count).map(client).collect();
        Self { world, rng, clients, fresh: 0, owners: BTreeMap::new(), commits: Commits::default() }
    }

    fn step(&mut self) {
        self.world.writes = false;
        let which = self.rng.below(self.clients.len() as u64) as usize;
        match self.rng.below(40) {
            0..=19 => self.act(which),
            20..=22 => self.commit(which),
            23 => self.leave(which),
            // It vanishes, and comes back as somebody new or as its static self.
            24 => self.clients[which].phase = Phase::Out,
            25..=33 => self.world.write(Ok(())),
            34 => self.world.write(Err(GroupError::Unwritten)),
            35 => self.crash(),
            36..=38 => self.world.pass(Duration::from_millis(self.rng.below(3_000))),
            _ => self.world.pass(Duration::from_millis(self.rng.below(30_000))),
        }
        self.settle();
    }

    /// A client does what is next.
    fn act(&mut self, which: usize) {
        let client = &self.clients[which];
        match client.phase.clone() {
            Phase::Out => self.join(which),
            Phase::Joined(joined) => {
                let all: Vec<_> = joined.members.iter().map(|it| it.member.clone()).collect();
                let dealt: Vec<_> = all
                    .iter()
                    .enumerate()
                    .map(|(n, id)| {
                        let own = (0..PARTITIONS).filter(|p| usize::from(*p) % all.len() == n);
                        (id.as_str(), own.collect::<Vec<u8>>())
                    })
                    .collect();
                let dealt: Vec<_> = dealt.iter().map(|(id, own)| (*id, own.as_slice())).collect();
                let dealt = if joined.skip_assignment { &[][..] } else { &dealt };
                let ticket = self.world.send_sync(&joined, dealt);
                self.clients[which].phase = Phase::Syncing(ticket, joined);
            }
            Phase::Member(joined) => match self.world.beat(&joined) {
                Ok(()) => {}
                Err(error) => self.turned_away(which, error),
            },
            Phase::Joining(_) | Phase::Syncing(..) => {}
        }
    }

    fn join(&mut self, which: usize) {
        self.fresh += 1;
        let fresh = format!("m{}", self.fresh);
        let client = &self.clients[which];
        let request = JoinRequest {
            member: client.id.clone(),
            instance: client.instance.clone(),
            knows_member_id_required: self.fresh.is_multiple_of(2),
            knows_skip_assignment: self.fresh.is_multiple_of(3),
            ..join(&fresh)
        };
        let ticket = self.world.send_join(request);
        self.clients[which].phase = Phase::Joining(ticket);
    }

    fn turned_away(&mut self, which: usize, error: GroupError) {
        let client = &mut self.clients[which];
        client.phase = Phase::Out;
        if matches!(error, GroupError::UnknownMember | GroupError::FencedInstance) {
            client.id.clear();
        }
    }

    fn leave(&mut self, which: usize) {
        let client = &mut self.clients[which];
        if client.id.is_empty() {
            return;
        }
        let (id, instance) = (std::mem::take(&mut client.id), client.instance.clone());
        client.phase = Phase::Out;
        let _ = self.world.leave(&id, instance.as_deref());
    }

    fn commit(&mut self, which: usize) {
        let client = &self.clients[which];
        let Phase::Member(joined) = &client.phase else { return };
        let instance = client.instance.as_deref();
        self.commits.send(&mut self.world, &joined.member, instance, joined.generation);
    }

    fn crash(&mut self) {
        self.world.crash();
        for client in &mut self.clients {
            // Nobody answers any more; who knew its place asks again.
            client.phase = match client.phase.clone() {
                Phase::Syncing(_, joined) => Phase::Joined(joined),
                Phase::Joining(_) => Phase::Out,
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
            let which = self.clients.iter().position(|client| match &client.phase {
                Phase::Joining(own) | Phase::Syncing(own, _) => *own == ticket,
                _ => false,
            });
            // Whoever waited for it has vanished.
            let Some(which) = which else { continue };
            match answer {
                Answer::Joined(joined) => self.take_join(which, joined),
                Answer::Synced(synced) => self.take_sync(which, synced),
                Answer::Parts(_) | Answer::Beaten(_) => panic!("not asked for"),
            }
        }
        self.commits.check(&self.world);
    }

    fn take_join(&mut self, which: usize, joined: Result<Joined, (GroupError, String)>) {
        match joined {
            Ok(joined) => {
                self.clients[which].id.clone_from(&joined.member);
                self.clients[which].phase = Phase::Joined(joined);
            }
            Err((GroupError::MemberIdRequired, id)) => {
                self.clients[which].id = id;
                self.clients[which].phase = Phase::Out;
            }
            Err((error, _)) => self.turned_away(which, error),
        }
    }

    fn take_sync(&mut self, which: usize, synced: Result<Synced, GroupError>) {
        let Phase::Syncing(_, joined) = self.clients[which].phase.clone() else { return };
        match synced {
            Ok(synced) => {
                let owner =
                    self.clients[which].instance.clone().unwrap_or_else(|| joined.member.clone());
                for partition in synced.assignment {
                    match self.owners.entry((joined.generation, partition)) {
                        MapEntry::Vacant(free) => drop(free.insert(owner.clone())),
                        MapEntry::Occupied(taken) => assert_eq!(
                            *taken.get(),
                            owner,
                            "generation {} partition {partition}",
                            joined.generation
                        ),
                    }
                }
                self.clients[which].phase = Phase::Member(joined);
            }
            Err(error) => self.turned_away(which, error),
        }
    }

    /// Nobody does anything odd any more.
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
        let state = self.world.shard.describe("g");
        let phases: Vec<_> = self.clients.iter().map(|client| &client.phase).collect();
        panic!("stuck: {state:?}\n{phases:?}");
    }

    /// Everybody is a member of the same generation, and all partitions are with somebody.
    fn agrees(&self) -> bool {
        let generations: Vec<_> = self
            .clients
            .iter()
            .map(|client| match &client.phase {
                Phase::Member(joined) => Some(joined.generation),
                _ => None,
            })
            .collect();
        let Some(Some(generation)) = generations.first().copied() else { return false };
        let state = self.world.shard.describe("g").expect("it has members");
        generations.iter().all(|it| *it == Some(generation))
            && state.state == "Stable"
            && state.members.len() == self.clients.len()
            && (0..PARTITIONS).all(|partition| self.owners.contains_key(&(generation, partition)))
    }
}

#[test]
fn whatever_members_do_the_group_keeps_its_promises() {
    for_seeds(600, |seed| {
        let mut run = Run::new(seed);
        (0..300).for_each(|_| run.step());
        run.calm();
    });
}
