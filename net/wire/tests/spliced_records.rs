//! A fetch response whose records stay where they are is, byte for byte, the response that holds
//! them.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::error::EncodeError;
use wire::frame::{Frame, next};
use wire::header::ResponseHeader;
use wire::msg::fetch::{FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData};
use wire::primitives::Records;
use wire::writer::{Encoded, Piece, Writer};

const SLICES: [&[u8]; 3] = [b"first batch", b"", b"a batch of another partition"];

fn encode(version: i16, records: impl Fn(usize) -> Records<'static>) -> Encoded {
    let partitions: Vec<_> = (0..SLICES.len())
        .map(|index| PartitionData {
            partition_index: i32::try_from(index).unwrap(),
            current_leader: LeaderIdAndEpoch { leader_id: 7, leader_epoch: 8 },
            aborted_transactions: None,
            records: Some(records(index)),
            ..PartitionData::default()
        })
        .collect();
    let topics =
        [FetchableTopicResponse { partitions: (&partitions).into(), ..Default::default() }];
    let response = FetchResponse { responses: (&topics).into(), ..Default::default() };
    let mut w = Writer::new();
    for correlation_id in [1, 2] {
        let frame = w.begin_frame();
        ResponseHeader { correlation_id }.encode(&mut w, ApiKey::Fetch, version);
        response.encode(&mut w, version).unwrap();
        w.end_frame(frame).unwrap();
    }
    w.finish()
}

#[test]
fn spliced_and_inline_are_the_same_bytes() {
    for version in 12..=18 {
        let inline = encode(version, |index| Records::Inline(SLICES[index]));
        let spliced = encode(version, |index| Records::Spliced {
            token: u32::try_from(index).unwrap(),
            len: u32::try_from(SLICES[index].len()).unwrap(),
        });
        assert!(inline.splices.is_empty());
        assert_eq!(spliced.splices.len(), 4, "two frames of two partitions with records");
        assert_eq!(spliced.len(), inline.len());

        let sent: Vec<u8> = spliced
            .pieces()
            .flat_map(|piece| match piece {
                Piece::Head(bytes) => bytes,
                Piece::Splice(splice) => SLICES[splice.token as usize],
            })
            .copied()
            .collect();
        assert_eq!(sent, inline.head);

        let Ok(Frame::Whole { body, total }) = next(&sent, sent.len()) else { panic!("a frame") };
        assert_eq!(total * 2, sent.len());
        let mut cur = Cursor::new(&sent[body]);
        ResponseHeader::decode(&mut cur, ApiKey::Fetch, version).unwrap();
        let response = FetchResponse::decode(&mut cur, version).unwrap();
        assert_eq!(cur.finish(), Ok(()));
        let topic = response.responses.first().unwrap();
        let records: Vec<_> =
            topic.partitions.iter().map(|p| p.records.unwrap().inline().unwrap()).collect();
        assert_eq!(records, SLICES);
    }
}

#[test]
fn a_version_without_leader_hints_refuses_them() {
    let partition = PartitionData {
        current_leader: LeaderIdAndEpoch { leader_id: 7, leader_epoch: 8 },
        ..PartitionData::default()
    };
    let topics = [FetchableTopicResponse {
        partitions: vec![partition].into(),
        ..FetchableTopicResponse::default()
    }];
    let response = FetchResponse { responses: (&topics).into(), ..Default::default() };
    let mut w = Writer::new();
    assert_eq!(
        response.encode(&mut w, 11),
        Err(EncodeError::NotInVersion { field: "current_leader", version: 11 })
    );
}
