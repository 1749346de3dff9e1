//! Producing as an application does: each record encoded, keyed, given to its partition's batch,
//! and the batch compressed and sent when it is full or has waited long enough.
//!
//! ```text
//! arrival ─▶ link ─▶ partition by key ─▶ open batch ── full, or linger over ─▶ request ─▶ answer
//! intended time ───────────────────────────── latency of each record ──────────────────────┘
//! ```
//!
//! One request carries one batch. With `depth`, a batch waits while so many are on their way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use wire::msg::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::primitives::{Records, Uuid};

use super::arrivals::Arrivals;
use super::link::Flight;
use super::produce::read_answer;
use super::template::{FIRST_BY_ID, Noise};
use super::{Books, Cx, Load};
use crate::batch::{BatchBuilder, Identity};
use crate::control::{TopicView, code_name, encode_frame};
use crate::stamp::{STAMP_BYTES, Stamp};
use crate::verify::Lanes;
use crate::workload::Produce;

/// What is the same for all threads of a client load.
#[derive(Debug)]
pub(crate) struct ClientPlan {
    pub(crate) spec: Produce,
    pub(crate) version: i16,
    pub(crate) run: u32,
    pub(crate) topic: TopicView,
    pub(crate) first_lane: u32,
}

/// A client load's part on one thread.
pub(crate) struct Client {
    plan: Arc<ClientPlan>,
    producers: Vec<Producer>,
    arrivals: Option<Arrivals>,
    start_ns: u64,
    turn: usize,
    noise: Noise,
    /// Batches by when they must go: time, producer, partition.
    lingering: BTreeMap<(u64, usize, u32), ()>,
    text: Vec<u8>,
    lanes: Lanes,
}

/// One connection's producer.
#[derive(Debug)]
pub(crate) struct Producer {
    link: u32,
    /// Partitions that the link's broker leads.
    partitions: Arc<[u32]>,
    identity: Option<Identity>,
    round_robin: usize,
    /// By partition.
    open: BTreeMap<u32, OpenBatch>,
    sequences: BTreeMap<u32, u64>,
    /// Closed batches that wait for room, and those on their way, in order.
    waiting: VecDeque<Closed>,
    sent: VecDeque<Closed>,
}

#[derive(Debug)]
struct OpenBatch {
    builder: BatchBuilder,
    first: u64,
    due_ns: u64,
    intended: Vec<u64>,
}

#[derive(Debug)]
struct Closed {
    partition: u32,
    bytes: Vec<u8>,
    stored: u64,
    first: u64,
    intended: Vec<u64>,
}

impl Producer {
    pub(crate) fn new(link: u32, partitions: Arc<[u32]>, identity: Option<Identity>) -> Self {
        Self {
            link,
            partitions,
            identity,
            round_robin: link as usize,
            open: BTreeMap::new(),
            sequences: BTreeMap::new(),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
        }
    }
}

impl Client {
    /// The part with these links.
    pub(crate) fn new(
        plan: Arc<ClientPlan>,
        producers: Vec<Producer>,
        share: (usize, usize),
    ) -> Self {
        let arrivals = plan.spec.rate.map(|rate| Arrivals::new(rate, plan.spec.arrival, share));
        let mut text = vec![0; plan.spec.record.len() * 2];
        let mut noise = Noise(0x0dd0_0dd0_0dd0_0dd0 + share.0 as u64);
        // Half as many values as a byte has, in runs: compresses about as records of text do.
        for chunk in text.chunks_mut(4) {
            chunk.fill(b' ' + (noise.next() % 64) as u8);
        }
        Self {
            plan,
            producers,
            arrivals,
            start_ns: 0,
            turn: 0,
            noise,
            lingering: BTreeMap::new(),
            text,
            lanes: Lanes::default(),
        }
    }

