//! Sends records: one batch a partition at a time, in order, without duplicates.
//!
//! With `acks=all` the producer is idempotent (KIP-98): it has an id and numbers its batches, so
//! that sending one again after a lost answer does no harm.
//!
//! A batch that fails for a reason that may pass, such as a broker that restarts, is sent again on
//! a new connection until it has taken as long as Kafka's `delivery.timeout.ms` allows by default.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use engine::batch::header::sequence_after;
use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::compress::{Codec, Codecs, Compression};
use engine::ids::{ProducerEpoch, ProducerId};
use wire::error_code::ErrorCode;
use wire::msg::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use wire::msg::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use wire::primitives::Records;

use super::cluster::{Cluster, Topic};
use super::conn::{check, check_with, is_broken};

/// How to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProducerOptions {
    /// −1 all in-sync replicas, 1 the leader, 0 nobody.
    pub(crate) acks: i16,
    pub(crate) compression: Compression,
    /// Most bytes of one batch before compression, unless a single record is larger.
    pub(crate) batch_bytes_max: usize,
    /// Whether resent batches are known as such; needs `acks` −1.
    pub(crate) idempotent: bool,
    /// Records without a key take turns one by one, or batch by batch.
    pub(crate) turns: Turns,
    /// How long a batch may take, with all attempts.
    pub(crate) delivery_timeout: Duration,
    /// How often a batch is sent again; none for as often as the time allows.
    pub(crate) retries: Option<u32>,
    pub(crate) retry_pause: Duration,
    /// How long the broker waits for its followers.
    pub(crate) request_timeout: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: -1,
            compression: Compression::new(Codec::None),
            batch_bytes_max: 262_144,
            idempotent: true,
            turns: Turns::Records,
            delivery_timeout: DELIVERY_TIMEOUT,
            retries: None,
            retry_pause: RETRY_PAUSE,
            request_timeout: REQUEST_TIMEOUT,
        }
    }
}

/// What goes to one partition before the next one has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turns {
    Records,
    Batches,
}

/// Sends records to one topic.
pub(crate) struct Producer {
    cluster: Cluster,
    topic: Topic,
    options: ProducerOptions,
    codecs: Codecs,
    /// Id and epoch of an idempotent producer.
    identity: Option<(ProducerId, ProducerEpoch)>,
    /// By partition: the batch being filled, and the sequence of the next record.
    open: BTreeMap<i32, BatchBuilder>,
    sequences: BTreeMap<i32, i32>,
    /// Partition of the next record that has no key.
    round_robin: usize,
    records_sent: u64,
}

impl Producer {
    /// A producer to `topic`, which the broker may create.
    pub(crate) fn new(mut cluster: Cluster, topic: &str, options: ProducerOptions) -> Result<Self> {
        let topic = cluster.topic(topic, true)?;
        let idempotent = options.idempotent && options.acks == -1;
        let identity = idempotent.then(|| identity(&mut cluster)).transpose()?;
        Ok(Self {
            cluster,
            topic,
            options,
            codecs: Codecs::default(),
            identity,
            open: BTreeMap::new(),
            sequences: BTreeMap::new(),
            round_robin: 0,
            records_sent: 0,
        })
    }

    /// Adds a record; `partition` overrides the choice by key. Sends when a batch is full.
    pub(crate) fn push(&mut self, partition: Option<i32>, record: &NewRecord<'_>) -> Result<()> {
        let partition = match partition {
            Some(p) if (p as usize) < self.topic.partitions.len() => p,
            Some(p) => bail!(
                "partition {p} is not there: topic {} has partitions 0 to {}",
                self.topic.name,
                self.topic.partitions.len() - 1
            ),
            None => self.choose(record.key),
        };
        let record_bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let full = self
            .open
            .get(&partition)
            .is_some_and(|batch| batch.size() + record_bytes > self.options.batch_bytes_max);
        if full {
            self.send(partition)?;
        }
        let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
        let identity = self.identity;
        let compression = self.options.compression;
        self.open
            .entry(partition)
            .or_insert_with(|| BatchBuilder::new(batch_options(compression, identity, sequence)))
            .push(record);
        Ok(())
    }

