//! Every API, in every version, agrees with the `kafka-protocol` crate, which is generated from
//! Kafka's own message definitions: on bytes in both directions, on field names, and on the
//! defaults of fields that a version lacks.
//!
//! The crate stands at Kafka 4.1, so [`AHEAD`] lists the versions it cannot judge; those, and the
//! metadata records it does not have, are held to Kafka's own codec by `kafka_bytes.rs`.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as OracleKey, RequestKind, ResponseKind};
use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::msg::{AnyRequest, AnyResponse};
use wire::schema::At;
use wire::writer::Writer;

/// Versions of Kafka 4.2 and 4.3, which the oracle lacks.
const AHEAD: &[(ApiKey, i16)] = &[
    (ApiKey::ListOffsets, 11),
    (ApiKey::OffsetCommit, 10),
    (ApiKey::OffsetFetch, 10),
    (ApiKey::DescribeLogDirs, 5),
];

/// Of these, what it claims to have: unstable in Kafka 4.1.
const CLAIMED: &[(ApiKey, i16)] = &[(ApiKey::OffsetCommit, 10), (ApiKey::OffsetFetch, 10)];

/// Fields that only one side has, at their defaults in every version that both have:
/// InitProducerId 6 is unstable in Kafka 4.3 and not ours, DescribeLogDirs 5 not theirs.
const ONE_SIDED: &[&str] = &[
    ",enable_2_pc:false,keep_prepared_txn:false",
    ",ongoing_txn_producer_id:-1,ongoing_txn_producer_epoch:-1",
    ",is_cordoned:false",
];

const SEEDS: u64 = 60;

/// An API version to check, and whether the oracle has it.
fn cases() -> Vec<(ApiKey, At, bool)> {
    let mut cases = Vec::new();
    for api in AnyRequest::APIS {
        let theirs = OracleKey::try_from(api.key()).expect("a 4.1 API").valid_versions();
        for version in api.versions() {
            let at = At { version, flexible: api.is_flexible(version) };
            let known = theirs.min <= version && version <= theirs.max;
            cases.push((*api, at, known && !CLAIMED.contains(&(*api, version))));
        }
    }
    cases
}

#[test]
fn the_oracle_judges_all_but_the_newest_versions() {
    let ahead: Vec<_> = cases()
        .into_iter()
        .filter(|(.., judged)| !judged)
        .map(|(api, at, _)| (api, at.version))
        .collect();
    assert_eq!(ahead, AHEAD);
}

/// Both sides' messages are of one shape and without a common trait.
macro_rules! agree {
    ($what:literal, $ours:ident, $theirs:ident) => {
        for (api, at, judged) in cases() {
            let shape = $ours::shape(api).unwrap();
            for seed in 0..SEEDS {
                let bytes = support::message(&shape, at, seed);
                let context = format!("{api} {} v{} seed {seed}", $what, at.version);
                let mut cur = Cursor::new(&bytes);
                let ours = $ours::decode(&mut cur, api, at.version).expect(&context);
                assert_eq!(cur.finish(), Ok(()), "{context}");
                let mut w = Writer::new();
                ours.encode(&mut w, at.version).expect(&context);
                assert_eq!(w.into_bytes(), bytes, "ours reproduces {context}");
                if !judged {
                    continue;
                }
                let key = OracleKey::try_from(api.key()).unwrap();
                let mut rest = Bytes::copy_from_slice(&bytes);
                let theirs = $theirs::decode(key, &mut rest, at.version).expect(&context);
                assert!(rest.is_empty(), "{context}");
                let mut again = BytesMut::new();
                theirs.encode(&mut again, at.version).expect(&context);
                assert_eq!(again, bytes, "theirs reproduces {context}");
                assert_eq!(fields(&ours), fields(&theirs), "{context}");
            }
        }
    };
}

#[test]
fn requests_agree() {
    agree!("request", AnyRequest, RequestKind);
}

#[test]
fn responses_agree() {
    agree!("response", AnyResponse, ResponseKind);
}

/// The two crates' `Debug` outputs, made comparable: field names and values, in order. Names of
/// structs and newtypes go, and so do `unknown_tagged_fields`; bytes and ids become lists.
fn fields(message: &impl std::fmt::Debug) -> String {
    let text = format!("{message:?}").replace(", unknown_tagged_fields: {}", "");
    let text = text.replace("unknown_tagged_fields: {}", "");
    let mut out = String::new();
    let mut rest = text.as_str();
    // Whether each open parenthesis was written.
    let mut parens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if let Some(id) = uuid(rest) {
            out.push_str(&id);
            rest = &rest[36..];
        } else if let Some(quoted) = rest.strip_prefix("b\"") {
            let end = string_end(quoted);
            out.push_str(&format!("{:?}", unescape(&quoted[..end])).replace(' ', ""));
            rest = &quoted[end + 1..];
        } else if first == '"' {
            let end = string_end(&rest[1..]) + 2;
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if word > 0 {
            let (name, after) = rest.split_at(word);
            if let Some(after) = after.strip_prefix('(') {
                let keep = name == "Some";
                parens.push(keep);
                out.push_str(if keep { "Some(" } else { "" });
                rest = after;
            } else if let Some(after) = after.strip_prefix(" {") {
                out.push('{');
                rest = after;
            } else {
                out.push_str(name);
                rest = after;
            }
        } else {
            let skip = first == ')' && !parens.pop().expect("parentheses are balanced");
            if !skip && first != ' ' {
                out.push(first);
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    ONE_SIDED.iter().fold(out, |out, field| out.replace(field, ""))
}

/// An id as the oracle prints it, as a list of its bytes.
fn uuid(text: &str) -> Option<String> {
    let text = text.get(..36)?;
    let dashes = [8, 13, 18, 23];
    let shaped = text.char_indices().all(|(i, c)| {
        if dashes.contains(&i) { c == '-' } else { c.is_ascii_digit() || ('a'..='f').contains(&c) }
    });
    let hex = text.replace('-', "");
    shaped.then(|| {
        let bytes: Vec<u8> =
            (0..16).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
        format!("{bytes:?}").replace(' ', "")
    })
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    panic!("unterminated string in {text}");
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().unwrap() {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'x' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    out
}
