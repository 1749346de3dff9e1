//! The owner's side of a fetch: what is there, and reading it.

use std::rc::Rc;

use engine::buf::Slice;
use engine::ids::{LeaderEpoch, Offset};
use engine::partition::{AbortedTxn, EpochEnd, Offsets, Partition, ReadBound, ReadSpec};
use engine::rt::sim::Plant;
use futures_util::future::join_all;
use replication::cores::PartitionKey;
use smallvec::SmallVec;
use wire::error_code::ErrorCode;

use crate::api::errors::{Coded, check_epoch};
use crate::api::scatter::Parts;
use crate::core::Core;
use crate::session::Want;

/// The partitions of one core in one request.
pub(crate) struct Work {
    pub(super) parts: Parts<Part>,
    pub(super) bound: ReadBound,
    pub(super) of_replica: bool,
    pub(super) step: Step,
}

/// What to do with them.
#[derive(Clone)]
pub(super) enum Step {
    /// See what is there.
    Look,
    /// These are all partitions of the request: see, and read if there is enough.
    LookAndRead(Limits),
    /// Read this much of each.
    Read(Parts<Grant>),
}

#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) min_bytes: usize,
    pub(super) max_bytes: usize,
}

/// One partition to fetch from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) key: PartitionKey,
    pub(super) want: Want,
}

/// What may be read of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) max_bytes: usize,
    /// Whether the first batch may be larger.
    pub(super) at_least_one: bool,
}

impl Grant {
    pub(super) fn is_some(self) -> bool {
        self.max_bytes > 0 || self.at_least_one
    }
}

/// What was found of the parts, in their order.
pub(crate) type Outcome = Parts<Result<Found, ErrorCode>>;

/// A partition as it was seen, and what was read of it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(super) slices: SmallVec<[Slice; 4]>,
    /// Bytes of the slices.
    pub(super) bytes: usize,
    /// Bytes that could be read, by a look.
    pub(super) available: usize,
    pub(super) offsets: Option<Offsets>,
    pub(super) aborted: Vec<AbortedTxn>,
    /// Where the reader's log leaves this one: it has to go back there.
    pub(super) diverging: Option<EpochEnd>,
}

impl Found {
    /// The end of what a reader may see.
    pub(super) fn end(&self, bound: ReadBound) -> Offset {
        let offsets = self.offsets.as_ref().expect("the partition was looked at");
        match bound {
            ReadBound::LogEnd => offsets.log_end,
            ReadBound::HighWatermark => offsets.high_watermark,
            ReadBound::LastStable => offsets.last_stable,
        }
    }
}

pub(crate) async fn serve(core: Rc<Core>, work: Work) -> Outcome {
    let mut found: Outcome = work.parts.iter().map(|part| look(&core, part, &work)).collect();
    let grants = match &work.step {
        Step::Look => return found,
        Step::LookAndRead(limits) => {
            let seen = || work.parts.iter().copied().zip(&found);
            if !has_enough(seen(), limits.min_bytes) {
                return found;
            }
            grants(seen(), limits.max_bytes)
        }
        Step::Read(grants) => grants.clone(),
    };
    let reads = work.parts.iter().zip(grants).enumerate().filter_map(|(slot, (part, grant))| {
        let ready = found[slot].as_ref().is_ok_and(|found| found.diverging.is_none());
        let (core, bound) = (&core, work.bound);
        (ready && grant.is_some())
            .then_some(async move { (slot, read(core, part, grant, bound).await) })
    });
    let mut reads: Parts<_> = reads.collect();
    if reads.len() == 1 {
        let (slot, read) = reads.remove(0).await;
        found[slot] = read;
        return found;
    }
    for (slot, read) in join_all(reads).await {
        found[slot] = read;
    }
    found
}

