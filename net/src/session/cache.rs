//! The sessions of one core.
//!
//! Every core has its share of `max.incremental.fetch.session.cache.slots`. When all are taken, a
//! new session takes the place of one that was idle for [`EVICTION`], or else of a smaller one that
//! has lived for so long; replicas may push out younger ones of consumers, never the other way
//! round. Partitions are bounded over all sessions of the core as well. A client without a session
//! names everything each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::ids::CoreId;
use engine::rt::Instant;

use super::{Asked, Opening, Resumed, Resuming, Said, SessionError, TopicRef};

/// The sessions of one core.
#[derive(Debug)]
pub(crate) struct Sessions {
    core: CoreId,
    cores: usize,
    slots: usize,
    by_id: BTreeMap<i32, Session>,
    /// Least recently used first.
    by_use: BTreeSet<(Instant, i32)>,
    /// Least valuable first: what a consumer's new session may push out.
    for_consumers: BTreeSet<Value>,
    /// What a replica's new session may push out.
    for_replicas: BTreeSet<Value>,
    /// Over all sessions.
    partitions: usize,
}

/// How hard a session is to replace: replicas before consumers, then by partitions.
type Value = (bool, usize, i32);

#[derive(Debug)]
struct Session {
    of_replica: bool,
    by_id: bool,
    created: Instant,
    used: Instant,
    /// Of the next request.
    epoch: i32,
    /// Partitions in the order in which they are served. One that got records goes to the end.
    order: BTreeMap<u64, Cached>,
    places: BTreeMap<(TopicRef, i32), u64>,
    next_place: u64,
    /// Partitions when it was last touched: its key in the sets above.
    weight: usize,
}

#[derive(Clone, Debug)]
struct Cached {
    asked: Asked,
    /// As said last; −1 so that the next answer says it.
    high_watermark: i64,
    log_start: i64,
}

impl Sessions {
    /// No sessions, and this core's share of the slots.
    pub(crate) fn new(core: CoreId, cores: usize, slots_of_node: usize) -> Self {
        let more = usize::from(core.index() < slots_of_node % cores);
        Self {
            core,
            cores,
            slots: slots_of_node / cores + more,
            by_id: BTreeMap::new(),
            by_use: BTreeSet::new(),
            for_consumers: BTreeSet::new(),
            for_replicas: BTreeSet::new(),
            partitions: 0,
        }
    }

