//! What a fetch is about: from the request alone, or from it and its session.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engine::ids::{CoreId, LeaderEpoch, Offset};
use engine::partition::ReadBound;
use futures_util::future::{Either, select};
use wire::error_code::ErrorCode;
use wire::list::List;
use wire::msg::fetch::{FetchRequest, FetchTopic, ForgottenTopic};
use wire::primitives::Uuid;

use super::owner::{
    Found, Grant, Limits, Outcome, Part, Step, Work, granted_bytes, grants, has_enough,
};
use crate::api::Cx;
use crate::api::errors::Coded;
use crate::api::scatter::{Parts, Scatter};
use crate::conn::budget::{PRESSED_BYTES, Ticket};
use crate::conn::read::Frame;
use crate::conn::reply::Refusal;
use crate::session::{self, Answer, Asked, Resumed, Resuming, TopicRef, Want};

/// What is kept of a request when its buffer is given back.
pub(super) struct Request {
    session_id: i32,
    session_epoch: i32,
    by_id: bool,
    asked: Parts<Asked>,
    forgotten: Vec<(TopicRef, i32)>,
    terms: Terms,
}

/// How to fetch, apart from what.
#[derive(Clone, Copy)]
struct Terms {
    bound: ReadBound,
    of_replica: bool,
    min_bytes: usize,
    max_bytes: usize,
    max_wait: Duration,
}

/// A request ready to be served.
pub(super) struct Plan {
    pub(super) slots: Parts<Slot>,
    pub(super) bound: ReadBound,
    pub(super) of_replica: bool,
    pub(super) min_bytes: usize,
    pub(super) max_bytes: usize,
    pub(super) max_wait: Duration,
    pub(super) session: SessionUse,
}

/// One partition of the request, and where it is.
pub(super) struct Slot {
    pub(super) asked: Asked,
    pub(super) place: Result<(CoreId, Part), ErrorCode>,
}

/// What the request makes of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionUse {
    /// It does without.
    None,
    /// It asks for one.
    Open { by_id: bool },
    /// It goes on with one; the epoch is the request's.
    Goes { id: i32, epoch: i32 },
}

impl Request {
    pub(super) async fn read(cx: &Cx, frame: &Frame) -> Result<Self, Refusal> {
        let request: FetchRequest<'_> = cx.decode(frame).await?;
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        let limits = [
            size(request.max_bytes),
            usize::try_from(cx.core.node.config.fetch_max_bytes).unwrap_or(usize::MAX),
            cx.core.pinned.by_connection(),
        ];
        let max_bytes = limits.into_iter().min().expect("there are three");
        let replica =
            if cx.version < 15 { request.replica_id } else { request.replica_state.replica_id };
        let terms = Terms {
            bound: match (replica, request.isolation_level) {
                (0.., _) => ReadBound::LogEnd,
                (_, 1) => ReadBound::LastStable,
                _ => ReadBound::HighWatermark,
            },
            of_replica: replica >= 0,
            min_bytes: size(request.min_bytes).min(max_bytes),
            max_bytes,
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0))
                .min(MAX_WAIT),
        };
        let by_id = cx.version >= BY_ID;
        Ok(Self {
            session_id: request.session_id,
            session_epoch: request.session_epoch,
            by_id,
            asked: asked(&request.topics, by_id),
            forgotten: forgotten(&request.forgotten_topics_data, by_id),
            terms,
        })
    }
}

fn asked(topics: &List<'_, FetchTopic<'_>>, by_id: bool) -> Parts<Asked> {
    let mut asked = Parts::new();
    for topic in topics {
        let named = topic_ref(topic.topic, topic.topic_id, by_id);
        asked.extend(topic.partitions.iter().map(|partition| Asked {
            topic: named.clone(),
            partition: partition.partition,
            want: Want {
                epoch: LeaderEpoch(partition.current_leader_epoch),
                from: Offset(partition.fetch_offset),
                last_epoch: LeaderEpoch(partition.last_fetched_epoch),
                max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            },
        }));
    }
    asked
}

fn forgotten(topics: &List<'_, ForgottenTopic<'_>>, by_id: bool) -> Vec<(TopicRef, i32)> {
    let mut forgotten = Vec::new();
    for topic in topics {
        let named = topic_ref(topic.topic, topic.topic_id, by_id);
        forgotten.extend(topic.partitions.iter().map(|partition| (named.clone(), partition)));
    }
    forgotten
}

fn topic_ref(name: &str, id: Uuid, by_id: bool) -> TopicRef {
    if by_id { TopicRef::Id(id) } else { TopicRef::Name(Arc::from(name)) }
}

impl Plan {
    /// Works out the partitions, from the session where the request goes on with one.
    pub(super) async fn make(cx: &Cx, request: Request) -> Result<Self, ErrorCode> {
        let Request { session_id, session_epoch, by_id, asked, forgotten, terms } = request;
        let (asked, session) = match session_epoch {
            OPENS | ENDS => {
                // Whatever session a full request names is over.
                drop(session::ask(&cx.core, session_id, session::Work::Close(session_id)).await);
                let opens = session_epoch == OPENS;
                (asked, if opens { SessionUse::Open { by_id } } else { SessionUse::None })
            }
            epoch => {
                let id = session_id;
                let work = Resuming { id, epoch, by_id, changed: asked.into_vec(), forgotten };
                match session::ask(&cx.core, id, session::Work::Resume(work)).await {
                    Ok(Answer::Resumed(Resumed::Goes(asked))) => {
                        // The session names what the request does not.
                        cx.claim(asked.len()).await;
                        (asked.into(), SessionUse::Goes { id, epoch })
                    }
                    Ok(_) => (Parts::new(), SessionUse::None),
                    Err(error) => return Err(error.code()),
                }
            }
        };
        let slots = slots(cx, asked);
        let Terms { bound, of_replica, min_bytes, max_bytes, max_wait } = terms;
        Ok(Self { slots, bound, of_replica, min_bytes, max_bytes, max_wait, session })
    }