    /// Takes a record in; sends its batch when that is full.
    fn push(&mut self, cx: &mut Cx<'_>, number: usize, intended_ns: u64, now: u64) -> Result<()> {
        let spec = &self.plan.spec;
        let key = (spec.keys > 0).then(|| key_text(self.noise.next() % spec.keys));
        let producer = &mut self.producers[number];
        let partition = match &key {
            Some(key) => {
                // Where the key goes is for the whole topic to say; with several brokers a link
                // takes the keys of its own partitions.
                let count = producer.partitions.len();
                producer.partitions[(murmur2(key) & 0x7fff_ffff) as usize % count]
            }
            None => {
                producer.round_robin += 1;
                producer.partitions[producer.round_robin % producer.partitions.len()]
            }
        };
        let sequence = producer.sequences.entry(partition).or_default();
        let first = *sequence;
        *sequence += 1;
        let identity = producer.identity;
        let due_ns = now + spec.linger.ns();
        let open = producer.open.entry(partition).or_insert_with(|| {
            self.lingering.insert((due_ns, number, partition), ());
            let builder = BatchBuilder::new((now / 1_000_000) as i64, identity);
            OpenBatch { builder, first, due_ns, intended: Vec::new() }
        });
        let len = spec.record.len();
        let at = open.builder.push(key.as_deref(), len);
        let from = (self.noise.next() % (self.text.len() - len + 1) as u64) as usize;
        let value = &mut open.builder.bytes_mut()[at..at + len];
        value.copy_from_slice(&self.text[from..from + len]);
        let stamp = Stamp {
            run: self.plan.run,
            lane: self.plan.first_lane
                + producer.link * self.plan.topic.leaders.len() as u32
                + partition,
            to_batch_end: false,
            sequence: first,
            sent_ns: intended_ns,
            rest: crc32c::crc32c(&value[STAMP_BYTES..]),
        };
        value[..STAMP_BYTES].copy_from_slice(&stamp.encode());
        open.intended.push(intended_ns);
        let full = open.builder.len() + len + 100 > spec.batch.len() || spec.linger.ns() == 0;
        if full { self.close_batch(cx, number, partition) } else { Ok(()) }
    }

    fn close_batch(&mut self, cx: &mut Cx<'_>, number: usize, partition: u32) -> Result<()> {
        let producer = &mut self.producers[number];
        let Some(open) = producer.open.remove(&partition) else { return Ok(()) };
        self.lingering.remove(&(open.due_ns, number, partition));
        let base = (open.first & 0x7fff_ffff) as i32;
        let bytes = open.builder.finish(self.plan.spec.compression, base)?;
        let stored = bytes.len() as u64;
        let (first, intended) = (open.first, open.intended);
        producer.waiting.push_back(Closed { partition, bytes, stored, first, intended });
        self.send_waiting(cx, number)
    }

    fn send_waiting(&mut self, cx: &mut Cx<'_>, number: usize) -> Result<()> {
        let plan = &self.plan;
        let depth = plan.spec.depth.map_or(usize::MAX, |depth| depth as usize);
        let producer = &mut self.producers[number];
        while producer.sent.len() < depth && !cx.links[number].buried {
            let Some(mut closed) = producer.waiting.pop_front() else { break };
            let link = cx.link(number);
            let correlation = link.launch(closed.intended[0], closed.partition, closed.first);
            let data = [PartitionProduceData {
                index: closed.partition as i32,
                records: Some(Records::Inline(&closed.bytes)),
            }];
            let by_id = plan.version >= FIRST_BY_ID;
            let topics = [TopicProduceData {
                name: if by_id { "" } else { &plan.topic.name },
                topic_id: if by_id { plan.topic.id } else { Uuid::ZERO },
                partition_data: (&data).into(),
            }];
            let request = ProduceRequest {
                transactional_id: None,
                acks: plan.spec.acks_code(),
                timeout_ms: 30_000,
                topic_data: (&topics).into(),
            };
            let frame = encode_frame(&request, plan.version, correlation)?;
            link.output.push(&frame.head);
            closed.bytes = Vec::new();
            producer.sent.push_back(closed);
        }
        Ok(())
    }

    /// In a closed loop: fills batches until every link has as many on their way as it may.
    fn fill(&mut self, cx: &mut Cx<'_>, number: usize, now: u64) -> Result<()> {
        if self.arrivals.is_some() || now >= cx.window.end_ns {
            return Ok(());
        }
        let depth = self.plan.spec.depth.unwrap_or(1) as usize;
        while !cx.links[number].buried
            && self.producers[number].sent.len() + self.producers[number].waiting.len() < depth
        {
            self.push(cx, number, now, now)?;
        }
        Ok(())
    }

    fn tick_or_fail(&mut self, cx: &mut Cx<'_>, now: u64) -> Result<()> {
        while let Some(arrivals) = &mut self.arrivals {
            let intended = self.start_ns + arrivals.peek();
            if intended > now || intended >= cx.window.end_ns {
                break;
            }
            arrivals.advance();
            let number = self.turn;
            self.turn = (number + 1) % self.producers.len();
            self.push(cx, number, intended, now)?;
        }
        while let Some((&(due, number, partition), ())) = self.lingering.first_key_value() {
            if due > now && now < cx.window.end_ns {
                break;
            }
            self.close_batch(cx, number, partition)?;
        }
        Ok(())
    }

