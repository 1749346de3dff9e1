//! Every row of the table against bodies that no client would send, and against those that one
//! would, cut short and with bits flipped: an answer or a closed connection, no panic, and the node
//! serves on.

use std::time::Duration;

use engine::rt::Rt;
use futures_util::future::{Either, select};
use wire::api_key::ApiKey;
use wire::header::RequestHeader;
use wire::msg::AnyRequest;
use wire::msg::api_versions::ApiVersionsRequest;
use wire::schema::At;
use wire::writer::Writer;

use self::well_formed::Rng;
use super::{Row, TABLE};
use crate::testing::{Client, Lines, Whole, frame};

#[path = "../../wire/tests/support/mod.rs"]
mod well_formed;

/// Well-formed bodies, all their beginnings, and themselves with one or two bits the other way.
fn damaged(row: &Row, version: i16) -> Vec<Vec<u8>> {
    let shape = AnyRequest::shape(row.key).expect("what is served has a schema");
    let at = At { version, flexible: row.key.is_flexible(version) };
    let mut bodies = Vec::new();
    for seed in 0..2 {
        let whole = well_formed::message(&shape, at, seed);
        bodies
            .extend((0..whole.len()).step_by(whole.len() / 200 + 1).map(|len| whole[..len].into()));
        let mut rng = Rng(seed);
        for flips in (0..40).map(|turn| 1 + turn % 2) {
            let mut body = whole.clone();
            for _ in 0..flips.min(whole.len()) {
                let place = rng.below(whole.len() as u64) as usize;
                body[place] ^= 1 << rng.below(8);
            }
            bodies.push(body);
        }
        bodies.push(whole);
    }
    bodies
}

/// Bodies of all kinds: empty, zeros (which many requests are when truncated), huge counts,
/// negative numbers, and noise of the bytes that mean something.
fn bodies(rt: &Rt) -> Vec<Vec<u8>> {
    let mut bodies = vec![Vec::new()];
    for len in [1, 2, 3, 5, 8, 13, 21, 34, 64, 300] {
        bodies.push(vec![0; len]);
        bodies.push(vec![0xff; len]);
        bodies.push([0x7f, 0xff, 0xff, 0xff].into_iter().cycle().take(len).collect());
        bodies.push([0xff, 0xff, 0xff, 0xff, 0x07].into_iter().cycle().take(len).collect());
    }
    for _ in 0..24 {
        let len = rt.random_u64() % 96;
        let meant = [0, 0, 0, 0, 1, 1, 2, 3, 4, b't', 0x7f, 0x80, 0xfe, 0xff];
        let one = || meant[(rt.random_u64() % meant.len() as u64) as usize];
        bodies.push((0..len).map(|_| one()).collect());
        bodies.push((0..len).map(|_| rt.random_u64() as u8).collect());
    }
    bodies
}

/// Sends a body, and a question behind it: all that comes back is an answer, or the end.
async fn attack(rt: &Rt, client: &Client, row: &Row, version: i16, body: &[u8]) -> bool {
    let mut writer = Writer::new();
    let mark = writer.begin_frame();
    let (correlation_id, client_id) = (7, Some("test"));
    let header = RequestHeader { api: row.key, api_version: version, correlation_id, client_id };
    header.encode(&mut writer).expect("a header");
    writer.bytes(body);
    writer.end_frame(mark).expect("short");
    let bytes = writer.into_bytes();
    let sent = client.send(&bytes).await.is_ok();
    let question = frame(ApiKey::ApiVersions, 0, 8, &ApiVersionsRequest::default());
    if !sent || client.send(&question).await.is_err() {
        return false;
    }
    let answers = Box::pin(async {
        while let Some(answer) = client.recv_frame().await {
            if answer[..4] == 8_i32.to_be_bytes() {
                return true;
            }
        }
        false
    });
    match select(answers, rt.sleep(Duration::from_secs(30))).await {
        Either::Left((open, _)) => open,
        // A Fetch may ask to wait for weeks, and who joins a group waits for its other members.
        Either::Right(_) => {
            let waits = [ApiKey::Fetch, ApiKey::JoinGroup, ApiKey::SyncGroup];
            assert!(waits.contains(&row.key), "silence after {}", row.key.name());
            false
        }
    }
}

#[test]
fn no_body_of_any_request_harms_the_node() {
    every_row_survives(|rt, _, _| bodies(rt));
}

#[test]
fn no_damage_to_any_request_harms_the_node() {
    every_row_survives(|_, row, version| damaged(row, version));
}

/// Sends these bodies in every version of every row.
fn every_row_survives(bodies: fn(&Rt, &Row, i16) -> Vec<Vec<u8>>) {
    let errors = Lines::of_errors();
    tracing::subscriber::with_default(errors.clone(), || {
        let node = Whole::start(5, 2, &[]);
        for row in TABLE {
            node.run(move |rt, addr| async move {
                for version in row.key.versions() {
                    let mut client = Client::connect(&rt, addr).await;
                    for body in bodies(&rt, row, version) {
                        if !attack(&rt, &client, row, version, &body).await {
                            client = Client::connect(&rt, addr).await;
                        }
                    }
                    let question = ApiVersionsRequest::default();
                    let mut other = Client::connect(&rt, addr).await;
                    let served = other.ask(ApiKey::ApiVersions, 0, &question, |_| ()).await;
                    assert!(served.is_some(), "after {} v{version}", row.key.name());
                }
            });
        }
    });
    let errors = errors.take();
    assert!(errors.is_empty(), "{errors:#?}");
}