    /// The partitions that this node has, with their slots.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, CoreId, &Part)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| match &entry.place {
            Ok((core, part)) => Some((slot, *core, part)),
            Err(_) => None,
        })
    }

    /// What is there; read as well where one core has all and `min_bytes` of it, or where there is
    /// no time to wait for more. `may_read` is how much, if any.
    pub(super) async fn look(&self, cx: &Cx, over: bool, may_read: Option<usize>) -> Outcome {
        let min_bytes = if over { 0 } else { self.min_bytes };
        let mut scatter = Scatter::new();
        for (slot, core, part) in self.parts() {
            scatter.add(core, slot, *part);
        }
        let step = match may_read {
            Some(max_bytes) if scatter.cores().count() == 1 => {
                Step::LookAndRead(Limits { min_bytes, max_bytes })
            }
            _ => Step::Look,
        };
        self.ask(cx, scatter, |parts| self.work(parts, step.clone())).await
    }

    /// Reads what was seen, as far as the limits go, unless that is done. Without a charge it waits
    /// in line for one, past the request's deadline if need be: whoever gave up its place would
    /// come back behind all others, and again. Only where nobody waits for the answer any more it
    /// goes without records.
    pub(super) async fn read(
        &self,
        cx: &Cx,
        mut found: Outcome,
        charge: Option<Ticket>,
    ) -> (Outcome, Option<Ticket>) {
        if found.iter().flatten().any(|found| found.bytes > 0) {
            return (found, charge);
        }
        let places: Parts<_> = self.parts().collect();
        let seen = || places.iter().map(|(slot, _, part)| (**part, &found[*slot]));
        let max_bytes = charge.as_ref().map_or(PRESSED_BYTES.min(self.max_bytes), Ticket::bytes);
        let grants = grants(seen(), max_bytes);
        if !grants.iter().any(|grant| grant.is_some()) {
            return (found, charge);
        }
        let charge = match charge {
            Some(charge) => charge,
            None => {
                let line = cx.core.pinned.acquire(granted_bytes(seen(), &grants));
                match select(pin!(cx.lost()), line).await {
                    Either::Left(_) => return (found, None),
                    Either::Right((charge, _)) => charge,
                }
            }
        };
        let mut scatter: Scatter<(Part, Grant)> = Scatter::new();
        let mut granted: Parts<usize> = Parts::new();
        for ((slot, core, part), grant) in places.into_iter().zip(grants) {
            if grant.is_some() {
                granted.push(slot);
                scatter.add(core, slot, (*part, grant));
            }
        }
        let work = |parts: Parts<(Part, Grant)>| {
            let (parts, grants): (Parts<_>, Parts<_>) = parts.into_iter().unzip();
            self.work(parts, Step::Read(grants))
        };
        let mut read = self.ask(cx, scatter, work).await;
        for slot in granted {
            std::mem::swap(&mut found[slot], &mut read[slot]);
        }
        (found, Some(charge))
    }

    /// Whether to answer with what was seen.
    pub(super) fn is_enough(&self, found: &[Result<Found, ErrorCode>]) -> bool {
        let seen = self.parts().map(|(slot, _, part)| (*part, &found[slot]));
        // Partitions that are not here say nothing about the others: those are waited for.
        self.parts().next().is_none() || has_enough(seen, self.min_bytes)
    }

    fn work(&self, parts: Parts<Part>, step: Step) -> Work {
        Work { parts, bound: self.bound, of_replica: self.of_replica, step }
    }

    /// Asks the owners; slots that nobody was asked about have their error, or nothing.
    async fn ask<P>(
        &self,
        cx: &Cx,
        scatter: Scatter<P>,
        work: impl Fn(Parts<P>) -> Work,
    ) -> Outcome {
        let nothing = |slot: &Slot| match &slot.place {
            Ok(_) => Ok(Found::default()),
            Err(code) => Err(*code),
        };
        let mut found: Outcome = self.slots.iter().map(nothing).collect();
        for (slot, outcome) in scatter.ask(cx, work).await {
            found[slot] = outcome.unwrap_or_else(|error| Err(error.code()));
        }
        found
    }
}

fn slots(cx: &Cx, asked: Parts<Asked>) -> Parts<Slot> {
    let mut last: Option<(TopicRef, Result<_, ErrorCode>)> = None;
    let slots = asked.into_iter().map(|asked| {
        let id = match &last {
            Some((topic, id)) if *topic == asked.topic => *id,
            _ => {
                let id = match &asked.topic {
                    TopicRef::Name(name) => cx.topic_id(name, Uuid::ZERO, i16::MAX),
                    TopicRef::Id(id) => cx.topic_id("", *id, i16::MIN),
                };
                last = Some((asked.topic.clone(), id));
                id
            }
        };
        let place = id.and_then(|id| cx.home(id, asked.partition));
        let place = place.map(|(key, home)| (home.core, Part { key, want: asked.want }));
        Slot { asked, place }
    });
    slots.collect()
}

/// Longest poll. Clients ask for half a second, and none for longer than they wait for any answer;
/// what a poll keeps in memory is kept for so long.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(300);
/// Session epochs with a meaning of their own.
const OPENS: i32 = 0;
const ENDS: i32 = -1;
/// Version from which on topics go by id.
const BY_ID: i16 = 13;
