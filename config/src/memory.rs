//! How the memory that is configured is divided among cores and uses.

use crate::node::Config;

/// One core's budgets, in bytes. All but [`CoreMemory::io`] are ceilings: taken as needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreMemory {
    /// For device I/O, registered with the kernel and touched at start; a power of two.
    pub io: u64,
    /// For the newest records of the core's partitions.
    pub cache: u64,
    /// For requests above 64 KiB that are arriving or waiting. A request above this takes all of
    /// it, and so comes alone.
    pub requests: u64,
    /// For records in responses that clients have not taken yet, over the core's connections.
    pub pinned: u64,
    /// The part of [`CoreMemory::pinned`] that one connection may hold.
    pub pinned_by_connection: u64,
}

impl CoreMemory {
    pub(crate) fn divide(config: &Config, cores: usize) -> Self {
        let cores = u64::try_from(cores.max(1)).unwrap_or(u64::MAX);
        let total = config.cores_memory_bytes;
        let share =
            |set: Option<u64>, default: u64| (set.unwrap_or(default) / cores).max(SHARE_MIN);
        let pinned = share(config.odradek_fetch_pinned_bytes, total / 4);
        Self {
            io: power_of_two_within(match config.cores_io_memory_bytes {
                Some(io) => io.max(IO_MIN),
                None => (IO_TOTAL / cores).clamp(IO_MIN, IO_MAX),
            }),
            cache: share(config.odradek_cache_bytes, total / 8 * 5),
            requests: share(config.queued_max_request_bytes, total / 8),
            pinned,
            pinned_by_connection: config
                .odradek_fetch_pinned_connection_bytes
                .unwrap_or(pinned / 2)
                .clamp(SHARE_MIN, pinned),
        }
    }
}

fn power_of_two_within(bytes: u64) -> u64 {
    1 << bytes.ilog2()
}

/// Room for one batch of the default `message.max.bytes` and its surroundings: with less a core
/// could not do its work.
const SHARE_MIN: u64 = 2 << 20;

/// Device memory is touched at start, so it counts towards an idle node's 64 MiB.
const IO_TOTAL: u64 = 32 << 20;
const IO_MIN: u64 = 1 << 20;
const IO_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_stay_inside_the_promise() {
        for cores in [1, 2, 4, 8, 16] {
            let memory = Config::default().core_memory(cores);
            let sum = memory.io + memory.cache + memory.requests + memory.pinned;
            let sum = sum * u64::try_from(cores).expect("few cores");
            assert!(sum <= (384 + 32) << 20, "{cores} cores: {sum}");
            assert!(memory.io.is_power_of_two() && memory.pinned_by_connection <= memory.pinned);
        }
    }

    #[test]
    fn keys_override_the_division() {
        let config = Config::builder()
            .set("odradek.cache.bytes=1073741824")
            .set("odradek.fetch.pinned.connection.bytes=1")
            .build()
            .expect("valid");
        let memory = config.core_memory(4);
        assert_eq!(memory.cache, 256 << 20);
        assert_eq!(memory.pinned_by_connection, SHARE_MIN);
    }
}
