//! Members of groups: they join, take what they are told that they have, note how far they have come
//! in it, leave, die, sleep for too long, and come back, by the classic protocol or by KIP-848's.
//!
//! ```text
//!            joined, and told what it has         a heartbeat when it is due; commits in between
//!   out ───────────────────────────────▶ member ◀──────────────────────────┐
//!    ▲                                    │  └──────────────────────────────┘
//!    └────── left, died, sent away ───────┘
//! ```
//!
//! A member does nothing wrong, and takes what it has for its own until it is told otherwise. One that
//! slept through its session does not know, and goes on with a commit: that has to be refused by then.

mod classic;
mod crew;
mod modern;
mod offsets;
mod settle;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use wire::error_code::ErrorCode;
use wire::primitives::Uuid;

pub(crate) use self::crew::Crews;
use self::crew::{Crew, Protocol};
pub(crate) use self::settle::settle;
use super::Client;
use super::admin::SHARED;
use crate::history::{Event, Place, Told};

/// One who is in a group, or is about to be.
pub(crate) struct Member {
    client: Client,
    crew: Rc<Crew>,
    /// It makes the topic that all read.
    founds: bool,
    /// Not gone wild any more: the run is at its end.
    calm: bool,
    protocol: Protocol,
    /// Empty while it has none.
    id: String,
    /// Of this id, in the history.
    number: u64,
    /// Generation, or epoch.
    epoch: i32,
    /// It was told what it has, and nothing since to make it join again.
    is_in: bool,
    has: BTreeMap<i32, Holding>,
    /// What its id was told last, even if it has given it up since; see [`Member::told`].
    former: BTreeMap<i32, u64>,
    /// When its next heartbeat is due.
    beat_at: Duration,
    /// Of KIP-848's protocol.
    modern: modern::State,
}

/// A partition that a member has.
struct Holding {
    /// Of its time with this member, in the history.
    reign: u64,
    /// Unknown until the group was asked.
    position: Option<i64>,
}

pub(super) async fn run(mut member: Member) {
    while !member.client.scene.is_over() {
        member.live().await;
    }
    let scene = Rc::clone(&member.client.scene);
    scene.members.borrow_mut().push(member);
}

impl Member {
    fn new(mut client: Client, crew: Rc<Crew>, founds: bool) -> Self {
        let protocol = crew.protocol(&mut client.rng);
        let mut member = Self {
            client,
            crew,
            founds,
            calm: false,
            protocol,
            id: String::new(),
            number: 0,
            epoch: 0,
            is_in: false,
            has: BTreeMap::new(),
            former: BTreeMap::new(),
            beat_at: Duration::ZERO,
            modern: modern::State::default(),
        };
        member.forget();
        member
    }

    /// Does one thing.
    async fn live(&mut self) {
        let Some((topic, partitions)) = self.topic() else {
            return match self.founds {
                true => self.client.create(SHARED, self.crew.partitions).await,
                false => self.client.back_off().await,
            };
        };
        if !self.is_in {
            return match self.protocol {
                Protocol::Classic => self.join(topic, partitions).await,
                Protocol::Modern => self.beat_modern(topic).await,
            };
        }
        if self.client.scene.now() >= self.beat_at {
            return self.beat(topic).await;
        }
        match self.client.rng.below(40) {
            8.. if self.calm => self.rest().await,
            _ if self.calm => self.commit_some(topic).await,
            0 => self.leave().await,
            1 => self.die().await,
            2..=3 => self.oversleep(topic).await,
            4..=7 => self.look(topic, partitions).await,
            8..=27 => self.commit_some(topic).await,
            _ => self.rest().await,
        }
    }

    async fn beat(&mut self, topic: Uuid) {
        match self.protocol {
            Protocol::Classic => self.beat_classic(topic).await,
            Protocol::Modern => self.beat_modern(topic).await,
        }
    }

    /// Until there is something to do.
    async fn rest(&mut self) {
        let left = self.beat_at.saturating_sub(self.client.scene.now()).as_micros();
        let micros = self.client.rng.below(u64::try_from(left).unwrap_or(u64::MAX).max(1));
        self.client.scene.rt.sleep(Duration::from_micros(micros + 1)).await;
    }

    async fn leave(&mut self) {
        let topic = self.topic().map(|(topic, _)| topic);
        if let Some(topic) = topic.filter(|_| self.client.rng.one_in(2)) {
            self.commit_some(topic).await;
        }
        self.give_up_all();
        match self.protocol {
            Protocol::Classic => self.leave_classic().await,
            Protocol::Modern => self.leave_modern().await,
        }
        self.return_later().await;
    }

