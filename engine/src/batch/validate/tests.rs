use proptest::prelude::*;

use super::*;
use crate::batch::builder::{BatchBuilder, BatchOptions, NewRecord};
use crate::batch::control::EndTxnMarker;
use crate::batch::header::{BatchHeader, HEADER_BYTES, NO_TIMESTAMP, seal};
use crate::batch::records::Records;
use crate::compress::{Codec, Codecs};
use crate::ids::{ProducerEpoch, ProducerId};

const NOW: i64 = 1_700_000_000_000;

fn rules() -> ValidateOptions {
    ValidateOptions { now: NOW, ..ValidateOptions::default() }
}

fn batch_of(options: BatchOptions, times: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (i, timestamp) in times.iter().enumerate() {
        let key = [b'k', i as u8];
        let key = (i % 3 != 2).then_some(key.as_slice());
        builder.push(&NewRecord {
            timestamp: *timestamp,
            key,
            value: Some(b"value"),
            headers: &[],
        });
    }
    builder.build(&mut Codecs::default())
}

fn batch(codec: Codec) -> Vec<u8> {
    let compression = Compression::new(codec);
    batch_of(BatchOptions { compression, ..BatchOptions::default() }, &[NOW, NOW + 5, NOW - 9])
}

fn check(bytes: &[u8], options: &ValidateOptions) -> Result<Validated, ValidateError> {
    validate(bytes, options, &mut Scratch::default())
}

/// What is stored at offset 100 in epoch 4, by both ways into the log.
fn stored(bytes: &[u8], options: &ValidateOptions) -> Vec<u8> {
    let validated = check(bytes, options).expect("valid");
    assert_eq!(validated.batches.len(), 1);
    let batch = &validated.batches[0];
    let placement = Placement::At(Offset(100), LeaderEpoch(4));
    let mut copied = vec![0xEE; batch.size()];
    batch.copy_to(&mut copied, bytes, placement).expect("sound");
    let (head, payload) = batch.pieces(bytes, placement).expect("sound");
    assert_eq!(copied, [&head[..], payload].concat());
    let view = BatchView::decode(&copied).expect("a batch");
    assert!(view.checksum_holds());
    assert_eq!((view.base_offset, view.leader_epoch), (Offset(100), LeaderEpoch(4)));
    let told = BatchHeader { crc: view.crc, ..batch.header_at(placement) };
    assert_eq!(*view.header(), told);
    copied
}

/// A patch of one header field, sealed again.
fn forged(mut bytes: Vec<u8>, at: usize, field: &[u8]) -> Vec<u8> {
    bytes[at..at + field.len()].copy_from_slice(field);
    seal(&mut bytes);
    bytes
}

fn times(bytes: &[u8]) -> Vec<i64> {
    let batch = BatchView::decode(bytes).expect("a batch");
    let mut scratch = Scratch::default();
    let payload = scratch.open(&batch, 1 << 20).expect("opens");
    let records = Records::new(payload, batch.records_count).expect("a count");
    records.map(|record| record.expect("a record").timestamp(&batch)).collect()
}

#[test]
fn a_sound_batch_is_stored_as_it_came() {
    for codec in Codec::ALL {
        for checksum in [ChecksumCheck::Now, ChecksumCheck::OnCopy] {
            for open_compressed in [false, true] {
                let bytes = batch(codec);
                let options = ValidateOptions { checksum, open_compressed, ..rules() };
                let validated = check(&bytes, &options).expect("valid");
                assert_eq!(validated.batches[0].source_range(), Some(0..bytes.len()));
                assert_eq!((validated.size(), validated.offset_count()), (bytes.len(), 3));
                let stored = stored(&bytes, &options);
                assert_eq!(stored[16..], bytes[16..], "{codec}");
            }
        }
    }
}

