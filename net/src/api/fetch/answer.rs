//! From what was found to the response.

use std::sync::Arc;

use engine::ids::{BrokerId, CoreId};
use engine::partition::ReadBound;
use replication::image::{Image, Partition, Topic};
use wire::error_code::ErrorCode;
use wire::msg::fetch::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use wire::primitives::{self, Uuid};

use super::owner::{Found, Outcome};
use super::plan::{Plan, SessionUse, Slot};
use crate::api::Cx;
use crate::api::errors::{Coded, told_to_fetch};
use crate::api::scatter::Parts;
use crate::conn::budget::Ticket;
use crate::conn::reply::{Records, Reply};
use crate::session::{self, Answer, Opening, Said, TopicRef, Work};

/// An answer that is nothing but an error of the session.
pub(super) fn refusal(cx: &Cx, code: ErrorCode) -> Reply {
    let throttle_time_ms = cx.throttle_ms();
    let error_code = code.into();
    cx.reply(&FetchResponse { throttle_time_ms, error_code, ..FetchResponse::default() })
}

impl Plan {
    /// Answers, as far as the session has not heard it before.
    pub(super) async fn answer(
        &self,
        cx: &Cx,
        found: Outcome,
        mut pinned: Option<Ticket>,
    ) -> Reply {
        self.note_traffic(cx, &found);
        let (session_id, news) = match self.in_session(cx, &found).await {
            Ok(session) => session,
            Err(code) => return refusal(cx, code),
        };
        let image = cx.image();
        let mut answer = Assembly {
            cx,
            image: &image,
            read_committed: self.bound == ReadBound::LastStable,
            records: Records::default(),
            leaders: Vec::new(),
        };
        let mut partitions: Parts<PartitionData<'_>> = Parts::new();
        // Topics, with where their partitions end.
        let mut ends: Parts<(&TopicRef, usize)> = Parts::new();
        for (at, (slot, found)) in self.slots.iter().zip(found).enumerate() {
            if news.as_ref().is_some_and(|news| !news[at]) {
                continue;
            }
            partitions.push(answer.partition(slot, found));
            match ends.last_mut() {
                Some((topic, end)) if **topic == slot.asked.topic => *end = partitions.len(),
                _ => ends.push((&slot.asked.topic, partitions.len())),
            }
        }
        let mut start = 0;
        let responses = ends.into_iter().map(|(topic, end)| {
            let own = &partitions[std::mem::replace(&mut start, end)..end];
            topic_response(topic, own)
        });
        let responses: Parts<_> = responses.collect();
        let node_endpoints = answer.endpoints();
        let mut records = std::mem::take(&mut answer.records);
        let response = FetchResponse {
            throttle_time_ms: cx.throttle_ms(),
            error_code: ErrorCode::NONE.into(),
            session_id,
            responses: responses.as_slice().into(),
            node_endpoints: node_endpoints.into(),
        };
        if let Some(memory) = &mut pinned {
            records.relieve(2 * memory.bytes());
            memory.resize(records.pinned_bytes());
        }
        cx.reply_with(&response, records, pinned)
    }

    /// The session's id, and which slots are news to it; all are without a list.
    async fn in_session(
        &self,
        cx: &Cx,
        found: &[Result<Found, ErrorCode>],
    ) -> Result<(i32, Option<Vec<bool>>), ErrorCode> {
        match self.session {
            SessionUse::None => Ok((0, None)),
            SessionUse::Open { by_id } => {
                let slots = self.slots.iter().zip(found);
                let parts = slots.map(|(slot, found)| (slot.asked.clone(), said(found))).collect();
                let opening = Opening { of_replica: self.of_replica, by_id, parts };
                let mut sessions = cx.core.sessions.borrow_mut();
                let rt = &cx.core.rt;
                let id = sessions.open(rt.now(), opening, || rt.random_u64());
                Ok((id.unwrap_or(0), None))
            }
            SessionUse::Goes { id, epoch } => {
                let said = found.iter().map(said).collect();
                match session::ask(&cx.core, id, Work::Settle { id, epoch, said }).await {
                    Ok(Answer::Settled(news)) => Ok((id, Some(news))),
                    Ok(_) => unreachable!("settling is answered in kind"),
                    Err(error) => Err(error.code()),
                }
            }
        }
    }

    fn note_traffic(&self, cx: &Cx, found: &[Result<Found, ErrorCode>]) {
        let mut cores: Parts<(CoreId, usize)> = Parts::new();
        for (slot, core, _) in self.parts() {
            let bytes = found[slot].as_ref().map_or(0, |found| found.bytes);
            match cores.iter_mut().find(|(known, _)| *known == core) {
                Some((_, sum)) => *sum += bytes,
                None => cores.push((core, bytes)),
            }
        }
        cores.into_iter().for_each(|(core, bytes)| cx.conn.traffic.note(core, bytes));
    }
}

