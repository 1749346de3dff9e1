//! What clients did and saw, in the order of virtual time: all that the invariants look at.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use wire::error_code::ErrorCode;
use wire::primitives::Uuid;

use crate::record::RecordId;

/// A partition of one incarnation of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The topic's id.
    pub topic: Uuid,
    /// Index in the topic.
    pub partition: i32,
}

/// A batch that a client sent, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// Where it was to go.
    pub place: Place,
    /// What the client waited for: 0, 1 or −1 for all.
    pub acks: i16,
    /// Id, epoch and first sequence of an idempotent producer.
    pub producer: Option<(i64, i16, i32)>,
    /// Its records, in order.
    pub records: Vec<RecordId>,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was sent first.
    pub sent: Option<Duration>,
    /// Offset of the first record, once a client was told.
    pub acked: Option<i64>,
    /// The last error that the node answered.
    pub refused: Option<ErrorCode>,
}

/// A batch as a client read it.
#[derive(Clone, Debug)]
pub(crate) struct ReadBatch {
    /// Offset of the first record.
    pub base: i64,
    /// Offset of the last record.
    pub last: i64,
    /// Epoch of the leader that appended it.
    pub epoch: i32,
    /// Its records.
    pub records: Vec<RecordId>,
}

/// One partition's part of an answer to a fetch.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    /// What was read.
    pub place: Place,
    /// When the request was sent, and when its answer came.
    pub sent: Duration,
    /// See `sent`.
    pub got: Duration,
    /// The offset asked for.
    pub from: i64,
    /// The leader epoch that the client named; −1 for none.
    pub known_epoch: i32,
    /// As answered.
    pub high_watermark: i64,
    /// As answered.
    pub log_start: i64,
    /// As answered.
    pub batches: Vec<ReadBatch>,
}

/// A partition read from its start to its end, when nothing else went on.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    /// What was read.
    pub place: Place,
    /// First offset that could be read.
    pub log_start: i64,
    /// The end of what could be read.
    pub high_watermark: i64,
    /// What was at each offset.
    pub records: BTreeMap<i64, RecordId>,
}

/// Something that is no batch and no read.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A topic was created.
    Created {
        /// Its name.
        name: String,
        /// Its id.
        id: Uuid,
    },
    /// A topic's deletion was asked for.
    DeleteSent {
        /// Its id.
        id: Uuid,
    },
    /// A topic was deleted.
    Deleted {
        /// Its id.
        id: Uuid,
    },
    /// All topics were listed.
    Listed {
        /// When that was asked for.
        sent: Duration,
        /// Names and ids.
        topics: Vec<(String, Uuid)>,
    },
    /// An offset was found by a timestamp, or a special one: ListOffsets.
    Found {
        /// Where.
        place: Place,
        /// When that was asked for.
        sent: Duration,
        /// What was asked for.
        timestamp: i64,
        /// The answer.
        offset: i64,
    },
    /// An offset was sent to be kept.
    CommitSent {
        /// Whose.
        group: String,
        /// Where.
        place: Place,
        /// Goes up with each of a reign.
        offset: i64,
        /// Of the member that has the partition; 0 of one who is no member.
        reign: u64,
    },
    /// It was acknowledged.
    Committed {
        /// Whose.
        group: String,
        /// Where.
        place: Place,
        /// The same.
        offset: i64,
        /// The same.
        reign: u64,
    },
    /// A group told how far it has come.
    OffsetFetched {
        /// Which.
        group: String,
        /// Where.
        place: Place,
        /// When that was asked for.
        sent: Duration,
        /// −1 for nowhere.
        offset: i64,
    },
    /// A member was told what it has.
    Told(Told),
    /// A member of the classic protocol is about to join. A group of KIP-848 takes in one that it has
    /// forgotten, as Kafka does: what holds of the former need not hold of the new one.
    Joins {
        /// Which.
        member: u64,
    },
    /// A member has something no more, by its own account.
    GaveUp {
        /// Which.
        member: u64,
        /// What.
        places: Vec<Place>,
    },
    /// A group has answered somebody as its member.
    Vouched {
        /// Whom.
        member: u64,
        /// When that was asked for.
        asked: Duration,
    },
    /// The disk has no room from now on.
    DiskFull,
    /// Records below an offset were asked to be deleted; −1 for all.
    TrimSent {
        /// Where.
        place: Place,
        /// Below what.
        before: i64,
    },
    /// They were.
    Trimmed {
        /// Where.
        place: Place,
        /// First offset that is left.
        log_start: i64,
    },
}

/// What a group tells one of its members.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Which.
    pub group: String,
    /// Another one for each id that a member has had.
    pub member: u64,
    /// When that was asked for.
    pub asked: Duration,
    /// Or the member's epoch.
    pub generation: i32,
    /// All that come to the group speak the same protocol.
    pub alike: bool,
    /// All that the member has from now on, with the numbers of its reigns: another one whenever a
    /// partition comes to a member. What it had besides it is to give up.
    pub has: Vec<(Place, u64)>,
}

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant: the name of its file.
    pub invariant: &'static str,
    /// What was seen.
    pub message: String,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// When, and what.
    pub events: Vec<(Duration, Event)>,
    /// By number; a record's id names its batch.
    pub batches: Vec<Batch>,
    /// In the order in which answers came.
    pub reads: Vec<Read>,
    /// The last one of a partition counts most.
    pub audits: Vec<Audit>,
    /// What was wrong as soon as it was seen.
    pub violations: Vec<Violation>,
    /// Tasks of the node that panicked.
    pub panics: Vec<String>,
    /// Where to print what happens.
    pub(crate) trace: Option<fn(&str)>,
}

impl History {
    /// Notes an event.
    pub(crate) fn note(&mut self, now: Duration, event: Event) {
        self.say(now, || format!("{event:?}"));
        self.events.push((now, event));
    }

    /// Notes a violation that shows at once.
    pub(crate) fn violate(&mut self, now: Duration, invariant: &'static str, message: String) {
        self.say(now, || format!("VIOLATION of {invariant}: {message}"));
        self.violations.push(Violation { invariant, message });
    }

    /// Prints a line, if anyone listens.
    pub(crate) fn say(&self, now: Duration, line: impl FnOnce() -> String) {
        if let Some(print) = self.trace {
            print(&format!("{:>12.6} {}", now.as_secs_f64(), line()));
        }
    }

    /// The last audit of each partition.
    pub(crate) fn last_audits(&self) -> BTreeMap<Place, &Audit> {
        self.audits.iter().map(|audit| (audit.place, audit)).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.message)
    }
}
