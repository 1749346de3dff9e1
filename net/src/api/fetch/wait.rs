//! The long poll: until what is missing has come.
//!
//! The need is divided over the cores involved: once it is met over all, one of them has seen its
//! share, and the connection's core looks again. Until then nothing is sent and nothing runs.

use std::rc::Rc;

use engine::ids::{CoreId, LeaderEpoch, Offset};
use engine::partition::{Partition, ReadBound};
use engine::rt::Instant;
use futures_util::StreamExt;
use futures_util::future::select;
use futures_util::stream::FuturesUnordered;
use replication::cores::PartitionKey;
use wire::error_code::ErrorCode;

use super::owner::{Found, compared};
use super::plan::Plan;
use crate::api::Cx;
use crate::api::errors::check_epoch;
use crate::core::Core;

/// Waits for `need` more bytes over these partitions, or for a change of their state.
pub(crate) struct Wait {
    parts: Vec<Part>,
    bound: ReadBound,
    need: usize,
}

/// One partition to wait for.
#[derive(Clone, Copy)]
struct Part {
    key: PartitionKey,
    /// The leader epoch that the client knows.
    epoch: LeaderEpoch,
    /// End of what was seen.
    end: Offset,
    /// Bytes of it that count towards the need.
    room: usize,
}

impl Plan {
    /// Resolves when it is worth looking again, or there is no time left.
    pub(super) async fn wait(
        &self,
        cx: &Cx,
        found: &[Result<Found, ErrorCode>],
        deadline: Instant,
    ) {
        let waits = self.waits(found).into_iter().map(|(core, wait)| cx.call(core, wait));
        let mut waits: FuturesUnordered<_> = waits.collect();
        let news = async {
            // Nothing that is left out of the need can end the wait.
            if waits.next().await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        let over = select(Box::pin(cx.hurried()), cx.core.rt.sleep_until(deadline));
        select(Box::pin(news), over).await;
    }

    /// What each core is to wait for.
    fn waits(&self, found: &[Result<Found, ErrorCode>]) -> Vec<(CoreId, Wait)> {
        let mut have = 0;
        let mut cores: Vec<(CoreId, Vec<Part>)> = Vec::new();
        for (slot, core, asked) in self.parts() {
            let Ok(found) = &found[slot] else { continue };
            let seen = found.available.min(asked.want.max_bytes);
            have += seen;
            let part = Part {
                key: asked.key,
                epoch: asked.want.epoch,
                end: found.end(self.bound).max(asked.want.from),
                // Of a partition that is behind its limit nothing is awaited but its state.
                room: asked.want.max_bytes - seen,
            };
            match cores.iter_mut().find(|(known, _)| *known == core) {
                Some((_, parts)) => parts.push(part),
                None => cores.push((core, vec![part])),
            }
        }
        let need = self.min_bytes.saturating_sub(have).div_ceil(cores.len().max(1)).max(1);
        let wait = |(core, parts)| (core, Wait { parts, bound: self.bound, need });
        cores.into_iter().map(wait).collect()
    }
}

/// The owner's side of waiting.
pub(crate) async fn wait(core: Rc<Core>, work: Wait) {
    let Wait { parts, bound, need } = work;
    let mut waiting = FuturesUnordered::new();
    let mut grown = vec![0; parts.len()];
    for (slot, part) in parts.iter().enumerate() {
        let Some(partition) = served(&core, part) else { return };
        waiting.push(readable(slot, partition, part.end, bound));
    }
    let mut left = need;
    while let Some((slot, role)) = waiting.next().await {
        let part = &parts[slot];
        let Some(partition) = served(&core, part) else { return };
        let available = partition.available(part.end, bound);
        let Ok(bytes) = available else { return };
        // Woken without data: its state has changed.
        if bytes == 0 || role != partition.leader_epoch() {
            return;
        }
        let counted = bytes.min(part.room);
        // What is available is an estimate, and a better one may be smaller.
        left = left.saturating_sub(counted.saturating_sub(grown[slot]));
        grown[slot] = grown[slot].max(counted);
        if left == 0 {
            return;
        }
        // What is beyond the partition's limit brings the need no nearer.
        if counted < part.room {
            let end = end(&partition, bound);
            waiting.push(readable(slot, partition, end, bound));
        }
    }
    // All are at their limits, and the request's need is beyond them: the deadline ends the wait.
    std::future::pending().await
}

/// The partition, if its state is still what the client knows.
fn served(core: &Core, part: &Part) -> Option<Rc<Partition>> {
    let partition = core.partitions.open(part.key).ok()?;
    check_epoch(&partition, compared(core, part.epoch)).ok()?;
    Some(partition)
}

/// Waits for one partition; answers with its slot and the leader epoch from before.
async fn readable(
    slot: usize,
    partition: Rc<Partition>,
    from: Offset,
    bound: ReadBound,
) -> (usize, LeaderEpoch) {
    let epoch = partition.leader_epoch();
    partition.readable(from, bound).await;
    (slot, epoch)
}

fn end(partition: &Partition, bound: ReadBound) -> Offset {
    let offsets = partition.offsets();
    match bound {
        ReadBound::LogEnd => offsets.log_end,
        ReadBound::HighWatermark => offsets.high_watermark,
        ReadBound::LastStable => offsets.last_stable,
    }
}
