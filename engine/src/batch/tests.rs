use proptest::prelude::*;

use super::control::{ControlType, EndTxnMarker};
use super::header::*;
use super::records::RecordError;
use super::*;
use crate::compress::{Codec, Codecs, Compression};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

fn three(options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    builder.push(&NewRecord { timestamp: 1_000, key: Some(b"k"), value: Some(b"v"), headers: &[] });
    builder.push(&NewRecord { timestamp: 5_000, key: None, value: Some(b""), headers: &[] });
    builder.push(&NewRecord {
        timestamp: 900,
        key: Some(b""),
        value: None,
        headers: &[(b"h", Some(b"1")), (b"", None)],
    });
    builder.build(&mut Codecs::default())
}

fn options() -> BatchOptions {
    BatchOptions {
        base_offset: Offset(40),
        leader_epoch: LeaderEpoch(3),
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(2),
        base_sequence: 11,
        ..BatchOptions::default()
    }
}

#[test]
fn what_is_built_is_read_back() {
    let bytes = three(options());
    let batch = BatchView::decode(&bytes).expect("a batch");
    assert!(batch.checksum_holds());
    assert_eq!(batch.size(), bytes.len());
    assert_eq!(
        (batch.base_offset, batch.last_offset(), batch.next_offset()),
        (Offset(40), Offset(42), Offset(43))
    );
    assert_eq!((batch.base_timestamp, batch.max_timestamp), (1_000, 5_000));
    assert_eq!((batch.base_sequence, batch.last_sequence()), (11, 13));
    assert!(batch.has_producer());
    assert_eq!(batch.header().encode(), bytes[..HEADER_BYTES]);
    let records: Vec<Record<'_>> = Records::new(batch.payload(), 3)
        .expect("a count")
        .collect::<Result<_, _>>()
        .expect("records");
    assert_eq!(records.iter().map(|r| r.size).sum::<usize>(), batch.payload().len());
    assert_eq!(
        records.iter().map(|r| r.timestamp(&batch)).collect::<Vec<_>>(),
        [1_000, 5_000, 900]
    );
    assert_eq!(records[2].offset(&batch), Offset(42));
    assert_eq!((records[1].key, records[1].value), (None, Some(b"".as_slice())));
    let headers: Vec<_> = records[2].headers.map(|h| (h.key, h.value)).collect();
    assert_eq!(headers, [(b"h".as_slice(), Some(b"1".as_slice())), (b"".as_slice(), None)]);
}

#[test]
fn broker_fields_are_outside_the_checksum() {
    let mut bytes = three(options());
    patch_base_offset(&mut bytes, Offset(1 << 40));
    patch_leader_epoch(&mut bytes, LeaderEpoch(9));
    let batch = BatchView::decode(&bytes).expect("a batch");
    assert!(batch.checksum_holds());
    assert_eq!((batch.base_offset, batch.leader_epoch), (Offset(1 << 40), LeaderEpoch(9)));
}

#[test]
fn append_time_is_sealed_and_dates_every_record() {
    let mut bytes = three(options());
    patch_timestamps(&mut bytes, TimestampType::LogAppendTime, 77_000);
    let batch = BatchView::decode(&bytes).expect("a batch");
    assert!(batch.checksum_holds());
    assert_eq!(batch.attributes.timestamp_type(), TimestampType::LogAppendTime);
    for record in Records::new(batch.payload(), 3).expect("a count") {
        assert_eq!(record.expect("a record").timestamp(&batch), 77_000);
    }
    patch_timestamps(&mut bytes, TimestampType::CreateTime, 5_000);
    assert_eq!(bytes, three(options()));
}

#[test]
fn a_buffer_is_walked_to_its_zeros_and_never_past_an_error() {
    // No byte of the offset is 0, so that no cut of it looks like an untouched region.
    let one = three(BatchOptions { base_offset: Offset(0x0101_0101_0101_0101), ..options() });
    let len = one.len();
    let two = one.repeat(2);
    let count = |bytes: &[u8]| {
        let mut batches = Batches::new(bytes);
        let mut whole = 0;
        loop {
            match batches.next() {
                Some(Ok(_)) => whole += 1,
                Some(Err(error)) => {
                    assert!(batches.next().is_none());
                    return (whole, batches.position(), Some(error));
                }
                None => return (whole, batches.position(), None),
            }
        }
    };
    assert_eq!(count(&two), (2, 2 * len, None));
    assert_eq!(count(&[]), (0, 0, None));
    for zeros in [1, 11, 12, 60, 61, 5000] {
        assert_eq!(count(&[two.clone(), vec![0; zeros]].concat()), (2, 2 * len, None));
    }
    for cut in [1, 11, 12, 17, 60, 61, len - 1] {
        let (whole, position, error) = count(&two[..len + cut]);
        assert_eq!((whole, position), (1, len));
        let need = if cut < HEADER_BYTES { HEADER_BYTES } else { len };
        assert_eq!(error, Some(BatchError::Truncated { have: cut, need }));
    }
    for (at, byte, want) in [
        (len + 16, 1, BatchError::Magic { magic: 1 }),
        (len + 8, 0x80, BatchError::Length { length: i32::MIN | (len as i32 - 12) }),
        (len + 11, 3, BatchError::Length { length: 3 }),
    ] {
        let mut broken = two.clone();
        broken[at] = byte;
        assert_eq!(count(&broken), (1, len, Some(want)));
    }
}

