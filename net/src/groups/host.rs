//! The host of the groups in one partition: their clock, and those who wait for answers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use config::Config;
use engine::compress::{Codec, Compression};
use engine::group::{Answer, Append, Effect, Now, Pattern, Shard, Ticket};
use engine::ids::LeaderEpoch;
use engine::partition::Partition;
use engine::rt::{Instant, Rt};
use futures_util::future::{Either, select};
use wire::primitives::Uuid;

use super::NoHost;
use super::topics::Topics;

/// See the module.
pub(crate) struct Host {
    me: Weak<Self>,
    pub(super) rt: Rt,
    topics: Rc<Topics>,
    pub(super) partition: Rc<Partition>,
    /// The leadership that it serves under.
    pub(super) epoch: LeaderEpoch,
    pub(super) compression: Compression,
    pub(super) load_bytes: usize,
    commit_timeout: Duration,
    expire_every: Duration,
    state: Cell<State>,
    shard: RefCell<Shard>,
    waiting: RefCell<BTreeMap<Ticket, flume::Sender<Answer>>>,
    next_ticket: Cell<u64>,
    /// To be written, in order.
    pub(super) appends: RefCell<VecDeque<Append>>,
    /// Holds one signal at most.
    to_write: flume::Sender<()>,
    to_look: flume::Sender<()>,
    /// When the clock looks next by itself.
    looks_at: Cell<Option<Instant>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Loading,
    Serving,
    /// Its log cannot be read, or is no longer this node's.
    Gone,
}