#[test]
fn damage_is_corruption_whatever_it_looks_like() {
    for codec in Codec::ALL {
        let bytes = batch(codec);
        // Recompressed, damage would be sealed under a checksum of its own.
        let rules = |target: Option<Codec>| ValidateOptions {
            compression: target.map(Compression::new),
            ..rules()
        };
        for (checksum, target) in [
            (ChecksumCheck::Now, None),
            (ChecksumCheck::OnCopy, None),
            (ChecksumCheck::OnCopy, Some(Codec::None)),
            (ChecksumCheck::OnCopy, Some(Codec::Gzip)),
        ] {
            let options = ValidateOptions { checksum, ..rules(target) };
            for at in 17..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x10;
                let refused = check(&damaged, &options).and_then(|validated| {
                    let batch = &validated.batches[0];
                    assert_eq!(checksum, ChecksumCheck::OnCopy);
                    assert!(batch.pieces(&damaged, Placement::AsIs).is_err());
                    assert!(batch.verify(&damaged).is_err());
                    batch.copy_to(&mut vec![0; batch.size()], &damaged, Placement::AsIs)
                });
                assert!(
                    matches!(refused, Err(ValidateError::CorruptChecksum { .. })),
                    "{codec} {at}: {refused:?}"
                );
            }
        }
    }
}

#[test]
fn a_request_holds_exactly_one_batch() {
    let one = batch(Codec::None);
    let refuse = |bytes: &[u8]| check(bytes, &rules()).expect_err("refused");
    assert!(matches!(refuse(&[]), ValidateError::InvalidRecord(InvalidBatch::NoBatch)));
    assert!(matches!(
        refuse(&one.repeat(2)),
        ValidateError::InvalidRecord(InvalidBatch::SeveralBatches)
    ));
    for rest in [&[0u8; 5][..], &one[..30], &[0; 100]] {
        let refused = refuse(&[&one, rest].concat());
        assert!(matches!(refused, ValidateError::CorruptMessage(_)), "{refused:?}");
    }
    for cut in 1..one.len() {
        let refused = refuse(&one[..cut]);
        let nothing = matches!(refused, ValidateError::InvalidRecord(InvalidBatch::NoBatch));
        assert!(nothing || matches!(refused, ValidateError::CorruptMessage(_)), "{cut}");
    }
}

#[test]
fn a_client_may_not_write_what_is_not_its_to_write() {
    let cases: [(usize, &[u8], &str); 8] = [
        (0, &7i64.to_be_bytes(), "The baseOffset of the record batch should be 0, but it is 7"),
        (23, &(-1i32).to_be_bytes(), "Batch has an invalid offset range: [0, -1]"),
        (57, &0i32.to_be_bytes(), "Invalid reported count for record batch: 0"),
        (57, &4i32.to_be_bytes(), "Inconsistent batch offset range [0, 2] and count of records 4"),
        (22, &[0x20], "Clients are not allowed to write control records"),
        (43, &9i64.to_be_bytes(), "Invalid sequence number -1 in record batch with producerId 9"),
        (22, &[5], "Unknown compression type id: 5"),
        (
            16,
            &[1],
            "Produce requests are only allowed to contain record batches with magic version 2, not 1",
        ),
    ];
    for (at, field, message) in cases {
        for checksum in [ChecksumCheck::Now, ChecksumCheck::OnCopy] {
            let bytes = forged(batch(Codec::None), at, field);
            let refused = check(&bytes, &ValidateOptions { checksum, ..rules() });
            assert_eq!(refused.expect_err("refused").to_string(), message);
        }
    }
}

