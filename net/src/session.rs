//! Fetch sessions (KIP-227): what a client reads, remembered, so that each request names only what
//! changed and each answer only what is new.
//!
//! Sessions live on the core that opened them; an id modulo the number of cores names it, since a
//! client goes on with its session after a reconnect, wherever the connection lands. The state is
//! [`Sessions`], without I/O; the rest is how other cores reach it.

mod cache;

use std::rc::Rc;
use std::sync::Arc;

use engine::ids::{CoreId, LeaderEpoch, Offset};
use wire::primitives::Uuid;

pub(crate) use self::cache::Sessions;
use crate::core::Core;
use crate::mesh;

/// A topic as the client names it: by id from Fetch 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicRef {
    Name(Arc<str>),
    Id(Uuid),
}

/// What a client wants of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// The leader epoch that the client knows; −1 for none.
    pub(crate) epoch: LeaderEpoch,
    pub(crate) from: Offset,
    /// Epoch of the last record it has; −1 for none.
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) max_bytes: usize,
}

/// One partition of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) topic: TopicRef,
    pub(crate) partition: i32,
    pub(crate) want: Want,
}

/// What an answer is about to say of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
    /// Whether it carries records.
    pub(crate) records: bool,
    /// Whether it must be said whatever was said before: an error, or a diverging epoch.
    pub(crate) urgent: bool,
    pub(crate) failed: bool,
}

/// Why a session does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    /// It was evicted, or never was.
    #[error("no such fetch session")]
    NotFound,
    /// A request was lost or came twice.
    #[error("the fetch session is at epoch {current}")]
    Epoch { current: i32 },
    /// The client changed between topic names and topic ids.
    #[error("the fetch session names topics the other way")]
    TopicIds,
}

/// A request for a new session.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) of_replica: bool,
    pub(crate) by_id: bool,
    pub(crate) parts: Vec<(Asked, Said)>,
}

/// A request within a session.
#[derive(Debug)]
pub(crate) struct Resuming {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    pub(crate) by_id: bool,
    pub(crate) changed: Vec<Asked>,
    pub(crate) forgotten: Vec<(TopicRef, i32)>,
}

/// What a request within a session is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// These partitions, in this order.
    Goes(Vec<Asked>),
    /// It forgot its last partition and is over.
    Ended,
}

/// What another core asks of a session.
#[derive(Debug)]
pub(crate) enum Work {
    Close(i32),
    Resume(Resuming),
    /// The answer to the request at `epoch` says this, in the order of the partitions resumed.
    Settle {
        id: i32,
        epoch: i32,
        said: Vec<Said>,
    },
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Closed,
    Resumed(Resumed),
    /// Which of what was to be said is news.
    Settled(Vec<bool>),
}

pub(crate) type Outcome = Result<Answer, SessionError>;

/// Asks the core that holds session `id`.
pub(crate) async fn ask(core: &Rc<Core>, id: i32, work: Work) -> Outcome {
    let home = home(id, core.cores()).ok_or(SessionError::NotFound)?;
    // A core that cannot answer has lost its sessions.
    mesh::call(core, home, work).await.unwrap_or(Err(SessionError::NotFound))
}

/// The holder's side.
pub(crate) async fn serve(core: Rc<Core>, work: Work) -> Outcome {
    let now = core.rt.now();
    let mut sessions = core.sessions.borrow_mut();
    match work {
        Work::Close(id) => {
            sessions.close(id);
            Ok(Answer::Closed)
        }
        Work::Resume(resuming) => sessions.resume(now, resuming).map(Answer::Resumed),
        Work::Settle { id, epoch, said } => sessions.settle(id, epoch, &said).map(Answer::Settled),
    }
}

/// The core that holds a session, if its id is one that a node with so many cores gives out.
fn home(id: i32, cores: usize) -> Option<CoreId> {
    let id = usize::try_from(id).ok().filter(|&id| id > 0)?;
    u16::try_from(id % cores).ok().map(CoreId)
}
