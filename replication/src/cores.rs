//! Which core of this node owns which partition.
//!
//! A partition has one owner core. The map is kept in a file (one per node) so that a partition
//! comes back to the core that holds its journal, and so that measured load survives a restart.
//!
//! - A new partition goes to the core with the fewest partitions of its topic, then the least load.
//! - With another number of cores only what must move moves: the partitions of cores that are
//!   gone, and from overfull cores just enough to fill the new ones.
//! - [`CoreMap::rebalance`] evens out measured load, a bounded number of moves at a time.
//!
//! A pure function of its inputs: the same calls give the same map on every machine.

use std::collections::{BTreeMap, BTreeSet};

use engine::ids::{CoreId, PartitionId, TopicId};
use wire::primitives::Uuid;

/// A partition, independent of its topic's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    /// The topic's id; a topic created again under the same name is another topic.
    pub topic: TopicId,
    /// Index within the topic.
    pub partition: PartitionId,
}

/// A partition that changes its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The partition.
    pub partition: PartitionKey,
    /// Owner until now; may be a core that no longer exists.
    pub from: CoreId,
    /// Owner from now on.
    pub to: CoreId,
}

/// Owner core and measured load of every partition of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreMap {
    seats: BTreeMap<PartitionKey, Seat>,
    cores: Vec<Total>,
}

