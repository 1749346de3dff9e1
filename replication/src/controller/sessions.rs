//! Which brokers are alive: in memory only, started afresh by every active controller.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::ids::BrokerId;

use crate::image::Brokers;

/// Sessions of registered brokers.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<BrokerId, Session>,
}

/// What the controller knows of one broker beside its registration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// Monotonic time of the last heartbeat; `None` for a broker that has none to lose: fenced, or
    /// of this very process, whose former incarnation cannot be alive.
    pub(super) seen: Option<Duration>,
    /// Last offset that the broker had applied then.
    pub(super) metadata_offset: i64,
    /// Offset at which the others know that it leads nothing any more; it may stop once all have
    /// applied it.
    pub(super) shutdown_offset: Option<i64>,
    /// Offset of the record that registered it; the broker must have applied it to be unfenced.
    pub(super) registered_at: i64,
}

impl Sessions {
    /// Every unfenced broker gets a new session, except `own`: the process that it ran in is gone.
    pub(super) fn activate(now: Duration, brokers: &Brokers, own: BrokerId) -> Self {
        let session = |broker: &crate::image::Broker| Session {
            seen: (!broker.fenced && broker.id != own).then_some(now),
            metadata_offset: -1,
            shutdown_offset: None,
            registered_at: broker.epoch,
        };
        Self { by_id: brokers.iter().map(|broker| (broker.id, session(broker))).collect() }
    }

    /// A (new) registration at `offset`; it makes no session.
    pub(super) fn register(&mut self, id: BrokerId, offset: i64) {
        let session = self.by_id.entry(id).or_insert(Session {
            seen: None,
            metadata_offset: -1,
            shutdown_offset: None,
            registered_at: offset,
        });
        session.registered_at = offset;
    }

    pub(super) fn forget(&mut self, id: BrokerId) {
        self.by_id.remove(&id);
    }

    pub(super) fn get(&self, id: BrokerId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// A heartbeat arrived. A fenced broker leaves its controlled shutdown.
    pub(super) fn touch(&mut self, now: Duration, id: BrokerId, fenced: bool, offset: i64) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.seen = (!fenced).then_some(now);
            session.metadata_offset = offset;
            if fenced {
                session.shutdown_offset = None;
            }
        }
    }

    /// The broker leads nothing from `offset` on.
    pub(super) fn shutting_down(&mut self, id: BrokerId, offset: i64) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.shutdown_offset.get_or_insert(offset);
        }
    }

    /// Whether a heartbeat came within the timeout.
    pub(super) fn is_alive(&self, now: Duration, id: BrokerId, timeout: Duration) -> bool {
        self.get(id).and_then(|session| session.seen).is_some_and(|seen| now <= seen + timeout)
    }

    /// The broker silent for longest, if that is too long.
    pub(super) fn stale(&self, now: Duration, timeout: Duration) -> Option<BrokerId> {
        let oldest = self.seen().min_by_key(|&(id, seen)| (seen, id))?;
        (now > oldest.1 + timeout).then_some(oldest.0)
    }

    /// When the next broker may become stale.
    pub(super) fn next_deadline(&self, timeout: Duration) -> Option<Duration> {
        self.seen().map(|(_, seen)| seen + timeout).min()
    }

    /// Lowest offset that all brokers neither fenced nor leaving have applied; `i64::MAX` if there
    /// is none.
    pub(super) fn lowest_active_offset(&self) -> i64 {
        let active = self
            .by_id
            .values()
            .filter(|session| session.seen.is_some() && session.shutdown_offset.is_none());
        active.map(|session| session.metadata_offset).min().unwrap_or(i64::MAX)
    }

    fn seen(&self) -> impl Iterator<Item = (BrokerId, Duration)> + '_ {
        self.by_id.iter().filter_map(|(&id, session)| Some((id, session.seen?)))
    }
}