/// Sees what is there, without any I/O.
fn look(core: &Core, part: &Part, work: &Work) -> Result<Found, ErrorCode> {
    let partition = core.partitions.open(part.key).map_err(|error| error.code())?;
    check_epoch(&partition, compared(core, part.want.epoch))?;
    if work.of_replica {
        return Err(match part.want.epoch {
            LeaderEpoch::NONE => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            _ => ErrorCode::UNKNOWN_LEADER_EPOCH,
        });
    }
    let mut found = Found { offsets: Some(partition.offsets()), ..Found::default() };
    if part.want.last_epoch > LeaderEpoch::NONE {
        found.diverging = diverging(&partition, part.want)?;
        if found.diverging.is_some() {
            return Ok(found);
        }
    }
    let available = partition.available(part.want.from, work.bound);
    found.available = available.map_err(|error| error.code())?;
    Ok(found)
}

/// The leader epoch that a reader knows, to be compared.
pub(super) fn compared(core: &Core, known: LeaderEpoch) -> LeaderEpoch {
    match core.rt.planted(Plant::OldEpochsTaken) {
        true => LeaderEpoch::NONE,
        false => known,
    }
}

/// Where the log that the reader has leaves this one, if it does (KIP-320, KIP-595).
fn diverging(partition: &Partition, want: Want) -> Result<Option<EpochEnd>, ErrorCode> {
    let end = partition.epoch_end(want.last_epoch).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
    if want.from < partition.offsets().log_start {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    Ok((end.epoch < want.last_epoch || end.end < want.from).then_some(end))
}

async fn read(
    core: &Core,
    part: &Part,
    grant: Grant,
    up_to: ReadBound,
) -> Result<Found, ErrorCode> {
    let partition = core.partitions.open(part.key).map_err(|error| error.code())?;
    let Grant { max_bytes, at_least_one } = grant;
    let spec = ReadSpec { from: part.want.from, max_bytes, at_least_one, up_to };
    match partition.read(spec).await {
        Ok(read) => Ok(Found {
            slices: read.slices,
            bytes: read.bytes,
            available: read.bytes,
            offsets: Some(read.offsets),
            aborted: read.aborted,
            diverging: None,
        }),
        Err(error) => {
            if let engine::error::ReadError::Log(error) = &error
                && let Some(unsaid) = core.quiet.storage.pass(core.rt.now())
            {
                tracing::error!(unsaid, "read refused: {error}");
            }
            Err(error.code())
        }
    }
}

/// Whether what was seen is to be answered at once: enough bytes, or something that cannot wait.
pub(super) fn has_enough<'a>(
    seen: impl IntoIterator<Item = (Part, &'a Result<Found, ErrorCode>)>,
    min_bytes: usize,
) -> bool {
    let mut bytes = 0;
    for (part, found) in seen {
        match found {
            Ok(found) if found.diverging.is_none() => {
                bytes += found.available.min(part.want.max_bytes);
            }
            _ => return true,
        }
    }
    bytes >= min_bytes
}

/// Divides `max_bytes` over what was seen, in order.
pub(super) fn grants<'a>(
    seen: impl IntoIterator<Item = (Part, &'a Result<Found, ErrorCode>)>,
    max_bytes: usize,
) -> Parts<Grant> {
    let mut left = max_bytes;
    let mut first = true;
    let grants = seen.into_iter().map(|(part, found)| {
        let available = found.as_ref().map_or(0, |found| found.available);
        if available == 0 {
            return Grant::default();
        }
        let grant = Grant { max_bytes: part.want.max_bytes.min(left), at_least_one: first };
        left -= available.min(grant.max_bytes);
        first = false;
        grant
    });
    grants.collect()
}

/// What reading as granted will bring, at most but for a first batch above its limit.
pub(super) fn granted_bytes<'a>(
    seen: impl IntoIterator<Item = (Part, &'a Result<Found, ErrorCode>)>,
    grants: &[Grant],
) -> usize {
    let bytes = seen.into_iter().zip(grants).map(|((_, found), grant)| {
        found.as_ref().map_or(0, |found| found.available.min(grant.max_bytes))
    });
    bytes.sum()
}
