//! Connections against a hostile or merely slow world.

use std::net::SocketAddr;
use std::time::Duration;

use engine::rt::Rt;
use futures_util::future::join_all;
use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::error_code::ErrorCode;
use wire::msg::api_versions::{ApiVersionsRequest, ApiVersionsResponse};

use crate::testing::{Client, Shell, frame};

const MINUTE: Duration = Duration::from_secs(60);

fn hello(correlation_id: i32) -> Vec<u8> {
    let request = ApiVersionsRequest { client_software_name: "test", client_software_version: "1" };
    frame(ApiKey::ApiVersions, 3, correlation_id, &request)
}

fn correlation_id(answer: &[u8]) -> i32 {
    Cursor::new(answer).i32().expect("an answer has a header")
}

/// An ordinary client on its own connection is served, now.
async fn is_served(rt: &Rt, addr: SocketAddr) {
    let client = Client::connect(rt, addr).await;
    client.send(&hello(7)).await.expect("sent");
    let answer = client.recv_frame().await.expect("answered");
    assert_eq!(correlation_id(&answer), 7);
}

#[test]
fn answers_many_requests_of_one_receive_in_order() {
    let shell = Shell::start(1, 2, &[]);
    shell.run(MINUTE, |rt, addr| async move {
        let client = Client::connect(&rt, addr).await;
        let all: Vec<u8> = (0..500).flat_map(hello).collect();
        client.send(&all).await.expect("sent");
        for id in 0..500 {
            let answer = client.recv_frame().await.expect("answered");
            assert_eq!(correlation_id(&answer), id);
        }
    });
}

#[test]
fn takes_a_request_byte_by_byte() {
    let shell = Shell::start(2, 1, &[]);
    shell.run(MINUTE, |rt, addr| async move {
        let client = Client::connect(&rt, addr).await;
        for byte in hello(1) {
            client.send(&[byte]).await.expect("sent");
            rt.sleep(Duration::from_millis(10)).await;
        }
        assert!(client.recv_frame().await.is_some());
    });
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let shell = Shell::start(3, 1, &[]);
    shell.run(MINUTE, |rt, addr| async move {
        let client = Client::connect(&rt, addr).await;
        let mut bytes = hello(1);
        bytes[6..8].copy_from_slice(&99i16.to_be_bytes());
        client.send(&bytes).await.expect("sent");
        let answer = client.recv_frame().await.expect("answered");
        let mut cur = Cursor::new(&answer);
        assert_eq!(cur.i32(), Ok(1));
        let response = ApiVersionsResponse::decode(&mut cur, 0).expect("version 0");
        assert_eq!(ErrorCode(response.error_code), ErrorCode::UNSUPPORTED_VERSION);
        assert!(response.api_keys.iter().any(|api| api.api_key == ApiKey::ApiVersions.key()));
    });
}