#[test]
fn records_must_be_numbered_by_their_place() {
    let bytes = batch(Codec::None);
    // The second record: length, attributes, delta (one byte), offset delta.
    let second = HEADER_BYTES + usize::from(bytes[HEADER_BYTES] / 2) + 1;
    let misplaced = forged(bytes, second + 3, &[10]);
    let refused = check(&misplaced, &rules()).expect_err("refused");
    let wanted = InvalidBatch::OffsetDelta { index: 1, delta: 5 };
    assert_eq!(refused.to_string(), ValidateError::from(wanted).to_string());

    // Under compression the batch is mended, if it is opened at all.
    let mut packed = misplaced[..HEADER_BYTES].to_vec();
    Codecs::default().compress(
        Compression::new(Codec::Gzip),
        &misplaced[HEADER_BYTES..],
        &mut packed,
    );
    let length = (packed.len() - 12) as i32;
    packed[8..12].copy_from_slice(&length.to_be_bytes());
    let packed = forged(packed, 22, &[Codec::Gzip.id()]);
    assert_eq!(stored(&packed, &rules())[16..], packed[16..]);
    let mended = stored(&packed, &ValidateOptions { open_compressed: true, ..rules() });
    assert_eq!(mended[16..], batch(Codec::Gzip)[16..]);
}

#[test]
fn create_time_is_held_to_the_topics_window() {
    let window =
        ValidateOptions { timestamp_before_max_ms: 1_000, timestamp_after_max_ms: 10, ..rules() };
    for codec in Codec::ALL {
        let compression = Compression::new(codec);
        let of = |times: &[i64]| {
            batch_of(BatchOptions { compression, ..BatchOptions::default() }, times)
        };
        for good in [&[NOW, NOW - 1_000][..], &[NO_TIMESTAMP], &[NOW + 10]] {
            check(&of(good), &window).expect("inside");
        }
        for (bad, index, time) in [
            (&[NOW, NOW + 11][..], 1, NOW + 11),
            (&[NOW - 1_001, NOW], 0, NOW - 1_001),
            (&[i64::MAX], 0, i64::MAX),
            (&[i64::MIN], 0, i64::MIN),
        ] {
            let refused = check(&of(bad), &window).expect_err("outside");
            assert!(matches!(refused, ValidateError::InvalidTimestamp(_)));
            let errors = refused.record_errors("t", 0);
            // Nobody looks into a batch that stays closed: which record it was is not known.
            let index = if codec == Codec::None { index } else { 0 };
            let message = format!(
                "Timestamp {time} of message with offset {index} is out of range. The timestamp \
                 should be within [{}, {}]",
                NOW - 1_000,
                NOW + 10
            );
            assert_eq!(errors, [RecordError { index, message }]);
        }
    }
    // The default window has no start.
    check(&batch_of(BatchOptions::default(), &[0, 5, -7]), &rules()).expect("inside");
}

#[test]
fn the_stored_maximum_is_the_true_one() {
    for codec in Codec::ALL {
        let truth = batch(codec);
        // What a client leaves out, and what it gets wrong where anyone looks.
        for claimed in [NO_TIMESTAMP, NOW - 100, NOW + 50] {
            let bytes = forged(truth.clone(), 35, &claimed.to_be_bytes());
            let plausible = codec != Codec::None && claimed > NOW;
            let stored = stored(&bytes, &rules());
            assert_eq!(stored[16..] == truth[16..], !plausible, "{codec} {claimed}");
        }
    }
}