    /// Sessions held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Opens a session for what was asked and answered; none if there is no room.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        opening: Opening,
        mut random: impl FnMut() -> u64,
    ) -> Option<i32> {
        let Opening { of_replica, by_id, parts } = opening;
        if parts.is_empty() || self.partitions + parts.len() > PARTITIONS_MAX {
            return None;
        }
        if self.by_id.len() >= self.slots && !self.evict(now, (of_replica, parts.len(), 0)) {
            return None;
        }
        let id = loop {
            let id = self.id(random());
            if id > 0 && !self.by_id.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session {
            of_replica,
            by_id,
            created: now,
            used: now,
            epoch: 1,
            order: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
            weight: 0,
        };
        for (asked, said) in parts {
            session.put(asked, Some(said));
        }
        self.by_id.insert(id, session);
        self.note(id, now);
        Some(id)
    }

    /// Takes in what a request changes, and says what it is about.
    pub(crate) fn resume(
        &mut self,
        now: Instant,
        resuming: Resuming,
    ) -> Result<Resumed, SessionError> {
        let Resuming { id, epoch, by_id, changed, forgotten } = resuming;
        let session = self.by_id.get_mut(&id).ok_or(SessionError::NotFound)?;
        if session.epoch != epoch {
            return Err(SessionError::Epoch { current: session.epoch });
        }
        if session.by_id != by_id {
            return Err(SessionError::TopicIds);
        }
        if self.partitions + changed.len() > PARTITIONS_MAX {
            self.close(id);
            return Err(SessionError::NotFound);
        }
        for asked in changed {
            session.put(asked, None);
        }
        for place in &forgotten {
            session.forget(place);
        }
        if session.order.is_empty() {
            self.close(id);
            return Ok(Resumed::Ended);
        }
        session.epoch = next_epoch(session.epoch);
        let parts = session.order.values().map(|cached| cached.asked.clone()).collect();
        self.note(id, now);
        Ok(Resumed::Goes(parts))
    }

    /// Notes what the answer to a request at `epoch` says, partition by partition as they were
    /// resumed; returns which of it is news.
    pub(crate) fn settle(
        &mut self,
        id: i32,
        epoch: i32,
        said: &[Said],
    ) -> Result<Vec<bool>, SessionError> {
        let session = self.by_id.get_mut(&id).ok_or(SessionError::NotFound)?;
        if session.epoch != next_epoch(epoch) || session.order.len() != said.len() {
            return Err(SessionError::Epoch { current: session.epoch });
        }
        let places: Vec<u64> = session.order.keys().copied().collect();
        let news = places.into_iter().zip(said).map(|(place, said)| session.say(place, *said));
        Ok(news.collect())
    }

    /// Ends a session, if it is here.
    pub(crate) fn close(&mut self, id: i32) {
        let Some(session) = self.by_id.remove(&id) else { return };
        self.by_use.remove(&(session.used, id));
        self.unvalue(session.value(id));
        self.partitions -= session.weight;
    }

    fn id(&self, random: u64) -> i32 {
        let cores = self.cores as u64;
        let turns = i32::MAX as u64 / cores;
        let id = random % turns * cores + self.core.index() as u64;
        i32::try_from(id).expect("below i32::MAX by construction")
    }

    /// Makes room for a session of this value.
    fn evict(&mut self, now: Instant, newcomer: Value) -> bool {
        let Some(&(used, oldest)) = self.by_use.first() else { return false };
        if now.since(used) > EVICTION {
            self.close(oldest);
            return true;
        }
        let candidates = if newcomer.0 { &self.for_replicas } else { &self.for_consumers };
        match candidates.first() {
            Some(&least) if least <= newcomer => {
                self.close(least.2);
                true
            }
            _ => false,
        }
    }

    /// The session was used now, and may have another size.
    fn note(&mut self, id: i32, now: Instant) {
        let session = self.by_id.get_mut(&id).expect("the caller has it");
        self.by_use.remove(&(session.used, id));
        let before = session.value(id);
        self.partitions -= session.weight;
        session.used = now;
        session.weight = session.order.len();
        self.partitions += session.weight;
        let after = session.value(id);
        let settled = now.since(session.created) > EVICTION;
        self.by_use.insert((now, id));
        self.unvalue(before);
        if settled {
            self.for_consumers.insert(after);
        }
        if settled || !after.0 {
            self.for_replicas.insert(after);
        }
    }

    fn unvalue(&mut self, value: Value) {
        self.for_consumers.remove(&value);
        self.for_replicas.remove(&value);
    }
}

impl Session {
    fn value(&self, id: i32) -> Value {
        (self.of_replica, self.weight, id)
    }

    /// Adds a partition, or changes what is wanted of it.
    fn put(&mut self, asked: Asked, said: Option<Said>) {
        let key = (asked.topic.clone(), asked.partition);
        if let Some(place) = self.places.get(&key) {
            let cached = self.order.get_mut(place).expect("a place is taken");
            cached.asked.want = asked.want;
            return;
        }
        let (high_watermark, log_start) = match said {
            Some(said) if !said.failed => (said.high_watermark, said.log_start),
            _ => (-1, -1),
        };
        self.append(key, Cached { asked, high_watermark, log_start });
    }

    fn append(&mut self, key: (TopicRef, i32), cached: Cached) {
        self.places.insert(key, self.next_place);
        self.order.insert(self.next_place, cached);
        self.next_place += 1;
    }

    fn forget(&mut self, key: &(TopicRef, i32)) {
        if let Some(place) = self.places.remove(key) {
            self.order.remove(&place);
        }
    }

    /// Whether `said` is news of the partition at `place`.
    fn say(&mut self, place: u64, said: Said) -> bool {
        let cached = self.order.get_mut(&place).expect("the caller listed the places");
        let news = said.records
            || said.urgent
            || said.failed
            || cached.high_watermark != said.high_watermark
            || cached.log_start != said.log_start;
        // Once an error is over, the partition is said again.
        cached.high_watermark = if said.failed { -1 } else { said.high_watermark };
        cached.log_start = said.log_start;
        if said.records {
            let cached = self.order.remove(&place).expect("it was there just now");
            let key = (cached.asked.topic.clone(), cached.asked.partition);
            self.append(key, cached);
        }
        news
    }
}

/// The epoch after `epoch`: never 0, which opens a session, nor −1, which ends one.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

/// Idle for so long, a session gives way to any other; as old, to a larger one. As in Kafka.
const EVICTION: Duration = Duration::from_secs(120);
/// Partitions over all sessions of a core: some 32 MiB.
const PARTITIONS_MAX: usize = 200_000;

#[cfg(test)]
mod tests;