#[test]
fn closes_on_what_is_no_request() {
    let shell = Shell::start(4, 2, &[]);
    let unknown_api = {
        let mut bytes = hello(1);
        bytes[4..6].copy_from_slice(&4i16.to_be_bytes());
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("negative length", (-1i32).to_be_bytes().to_vec()),
        ("smallest length", i32::MIN.to_be_bytes().to_vec()),
        ("huge length", i32::MAX.to_be_bytes().to_vec()),
        ("above the limit", (104_857_601i32).to_be_bytes().to_vec()),
        ("empty frame", vec![0; 4]),
        ("short header", vec![0, 0, 0, 3, 0, 18, 0]),
        ("TLS hello", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("unknown API", unknown_api),
        ("client id longer than the frame", b"\0\0\0\x0c\0\x12\0\x03\0\0\0\x01\x7f\xffab".to_vec()),
    ];
    for (what, bytes) in cases {
        shell.run(MINUTE, |rt, addr| async move {
            let client = Client::connect(&rt, addr).await;
            client.send(&bytes).await.expect("sent");
            assert!(client.is_closed().await, "{what}");
            is_served(&rt, addr).await;
        });
    }
    assert_eq!(shell.frame_bytes(), 0);
}

#[test]
fn what_came_before_nonsense_is_answered() {
    let shell = Shell::start(5, 1, &[]);
    shell.run(MINUTE, |rt, addr| async move {
        let client = Client::connect(&rt, addr).await;
        let mut bytes = [hello(1), hello(2)].concat();
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
        client.send(&bytes).await.expect("sent");
        assert_eq!(correlation_id(&client.recv_frame().await.expect("first")), 1);
        assert_eq!(correlation_id(&client.recv_frame().await.expect("second")), 2);
        assert!(client.recv_frame().await.is_none());
    });
}

#[test]
fn random_bytes_harm_nobody() {
    for seed in 0..20 {
        let shell = Shell::start(seed, 2, &[]);
        shell.run(MINUTE, |rt, addr| async move {
            for _ in 0..20 {
                let client = Client::connect(&rt, addr).await;
                let mut bytes = vec![0; (rt.random_u64() % 2000) as usize];
                rt.fill_random(&mut bytes);
                if rt.random_u64().is_multiple_of(2) && bytes.len() > 8 {
                    // A sound length and a known key, so that the body is reached.
                    let len = i32::try_from(bytes.len() - 4).expect("short");
                    bytes[..4].copy_from_slice(&len.to_be_bytes());
                    let version = bytes[7] % 5;
                    bytes[4..8].copy_from_slice(&[0, 18, 0, version]);
                }
                let _ = client.send(&bytes).await;
            }
            is_served(&rt, addr).await;
        });
        shell.world.run_for(Duration::from_secs(1));
        assert_eq!((shell.connections(), shell.frame_bytes()), (0, 0), "seed {seed}");
    }
}

#[test]
fn half_open_connections_hold_almost_nothing() {
    let shell = Shell::start(6, 2, &["connections.max.idle.ms=30000"]);
    let frame_bytes = shell.run(10 * MINUTE, |rt, addr| async move {
        let clients = join_all((0..3000).map(|_| Client::connect(&rt, addr))).await;
        for client in &clients {
            client.send(&hello(1)[..20]).await.expect("sent");
        }
        is_served(&rt, addr).await;
        clients
    });
    assert_eq!(shell.frame_bytes(), 0, "a few bytes stay inside the connection");
    assert!(shell.connections() >= 3000);
    shell.world.run_for(Duration::from_secs(40));
    assert_eq!(shell.connections(), 0, "idle connections are closed");
    drop(frame_bytes);
}

#[test]
fn announced_frames_cost_nothing_until_they_come() {
    let shell = Shell::start(7, 2, &[]);
    let clients = shell.run(10 * MINUTE, |rt, addr| async move {
        let clients = join_all((0..1500).map(|_| Client::connect(&rt, addr))).await;
        for client in &clients {
            client.send(&(100i32 << 20).to_be_bytes()).await.expect("sent");
        }
        is_served(&rt, addr).await;
        clients
    });
    assert_eq!(shell.frame_bytes(), 0);
    drop(clients);
}

#[test]
fn stalled_large_frames_lose_their_memory_to_others() {
    let shell =
        Shell::start(8, 1, &["cores.memory.bytes=67108864", "queued.max.request.bytes=16777216"]);
    shell.run(10 * MINUTE, |rt, addr| async move {
        // More than the probing budget holds, each with its first 64 KiB and a bit.
        let stalled = join_all((0..200).map(|_| Client::connect(&rt, addr))).await;
        let start = [&(4i32 << 20).to_be_bytes()[..], &vec![0; 70_000]].concat();
        join_all(stalled.iter().map(|client| client.send(&start))).await;
        is_served(&rt, addr).await;
        // An honest large request gets through behind them: it is malformed, hence closed, but read.
        let honest = Client::connect(&rt, addr).await;
        let mut large = hello(1);
        large.resize(4 + (1 << 20), 0);
        large[..4].copy_from_slice(&(1i32 << 20).to_be_bytes());
        honest.send(&large).await.expect("sent");
        let answer = honest.recv_frame().await.expect("answered after the stalled ones are gone");
        assert_eq!(correlation_id(&answer), 1);
    });
}

/// A request that is answered like `hello`, `len` bytes long after its prefix.
fn padded(correlation_id: i32, len: usize) -> Vec<u8> {
    let mut bytes = hello(correlation_id);
    bytes.resize(4 + len, 0);
    bytes[..4].copy_from_slice(&i32::try_from(len).expect("a frame").to_be_bytes());
    bytes
}

#[test]
fn large_and_small_frames_may_be_cut_anywhere() {
    const LARGE: usize = 100_000;
    let bytes = [padded(1, LARGE), hello(2), padded(3, 300), padded(4, LARGE), hello(5)].concat();
    let near = |at: usize, by: usize| at - by..at + by;
    // Where a frame ends, and where a buffer of each kind is full.
    let splits = near(4 + LARGE, 400).chain(near(64 << 10, 40)).chain(near(256, 20));
    for known in [false, true] {
        let (bytes, splits) = (bytes.clone(), splits.clone());
        let shell = Shell::start(13, 1, &[]);
        shell.run(60 * MINUTE, |rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            for split in splits {
                // A connection that has completed a large frame before gets its buffers otherwise.
                if !known {
                    client = Client::connect(&rt, addr).await;
                }
                let (head, tail) = bytes.split_at(split);
                client.send(head).await.expect("sent");
                rt.sleep(Duration::from_millis(20)).await;
                client.send(tail).await.expect("sent");
                for id in 1..=5 {
                    let answer = client.recv_frame().await.expect("answered");
                    assert_eq!(correlation_id(&answer), id, "cut at {split}");
                }
            }
        });
        shell.world.run_for(Duration::from_secs(5));
        assert_eq!(shell.frame_bytes(), 0);
    }
}