#[test]
fn append_time_replaces_the_producers() {
    let options = ValidateOptions { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    for codec in Codec::ALL {
        for target in [None, Some(Codec::Zstd), Some(Codec::None)] {
            for checksum in [ChecksumCheck::Now, ChecksumCheck::OnCopy] {
                let compression = target.map(Compression::new);
                let options = ValidateOptions { compression, checksum, ..options };
                let stored = stored(&batch(codec), &options);
                assert_eq!(times(&stored), [NOW; 3]);
            }
        }
        // A producer may not say that the broker dated its records.
        let claimed = forged(batch(codec), 22, &[0x08 | codec.id()]);
        let refused = check(&claimed, &options).expect_err("refused");
        assert!(matches!(refused, ValidateError::InvalidTimestamp(_)));
        // Where producers date, the claim is cleared.
        let stored = stored(&claimed, &rules());
        assert_eq!(stored[22], codec.id());
    }
}

#[test]
fn compression_of_the_topic_replaces_the_producers() {
    let producer = BatchOptions {
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(1),
        base_sequence: 20,
        transactional: true,
        ..BatchOptions::default()
    };
    for source in Codec::ALL {
        for target in Codec::ALL {
            let compression = Compression::new(source);
            let bytes = batch_of(BatchOptions { compression, ..producer }, &[NOW, NOW + 9]);
            let options =
                ValidateOptions { compression: Some(Compression::new(target)), ..rules() };
            let stored = stored(&bytes, &options);
            let view = BatchView::decode(&stored).expect("a batch");
            assert_eq!(view.attributes.codec(), Some(target));
            assert!(view.attributes.is_transactional());
            assert_eq!((view.producer_id, view.base_sequence), (ProducerId(5), 20));
            assert_eq!(view.max_timestamp, NOW + 9);
            assert_eq!(times(&stored), [NOW, NOW + 9], "{source} to {target}");
            assert_eq!(source == target, stored[16..] == bytes[16..]);
        }
    }
}

#[test]
fn control_records_keep_their_form() {
    let marker = EndTxnMarker { commit: true, coordinator_epoch: 1, timestamp: NOW };
    let bytes = marker.to_batch(BatchOptions::default());
    let options = ValidateOptions {
        origin: Origin::Coordinator,
        compression: Some(Compression::new(Codec::Zstd)),
        compacted: true,
        ..rules()
    };
    assert_eq!(stored(&bytes, &options)[16..], bytes[16..]);
    let refused = check(&bytes, &ValidateOptions { origin: Origin::Client, ..options });
    assert!(matches!(refused, Err(ValidateError::InvalidRecord(InvalidBatch::Control))));
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    for codec in Codec::ALL {
        let options = ValidateOptions { compacted: true, ..rules() };
        let refused = check(&batch(codec), &options).expect_err("the third has no key");
        assert_eq!(
            refused.record_errors("orders", 3),
            [RecordError {
                index: 2,
                message: "Compacted topic cannot accept message without key in topic partition \
                          orders-3."
                    .to_owned()
            }]
        );
        assert_eq!(
            refused.to_string(),
            "One or more records have been rejected due to 1 record errors in total, and only \
             showing the first three errors at most: [RecordError(batchIndex=2, message='Compacted \
             topic cannot accept message without key')]"
        );
        let compression = Compression::new(codec);
        let keyed = batch_of(BatchOptions { compression, ..BatchOptions::default() }, &[NOW; 2]);
        check(&keyed, &options).expect("every record has a key");
    }
}

#[test]
fn a_million_bad_records_are_counted_but_not_all_described() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..50_000 {
        builder.push(&NewRecord::default());
    }
    let bytes = builder.build(&mut Codecs::default());
    let refused = check(&bytes, &ValidateOptions { compacted: true, ..rules() });
    let Err(ValidateError::InvalidRecord(InvalidBatch::Records(errors))) = refused else {
        panic!("refused for its records")
    };
    assert_eq!((errors.total, errors.listed.len()), (50_000, RECORD_ERRORS_MAX));
}

#[test]
fn sizes_are_bounded_before_and_after() {
    let text: Vec<u8> =
        (0..40_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: Compression::new(Codec::Gzip),
        ..BatchOptions::default()
    });
    let value = [text.as_slice(), &[0; 60_000]].concat();
    builder.push(&NewRecord { timestamp: NOW, value: Some(&value), ..NewRecord::default() });
    let bytes = builder.build(&mut Codecs::default());
    let limit = bytes.len();
    let options = ValidateOptions { message_bytes_max: limit, ..rules() };
    check(&bytes, &options).expect("at the limit");
    let short = ValidateOptions { message_bytes_max: limit - 1, ..options };
    assert!(matches!(
        check(&bytes, &short),
        Err(ValidateError::MessageTooLarge { size, limit: l }) if size == limit && l == limit - 1
    ));
    let unpacked = ValidateOptions { compression: Some(Compression::new(Codec::None)), ..options };
    assert!(matches!(
        check(&bytes, &unpacked),
        Err(ValidateError::MessageTooLarge { size, .. }) if size > 100_000
    ));
    let segment = ValidateOptions { segment_bytes: limit - 1, ..options };
    assert!(matches!(check(&bytes, &segment), Err(ValidateError::RecordListTooLarge { .. })));
}

