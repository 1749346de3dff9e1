//! What is wrong before any API is reached: lengths, headers, other protocols.

use std::io::Write;
use std::time::Duration;

use super::witness::Witness;
use crate::support::raw::{self, Bytes, LIMIT, Met};

/// The start of a TLS 1.3 ClientHello.
const TLS_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03randomrandomrandom";
const HTTP: &[u8] = b"GET /topics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
/// One more than `socket.request.max.bytes`.
const FRAME_MAX_AND_ONE: i32 = 100 * 1024 * 1024 + 1;

/// Bytes that look like nothing, the same in every run.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn what_is_no_frame_closes_the_connection() {
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    let length = |length: i32| Bytes::new().i32(length).raw(&[0; 64]).0;
    let header = |bytes: Bytes| bytes.frame();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("TLS", TLS_HELLO.to_vec()),
        ("HTTP", HTTP.to_vec()),
        ("length -1", length(-1)),
        ("length MIN", length(i32::MIN)),
        ("length MAX", length(i32::MAX)),
        ("length over the limit", length(FRAME_MAX_AND_ONE)),
        ("an empty frame", header(Bytes::new())),
        ("one byte", header(Bytes::new().i8(0))),
        ("an API key alone", header(Bytes::new().i16(3))),
        ("no correlation id", header(Bytes::new().i16(3).i16(0))),
        ("no client id", header(Bytes::new().i16(3).i16(0).i32(7))),
        ("client id of -2", header(Bytes::new().i16(3).i16(0).i32(7).i16(-2))),
        ("a long client id", header(Bytes::new().i16(3).i16(0).i32(7).i16(i16::MAX))),
        ("client id not text", header(Bytes::new().i16(3).i16(0).i32(7).i16(2).raw(&[255, 254]))),
        ("many tags", Bytes::new().i16(3).i16(12).i32(7).i16(-1).uvarint(u32::MAX).frame()),
        ("unknown API", Bytes::new().request(999, 0, false)),
        ("negative API", Bytes::new().request(-1, 0, false)),
        ("removed API", Bytes::new().request(4, 0, false)),
        ("a controller's API", Bytes::new().request(52, 0, true)),
        ("unknown version", Bytes::new().raw(&[0; 32]).request(3, 99, true)),
        ("negative version", Bytes::new().raw(&[0; 32]).request(3, -1, false)),
        ("removed version", Bytes::new().raw(&[0; 32]).request(0, 2, false)),
    ];
    for (name, bytes) in cases {
        let met = raw::meet(broker.socket_address(), &bytes, LIMIT);
        assert_eq!(met, Met::Closed, "{name}");
    }
    for seed in 0..50 {
        // Noise may announce a frame that it does not fill; then the connection just waits.
        let bytes = noise(20_000, seed);
        let met = raw::meet(broker.socket_address(), &bytes, Duration::from_millis(50));
        assert!(matches!(met, Met::Closed | Met::Silent), "seed {seed}: {met:?}");
    }
    witness.finish();
    let log = broker.log();
    for hint in ["TLS", "HTTP"] {
        assert!(log.contains(hint), "the log names {hint}:\n{log}");
    }
    super::assert_unharmed(&mut broker);
}

#[test]
fn an_unknown_version_of_api_versions_is_told_the_known_ones() {
    let mut broker = super::broker();
    for version in [5, 99, i16::MAX, -1] {
        let bytes = Bytes::new().raw(&noise(40, 1)).request(18, version, true);
        let met = raw::meet(broker.socket_address(), &bytes, LIMIT);
        let Met::Answered(body) = met else { panic!("version {version}: {met:?}") };
        // Version 0 of the answer: correlation id, UNSUPPORTED_VERSION, a count, and the range.
        assert_eq!(body[..6], [0, 0, 0, 7, 0, 35], "version {version}");
        let rows: Vec<&[u8]> = body[10..].chunks_exact(6).collect();
        assert!(rows.contains(&&[0, 18, 0, 0, 0, 4][..]), "version {version}: {rows:?}");
    }
    super::assert_unharmed(&mut broker);
}

#[test]
fn a_frame_cut_short_hurts_nobody() {
    let mut broker = super::broker();
    let whole = Bytes::new().i32(-1).request(3, 1, false);
    for length in 0..whole.len() {
        let mut stream = raw::connect(broker.socket_address());
        stream.write_all(&whole[..length]).expect("an open connection");
    }
    // Byte by byte it is a request like any other.
    let mut stream = raw::connect(broker.socket_address());
    for byte in &whole {
        stream.write_all(&[*byte]).expect("an open connection");
    }
    assert!(matches!(raw::read_frame(&mut stream, LIMIT), Met::Answered(_)));
    super::assert_unharmed(&mut broker);
}
