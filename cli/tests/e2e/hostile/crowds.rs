//! More connections than anyone means well with.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::witness::Witness;
use crate::support::broker::Broker;
use crate::support::client::{Record, create_topic, produce};
use crate::support::raw::{self, Bytes, Met};

/// As many half-open connections as the issue asks for, if the limit on open files allows it.
const CROWD: usize = 10_000;
/// What one of them may take, in bytes: its task, its state and the 256 bytes it receives into,
/// with room for what the allocator makes of that.
const HALF_OPEN_MAX: u64 = 16 << 10;
/// Files the test process needs beside its sockets.
const SPARE_FILES: usize = 500;

/// Raises this process's soft limit on open files to its hard limit; that limit.
fn open_files_max() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one struct, which lives until they return.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    assert_eq!(result, 0, "the soft limit may rise to the hard one");
    usize::try_from(limit.rlim_max).unwrap_or(usize::MAX)
}

fn crowd(broker: &Broker, count: usize, first_words: &[u8]) -> Vec<TcpStream> {
    let meet = |_| {
        let mut stream = raw::connect(broker.socket_address());
        stream.write_all(first_words).expect("an open connection");
        stream
    };
    (0..count).map(meet).collect()
}

#[test]
fn half_open_connections_wait_without_cost() {
    let count = CROWD.min(open_files_max() - SPARE_FILES);
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    let before = broker.memory_now();
    // A third says nothing, a third half a length, a third the start of a request.
    let silent = crowd(&broker, count / 3, b"");
    let stammering = crowd(&broker, count / 3, &[0, 0]);
    let started = crowd(&broker, count / 3, &Bytes::new().i32(100).i16(3).i16(1).0);
    thread::sleep(Duration::from_secs(2));
    let each = broker.memory_now().saturating_sub(before) / count as u64;
    println!("{count} half-open connections, {each} bytes each");
    assert!(each <= HALF_OPEN_MAX, "{each} bytes for each of {count} half-open connections");
    drop((silent, stammering, started));
    witness.finish();
    super::assert_unharmed(&mut broker);
}

#[test]
fn announced_bytes_are_not_believed() {
    open_files_max();
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    let announced = Bytes::new().i32(100 << 20).i16(0).i16(7).i32(7).string("raw").0;
    let announcers = crowd(&broker, 1500, &announced);
    thread::sleep(Duration::from_secs(3));
    drop(announcers);
    witness.finish();
    super::assert_unharmed(&mut broker);
}

#[test]
fn large_frames_begun_and_left_are_bounded() {
    open_files_max();
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    // Past the first 64 KiB a frame needs a ticket, of which there are few.
    let begun = Bytes::new().i32(100 << 20).i16(0).i16(7).i32(7).string("raw").raw(&[0; 100_000]).0;
    let starters: Vec<TcpStream> = (0..400)
        .map(|_| {
            let mut stream = raw::connect(broker.socket_address());
            stream.set_nonblocking(true).expect("a socket");
            // As much as is taken.
            let _ = stream.write(&begun);
            stream
        })
        .collect();
    thread::sleep(Duration::from_secs(3));
    drop(starters);
    witness.finish();
    super::assert_unharmed(&mut broker);
}

#[test]
fn requests_without_reading_the_answers_are_held_back() {
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    let request = Bytes::new().i32(-1).request(3, 1, false);
    let many = request.repeat(20_000);
    let talkers: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = raw::connect(broker.socket_address());
            stream.set_nonblocking(true).expect("a socket");
            let _ = stream.write(&many);
            stream
        })
        .collect();
    thread::sleep(Duration::from_secs(2));
    drop(talkers);
    witness.finish();
    super::assert_unharmed(&mut broker);
}