    fn lane(&self, number: usize, partition: u32) -> u32 {
        let partitions = self.plan.topic.leaders.len() as u32;
        self.plan.first_lane + self.producers[number].link * partitions + partition
    }

    fn fail(&mut self, number: usize, closed: &Closed) {
        let lane = self.lane(number, closed.partition);
        let numbers = (0..closed.intended.len() as u64).map(|i| (lane, closed.first + i));
        self.lanes.failed.extend(numbers);
    }
}

impl Load for Client {
    fn begin(&mut self, cx: &mut Cx<'_>, now: u64) {
        self.start_ns = cx.window.begin_ns;
        for number in 0..self.producers.len() {
            if let Err(e) = self.fill(cx, number, now) {
                cx.errors.add(&e.to_string());
            }
        }
    }

    fn due(&self) -> Option<u64> {
        let arrival = self.arrivals.as_ref().map(|arrivals| self.start_ns + arrivals.peek());
        let linger = self.lingering.first_key_value().map(|((due, _, _), ())| *due);
        arrival.into_iter().chain(linger).min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>, now: u64) {
        if let Err(e) = self.tick_or_fail(cx, now) {
            cx.errors.add(&e.to_string());
        }
    }

    fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        number: usize,
        _flight: Flight,
        answer: &[u8],
        now: u64,
    ) -> Result<()> {
        let closed = self.producers[number].sent.pop_front().expect("sent before it is answered");
        let mut code = 0;
        read_answer(answer, self.plan.version, |_, error| code = error)?;
        let records = closed.intended.len() as u64;
        if code == 0 {
            cx.recorder.count(now, 1, records, closed.stored);
            cx.shared.acked.fetch_add(records, Ordering::Relaxed);
        } else {
            cx.recorder.count(now, 1, 0, 0);
            cx.errors.add(code_name(code));
            self.fail(number, &closed);
        }
        for intended in &closed.intended {
            cx.recorder.latency(*intended, now, 1);
        }
        self.send_waiting(cx, number)?;
        self.fill(cx, number, now)
    }

    fn is_done(&self, cx: &Cx<'_>, now: u64) -> bool {
        let more = self.producers.iter().any(|p| !p.open.is_empty() || !p.waiting.is_empty());
        let to_come = self
            .arrivals
            .as_ref()
            .is_some_and(|arrivals| self.start_ns + arrivals.peek() < cx.window.end_ns);
        now >= cx.window.end_ns && !to_come && !more || cx.links.iter().all(|link| link.buried)
    }

    fn through(&mut self, cx: &Cx<'_>) {
        cx.shared.producing.fetch_sub(1, Ordering::Release);
    }

    fn unanswered(&mut self, number: usize, _flight: Flight) {
        if let Some(closed) = self.producers[number].sent.pop_front() {
            self.fail(number, &closed);
        }
    }

    fn close(mut self: Box<Self>) -> Books {
        for number in 0..self.producers.len() {
            // What never went out was never promised.
            for closed in std::mem::take(&mut self.producers[number].waiting) {
                self.fail(number, &closed);
            }
            for (partition, open) in std::mem::take(&mut self.producers[number].open) {
                let lane = self.lane(number, partition);
                let numbers = (0..open.intended.len() as u64).map(|i| (lane, open.first + i));
                self.lanes.failed.extend(numbers);
            }
            for (partition, count) in std::mem::take(&mut self.producers[number].sequences) {
                self.lanes.sent.push((partition, self.lane(number, partition), count));
            }
        }
        Books { lanes: self.lanes, ..Books::default() }
    }
}

fn key_text(number: u64) -> Vec<u8> {
    format!("key-{number:08}").into_bytes()
}

/// The hash by which Kafka's clients choose a partition: 32-bit murmur2 with their seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let (words, rest) = data.as_chunks::<4>();
    let start = 0x9747_b28c ^ data.len() as u32;
    let mut hash = words.iter().fold(start, |hash, word| {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        hash.wrapping_mul(M) ^ (k ^ k >> 24).wrapping_mul(M)
    });
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    #[test]
    fn keys_go_where_kafkas_clients_send_them() {
        for (key, hash) in
            [("21", -973_932_308_i32), ("foobar", -790_332_482), ("abc", 479_470_107)]
        {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
