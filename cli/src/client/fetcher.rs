//! Reads records: one Fetch a leading broker at a time, over all partitions that have a position.
//!
//! A broker that goes away is waited for, and a partition is read on where its leader is then.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use engine::compress::Codecs;
use wire::error_code::ErrorCode;
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::primitives::{Records, Uuid};

use super::batches::{Aborted, Source, read_batches};
use super::cluster::{Cluster, Topic};
use super::conn::{check, is_broken};
use super::offsets::{EARLIEST, LATEST, all_at};
use super::partitions::{TopicPartition, by_topic};
use crate::format::RecordView;

/// Between two attempts at what a broker can't serve at the moment.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Where to read on when a position is outside of what the partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    Earliest,
    Latest,
}

impl Reset {
    /// As ListOffsets names it.
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            Self::Earliest => EARLIEST,
            Self::Latest => LATEST,
        }
    }
}

/// Reads partitions, each from its own position on.
pub(crate) struct Fetcher {
    cluster: Cluster,
    topics: BTreeMap<String, Topic>,
    codecs: Codecs,
    /// Next offset to read, by partition.
    positions: BTreeMap<TopicPartition, i64>,
    reset: Reset,
    /// Only what no open transaction holds back, and nothing of aborted ones.
    read_committed: bool,
    waits_for_topics: bool,
    /// A broker said that it can't serve a partition now, or a topic is new here.
    stale: bool,
    /// The connection to a broker was lost; said once until there is one again.
    lost: bool,
}

impl Fetcher {
    /// A fetcher without positions.
    pub(crate) fn new(cluster: Cluster, reset: Reset) -> Self {
        Self {
            cluster,
            topics: BTreeMap::new(),
            codecs: Codecs::default(),
            positions: BTreeMap::new(),
            reset,
            read_committed: false,
            waits_for_topics: false,
            stale: false,
            lost: false,
        }
    }

    /// Waits for topics that are gone: whoever assigned them will take them back.
    pub(crate) fn wait_for_topics(&mut self) {
        self.waits_for_topics = true;
    }

    /// Leaves out what is not committed.
    pub(crate) fn read_committed(&mut self, yes: bool) {
        self.read_committed = yes;
    }

    /// The cluster that is read from.
    pub(crate) fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// The next offset to read of each partition.
    pub(crate) fn positions(&self) -> &BTreeMap<TopicPartition, i64> {
        &self.positions
    }

    /// Reads a partition from `offset` on.
    pub(crate) fn seek(&mut self, at: TopicPartition, offset: i64) {
        self.stale |= !self.topics.contains_key(&at.topic);
        self.positions.insert(at, offset);
    }

    /// Reads no more of these; says where it was.
    pub(crate) fn drop_positions<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> BTreeMap<TopicPartition, i64> {
        partitions.into_iter().filter_map(|at| self.positions.remove_entry(at)).collect()
    }