#[test]
fn a_bomb_is_too_large_and_is_only_opened_when_it_must_be() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let compression = Compression::new(codec);
        let mut builder =
            BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
        let zeros = vec![0; 8 << 20];
        builder.push(&NewRecord { timestamp: NOW, value: Some(&zeros), ..NewRecord::default() });
        let bomb = builder.build(&mut Codecs::default());
        let options = ValidateOptions { opened_bytes_max: 1 << 20, ..rules() };
        check(&bomb, &options).expect("stays closed");
        let opened = ValidateOptions { open_compressed: true, ..options };
        let refused = check(&bomb, &opened).expect_err("refused");
        assert!(matches!(refused, ValidateError::OpensTooLarge(_)), "{refused}");
    }
}

#[test]
fn a_closed_batch_claims_no_more_records_than_its_bytes_hold() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = batch(codec);
        for count in [i32::MAX, 5_000_000, 1_000_000] {
            let lie = forged(bytes.clone(), 57, &count.to_be_bytes());
            let lie = forged(lie, 23, &(count - 1).to_be_bytes());
            let refused = check(&lie, &rules());
            let structure =
                matches!(refused, Err(ValidateError::InvalidRecord(InvalidBatch::Structure(_))));
            assert!(structure, "{codec}: {count} records: {refused:?}");
        }
    }
    // Where a count is possible, nothing is opened to know it: this one holds nothing but zeros.
    let mut tight = Vec::new();
    Codecs::default().compress(Compression::new(Codec::Zstd), &vec![0; 7 << 20], &mut tight);
    let mut bytes = batch(Codec::Zstd);
    bytes.truncate(HEADER_BYTES);
    bytes.extend_from_slice(&tight);
    let length = i32::try_from(bytes.len() - 12).expect("small");
    let bytes = forged(bytes, 8, &length.to_be_bytes());
    let bytes = forged(bytes, 57, &1_000_000i32.to_be_bytes());
    let bytes = forged(bytes, 23, &999_999i32.to_be_bytes());
    assert!(tight.len() * 32_768 / 7 > 1_000_000, "{}", tight.len());
    assert!(check(&bytes, &rules()).is_ok());
}

#[test]
fn a_payload_that_does_not_open_is_the_clients_fault() {
    let bytes = forged(batch(Codec::None), 22, &[Codec::Gzip.id()]);
    check(&bytes, &rules()).expect("stays closed");
    let refused = check(&bytes, &ValidateOptions { open_compressed: true, ..rules() });
    assert!(matches!(refused, Err(ValidateError::InvalidRecord(InvalidBatch::Compressed(_)))));
}

fn placed_at(offset: i64, epoch: i32) -> Vec<u8> {
    let (base_offset, leader_epoch) = (Offset(offset), LeaderEpoch(epoch));
    batch_of(BatchOptions { base_offset, leader_epoch, ..BatchOptions::default() }, &[1, 2, 3])
}

