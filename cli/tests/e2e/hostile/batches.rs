//! Record batches that are not what they say.

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::witness::Witness;
use crate::support::broker::Broker;
use crate::support::client::{self, LIMIT, Producer, Record, create_topic};
use crate::support::raw::{self, Bytes, Met};

const CORRUPT_MESSAGE: i16 = 2;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;

/// The fields of a batch header, and its records.
struct Batch {
    base_offset: i64,
    /// What is announced beyond the truth.
    length_lie: i32,
    magic: i8,
    crc_lie: u32,
    attributes: i16,
    last_offset_delta: i32,
    producer: (i64, i16, i32),
    count: i32,
    records: Vec<u8>,
}

impl Default for Batch {
    /// One record, lawful in every field.
    fn default() -> Self {
        // Length 7, attributes, two deltas, null key, one byte of value, no headers.
        let record = vec![14, 0, 0, 0, 1, 2, b'x', 0];
        Self {
            base_offset: 0,
            length_lie: 0,
            magic: 2,
            crc_lie: 0,
            attributes: 0,
            last_offset_delta: 0,
            producer: (-1, -1, -1),
            count: 1,
            records: record,
        }
    }
}

impl Batch {
    fn bytes(&self) -> Vec<u8> {
        let (id, epoch, sequence) = self.producer;
        let covered = Bytes::new()
            .i16(self.attributes)
            .i32(self.last_offset_delta)
            .i64(1_700_000_000_000)
            .i64(1_700_000_000_000)
            .i64(id)
            .i16(epoch)
            .i32(sequence)
            .i32(self.count)
            .raw(&self.records)
            .0;
        let length = i32::try_from(covered.len()).expect("small") + 9 + self.length_lie;
        let crc = crc32c(&covered) ^ self.crc_lie;
        Bytes::new()
            .i64(self.base_offset)
            .i32(length)
            .i32(-1)
            .i8(self.magic)
            .raw(&crc.to_be_bytes())
            .raw(&covered)
            .0
    }
}

/// CRC-32C bit by bit: slow, short, and nobody else's code.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// Produces raw bytes to partition 0; the answer's error code, or none for a closed connection.
fn produce(broker: &Broker, topic: &str, records: &[u8]) -> Option<i16> {
    let length = i32::try_from(records.len()).expect("small");
    let partition = Bytes::new().i32(0).i32(length).raw(records);
    let data = Bytes::new().i32(1).string(topic).i32(1).raw(&partition.0);
    let body = Bytes::new().i16(-1).i16(-1).i32(5000).raw(&data.0);
    match raw::meet(broker.socket_address(), &body.request(0, 7, false), raw::LIMIT) {
        Met::Answered(answer) => {
            // Correlation id, one topic, its name, one partition, its number.
            let at = 4 + 4 + 2 + topic.len() + 4 + 4;
            Some(i16::from_be_bytes([answer[at], answer[at + 1]]))
        }
        Met::Closed => None,
        Met::Silent => panic!("no answer"),
    }
}

fn end(broker: &Broker, topic: &str) -> i64 {
    let consumer = client::consumer(broker.address(), &[]);
    consumer.fetch_watermarks(topic, 0, LIMIT).expect("an answer").1
}

#[test]
fn a_batch_that_lies_is_refused_and_writes_nothing() {
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    create_topic(broker.address(), "lied-to", 1, &[]);
    let lawful = Batch::default;
    let cases: Vec<(&str, Batch)> = vec![
        ("checksum", Batch { crc_lie: 1, ..lawful() }),
        ("longer than it is", Batch { length_lie: 1, ..lawful() }),
        ("much longer", Batch { length_lie: i32::MAX - 100, ..lawful() }),
        ("shorter than it is", Batch { length_lie: -1, ..lawful() }),
        ("shorter than a header", Batch { length_lie: -40, ..lawful() }),
        ("magic 3", Batch { magic: 3, ..lawful() }),
        ("magic 1", Batch { magic: 1, ..lawful() }),
        ("no records", Batch { count: 0, ..lawful() }),
        ("count too high", Batch { count: i32::MAX, ..lawful() }),
        ("count negative", Batch { count: -1, ..lawful() }),
        ("deltas", Batch { last_offset_delta: 9, ..lawful() }),
        ("a base offset", Batch { base_offset: 4711, ..lawful() }),
        ("a control batch", Batch { attributes: 0x20, ..lawful() }),
        ("codec 7", Batch { attributes: 7, ..lawful() }),
        ("a long record", Batch { records: vec![0xfe, 255, 255, 255, 15, 0, 0, 0], ..lawful() }),
        ("an endless varint", Batch { records: vec![0x80; 8], ..lawful() }),
    ];
    let refusals = [CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD];
    for (name, batch) in cases {
        let code = produce(&broker, "lied-to", &batch.bytes());
        assert!(code.is_none_or(|code| refusals.contains(&code)), "{name}: error {code:?}");
    }
    let whole = lawful().bytes();
    for length in [0, 1, 11, 12, 60, whole.len() - 1] {
        let code = produce(&broker, "lied-to", &whole[..length]);
        assert_ne!(code, Some(0), "the first {length} bytes of a batch");
    }
    assert_eq!(end(&broker, "lied-to"), 0);
    // The builder is right: the lawful batch passes.
    assert_eq!(produce(&broker, "lied-to", &lawful().bytes()), Some(0));
    assert_eq!(end(&broker, "lied-to"), 1);
    witness.finish();
    super::assert_unharmed(&mut broker);
}

#[test]
fn a_decompression_bomb_is_bounded() {
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    // Only where the topic wants another codec must the broker open the batch.
    create_topic(broker.address(), "bombed", 1, &[("compression.type", "lz4")]);
    let zeros = Record::of(vec![0; 300 << 20]).to(0);
    for codec in ["gzip", "zstd"] {
        let settings = [
            ("compression.type", codec),
            ("message.max.bytes", "1000000000"),
            ("message.timeout.ms", "100000"),
        ];
        let producer = Producer::new(broker.address(), &settings);
        let end = producer.send_all("bombed", std::slice::from_ref(&zeros));
        // As Kafka, which opens it whole: what is in it is above max.message.bytes.
        let refused = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
        assert_eq!(end, [Err(refused)], "{codec}");
    }
    assert_eq!(end(&broker, "bombed"), 0);
    witness.finish();
    super::assert_unharmed(&mut broker);
}
