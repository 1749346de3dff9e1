//! Where a connection's requests go, and whether it would be better served there.
//!
//! A request for partitions of another core costs a hop each way. When most of what a connection
//! moves belongs to one other core, the connection moves there, at a moment when nothing is in
//! flight. Each move doubles what must be seen before the next, so a connection whose traffic
//! wanders settles down.

use std::cell::{Cell, RefCell};

use engine::ids::CoreId;

/// Bytes a connection moved to and from the partitions of each core.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// By core; empty on a node with one.
    bytes: RefCell<Vec<u64>>,
    requests: Cell<u32>,
}

impl Traffic {
    /// Nothing seen yet, on a node with `cores` cores.
    pub(crate) fn new(cores: usize) -> Self {
        let bytes = if cores > 1 { vec![0; cores] } else { Vec::new() };
        Self { bytes: RefCell::new(bytes), requests: Cell::new(0) }
    }

    /// A request moved `bytes` to or from partitions of `core`; its answer counts too.
    pub(crate) fn note(&self, core: CoreId, bytes: usize) {
        if let Some(sum) = self.bytes.borrow_mut().get_mut(core.index()) {
            *sum += bytes as u64 + REQUEST_COST;
            self.requests.set(self.requests.get() + 1);
        }
    }

    /// The core that the connection should move to, having moved `moves` times before.
    pub(crate) fn better_home(&self, own: CoreId, moves: u32) -> Option<CoreId> {
        let needed = REQUESTS_MIN.checked_shl(moves.min(MOVES_MAX)).unwrap_or(u32::MAX);
        if self.requests.get() < needed {
            return None;
        }
        let mut bytes = self.bytes.borrow_mut();
        let total: u64 = bytes.iter().sum();
        let (core, &most) = bytes.iter().enumerate().max_by_key(|&(_, sum)| *sum)?;
        let core = CoreId(u16::try_from(core).expect("cores are numbered by a u16"));
        // The old counts less than the new.
        bytes.iter_mut().for_each(|sum| *sum /= 2);
        self.requests.set(0);
        (core != own && most >= total - total / 5).then_some(core)
    }
}

/// Requests per look.
const REQUESTS_MIN: u32 = 64;
/// Doublings of it: 64 × 2¹⁴ is a million requests.
const MOVES_MAX: u32 = 14;
/// What a request costs beside its bytes, as bytes.
const REQUEST_COST: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(pairs: &[(u16, usize)], times: usize) -> Traffic {
        let traffic = Traffic::new(4);
        for _ in 0..times {
            for &(core, bytes) in pairs {
                traffic.note(CoreId(core), bytes);
            }
        }
        traffic
    }

    #[test]
    fn a_connection_follows_its_traffic() {
        let one_way = noted(&[(2, 100_000), (1, 1000)], 50);
        assert_eq!(one_way.better_home(CoreId(0), 0), Some(CoreId(2)));
        assert_eq!(one_way.better_home(CoreId(0), 0), None, "asks anew after more requests");
    }

    #[test]
    fn it_stays_where_it_is_at_home_or_nowhere() {
        assert_eq!(noted(&[(2, 1000)], 100).better_home(CoreId(2), 0), None);
        assert_eq!(noted(&[(1, 1000), (2, 1000)], 100).better_home(CoreId(0), 0), None);
        assert_eq!(noted(&[(1, 1000)], 10).better_home(CoreId(0), 0), None, "too early");
    }

    #[test]
    fn every_move_makes_the_next_harder() {
        assert_eq!(noted(&[(1, 1000)], 100).better_home(CoreId(0), 1), None);
        assert_eq!(noted(&[(1, 1000)], 128).better_home(CoreId(0), 1), Some(CoreId(1)));
    }

    #[test]
    fn one_core_counts_nothing() {
        let traffic = Traffic::new(1);
        (0..1000).for_each(|_| traffic.note(CoreId(0), 1));
        assert_eq!(traffic.better_home(CoreId(0), 0), None);
    }
}