#[test]
fn a_follower_takes_what_its_epoch_covers_up_to_a_cut() {
    let options =
        ValidateOptions { origin: Origin::Replica, leader_epoch: LeaderEpoch(5), ..rules() };
    let two = [placed_at(7, 4), placed_at(10, 5)].concat();
    let half = two.len() / 2;
    for tail in [&[][..], &placed_at(13, 5)[..40], &placed_at(13, 6)[..]] {
        let bytes = [&two, tail].concat();
        let validated = check(&bytes, &options).expect("valid");
        let ranges: Vec<_> = validated.batches.iter().map(AppendBatch::source_range).collect();
        assert_eq!(ranges, [Some(0..half), Some(half..two.len())]);
        let mut copy = vec![0; half];
        validated.batches[1].copy_to(&mut copy, &bytes, Placement::AsIs).expect("sound");
        assert_eq!(copy, two[half..]);
    }
    assert!(check(&[], &options).expect("nothing").batches.is_empty());
    let backwards = [placed_at(10, 5), placed_at(12, 5)].concat();
    assert!(matches!(
        check(&backwards, &options),
        Err(ValidateError::InvalidRecord(InvalidBatch::OffsetOrder { .. }))
    ));
}

#[test]
fn a_controller_appends_in_its_own_epoch_only() {
    let options =
        ValidateOptions { origin: Origin::Controller, leader_epoch: LeaderEpoch(5), ..rules() };
    check(&[placed_at(7, 5), placed_at(10, 5)].concat(), &options).expect("valid");
    assert!(matches!(
        check(&placed_at(7, 4), &options),
        Err(ValidateError::InvalidRecord(InvalidBatch::LeaderEpoch { .. }))
    ));
}

#[test]
fn dead_formats_are_refused_by_name() {
    for (magic, wanted) in [(0u8, true), (1, true), (3, false), (0xFF, false)] {
        let mut bytes = placed_at(7, 5);
        bytes[16] = magic;
        let options = ValidateOptions { origin: Origin::Replica, ..rules() };
        let refused = check(&bytes, &options).expect_err("refused");
        let old = matches!(refused, ValidateError::UnsupportedForMessageFormat { .. });
        assert_eq!(old, wanted, "{refused}");
    }
}

#[test]
fn a_coordinator_may_write_several_batches_and_needs_no_sequence() {
    let options = ValidateOptions { origin: Origin::Coordinator, ..rules() };
    let one = batch_of(
        BatchOptions { producer_id: ProducerId(3), ..BatchOptions::default() },
        &[NOW, NOW],
    );
    let validated = check(&one.repeat(3), &options).expect("valid");
    assert_eq!((validated.batches.len(), validated.offset_count()), (3, 6));
}

proptest! {
    #[test]
    fn damage_under_a_forged_checksum_never_panics(
        codec in 0u8..5,
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        compacted: bool,
        open_compressed: bool,
        target in prop::option::of(0u8..5),
        origin in 0usize..4,
        append_time: bool,
        on_copy: bool,
    ) {
        let mut bytes = batch(Codec::from_id(codec).expect("a codec"));
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        seal(&mut bytes);
        let target = target.and_then(Codec::from_id).map(Compression::new);
        let origin =
            [Origin::Client, Origin::Coordinator, Origin::Controller, Origin::Replica][origin];
        let timestamp_type =
            if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        let checksum = if on_copy { ChecksumCheck::OnCopy } else { ChecksumCheck::Now };
        let options = ValidateOptions {
            origin, compacted, open_compressed, timestamp_type, checksum, compression: target,
            opened_bytes_max: 1 << 16,
            ..rules()
        };
        if let Ok(validated) = check(&bytes, &options) {
            for batch in &validated.batches {
                let mut copy = vec![0; batch.size()];
                let placement = Placement::At(Offset(1), LeaderEpoch(0));
                // What a shortened length leaves is seen by the checksum, at the latest here.
                let copied = batch.copy_to(&mut copy, &bytes, placement);
                prop_assert!(copied.is_ok() || on_copy);
                let stored = BatchView::decode(&copy).map(|stored| stored.checksum_holds());
                prop_assert!(copied.is_err() || stored == Ok(true));
            }
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(check(&bytes, &rules()).is_err());
    }
}
