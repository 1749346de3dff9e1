//! Bytes that Kafka 4.3.1's own codec accepted and reproduced: all metadata, control and group
//! records in all versions, and the request and response versions that `oracle.rs` cannot judge.
//!
//! The fixture is made by printing candidates (the test of its completeness does, when something
//! is missing: empty the fixture for all) and keeping what Kafka agrees with:
//!
//! ```sh
//! cargo test -p odradek-wire --test kafka_bytes -- --nocapture the_fixture_has |
//!     sed -n 's/^candidate //p' | java -cp '<kafka>/libs/*' KafkaCodec.java > kafka-4.3.1.txt
//! ```

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::msg::{AnyRequest, AnyResponse};
use wire::record::control::{
    ControlRecord, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord,
    SnapshotHeaderRecord, VotersRecord,
};
use wire::record::group::GroupRecord;
use wire::record::metadata::MetadataRecord;
use wire::schema::{At, Message, Shape};
use wire::writer::Writer;

const FIXTURE: &str = include_str!("fixtures/kafka-4.3.1.txt");

/// One line: a family, its key, a version, and the bytes in hexadecimal.
struct Line<'a> {
    family: &'a str,
    key: i16,
    version: i16,
    bytes: Vec<u8>,
}

fn lines() -> impl Iterator<Item = Line<'static>> {
    FIXTURE.lines().map(|line| {
        let mut words = line.split(' ');
        let family = words.next().unwrap();
        let mut number = || words.next().unwrap().parse().unwrap();
        let (key, version) = (number(), number());
        let hex = words.next().unwrap_or_default();
        let bytes = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        Line { family, key, version, bytes }
    })
}

#[test]
fn kafkas_bytes_come_back() {
    for Line { family, key, version, bytes } in lines() {
        let context = format!("{family} {key} v{version}");
        let again = match family {
            "metadata" => {
                let (record, found) = MetadataRecord::decode(&bytes).expect(&context);
                assert_eq!((record.key(), found), (key, version));
                record.to_bytes(version).expect(&context)
            }
            "control" => {
                let [high, low] = key.to_be_bytes();
                let record = ControlRecord::decode(&[0, 0, high, low], &bytes).expect(&context);
                assert_eq!(record.key(), [0, 0, high, low]);
                record.value().expect(&context)
            }
            "group-key" => GroupRecord::decode(&bytes, None).expect(&context).key().unwrap(),
            "group-value" => {
                let form = support::group_records().find(|form| form.record_type == key).unwrap();
                let record = GroupRecord::decode(&form.key(0), Some(&bytes)).expect(&context);
                record.value_in(version).expect(&context)
            }
            _ => rewrite(family, ApiKey::from_key(key).unwrap(), version, &bytes),
        };
        assert_eq!(again, bytes, "{context}");
    }
}

fn rewrite(family: &str, api: ApiKey, version: i16, bytes: &[u8]) -> Vec<u8> {
    let (mut cur, mut w) = (Cursor::new(bytes), Writer::new());
    if family == "request" {
        AnyRequest::decode(&mut cur, api, version).unwrap().encode(&mut w, version).unwrap();
    } else {
        AnyResponse::decode(&mut cur, api, version).unwrap().encode(&mut w, version).unwrap();
    }
    assert!(cur.is_empty());
    w.into_bytes()
}

#[test]
fn the_fixture_has_every_record_in_every_version() {
    let found: BTreeSet<_> = lines().map(|line| (line.family, line.key, line.version)).collect();
    let wanted: BTreeSet<_> =
        declared().map(|(family, key, at, _)| (family, key, at.version)).collect();
    if found != wanted {
        print_candidates();
    }
    assert_eq!(found, wanted);
}

/// Prints candidates for the fixture: see above.
fn print_candidates() {
    for (family, key, at, shape) in declared() {
        for seed in 0..2 {
            let body = support::message(&shape, at, seed);
            let mut w = Writer::new();
            match family {
                "metadata" => {
                    for number in [1, key as u32, at.version as u32] {
                        w.uvarint(number);
                    }
                }
                "control" | "group-value" => w.i16(at.version),
                "group-key" => w.i16(key),
                _ => {}
            }
            w.bytes(&body);
            let hex: String = w.head().iter().map(|byte| format!("{byte:02x}")).collect();
            println!("candidate {family} {key} {} {hex}", at.version);
        }
    }
}

fn declared() -> impl Iterator<Item = (&'static str, i16, At, Shape)> {
    let metadata = MetadataRecord::samples().into_iter().flat_map(|record| {
        (0..=record.max_version()).map(move |version| {
            ("metadata", record.key(), At { version, flexible: true }, record.shape())
        })
    });
    let control = [
        control::<LeaderChangeMessage>(),
        control::<SnapshotHeaderRecord>(),
        control::<SnapshotFooterRecord>(),
        control::<KRaftVersionRecord>(),
        control::<VotersRecord>(),
    ];
    let at = |version| At { version, flexible: true };
    let newest = [
        (ApiKey::ListOffsets, 11),
        (ApiKey::OffsetCommit, 10),
        (ApiKey::OffsetFetch, 10),
        (ApiKey::DescribeLogDirs, 5),
    ];
    let newest = newest.into_iter().flat_map(move |(api, version)| {
        [
            ("request", api.key(), at(version), AnyRequest::shape(api).unwrap()),
            ("response", api.key(), at(version), AnyResponse::shape(api).unwrap()),
        ]
    });
    let group = support::group_records().flat_map(|form| {
        let key = At { version: 0, flexible: false };
        let values = (0..=form.versions).map(move |version| {
            let at = At { version, flexible: version >= form.flexible };
            ("group-value", form.record_type, at, form.value)
        });
        values.chain([("group-key", form.record_type, key, form.key)])
    });
    metadata.chain(control.into_iter().flatten()).chain(group).chain(newest)
}

fn control<M: Message<'static>>() -> Vec<(&'static str, i16, At, Shape)> {
    (0..=M::MAX_VERSION)
        .map(|version| ("control", M::KEY, At { version, flexible: true }, M::SHAPE))
        .collect()
}