    /// Sends all that waits.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while let Some((&partition, _)) = self.open.first_key_value() {
            self.send(partition)?;
        }
        Ok(())
    }

    /// Records that were acknowledged, or with `acks=0` sent.
    pub(crate) fn records_sent(&self) -> u64 {
        self.records_sent
    }

    /// By key as Kafka's clients do, so that their records and ours of one key meet; without a
    /// key, in turn.
    fn choose(&mut self, key: Option<&[u8]>) -> i32 {
        let count = self.topic.partitions.len();
        let index = match key {
            Some(key) => (murmur2(key) & 0x7fff_ffff) as usize % count,
            None => {
                let turn = self.round_robin;
                if self.options.turns == Turns::Records {
                    self.round_robin += 1;
                }
                turn % count
            }
        };
        self.topic.partitions[index].index
    }

    fn send(&mut self, partition: i32) -> Result<()> {
        let Some(batch) = self.open.remove(&partition) else { return Ok(()) };
        if self.options.turns == Turns::Batches {
            self.round_robin += 1;
        }
        let count = batch.count();
        let bytes = batch.build(&mut self.codecs);
        let options = self.options;
        let deadline = Instant::now() + options.delivery_timeout;
        let mut attempts = 0;
        while let Err(failure) = self.send_once(partition, &bytes)? {
            attempts += 1;
            if Instant::now() > deadline || options.retries.is_some_and(|most| attempts > most) {
                let limit = options.delivery_timeout.as_secs_f64();
                return Err(failure).with_context(|| {
                    format!("not delivered in {attempts} attempts, {limit} s allowed")
                });
            }
            thread::sleep(options.retry_pause);
            self.look_again(&failure);
        }
        let next = sequence_after(self.sequences.get(&partition).copied().unwrap_or(0), count);
        self.sequences.insert(partition, next);
        self.records_sent += u64::from(count.unsigned_abs());
        Ok(())
    }

    /// Finds the brokers and leaders as they are now. Where that fails, so will the next attempt.
    fn look_again(&mut self, failure: &anyhow::Error) {
        if is_broken(failure) && self.cluster.reconnect().is_err() {
            return;
        }
        if let Ok(topic) = self.cluster.topic(&self.topic.name, false) {
            self.topic = topic;
        }
    }

    /// The outer error is final, the inner one may pass.
    fn send_once(&mut self, partition: i32, bytes: &[u8]) -> Result<Result<()>> {
        match self.try_send(partition, bytes) {
            Err(error) if is_broken(&error) => Ok(Err(error)),
            outcome => outcome,
        }
    }

    fn try_send(&mut self, partition: i32, bytes: &[u8]) -> Result<Result<()>> {
        let leader = self
            .topic
            .partitions
            .iter()
            .find(|p| p.index == partition)
            .map(|p| p.leader)
            .with_context(|| format!("partition {partition} is gone"))?;
        let partitions =
            [PartitionProduceData { index: partition, records: Some(Records::Inline(bytes)) }];
        let topics = [TopicProduceData {
            name: &self.topic.name,
            topic_id: self.topic.id,
            partition_data: (&partitions).into(),
        }];
        let mut request = ProduceRequest {
            transactional_id: None,
            acks: self.options.acks,
            timeout_ms: i32::try_from(self.options.request_timeout.as_millis())?,
            topic_data: (&topics).into(),
        };
        let conn = self.cluster.broker(leader)?;
        let mut topics = topics.clone();
        // Version 13 names topics by id alone, older ones by name alone.
        if conn.version::<ProduceRequest<'_>>()? >= 13 {
            topics[0].name = "";
        } else {
            topics[0].topic_id = Default::default();
        }
        request.topic_data = (&topics).into();
        if self.options.acks == 0 {
            return conn.cast(&request).map(Ok);
        }
        let answer: ProduceResponse<'_> = conn.call(&request)?;
        let result = answer
            .responses
            .first()
            .and_then(|t| t.partition_responses.first())
            .context("the broker said nothing of the batch")?;
        let what = format!("partition {partition} of {}", self.topic.name);
        let outcome = match ErrorCode(result.error_code) {
            // It was written before; the answer was lost.
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Ok(()),
            _ => check_with(result.error_code, result.error_message, &what),
        };
        if ErrorCode(result.error_code).is_retriable() { Ok(outcome) } else { outcome.map(Ok) }
    }
}

fn batch_options(
    compression: Compression,
    identity: Option<(ProducerId, ProducerEpoch)>,
    sequence: i32,
) -> BatchOptions {
    let plain = BatchOptions { compression, ..Default::default() };
    match identity {
        None => plain,
        Some((producer_id, producer_epoch)) => {
            BatchOptions { producer_id, producer_epoch, base_sequence: sequence, ..plain }
        }
    }
}

fn identity(cluster: &mut Cluster) -> Result<(ProducerId, ProducerEpoch)> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    let deadline = Instant::now() + DELIVERY_TIMEOUT;
    loop {
        let answer: InitProducerIdResponse = match cluster.any().call(&request) {
            Err(error) if is_broken(&error) && Instant::now() < deadline => {
                thread::sleep(RETRY_PAUSE);
                // Where it fails, so will the next attempt.
                let _ = cluster.reconnect();
                continue;
            }
            answer => answer?,
        };
        let code = ErrorCode(answer.error_code);
        if code.is_ok() {
            return Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch)));
        }
        if !code.is_retriable() || Instant::now() > deadline {
            check(answer.error_code, "a producer id")?;
        }
        thread::sleep(RETRY_PAUSE);
    }
}

/// 32-bit murmur2 with Kafka's seed, as every Kafka client hashes keys.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().expect("chunks of 4")).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

/// The default of `delivery.timeout.ms`.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::murmur2;

    #[test]
    fn keys_hash_as_in_kafka() {
        // The vectors of Kafka's own UtilsTest, as signed numbers.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
}
