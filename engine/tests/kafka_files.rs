//! Batches, snapshots and transaction indexes as Apache Kafka and its clients write them
//! (`fixtures/kafka-4.3.1`): read right, and written the same.

use std::path::Path;

use engine::batch::header::{BatchHeader, HEADER_BYTES, seal};
use engine::batch::search::{Dated, first_at, latest};
use engine::batch::validate::{Placement, ValidateOptions, validate};
use engine::batch::{
    BatchBuilder, BatchOptions, BatchView, Batches, NewRecord, Records, Scratch, TimestampType,
};
use engine::compress::{Codec, Codecs, Compression};
use engine::ids::{LeaderEpoch, Offset, ProducerId};
use engine::producer::txn_index::TxnIndex;
use engine::producer::{ProducerLimits, ProducerStates};

const T: i64 = 1_700_000_000_000;

fn fixture(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3.1");
    std::fs::read(dir.join(name)).expect("a fixture")
}

fn batches(log: &[u8]) -> Vec<BatchView<'_>> {
    let mut walk = Batches::new(log);
    let all: Vec<_> = walk.by_ref().map(|batch| batch.expect("a batch")).collect();
    assert_eq!(walk.position(), log.len());
    assert!(all.iter().all(BatchView::checksum_holds));
    all
}

/// (timestamp, key, value, headers).
type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn records(batch: &BatchView<'_>) -> Vec<Owned> {
    let mut scratch = Scratch::default();
    let payload = scratch.open(batch, 1 << 20).expect("opens");
    let records = Records::new(payload, batch.records_count).expect("a count");
    let owned = records.map(|record| {
        let record = record.expect("a record");
        let headers =
            record.headers.map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        (record.timestamp(batch), key, value, headers)
    });
    owned.collect()
}

fn three() -> Vec<Owned> {
    let some = |text: &str| Some(text.as_bytes().to_vec());
    vec![
        (T, some("k1"), some("v1"), vec![(b"h".to_vec(), some("x")), (b"n".to_vec(), None)]),
        (T + 5, None, some("value two"), vec![]),
        (T + 3, some("k3"), None, vec![]),
    ]
}

/// The batch as its producer sent it, so far as a broker changes it on append.
fn as_sent(batch: &BatchView<'_>) -> Vec<u8> {
    let header =
        BatchHeader { base_offset: Offset(0), leader_epoch: LeaderEpoch(-1), ..*batch.header() };
    [&header.encode(), batch.payload()].concat()
}

fn append(bytes: &[u8], at: &BatchView<'_>, options: &ValidateOptions) -> Vec<u8> {
    let validated = validate(bytes, options, &mut Scratch::default()).expect("valid");
    let batch = &validated.batches[0];
    let mut stored = vec![0; batch.size()];
    let placement = Placement::At(at.base_offset, at.leader_epoch);
    batch.copy_to(&mut stored, bytes, placement).expect("sound");
    stored
}

#[test]
fn java_batches_are_read_and_stored_as_kafka_stores_them() {
    let log = fixture("codecs.log");
    let batches = batches(&log);
    let codecs: Vec<_> = batches.iter().filter_map(|batch| batch.attributes.codec()).collect();
    assert_eq!(codecs, Codec::ALL);
    for batch in &batches {
        assert_eq!(records(batch), three());
        for open_compressed in [false, true] {
            let options = ValidateOptions { now: T, open_compressed, ..ValidateOptions::default() };
            assert_eq!(append(&as_sent(batch), batch, &options), batch.bytes());
        }
    }
}

#[test]
fn our_builder_writes_what_the_java_client_writes() {
    let log = fixture("codecs.log");
    let mut builder =
        BatchBuilder::new(BatchOptions { leader_epoch: LeaderEpoch(0), ..BatchOptions::default() });
    for (timestamp, key, value, headers) in &three() {
        let headers: Vec<_> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_deref())).collect();
        builder.push(&NewRecord {
            timestamp: *timestamp,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &headers,
        });
    }
    assert_eq!(builder.build(&mut Codecs::default()), batches(&log)[0].bytes());
}

#[test]
fn recompression_keeps_what_kafkas_keeps() {
    let (sent, stored) = (fixture("codecs.log"), fixture("repacked.log"));
    let compression = Some(Compression::new(Codec::Lz4));
    let options = ValidateOptions { now: T, compression, ..ValidateOptions::default() };
    for (sent, stored) in batches(&sent).iter().zip(&batches(&stored)) {
        let ours = append(&as_sent(sent), stored, &options);
        let ours = BatchView::decode(&ours).expect("a batch");
        assert_eq!(records(&ours), records(stored));
        // The two lz4 encoders find different matches: length and checksum are theirs.
        let but_for_size = BatchHeader { length: stored.length, crc: stored.crc, ..*ours.header() };
        assert_eq!(but_for_size, *stored.header());
    }
}