/// Why a stored map can't be used. The node says so and starts with an empty one: placement is a
/// matter of speed, never of correctness, since journals name their partitions themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreMapError {
    /// The file is not a core map.
    #[error("not a core map: it starts with {0:02x?}")]
    Magic([u8; 4]),
    /// Written by a newer Odradek.
    #[error("core map of version {found}; this program reads up to {VERSION}")]
    Newer {
        /// The file's version.
        found: u16,
    },
    /// Shorter or longer than its header says.
    #[error("core map of {found} bytes where its header promises {expected}")]
    Length {
        /// Bytes there.
        found: usize,
        /// Bytes announced.
        expected: usize,
    },
    /// The checksum over the whole file does not match.
    #[error("core map is damaged: checksum {found:08x}, computed {computed:08x}")]
    Checksum {
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// A core index beyond the number of cores of the file.
    #[error("core map places a partition on core {core} of {cores}")]
    Core {
        /// The index.
        core: u16,
        /// Cores in the map.
        cores: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seat {
    core: CoreId,
    load: u64,
}

impl Seat {
    fn weight(self) -> u64 {
        self.load.saturating_add(PARTITION_PRICE)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    partitions: u64,
    load: u64,
}

impl Total {
    /// What is compared: measured bytes per second plus a fixed price per partition, since even a
    /// quiet one costs timers, memory and recovery.
    fn weight(self) -> u64 {
        self.load.saturating_add(self.partitions.saturating_mul(PARTITION_PRICE))
    }
}

impl CoreMap {
    /// An empty map over `cores` cores.
    ///
    /// # Panics
    /// If `cores` is 0: a node has at least one.
    #[must_use]
    pub fn new(cores: u16) -> Self {
        assert!(cores > 0, "a node has at least one core");
        Self { seats: BTreeMap::new(), cores: vec![Total::default(); usize::from(cores)] }
    }

    /// Gives every one of `partitions` that has no owner yet one, in order, and returns the owners
    /// of all of them.
    pub fn place(&mut self, partitions: impl IntoIterator<Item = PartitionKey>) -> Vec<CoreId> {
        let mut siblings: Option<(TopicId, Vec<u64>)> = None;
        let mut owners = Vec::new();
        for key in partitions {
            if let Some(seat) = self.seats.get(&key) {
                owners.push(seat.core);
                continue;
            }
            let of_topic = match &mut siblings {
                Some((topic, counts)) if *topic == key.topic => counts,
                other => &mut other.insert((key.topic, self.count_topic(key.topic))).1,
            };
            let core = self.emptiest(of_topic);
            of_topic[core.index()] += 1;
            self.seat(key, Seat { core, load: 0 });
            owners.push(core);
        }
        owners
    }

    /// Takes a deleted partition out; unknown ones are ignored.
    pub fn remove(&mut self, partition: PartitionKey) {
        self.unseat(partition);
    }

    /// Drops every partition for which `keep` is false (deleted while this node was down).
    pub fn retain(&mut self, mut keep: impl FnMut(PartitionKey) -> bool) {
        let gone: Vec<_> = self.seats.keys().copied().filter(|&key| !keep(key)).collect();
        for key in gone {
            self.unseat(key);
        }
    }

    /// Notes the measured load of a partition, in bytes written and read per second; unknown ones
    /// are ignored.
    pub fn note_load(&mut self, partition: PartitionKey, load: u64) {
        if let Some(seat) = self.unseat(partition) {
            self.seat(partition, Seat { load, ..seat });
        }
    }

    /// Changes the number of cores and returns the moves that it takes: partitions of cores that
    /// are gone, then from the fullest to the emptiest core while that makes them more even.
    ///
    /// # Panics
    /// If `cores` is 0.
    pub fn resize(&mut self, cores: u16) -> Vec<Move> {
        assert!(cores > 0, "a node has at least one core");
        let before = self.cores.len();
        let mut moves = Vec::new();
        let orphans: Vec<_> = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.core.0 >= cores)
            .map(|(&key, &seat)| (key, seat))
            .collect();
        for &(key, _) in &orphans {
            self.unseat(key);
        }
        self.cores.resize(usize::from(cores), Total::default());
        for (key, seat) in orphans {
            let core = self.emptiest(&self.count_topic(key.topic));
            self.seat(key, Seat { core, ..seat });
            moves.push(Move { partition: key, from: seat.core, to: core });
        }
        if usize::from(cores) > before {
            moves.extend(self.rebalance(usize::MAX));
        }
        moves
    }

    /// Moves at most `moves_max` partitions from the fullest to the emptiest core, each of which
    /// makes the two more even; none when no single move would.
    pub fn rebalance(&mut self, moves_max: usize) -> Vec<Move> {
        let mut by_weight = vec![BTreeSet::new(); self.cores.len()];
        for (&key, seat) in &self.seats {
            by_weight[seat.core.index()].insert((seat.weight(), key));
        }
        let mut moves = Vec::new();
        while moves.len() < moves_max {
            let (from, to) = (self.extreme(true), self.extreme(false));
            let gap = self.weight(from) - self.weight(to);
            let Some((weight, partition)) = best_to_move(&by_weight[from.index()], gap) else {
                break;
            };
            by_weight[from.index()].remove(&(weight, partition));
            by_weight[to.index()].insert((weight, partition));
            let seat = self.unseat(partition).expect("listed from the seats");
            self.seat(partition, Seat { core: to, ..seat });
            moves.push(Move { partition, from, to });
        }
        moves
    }

    /// Owner of a partition.
    #[must_use]
    pub fn core_of(&self, partition: PartitionKey) -> Option<CoreId> {
        self.seats.get(&partition).map(|seat| seat.core)
    }

    /// Number of cores that the map spreads over.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Every partition with its owner, in order of key.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionKey, CoreId)> + '_ {
        self.seats.iter().map(|(&key, seat)| (key, seat.core))
    }

    /// The map as a file: `"ODCM"`, version, cores, number of entries, the entries in order, then
    /// the CRC-32 of all before it; integers are little-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.seats.len() * ENTRY + CHECKSUM);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let cores = u16::try_from(self.cores.len()).expect("made from a u16");
        out.extend_from_slice(&cores.to_le_bytes());
        let entries = u32::try_from(self.seats.len()).expect("a node holds < 2^32 partitions");
        out.extend_from_slice(&entries.to_le_bytes());
        for (key, seat) in &self.seats {
            out.extend_from_slice(&key.topic.0.0);
            out.extend_from_slice(&key.partition.0.to_le_bytes());
            out.extend_from_slice(&seat.core.0.to_le_bytes());
            out.extend_from_slice(&seat.load.to_le_bytes());
        }
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a map back.
    ///
    /// # Errors
    /// If the bytes are not a whole map of a version known here.
    pub fn decode(bytes: &[u8]) -> Result<Self, CoreMapError> {
        let magic = array::<4>(bytes, 0)?;
        if magic != MAGIC {
            return Err(CoreMapError::Magic(magic));
        }
        let found = u16::from_le_bytes(array(bytes, 4)?);
        if found > VERSION {
            return Err(CoreMapError::Newer { found });
        }
        let cores = u16::from_le_bytes(array(bytes, 6)?);
        let entries = u32::from_le_bytes(array(bytes, 8)?) as usize;
        let expected = entries.saturating_mul(ENTRY).saturating_add(HEADER + CHECKSUM);
        if bytes.len() != expected {
            return Err(CoreMapError::Length { found: bytes.len(), expected });
        }
        let (body, tail) = bytes.split_at(expected - CHECKSUM);
        let (found, computed) = (u32::from_le_bytes(array(tail, 0)?), crc32fast::hash(body));
        if found != computed {
            return Err(CoreMapError::Checksum { found, computed });
        }
        if cores == 0 {
            return Err(CoreMapError::Core { core: 0, cores });
        }
        let mut map = Self::new(cores);
        for entry in body[HEADER..].chunks_exact(ENTRY) {
            let key = PartitionKey {
                topic: TopicId(Uuid(array(entry, 0)?)),
                partition: PartitionId(i32::from_le_bytes(array(entry, 16)?)),
            };
            let core = u16::from_le_bytes(array(entry, 20)?);
            if core >= cores {
                return Err(CoreMapError::Core { core, cores });
            }
            let load = u64::from_le_bytes(array(entry, 22)?);
            map.seat(key, Seat { core: CoreId(core), load });
        }
        Ok(map)
    }

    fn count_topic(&self, topic: TopicId) -> Vec<u64> {
        let first = PartitionKey { topic, partition: PartitionId(i32::MIN) };
        let last = PartitionKey { topic, partition: PartitionId(i32::MAX) };
        let mut counts = vec![0; self.cores.len()];
        for seat in self.seats.range(first..=last).map(|(_, seat)| seat) {
            counts[seat.core.index()] += 1;
        }
        counts
    }

    fn emptiest(&self, of_topic: &[u64]) -> CoreId {
        self.ids()
            .min_by_key(|&core| (of_topic[core.index()], self.weight(core), core))
            .expect("a map has at least one core")
    }

    fn extreme(&self, fullest: bool) -> CoreId {
        let weight = |&core: &CoreId| self.weight(core);
        let found =
            if fullest { self.ids().max_by_key(weight) } else { self.ids().min_by_key(weight) };
        found.expect("a map has at least one core")
    }

    fn ids(&self) -> impl Iterator<Item = CoreId> + use<> {
        (0..u16::try_from(self.cores.len()).expect("made from a u16")).map(CoreId)
    }

    fn weight(&self, core: CoreId) -> u64 {
        self.cores[core.index()].weight()
    }

    fn seat(&mut self, key: PartitionKey, seat: Seat) {
        self.unseat(key);
        let total = &mut self.cores[seat.core.index()];
        total.partitions += 1;
        total.load = total.load.saturating_add(seat.load);
        self.seats.insert(key, seat);
    }

    fn unseat(&mut self, key: PartitionKey) -> Option<Seat> {
        let seat = self.seats.remove(&key)?;
        let total = &mut self.cores[seat.core.index()];
        total.partitions -= 1;
        total.load = total.load.saturating_sub(seat.load);
        Some(seat)
    }
}

/// The partition whose weight is closest to half of the gap between two cores. Anything lighter
/// than the gap helps, but a gain under one partition's price is not worth a move.
fn best_to_move(
    by_weight: &BTreeSet<(u64, PartitionKey)>,
    gap: u64,
) -> Option<(u64, PartitionKey)> {
    let half = gap / 2;
    let first = PartitionKey { topic: TopicId(Uuid::ZERO), partition: PartitionId(i32::MIN) };
    let heavier = by_weight.range((half + 1, first)..).next();
    let lighter = by_weight.range(..(half + 1, first)).next_back();
    let helps = |(weight, _): &&(u64, PartitionKey)| weight.saturating_add(PARTITION_PRICE) <= gap;
    [lighter, heavier]
        .into_iter()
        .flatten()
        .filter(helps)
        .min_by_key(|it| it.0.abs_diff(half))
        .copied()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], CoreMapError> {
    let expected = at + N;
    let found = bytes.len();
    bytes
        .get(at..expected)
        .and_then(|slice| slice.try_into().ok())
        .ok_or(CoreMapError::Length { found, expected })
}

const MAGIC: [u8; 4] = *b"ODCM";
const VERSION: u16 = 1;
const HEADER: usize = 12;
const ENTRY: usize = 30;
const CHECKSUM: usize = 4;

/// Load that a quiet partition counts for, in bytes per second: 10 000 quiet partitions weigh as
/// much as 40 MB/s, so cores are even in count until real traffic says otherwise.
const PARTITION_PRICE: u64 = 4096;

#[cfg(test)]
mod tests;
