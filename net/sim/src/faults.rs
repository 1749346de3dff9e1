//! What goes wrong: a plan drawn from the seed, carried out between the clients' operations.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use engine::rt::sim::{Crash, DiskOp};

use crate::rng::Rng;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The first start of all is cut short: by a crash, at times on a disk that has no room.
    CrashInFormat,
    /// The process is killed.
    Kill,
    /// The machine loses power: what was not synced is lost, kept or torn.
    PowerLoss,
    /// One crash, and another while the node recovers from it.
    CrashInRecovery,
    /// The node is stopped in order and started again: every partition changes its leader epoch.
    Restart,
    /// Writes fail; the process or the machine goes down later.
    FailedWrite,
    /// Syncs fail; the process or the machine goes down later, and the machine after that.
    FailedSync,
    /// Reads fail.
    FailedRead,
    /// Creating, renaming, removing or truncating files fails.
    FailedMeta,
    /// The disk has no room for a while, and then the node goes down.
    FullDisk,
    /// The disk fills up for a while, and the node goes on.
    NoRoom,
    /// A bit turns in what was written long ago, and later back.
    FlippedBit,
    /// Nothing passes between clients and node for a while.
    Cut,
    /// Small pieces arrive, late.
    SlowLink,
    /// All connections break.
    Reset,
    /// Cores stand still, the first for longer than the controller waits for a sign of life: it
    /// takes the lead of every partition from this broker, and gives it back.
    Pause,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::CrashInFormat,
        Self::Kill,
        Self::PowerLoss,
        Self::CrashInRecovery,
        Self::Restart,
        Self::FailedWrite,
        Self::FailedSync,
        Self::FailedRead,
        Self::FailedMeta,
        Self::FullDisk,
        Self::NoRoom,
        Self::FlippedBit,
        Self::Cut,
        Self::SlowLink,
        Self::Reset,
        Self::Pause,
    ];

    /// Those before it are of a time before clients are there.
    const FIRST: usize = 1;

    /// The disk operation that fails.
    pub(crate) fn disk_op(self) -> Option<DiskOp> {
        match self {
            Self::FailedWrite => Some(DiskOp::Write),
            Self::FailedSync => Some(DiskOp::Sync),
            Self::FailedRead => Some(DiskOp::Read),
            Self::FailedMeta => Some(DiskOp::Meta),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrashInFormat => "crash in format",
            Self::Kill => "kill",
            Self::PowerLoss => "power loss",
            Self::CrashInRecovery => "crash in recovery",
            Self::Restart => "restart",
            Self::FailedWrite => "failed write",
            Self::FailedSync => "failed sync",
            Self::FailedRead => "failed read",
            Self::FailedMeta => "failed file operation",
            Self::FullDisk => "full disk",
            Self::NoRoom => "no room",
            Self::FlippedBit => "flipped bit",
            Self::Cut => "cut",
            Self::SlowLink => "slow link",
            Self::Reset => "reset",
            Self::Pause => "pause",
        })
    }
}

/// Which faults, each after how many operations: at least one that a disk sees, and one that
/// changes roles.
pub(crate) fn plan(rng: &mut Rng, operations: u32) -> Vec<(u32, Fault)> {
    let mut plan = Vec::new();
    let disk = [
        Fault::Kill,
        Fault::PowerLoss,
        Fault::PowerLoss,
        Fault::CrashInRecovery,
        Fault::FailedWrite,
        Fault::FailedSync,
    ];
    plan.push((moment(rng, operations), *rng.pick(&disk)));
    plan.push((moment(rng, operations), Fault::Pause));
    for _ in 0..rng.below(4) {
        plan.push((moment(rng, operations), *rng.pick(&Fault::ALL[Fault::FIRST..])));
    }
    plan.sort_unstable();
    plan
}

fn moment(rng: &mut Rng, operations: u32) -> u32 {
    u32::try_from(rng.between(5, 95)).expect("a percentage") * operations / 100
}

/// A kind of crash.
pub(crate) fn crash(rng: &mut Rng) -> Crash {
    *rng.pick(&[Crash::Kill, Crash::PowerLoss])
}

/// How long a machine is down.
pub(crate) fn downtime(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.below(*rng.clone().pick(&[100, 5_000, 100_000])))
}

/// Where the node's data is.
pub(crate) fn data_dir() -> &'static Path {
    Path::new("/data")
}