#[test]
fn large_batches_of_the_java_client_open() {
    let mut text = String::new();
    for line in 0.. {
        text += &format!("line {} of a log that compresses well\n", line / 50);
        if text.len() >= 90_000 {
            break;
        }
    }
    text.truncate(90_000);
    let log = fixture("big.log");
    let batches = batches(&log);
    assert_eq!(batches.len(), 4);
    for batch in &batches {
        assert_eq!(records(batch), [(T, None, Some(text.as_bytes().to_vec()), vec![])]);
    }
}

#[test]
fn librdkafka_batches_are_read_and_stored_as_kafka_stores_them() {
    let log = fixture("rdkafka.log");
    let batches = batches(&log);
    let codecs: Vec<_> = batches.iter().filter_map(|batch| batch.attributes.codec()).collect();
    assert_eq!(codecs, Codec::ALL);
    for batch in &batches {
        let pairs: Vec<_> = records(batch).into_iter().map(|(_, k, v, _)| (k, v)).collect();
        let expected = [("a", "1"), ("b", "2"), ("c", "3")];
        let expected = expected.map(|(k, v)| (Some(k.into()), Some(v.repeat(200).into())));
        assert_eq!(pairs, expected);
        let now = batch.max_timestamp;
        let options = ValidateOptions { now, open_compressed: true, ..ValidateOptions::default() };
        assert_eq!(append(&as_sent(batch), batch, &options), batch.bytes());
    }
}

#[test]
fn append_time_is_written_as_kafka_writes_it() {
    let log = fixture("appendtime.log");
    let stored = batches(&log)[0];
    let mut sent = as_sent(&stored);
    let header = BatchHeader::decode(&sent).expect("a header");
    let header = BatchHeader {
        attributes: header.attributes.with_timestamp_type(TimestampType::CreateTime),
        max_timestamp: T + 5,
        ..header
    };
    sent[..HEADER_BYTES].copy_from_slice(&header.encode());
    seal(&mut sent);
    let options = ValidateOptions {
        now: stored.max_timestamp,
        timestamp_type: TimestampType::LogAppendTime,
        ..ValidateOptions::default()
    };
    assert_eq!(append(&sent, &stored, &options), stored.bytes());
}

#[test]
fn records_are_found_by_time() {
    let log = fixture("codecs.log");
    let mut scratch = Scratch::default();
    for batch in batches(&log) {
        let base = batch.base_offset;
        let mut at = |time, from| {
            first_at(&batch, time, base.plus(from), &mut scratch, 1 << 20).expect("opens")
        };
        let dated = |delta, timestamp| Some(Dated { offset: base.plus(delta), timestamp });
        assert_eq!(at(0, 0), dated(0, T));
        assert_eq!(at(T + 1, 0), dated(1, T + 5));
        assert_eq!(at(T + 1, 2), dated(2, T + 3));
        assert_eq!(at(T + 6, 0), None);
        assert_eq!(latest(&batch, &mut scratch, 1 << 20).expect("opens"), dated(1, T + 5));
    }
}

#[test]
fn transactions_of_a_kafka_log_are_replayed_to_kafkas_own_files() {
    let mut states = ProducerStates::new(ProducerLimits::default(), Offset::ZERO);
    let first = fixture("txn/00000000000000000000.log");
    for batch in batches(&first) {
        assert!(states.replay(&batch, T).expect("replays").is_empty());
    }
    let at_roll = fixture("txn/00000000000000000012.snapshot");
    assert_eq!((states.end(), states.snapshot()), (Offset(12), at_roll.clone()));
    assert_eq!(states.first_unstable(), Some(Offset(6)));

    let loaded = ProducerStates::load(ProducerLimits::default(), &at_roll, Offset(12), T);
    for mut states in [states, loaded.expect("a snapshot")] {
        let mut index = TxnIndex::default();
        let second = fixture("txn/00000000000000000012.log");
        for batch in batches(&second) {
            let aborted = states.replay(&batch, T).expect("replays");
            aborted.into_iter().for_each(|txn| index.push(txn));
        }
        let at_end = fixture("txn/00000000000000000025.snapshot");
        assert_eq!((states.end(), states.snapshot()), (Offset(25), at_end));
        let file = fixture("txn/00000000000000000012.txnindex");
        assert_eq!(index.encode(), file);
        assert_eq!(TxnIndex::decode(&file, Offset(12)), Ok(index.clone()));

        states.on_high_watermark(Offset(25));
        assert_eq!(states.last_stable(Offset(0), Offset(25)), Offset(22));
        let mut aborted = Vec::new();
        assert!(!index.collect(Offset(0), Offset(25), &mut aborted));
        let aborted: Vec<_> = aborted.iter().map(|txn| (txn.producer_id, txn.first)).collect();
        assert_eq!(aborted, [(ProducerId(1), Offset(6)), (ProducerId(2), Offset(18))]);
    }
}

#[test]
fn a_snapshot_without_producers_is_kafkas() {
    let file = fixture("empty.snapshot");
    let states = ProducerStates::load(ProducerLimits::default(), &file, Offset(15), T);
    let states = states.expect("a snapshot");
    assert!(states.is_empty());
    assert_eq!(states.snapshot(), file);
}