fn said(found: &Result<Found, ErrorCode>) -> Said {
    match found {
        Ok(found) => {
            let offsets = found.offsets.as_ref();
            Said {
                high_watermark: offsets.map_or(-1, |offsets| offsets.high_watermark.0),
                log_start: offsets.map_or(-1, |offsets| offsets.log_start.0),
                records: found.bytes > 0,
                urgent: found.diverging.is_some(),
                failed: false,
            }
        }
        Err(_) => {
            Said { high_watermark: -1, log_start: -1, records: false, urgent: true, failed: true }
        }
    }
}

fn topic_response<'a>(
    topic: &'a TopicRef,
    partitions: &'a [PartitionData<'a>],
) -> FetchableTopicResponse<'a> {
    let (topic, topic_id) = match topic {
        TopicRef::Name(name) => (&**name, Uuid::ZERO),
        TopicRef::Id(id) => ("", *id),
    };
    FetchableTopicResponse { topic, topic_id, partitions: partitions.into() }
}

/// Builds the parts of a response.
struct Assembly<'a> {
    cx: &'a Cx,
    image: &'a Image,
    read_committed: bool,
    records: Records,
    /// Leaders that partitions point to.
    leaders: Vec<BrokerId>,
}

impl<'a> Assembly<'a> {
    fn partition(&mut self, slot: &Slot, found: Result<Found, ErrorCode>) -> PartitionData<'a> {
        let partition_index = slot.asked.partition;
        let blank = PartitionData {
            partition_index,
            records: Some(primitives::Records::Inline(&[])),
            high_watermark: -1,
            log_start_offset: -1,
            ..PartitionData::default()
        };
        match found {
            Ok(found) => self.records(blank, found),
            Err(code) => {
                let code = told_to_fetch(code, self.cx.version);
                let current_leader = self.current_leader(slot, code);
                PartitionData { error_code: code.into(), current_leader, ..blank }
            }
        }
    }

    fn records(&mut self, blank: PartitionData<'a>, found: Found) -> PartitionData<'a> {
        let offsets = found.offsets.as_ref();
        let aborted = found.aborted.iter().map(|aborted| AbortedTransaction {
            producer_id: aborted.producer_id.0,
            first_offset: aborted.first.0,
        });
        let records = match found.slices.is_empty() {
            true => blank.records,
            false => {
                let (token, len) = self.records.push(found.slices);
                Some(primitives::Records::Spliced { token, len })
            }
        };
        PartitionData {
            high_watermark: offsets.map_or(-1, |offsets| offsets.high_watermark.0),
            last_stable_offset: offsets.map_or(-1, |offsets| offsets.last_stable.0),
            log_start_offset: offsets.map_or(-1, |offsets| offsets.log_start.0),
            diverging_epoch: found.diverging.map_or_else(EpochEndOffset::default, |end| {
                EpochEndOffset { epoch: end.epoch.0, end_offset: end.end.0 }
            }),
            aborted_transactions: self.read_committed.then(|| aborted.collect()),
            records,
            ..blank
        }
    }

    /// Where to turn to, for a client that knows an old leader (KIP-951).
    fn current_leader(&mut self, slot: &Slot, code: ErrorCode) -> LeaderIdAndEpoch {
        let moved = [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH];
        if self.cx.version < LEADERS_NAMED || !moved.contains(&code) {
            return LeaderIdAndEpoch::default();
        }
        let Some(partition) = registered(self.image, slot) else {
            return LeaderIdAndEpoch::default();
        };
        if let Some(leader) = partition.leader
            && !self.leaders.contains(&leader)
        {
            self.leaders.push(leader);
        }
        LeaderIdAndEpoch {
            leader_id: partition.leader.map_or(-1, |leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
        }
    }

    /// Addresses of the leaders named, at the listener that the client came in by.
    fn endpoints(&self) -> Vec<NodeEndpoint<'a>> {
        let listener = &self.cx.listener().name;
        let address = |id: &BrokerId| {
            let broker = self.image.brokers().get(*id)?;
            let endpoint = broker.endpoints.iter().find(|known| *known.name == **listener)?;
            Some(NodeEndpoint {
                node_id: id.0,
                host: &endpoint.host,
                port: i32::from(endpoint.port),
                rack: broker.rack.as_deref(),
            })
        };
        self.leaders.iter().filter_map(address).collect()
    }
}

fn registered<'a>(image: &'a Image, slot: &Slot) -> Option<&'a Arc<Partition>> {
    let topics = image.topics();
    let topic: &Arc<Topic> = match &slot.asked.topic {
        TopicRef::Name(name) => topics.named(name)?,
        TopicRef::Id(id) => topics.get(engine::ids::TopicId(*id))?,
    };
    topic.partition(engine::ids::PartitionId(slot.asked.partition))
}

/// Version from which on clients understand `current_leader` of a consumer's fetch.
const LEADERS_NAMED: i16 = 16;