impl Host {
    /// Begins to load the groups of a partition that this node leads, and serves them then.
    pub(super) fn start(
        rt: &Rt,
        config: &Config,
        partition: &Rc<Partition>,
        shard: Shard,
        topics: Rc<Topics>,
    ) -> Rc<Self> {
        let (to_write, write) = flume::bounded(1);
        let (to_look, look) = flume::bounded(1);
        let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let codec = u8::try_from(config.offsets_topic_compression_codec).ok();
        let codec = codec.and_then(Codec::from_id).unwrap_or(Codec::None);
        let host = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            rt: rt.clone(),
            topics,
            partition: Rc::clone(partition),
            epoch: partition.leader_epoch(),
            compression: Compression::new(codec),
            load_bytes: config.offsets_load_buffer_size as usize,
            commit_timeout: millis(config.offsets_commit_timeout_ms),
            expire_every: millis(config.offsets_retention_check_interval_ms),
            state: Cell::new(State::Loading),
            shard: RefCell::new(shard),
            waiting: RefCell::default(),
            next_ticket: Cell::new(0),
            appends: RefCell::default(),
            to_write,
            to_look,
            looks_at: Cell::new(None),
        });
        rt.spawn("groups", Rc::clone(&host).live(write, look)).detach();
        host
    }

    async fn live(self: Rc<Self>, write: flume::Receiver<()>, look: flume::Receiver<()>) {
        if let Err(reason) = self.load().await {
            if self.state.get() == State::Loading {
                let partition = &*self.partition.name();
                tracing::error!(partition, "groups cannot be loaded: {reason}");
                self.end();
            }
            return;
        }
        if self.state.get() == State::Gone {
            return;
        }
        self.state.set(State::Serving);
        self.with(|shard, now| shard.loaded(now));
        self.rt.spawn("group-writer", Rc::clone(&self).write(write)).detach();
        self.keep_time(look).await;
    }

    /// Has the groups do what time demands.
    async fn keep_time(&self, look: flume::Receiver<()>) {
        let mut expire_at = self.rt.now() + self.expire_every;
        while self.state.get() == State::Serving {
            let next = self.shard.borrow().next_deadline();
            let next = next.map_or(expire_at, |next| next.min(expire_at));
            self.looks_at.set(Some(next));
            let sleep = self.rt.sleep_until(next);
            let asked = std::pin::pin!(look.recv_async());
            if let Either::Right(_) = select(sleep, asked).await {
                continue;
            }
            if self.rt.now() >= expire_at {
                expire_at = self.rt.now() + self.expire_every;
                self.with(|shard, now| shard.expire_offsets(now));
            }
            self.with(|shard, now| shard.expire_due(now));
        }
    }

    /// Serves no more: whoever waits looks for another coordinator.
    pub(super) fn end(&self) {
        self.state.set(State::Gone);
        self.appends.borrow_mut().clear();
        self.with(|shard, _| shard.unload());
        // Whoever waits for what was never known to the shard.
        self.waiting.borrow_mut().clear();
        let _ = self.to_write.try_send(());
        let _ = self.to_look.try_send(());
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state.get() == State::Gone
    }

    pub(crate) fn check_serving(&self) -> Result<(), NoHost> {
        match self.state.get() {
            State::Loading => Err(NoHost::Loading),
            State::Serving => Ok(()),
            State::Gone => Err(NoHost::Elsewhere),
        }
    }

    /// Whether it serves this partition under its present leadership.
    pub(super) fn is_of(&self, partition: &Rc<Partition>) -> bool {
        Rc::ptr_eq(&self.partition, partition) && self.epoch == partition.leader_epoch()
    }

    /// Whether its partition is of the topic of this id.
    pub(super) fn is_in(&self, topic: Uuid) -> bool {
        self.partition.topic_id().0 == topic
    }

    pub(super) fn id(&self) -> i32 {
        self.partition.partition().0
    }

    /// What a commit may wait.
    pub(crate) fn commit_timeout(&self) -> Duration {
        self.commit_timeout
    }

    /// Calls the groups, and sees to what comes out.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut Shard, Now) -> T) -> T {
        let now = Now { at: self.rt.now(), wall_ms: self.rt.wall_ms() };
        let (result, next) = {
            let mut shard = self.shard.borrow_mut();
            (call(&mut shard, now), shard.next_deadline())
        };
        self.take_effects();
        if let Some(next) = next
            && self.looks_at.get().is_some_and(|looks_at| next < looks_at)
        {
            // Full means that it is about to look.
            let _ = self.to_look.try_send(());
        }
        result
    }

    /// Calls the groups, and waits for the answer. Given up, it goes to nobody.
    pub(crate) async fn ask(
        &self,
        call: impl FnOnce(&mut Shard, Now, Ticket),
    ) -> Result<Answer, NoHost> {
        let ticket = Ticket(self.next_ticket.get());
        self.next_ticket.set(ticket.0 + 1);
        let (sender, answer) = flume::bounded(1);
        self.waiting.borrow_mut().insert(ticket, sender);
        let waits = Waits { host: self, ticket };
        self.with(|shard, now| call(shard, now, ticket));
        let answer = answer.recv_async().await;
        drop(waits);
        answer.map_err(|_| NoHost::Elsewhere)
    }

    /// Finds out which topics the expressions of a group stand for, without holding others up.
    ///
    /// Whether members may know of these topics is to be asked here, once anything is denied.
    async fn resolve(self: Rc<Self>, group: Rc<str>, patterns: Vec<Rc<str>>) {
        let image = self.topics.image();
        let version = Topics::version_of(&image);
        let mut found = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let mut topics = BTreeSet::new();
            // What was loaded may be valid for Kafka alone: it stands for nothing.
            if let Ok(matcher) = Pattern::new(&pattern) {
                for (at, topic) in image.topics().iter().enumerate() {
                    if matcher.matches(&topic.name) {
                        topics.insert(topic.name.to_string());
                    }
                    if at % TOPICS_A_TURN == TOPICS_A_TURN - 1 {
                        self.rt.turn().await;
                    }
                }
            }
            found.push((pattern, topics));
            self.rt.turn().await;
        }
        self.with(|shard, now| shard.resolved(now, &group, version, found));
    }

    fn take_effects(&self) {
        loop {
            let effect = self.shard.borrow_mut().poll_effect();
            match effect {
                None => return,
                Some(Effect::Answer(ticket, answer)) => {
                    let waiting = self.waiting.borrow_mut().remove(&ticket);
                    if let Some(waiting) = waiting {
                        let _ = waiting.try_send(answer);
                    }
                }
                Some(Effect::Append(append)) if !self.is_gone() => {
                    self.appends.borrow_mut().push_back(append);
                    let _ = self.to_write.try_send(());
                }
                Some(Effect::Append(_)) => {}
                Some(Effect::Resolve { group, patterns }) => {
                    if let Some(me) = self.me.upgrade() {
                        self.rt.spawn("group-topics", me.resolve(group, patterns)).detach();
                    }
                }
            }
        }
    }
}

/// Topics that are matched before others have their turn: some microseconds.
const TOPICS_A_TURN: usize = 256;

/// One who waits for an answer.
struct Waits<'a> {
    host: &'a Host,
    ticket: Ticket,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.host.waiting.borrow_mut().remove(&self.ticket);
    }
}
