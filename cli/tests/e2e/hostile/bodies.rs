//! Every advertised API in every version, with bodies that no client would write, and with those
//! that one would, cut short and with bits flipped.

use std::io::Write;
use std::net::SocketAddr;

use wire::api_key::ApiKey;
use wire::msg::AnyRequest;
use wire::schema::At;

use self::well_formed::Rng;
use super::witness::Witness;
use crate::support::raw::{self, Bytes, LIMIT, Met};

#[path = "../../../../net/wire/tests/support/mod.rs"]
mod well_formed;

/// Beginnings and flips of each well-formed body: a sample, since the same is done without a
/// network to every length of more of them.
const SAMPLE: u64 = 12;

/// A well-formed body, some beginnings of it, and some with a bit the other way.
fn damaged(api: ApiKey, version: i16) -> Vec<Vec<u8>> {
    let shape = AnyRequest::shape(api).expect("what is advertised has a schema");
    let at = At { version, flexible: api.is_flexible(version) };
    let whole = well_formed::message(&shape, at, 1);
    let mut rng = Rng(1);
    let mut bodies = vec![whole.clone()];
    for _ in 0..if whole.is_empty() { 0 } else { SAMPLE } {
        bodies.push(whole[..rng.below(whole.len() as u64) as usize].to_vec());
        let mut flipped = whole.clone();
        flipped[rng.below(whole.len() as u64) as usize] ^= 1 << rng.below(8);
        bodies.push(flipped);
    }
    bodies
}

/// Bodies that lie about lengths and counts in every place at which one may stand.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let count_max = i32::MAX.to_be_bytes();
    let uvarint_max = Bytes::new().uvarint(u32::MAX).0;
    let repeat = |pattern: &[u8], times: usize| pattern.repeat(times);
    let mut bodies = vec![
        ("nothing", vec![]),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("0x7f", vec![0x7f; 64]),
        ("0x01", vec![1; 64]),
        ("counts of 2^31-1", repeat(&count_max, 16)),
        ("compact counts of 2^32-1", repeat(&uvarint_max, 12)),
        ("an endless varint", vec![0x80; 64]),
    ];
    // The same counts behind a few bytes that a decoder has to get through first.
    for prefix in 1..12 {
        bodies.push(("zeros, then a count", [&vec![0; prefix], &count_max[..]].concat()));
        bodies.push(("zeros, then compact", [&vec![0; prefix], &uvarint_max[..]].concat()));
        bodies.push(("nulls, then a count", [&vec![0xff; prefix], &count_max[..]].concat()));
        bodies.push(("ones, then compact", [&vec![1; prefix], &uvarint_max[..]].concat()));
    }
    bodies
}

/// Sends the request and a harmless one behind it: an answer to either, or a closed connection,
/// but not silence.
fn assert_dealt_with(address: SocketAddr, request: &[u8], what: &str) {
    let mut stream = raw::connect(address);
    let harmless = Bytes::new().i16(18).i16(0).i32(8).string("raw").frame();
    let _ = stream.write_all(&[request, &harmless].concat());
    loop {
        match raw::read_frame(&mut stream, LIMIT) {
            Met::Closed => break,
            Met::Silent => panic!("{what}: no answer"),
            Met::Answered(body) => match body[..4] {
                [0, 0, 0, 8] => break,
                [0, 0, 0, 7] => {}
                _ => panic!("{what}: an answer to nothing asked"),
            },
        }
    }
}

#[test]
fn every_api_survives_every_lie() {
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    let address = broker.socket_address();
    let apis = raw::advertised(address);
    assert!(apis.len() >= 33, "{apis:?}");
    let bodies = bodies();
    for (key, lowest, highest) in apis {
        let api = ApiKey::from_key(key).expect("an API of the protocol");
        for version in lowest..=highest {
            for (name, body) in &bodies {
                let what = format!("API {key} version {version}, {name}");
                let bytes = Bytes::new().raw(body);
                let request = bytes.request(key, version, api.is_flexible(version));
                assert_dealt_with(address, &request, &what);
            }
        }
    }
    witness.finish();
    super::assert_unharmed(&mut broker);
}

#[test]
fn every_api_survives_damaged_requests() {
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    let address = broker.socket_address();
    for (key, lowest, highest) in raw::advertised(address) {
        let api = ApiKey::from_key(key).expect("an API of the protocol");
        for version in lowest..=highest {
            for (number, body) in damaged(api, version).iter().enumerate() {
                // A flipped bit may make a Fetch wait; nobody waits behind its answer.
                let request =
                    Bytes::new().raw(body).request(key, version, api.is_flexible(version));
                assert_dealt_with(address, &request, &format!("API {key} v{version}, {number}"));
            }
        }
    }
    witness.finish();
    super::assert_unharmed(&mut broker);
}

#[test]
fn a_small_produce_body_with_a_huge_count_is_refused() {
    let mut broker = super::broker();
    // No transaction, acks, timeout, then 2^31-1 topics: twelve bytes.
    let body = Bytes::new().i16(-1).i16(1).i32(1000).i32(i32::MAX);
    assert_eq!(body.0.len(), 12);
    let met = raw::meet(broker.socket_address(), &body.request(0, 7, false), LIMIT);
    assert_eq!(met, Met::Closed);
    super::assert_unharmed(&mut broker);
}

#[test]
fn a_transactional_id_is_refused_by_name() {
    let mut broker = super::broker();
    let body = Bytes::new().string("payments").i32(1000);
    let met = raw::meet(broker.socket_address(), &body.request(22, 0, false), LIMIT);
    let Met::Answered(answer) = met else { panic!("{met:?}") };
    // Correlation id, throttle time, error code: any code but none.
    assert_ne!(answer[8..10], [0, 0]);
    super::assert_unharmed(&mut broker);
}
