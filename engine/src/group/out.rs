//! What comes out of a shard.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use wire::record::group::GroupRecord;

use super::GroupError;
use super::classic::{self, Joined, Synced};
use super::consumer::{self, Beaten};
use super::offsets::Change;

/// Names a request that waits; the caller's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names an append of one shard; ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(u64);

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a request.
    Answer(Ticket, Answer),
    /// Append records, and say what came of it.
    Append(Append),
    /// Find out which topics these expressions of a group stand for, and tell
    /// [`Shard::resolved`](super::Shard::resolved).
    Resolve {
        /// The group.
        group: Rc<str>,
        /// Valid expressions: [`Pattern`](super::Pattern)s.
        patterns: Vec<Rc<str>>,
    },
}

/// Records to append, whole or not at all: in one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// For [`Shard::appended`](super::Shard::appended).
    pub id: AppendId,
    /// At least one.
    pub records: Vec<Entry>,
}

/// A record's key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Never null.
    pub key: Vec<u8>,
    /// None for a tombstone.
    pub value: Option<Vec<u8>>,
}

impl Entry {
    /// What it takes in a batch, at most.
    pub(super) fn bytes(&self) -> usize {
        ENTRY_BYTES + self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// What a request is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To a join: the member's generation, or why not and the id that the member is to use.
    Joined(Result<Joined, (GroupError, String)>),
    /// To a sync: the member's assignment.
    Synced(Result<Synced, GroupError>),
    /// To a heartbeat of a consumer group's member: what it is to have.
    Beaten(Result<Beaten, GroupError>),
    /// To anything that has parts: what came of each, or why nothing was done.
    Parts(Result<Vec<Result<(), GroupError>>, GroupError>),
}

impl Answer {
    /// The answer, once it is known what came of the records that it waited for.
    pub(super) fn after(self, written: Result<(), GroupError>) -> Self {
        match written {
            Ok(()) => self,
            Err(error) => self.failed(error),
        }
    }

    /// The same, had it not been written.
    pub(super) fn failed(self, error: GroupError) -> Self {
        match self {
            Self::Joined(Ok(joined)) => Self::Joined(Err((error, joined.member))),
            Self::Joined(Err((_, member))) => Self::Joined(Err((error, member))),
            Self::Synced(_) => Self::Synced(Err(error)),
            Self::Beaten(_) => Self::Beaten(Err(error)),
            Self::Parts(_) => Self::Parts(Err(error)),
        }
    }
}

/// What an append leads to.
#[derive(Debug)]
pub(super) enum Then {
    /// Answers that wait for nothing else.
    Answers(Vec<(Ticket, Answer)>),
    /// Offsets of a group change.
    Offsets { group: Rc<str>, changes: Vec<Change>, answer: Option<(Ticket, Answer)> },
    /// A group and its offsets are forgotten.
    Burial { group: Rc<str>, changes: Vec<Change>, answer: Option<(Ticket, Answer)> },
    /// A classic group goes on.
    Classic { group: Rc<str>, then: classic::Then },
    /// This of a consumer group is kept.
    Consumer { group: Rc<str>, keys: Vec<consumer::Key>, answers: Vec<(Ticket, Answer)> },
}

impl Then {
    /// It will never be known what came of it.
    pub(super) fn abandon(self, out: &mut Out, error: GroupError) {
        match self {
            Self::Answers(answers) | Self::Consumer { answers, .. } => {
                for (ticket, answer) in answers {
                    out.answer(ticket, answer.failed(error));
                }
            }
            Self::Offsets { answer, .. } | Self::Burial { answer, .. } => {
                if let Some((ticket, answer)) = answer {
                    out.answer(ticket, answer.failed(error));
                }
            }
            Self::Classic { then, .. } => then.abandon(out, error),
        }
    }
}

/// Effects not taken yet, and what waits for appends.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) effects: VecDeque<Effect>,
    pub(super) waiting: BTreeMap<AppendId, Then>,
    next: u64,
}

impl Out {
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.effects.push_back(Effect::Answer(ticket, answer));
    }

    pub(super) fn append(&mut self, records: Vec<Entry>, then: Then) -> AppendId {
        assert!(!records.is_empty(), "an append has records");
        let id = AppendId(self.next);
        self.next += 1;
        self.waiting.insert(id, then);
        self.effects.push_back(Effect::Append(Append { id, records }));
        id
    }
}

/// Records as they are appended, if one batch can hold them.
pub(super) fn entries(records: &[GroupRecord], max: usize) -> Result<Vec<Entry>, GroupError> {
    let mut bytes = 0;
    let mut entries = Vec::with_capacity(records.len());
    for record in records {
        let unwritable = |_| GroupError::TooLarge { bytes: usize::MAX, max };
        let entry = Entry {
            key: record.key().map_err(unwritable)?,
            value: record.value().map_err(unwritable)?,
        };
        bytes += entry.bytes();
        entries.push(entry);
    }
    if bytes > max {
        return Err(GroupError::TooLarge { bytes, max });
    }
    Ok(entries)
}

/// What a record takes in a batch beside key and value, at most: seven numbers of varying length.
const ENTRY_BYTES: usize = 32;