#[test]
fn slow_readers_do_not_pin_memory() {
    let mut broker = super::broker();
    create_topic(broker.address(), "pinned", 1, &[]);
    let record = Record::of(vec![9; 900_000]).to(0);
    produce(broker.address(), &[("linger.ms", "0")], "pinned", &vec![record; 100]);
    let witness = Witness::start(&broker);
    // Fetch version 4: everything from offset 0, and nobody takes it.
    let partition = Bytes::new().i32(0).i64(0).i32(i32::MAX);
    let topics = Bytes::new().i32(1).string("pinned").i32(1).raw(&partition.0);
    let fetch = Bytes::new().i32(-1).i32(0).i32(1).i32(i32::MAX).i8(0).raw(&topics.0);
    let fetch = fetch.request(1, 4, false);
    let readers = crowd(&broker, 300, &fetch.repeat(3));
    thread::sleep(Duration::from_secs(3));
    witness.finish();
    // One who does read is served whole.
    let mut reader = readers.into_iter().next_back().expect("300");
    reader.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut length = [0; 4];
    std::io::Read::read_exact(&mut reader, &mut length).expect("an answer");
    assert!(i32::from_be_bytes(length) > 900_000);
    super::assert_unharmed(&mut broker);
}

/// A Fetch of version 4 that waits: `count` partitions of a topic, of which there is one.
fn hungry_fetch(topic: &str, count: i32) -> Vec<u8> {
    let mut partitions = Bytes::new();
    for index in 0..count {
        partitions = partitions.i32(index).i64(0).i32(i32::MAX);
    }
    let topics = Bytes::new().i32(1).string(topic).i32(count).raw(&partitions.0);
    let fetch = Bytes::new().i32(-1).i32(i32::MAX).i32(1).i32(i32::MAX).i8(0).raw(&topics.0);
    fetch.request(1, 4, false)
}

#[test]
fn requests_for_very_many_partitions_are_bounded() {
    let mut broker = super::broker();
    create_topic(broker.address(), "hungry", 1, &[]);
    let witness = Witness::start(&broker);
    // A little below what is refused at once; 0.8 MB each, tens of them planned.
    let fetch = hungry_fetch("hungry", 49_000);
    let fetchers = crowd_in_background(&broker, 60, &fetch);
    // Far more than there can be: refused.
    let above = hungry_fetch("hungry", 2_000_000);
    let mut stream = raw::connect(broker.socket_address());
    let _ = stream.write_all(&above);
    assert_eq!(raw::read_frame(&mut stream, Duration::from_secs(120)), Met::Closed);
    thread::sleep(Duration::from_secs(5));
    drop(fetchers);
    witness.finish();
    super::assert_unharmed(&mut broker);
}

#[test]
fn large_answers_that_nobody_takes_are_bounded() {
    let mut broker = super::broker();
    for number in 0..10 {
        create_topic(broker.address(), &format!("broad-{number}"), 100, &[]);
    }
    let witness = Witness::start(&broker);
    // One topic named very often is one topic; all topics are 50 KB or so, asked for again and
    // again by clients that do not read.
    let name = Bytes::new().string("broad-0").0.repeat(40_000);
    let often = Bytes::new().i32(40_000).raw(&name).request(3, 1, false);
    let often = crowd_in_background(&broker, 20, &often);
    let all = Bytes::new().i32(-1).request(3, 1, false).repeat(2000);
    let all = crowd_in_background(&broker, 400, &all);
    thread::sleep(Duration::from_secs(5));
    drop((often, all));
    witness.finish();
    super::assert_unharmed(&mut broker);
}

/// Connections that send as much of these words as is taken, and read nothing.
fn crowd_in_background(broker: &Broker, count: usize, words: &[u8]) -> Vec<TcpStream> {
    let meet = |_| {
        let stream = raw::connect(broker.socket_address());
        let (mut writing, words) = (stream.try_clone().expect("a socket"), words.to_vec());
        writing.set_write_timeout(Some(Duration::from_secs(3))).expect("a socket");
        thread::spawn(move || drop(writing.write_all(&words)));
        stream
    };
    (0..count).map(meet).collect()
}

#[test]
fn connections_come_and_go() {
    let mut broker = super::broker();
    let witness = Witness::start(&broker);
    let versions = Bytes::new().request(18, 0, false);
    for round in 0..3000 {
        if round % 3 == 0 {
            let met = raw::meet(broker.socket_address(), &versions, raw::LIMIT);
            assert!(matches!(met, Met::Answered(_)), "round {round}: {met:?}");
        } else {
            drop(crowd(&broker, 1, &versions[..round % versions.len()]));
        }
    }
    witness.finish();
    super::assert_unharmed(&mut broker);
}