#[test]
fn who_trickles_gives_way_to_others() {
    let shell = Shell::start(15, 1, &["odradek.request.progress.timeout.ms=3000"]);
    shell.run(60 * MINUTE, |rt, addr| async move {
        // More than there are buffers for such frames.
        let tricklers = join_all((0..600).map(|_| Client::connect(&rt, addr))).await;
        for client in &tricklers {
            client.send(&padded(1, 60_000)[..300]).await.expect("sent");
        }
        let honest = Client::connect(&rt, addr).await;
        honest.send(&padded(9, 2000)).await.expect("sent");
        for _ in 0..20 {
            rt.sleep(Duration::from_secs(1)).await;
            for client in &tricklers {
                let _ = client.send(&[0]).await;
            }
        }
        let answer = honest.recv_frame().await.expect("answered");
        assert_eq!(correlation_id(&answer), 9);
    });
}

#[test]
fn a_reader_that_takes_nothing_is_closed() {
    let shell = Shell::start(9, 1, &["odradek.response.progress.timeout.ms=5000"]);
    shell.run(10 * MINUTE, |rt, addr| async move {
        let slow = Client::connect(&rt, addr).await;
        let all: Vec<u8> = (0..50_000).flat_map(hello).collect();
        // Sends on and on and never reads: blocked by its own unread answers, then closed.
        assert!(slow.send(&all).await.is_err());
        is_served(&rt, addr).await;
    });
    assert_eq!(shell.frame_bytes(), 0);
}

#[test]
fn limits_on_connections_hold() {
    let shell = Shell::start(10, 2, &["max.connections.per.ip=3"]);
    shell.run(MINUTE, |rt, addr| async move {
        let mut three = Vec::new();
        for _ in 0..3 {
            let client = Client::connect(&rt, addr).await;
            client.send(&hello(1)).await.expect("sent");
            assert!(client.recv_frame().await.is_some());
            three.push(client);
        }
        let fourth = Client::connect(&rt, addr).await;
        assert!(fourth.is_closed().await);
        drop(three.pop());
        rt.sleep(Duration::from_secs(1)).await;
        is_served(&rt, addr).await;
    });
}

#[test]
fn draining_answers_what_has_come_and_closes() {
    let shell = Shell::start(11, 2, &[]);
    let client = shell.run(MINUTE, |rt, addr| async move {
        let client = Client::connect(&rt, addr).await;
        client.send(&hello(1)).await.expect("sent");
        assert!(client.recv_frame().await.is_some());
        client
    });
    shell.cores.iter().for_each(|core| core.start_draining());
    shell.run(MINUTE, |_, _| async move { assert!(client.is_closed().await) });
    assert_eq!(shell.connections(), 0);
}

#[test]
fn a_peer_that_closes_still_frees_everything() {
    let shell = Shell::start(12, 2, &[]);
    shell.run(MINUTE, |rt, addr| async move {
        for cut in [0, 1, 3, 4, 5, 10, 20] {
            let client = Client::connect(&rt, addr).await;
            client.send(&[&hello(1)[..], &hello(2)[..cut]].concat()).await.expect("sent");
        }
    });
    shell.world.run_for(Duration::from_secs(5));
    assert_eq!((shell.connections(), shell.frame_bytes()), (0, 0));
}