    /// Fetches once from every leader and hands over each record in turn, until `visit` breaks.
    /// Waits up to `wait_ms` at each broker that has nothing new.
    pub(crate) fn poll(
        &mut self,
        wait_ms: i32,
        mut visit: impl FnMut(&RecordView<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        match self.poll_all(wait_ms, &mut visit) {
            Err(failure) if is_broken(&failure) => {
                if !self.lost {
                    eprintln!("odradek: {failure:#}; trying again");
                }
                (self.lost, self.stale) = (true, true);
                thread::sleep(RETRY_PAUSE);
                // Where it fails, so will the next attempt.
                let _ = self.cluster.reconnect();
                Ok(ControlFlow::Continue(()))
            }
            polled => {
                self.lost = false;
                polled
            }
        }
    }

    fn poll_all(
        &mut self,
        wait_ms: i32,
        visit: &mut impl FnMut(&RecordView<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        if self.stale {
            self.refresh()?;
        }
        let mut leaders: BTreeMap<i32, Vec<(TopicPartition, i64)>> = BTreeMap::new();
        for (at, &offset) in &self.positions {
            match self.leader_of(at) {
                Some(leader) => leaders.entry(leader).or_default().push((at.clone(), offset)),
                None => self.stale = true,
            }
        }
        for (leader, wanted) in leaders {
            if self.poll_broker(leader, &wanted, wait_ms, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if self.stale {
            thread::sleep(RETRY_PAUSE);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Leaders move; a topic that is gone ends the reading, or is waited for.
    fn refresh(&mut self) -> Result<()> {
        let names: BTreeSet<&str> = self.positions.keys().map(|at| &*at.topic).collect();
        self.topics = self.cluster.topics_of(names.iter().copied())?;
        let gone = names.into_iter().find(|name| !self.topics.contains_key(*name));
        if let Some(gone) = gone.filter(|_| !self.waits_for_topics) {
            check(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, &format!("topic {gone}"))?;
        }
        self.stale = false;
        Ok(())
    }

    /// None while there is no leader, or no such partition.
    fn leader_of(&self, at: &TopicPartition) -> Option<i32> {
        let partition = self.topics.get(&at.topic)?.partition(at.partition)?;
        (partition.leader >= 0).then_some(partition.leader)
    }

    fn poll_broker(
        &mut self,
        leader: i32,
        wanted: &[(TopicPartition, i64)],
        wait_ms: i32,
        visit: &mut impl FnMut(&RecordView<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let conn = self.cluster.broker(leader)?;
        // Version 13 names topics by id alone, older ones by name alone.
        let by_id = conn.version::<FetchRequest<'_>>()? >= 13;
        let partition = |(partition, fetch_offset)| FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes: PARTITION_BYTES_MAX,
            ..Default::default()
        };
        let names = by_topic(wanted.iter().map(|(at, offset)| (at, *offset)));
        let topics = names.into_iter().map(|(name, of)| FetchTopic {
            topic: if by_id { "" } else { name },
            topic_id: if by_id { self.topics[name].id } else { Uuid::ZERO },
            partitions: of.into_iter().map(partition).collect::<Vec<_>>().into(),
        });
        let request = FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes: 1,
            max_bytes: RESPONSE_BYTES_MAX,
            session_epoch: -1,
            isolation_level: i8::from(self.read_committed),
            topics: topics.collect::<Vec<_>>().into(),
            ..Default::default()
        };
        let answer: FetchResponse<'_> = conn.call(&request)?;
        check(answer.error_code, "Fetch")?;
        let mut outside = Vec::new();
        for topic in &answer.responses {
            let known = match by_id {
                true => self.topics.values().find(|known| known.id == topic.topic_id),
                false => self.topics.get(topic.topic),
            };
            let Some(name) = known.map(|known| &*known.name) else { continue };
            for data in &topic.partitions {
                let at = TopicPartition::new(name, data.partition_index);
                let code = ErrorCode(data.error_code);
                if code == ErrorCode::OFFSET_OUT_OF_RANGE {
                    outside.push(at);
                    continue;
                }
                if code.is_retriable() {
                    self.stale = true;
                    continue;
                }
                check(code.0, &format!("partition {at}"))?;
                let Some(Records::Inline(bytes)) = data.records else { continue };
                let Some(position) = self.positions.get_mut(&at) else { continue };
                let aborted = data.aborted_transactions.iter().flat_map(|list| list.to_vec());
                let aborted = aborted.map(|it| (it.first_offset, it.producer_id));
                let aborted = Aborted::new(aborted.filter(|_| self.read_committed));
                let source = Source { at: &at, aborted };
                if read_batches(&mut self.codecs, bytes, source, position, visit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        self.seek_again(&outside)
    }

    /// Retention passed a position, or the log lost its end.
    fn seek_again(&mut self, outside: &[TopicPartition]) -> Result<ControlFlow<()>> {
        if !outside.is_empty() {
            let found = all_at(&mut self.cluster, outside, self.reset.timestamp())?;
            for (at, offset) in &found {
                let was = self.positions[at];
                eprintln!("odradek: {at} holds nothing at {was}; reading on from {offset}");
            }
            self.positions.extend(found);
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Whoever read the records that were printed has seen enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the output is closed")]
pub(crate) struct OutputGone;

const RESPONSE_BYTES_MAX: i32 = 50 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;