    async fn die(&mut self) {
        self.client.scene.say(|| format!("member {} dies", self.number));
        self.return_later().await;
    }

    /// Comes back as somebody else, perhaps with the other protocol.
    async fn return_later(&mut self) {
        self.forget();
        self.protocol = self.crew.protocol(&mut self.client.rng);
        let micros = self.client.rng.below(self.crew.pace.session_micros() * 2);
        self.client.scene.rt.sleep(Duration::from_micros(micros)).await;
    }

    /// Stands still for longer than it may, and goes on where it was.
    async fn oversleep(&mut self, topic: Uuid) {
        let session = self.crew.pace.session_micros();
        let micros = self.client.rng.between(session / 2, session * 3);
        self.client.scene.say(|| format!("member {} sleeps for {micros} us", self.number));
        self.client.scene.rt.sleep(Duration::from_micros(micros)).await;
        self.commit_some(topic).await;
    }

    /// Nobody knows it any more, or it does not know that somebody does.
    fn forget(&mut self) {
        self.give_up_all();
        self.id.clear();
        self.former.clear();
        self.number = self.client.scene.number();
        self.is_in = false;
        self.epoch = 0;
        self.modern = modern::State::default();
    }

    /// It was told what it has from now on, in answer to what it asked then. `goes_on`: of what it had
    /// by its last answer, a commit that is still on its way may count.
    fn told(&mut self, topic: Uuid, asked: Duration, partitions: &BTreeSet<i32>, goes_on: bool) {
        let former = std::mem::take(&mut self.former);
        for partition in partitions {
            let had = self.has.get(partition).map(|holding| holding.reign);
            let reign = had.or(former.get(partition).copied()).filter(|_| goes_on);
            let reign = reign.unwrap_or_else(|| self.client.scene.number());
            self.former.insert(*partition, reign);
            let holding = Holding { reign, position: None };
            self.has.entry(*partition).or_insert(holding);
        }
        let has = self.former.iter();
        let has = has.map(|(partition, reign)| (Place { topic, partition: *partition }, *reign));
        self.client.scene.note(Event::Told(Told {
            group: self.crew.group.clone(),
            member: self.number,
            asked,
            generation: self.epoch,
            alike: self.crew.is_alike(),
            has: has.collect(),
        }));
        self.is_in = true;
        self.beat_at = self.client.scene.now() + self.crew.pace.beat;
    }

    /// Whether the group has answered what was asked then as it answers a member alone.
    fn take_for_proof(&self, asked: Duration, code: Option<ErrorCode>) {
        use ErrorCode as E;
        if let Some(E::NONE | E::ILLEGAL_GENERATION | E::REBALANCE_IN_PROGRESS) = code {
            self.client.scene.note(Event::Vouched { member: self.number, asked });
        }
    }

    fn give_up_all(&mut self) {
        let all = self.has.keys().copied().collect();
        self.give_up(&all);
    }

    fn give_up(&mut self, partitions: &BTreeSet<i32>) {
        self.has.retain(|partition, _| !partitions.contains(partition));
        if let Some((topic, _)) = self.topic().filter(|_| !partitions.is_empty()) {
            let places = partitions.iter().map(|partition| Place { topic, partition: *partition });
            let places = places.collect();
            self.client.scene.note(Event::GaveUp { member: self.number, places });
        }
    }

    /// Nobody serves the group now; or there was no answer, and who asks has waited already.
    async fn wait_for_coordinator(&mut self, code: Option<ErrorCode>) {
        match code {
            None => {}
            Some(ErrorCode::NOT_COORDINATOR) => {
                self.client.find_coordinator(&self.crew.group).await;
                self.client.back_off().await;
            }
            Some(
                ErrorCode::COORDINATOR_LOAD_IN_PROGRESS | ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ) => {
                self.client.back_off().await;
            }
            Some(code) => {
                let message = format!("{code} is no answer to member {}", self.number);
                self.client.scene.violate("alive", message);
                self.forget();
                self.client.back_off().await;
            }
        }
    }

    /// What all members read: its id, and how many partitions it has.
    fn topic(&self) -> Option<(Uuid, i32)> {
        let topics = self.client.scene.topics.borrow();
        topics.iter().find(|topic| topic.name == SHARED).map(|it| (it.id, it.partitions))
    }
}