#[test]
fn sequences_wrap_after_the_largest() {
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    assert_eq!(sequence_before(1, 3), i32::MAX - 1);
    assert_eq!(sequence_before(sequence_after(i32::MAX - 5, 9), 9), i32::MAX - 5);
}

#[test]
fn markers_round_trip_whatever_the_codec() {
    for codec in Codec::ALL {
        for commit in [true, false] {
            let marker = EndTxnMarker { commit, coordinator_epoch: 12, timestamp: 99 };
            let options = BatchOptions { compression: Compression::new(codec), ..options() };
            let bytes = marker.to_batch(options);
            let batch = BatchView::decode(&bytes).expect("a batch");
            assert!(batch.attributes.is_control() && batch.attributes.is_transactional());
            assert_eq!(EndTxnMarker::of_batch(&batch).expect("a marker"), Some(marker));
        }
    }
    let empty = BatchBuilder::new(options()).build(&mut Codecs::default());
    let empty = BatchView::decode(&empty).expect("a batch");
    assert_eq!(EndTxnMarker::of_batch(&empty).expect("emptied"), None);
}

#[test]
fn control_types_keep_their_numbers() {
    for id in -1..9 {
        let kind = ControlType::from_id(id);
        assert_eq!(kind.id(), id);
        assert_eq!(ControlType::decode_key(Some(&kind.key())).expect("a key"), kind);
    }
    assert!(ControlType::decode_key(None).is_err());
    assert!(ControlType::decode_key(Some(&[0x80, 0, 0, 1])).is_err());
}

#[test]
fn a_payload_must_hold_exactly_the_records_it_claims() {
    let bytes = three(options());
    let payload = &bytes[HEADER_BYTES..];
    let last = |payload, count| Records::new(payload, count).expect("a count").last();
    assert_eq!(last(payload, 2), Some(Err(RecordError::Remaining)));
    assert_eq!(last(payload, 4), Some(Err(RecordError::Eof)));
    assert_eq!(Records::new(payload, -1).err(), Some(RecordError::Count { count: -1 }));
    let mut long = payload.to_vec();
    long[0] = 0x7E;
    assert_eq!(
        last(&long, 3),
        Some(Err(RecordError::Size { expected: 63, have: payload.len() - 1 }))
    );
    // A record that claims 2³¹−1 headers.
    let headers = [22, 0, 0, 0, 1, 1, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0];
    assert_eq!(last(&headers, 1), Some(Err(RecordError::HeaderCount { count: i32::MAX })));
}

/// Key, value, headers, time: as a test can own them.
type Owned = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>, i64);

fn record() -> impl Strategy<Value = Owned> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let header = (bytes(), prop::option::of(bytes()));
    (
        prop::option::of(bytes()),
        prop::option::of(bytes()),
        prop::collection::vec(header, 0..4),
        prop_oneof![0..4_000_000_000_000i64, any::<i64>()],
    )
}

proptest! {
    #[test]
    fn any_batch_round_trips(
        records in prop::collection::vec(record(), 1..20),
        codec in 0u8..5,
        damage in prop::option::of((any::<prop::sample::Index>(), 1u8..)),
    ) {
        let compression = Compression::new(Codec::from_id(codec).expect("a codec"));
        let mut builder = BatchBuilder::new(BatchOptions { compression, ..options() });
        for (key, value, headers, timestamp) in &records {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_deref())).collect();
            builder.push(&NewRecord {
                timestamp: *timestamp,
                key: key.as_deref(),
                value: value.as_deref(),
                headers: &headers,
            });
        }
        let mut bytes = builder.build(&mut Codecs::default());
        let mut codecs = Codecs::default();
        let mut opened = Vec::new();
        let batch = BatchView::decode(&bytes).expect("a batch");
        prop_assert!(batch.checksum_holds());
        let codec = batch.attributes.codec().expect("a codec");
        codecs.decompress(codec, batch.payload(), 1 << 20, &mut opened).expect("opens");
        let read: Vec<Owned> = Records::new(&opened, batch.records_count)
            .expect("a count")
            .map(|record| {
                let record = record.expect("a record");
                let headers =
                    record.headers.map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
                let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
                (key, value, headers, record.timestamp(&batch))
            })
            .collect();
        prop_assert_eq!(&read, &records);

        if let Some((at, flip)) = damage {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(batch) = BatchView::decode(&bytes) {
                // Only the base offset, the leader epoch and the magic are not under the checksum.
                prop_assert_eq!(batch.checksum_holds(), at < 8 || (12..17).contains(&at));
                if codecs.decompress(codec, batch.payload(), 1 << 20, &mut opened).is_ok()
                    && let Ok(records) = Records::new(&opened, batch.records_count)
                {
                    for record in records.flatten() {
                        prop_assert!(record.headers.count() <= opened.len());
                    }
                }
            }
        }
    }

    #[test]
    fn garbage_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        count in any::<i32>(),
    ) {
        for batch in Batches::new(&bytes).flatten() {
            prop_assert!(batch.size() <= bytes.len());
        }
        if let Ok(records) = Records::new(&bytes, count) {
            prop_assert!(records.take(1000).count() <= bytes.len() + 1);
        }
    }
}
