//! Replays what fuzzing has found and what it starts from.
//!
//! Files named `seed-*` are valid messages, one an API or record type, and must be accepted; any
//! other is an input that once failed.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/properties.rs"]
mod properties;
mod support;

use std::fs;
use std::path::PathBuf;

use wire::api_key::ApiKey;
use wire::header::RequestHeader;
use wire::msg::{AnyRequest, AnyResponse};
use wire::record::metadata::MetadataRecord;
use wire::schema::At;
use wire::writer::Writer;

type Property = fn(&[u8]) -> bool;

const TARGETS: [(&str, Property); 4] = [
    ("request_decode", properties::request_decode),
    ("response_decode", properties::response_decode),
    ("metadata_record", properties::metadata_record),
    ("group_record", properties::group_record),
];

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

#[test]
fn corpora_hold() {
    for (target, property) in TARGETS {
        let mut seeds = 0;
        for entry in fs::read_dir(corpus(target)).unwrap() {
            let path = entry.unwrap().path();
            let accepted = property(&fs::read(&path).unwrap());
            if path.file_name().unwrap().to_str().unwrap().starts_with("seed-") {
                assert!(accepted, "{} is no longer accepted", path.display());
                seeds += 1;
            }
        }
        assert_eq!(seeds, self::seeds(target).len(), "{target}: see write_seeds");
    }
}

#[test]
fn random_seeds_hold() {
    for seed in 0..2000 {
        let mut rng = support::Rng(seed);
        for (target, property) in TARGETS {
            let mut seeds = seeds(target);
            let chosen = rng.below(seeds.len() as u64) as usize;
            let (_, mut bytes) = seeds.swap_remove(chosen);
            // Spare the first four bytes, which only say what the rest is.
            for _ in 0..rng.below(4) {
                let at = 4 + rng.below(bytes.len() as u64) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.next() as u8;
                }
            }
            property(&bytes);
        }
    }
}

/// With `UPDATE_SEEDS` set, makes them so.
#[test]
fn every_api_has_its_newest_seed() {
    for (target, _) in TARGETS {
        let dir = corpus(target);
        for (name, bytes) in seeds(target) {
            let path = dir.join(format!("seed-{name}"));
            if std::env::var_os("UPDATE_SEEDS").is_some() {
                fs::create_dir_all(&dir).unwrap();
                fs::write(&path, &bytes).unwrap();
            }
            assert!(fs::read(&path).ok() == Some(bytes), "{}: set UPDATE_SEEDS", path.display());
        }
    }
}

/// A valid input in the newest version for each API or record type.
fn seeds(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    match target {
        "request_decode" => AnyRequest::APIS.iter().map(|api| request(*api)).collect(),
        "response_decode" => AnyResponse::APIS.iter().map(|api| response(*api)).collect(),
        "group_record" => support::group_records().map(group_record).collect(),
        _ => MetadataRecord::samples().iter().map(record).collect(),
    }
}

fn newest(api: ApiKey) -> At {
    let version = api.max_version();
    At { version, flexible: api.is_flexible(version) }
}

fn request(api: ApiKey) -> (&'static str, Vec<u8>) {
    let at = newest(api);
    let mut w = Writer::new();
    let header =
        RequestHeader { api, api_version: at.version, correlation_id: 1, client_id: Some("fuzz") };
    header.encode(&mut w).unwrap();
    w.bytes(&support::message(&AnyRequest::shape(api).unwrap(), at, 1));
    (api.name(), w.into_bytes())
}

fn response(api: ApiKey) -> (&'static str, Vec<u8>) {
    let at = newest(api);
    let mut w = Writer::new();
    w.i16(api.key());
    w.i16(at.version);
    w.bytes(&support::message(&AnyResponse::shape(api).unwrap(), at, 1));
    (api.name(), w.into_bytes())
}

fn record(record: &MetadataRecord) -> (&'static str, Vec<u8>) {
    let at = At { version: record.max_version(), flexible: true };
    let mut w = Writer::new();
    for number in [1, record.key() as u32, at.version as u32] {
        w.uvarint(number);
    }
    w.bytes(&support::message(&record.shape(), at, 1));
    (record.name(), w.into_bytes())
}

fn group_record(record: support::GroupRecordForm) -> (&'static str, Vec<u8>) {
    let version = record.versions;
    let (key, value) = (record.key(1), record.value(version, 1));
    let mut w = Writer::new();
    w.i16(key.len().try_into().unwrap());
    w.bytes(&key);
    w.bytes(&value);
    (record.name, w.into_bytes())
}
