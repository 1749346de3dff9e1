//! What the machine itself can do, so that a figure can be read as a share of the limit: the disk
//! below a directory, the loopback interface, and copying in memory.

mod disk;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::measure::{Percentiles, histogram};
use crate::report::table::render;
use crate::result::Direction;
use crate::units::{Bytes, digits, nanos};

/// One way of using the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// Which.
    pub what: String,
    /// Operations a second.
    pub per_s: f64,
    /// 10⁶ bytes a second.
    pub mb_s: f64,
    /// How long an operation takes.
    pub latency: Percentiles,
}

/// Measures all, each for `span`; files lie below `folder`.
///
/// # Errors
/// What the disk or the loopback interface reports.
pub fn measure(folder: &Path, span: Duration, mut done: impl FnMut(&Limit)) -> Result<Vec<Limit>> {
    let mut limits = Vec::new();
    let mut add = |limit: Limit| {
        done(&limit);
        limits.push(limit);
    };
    let path = folder.join(format!("perf-limit-{}", std::process::id()));
    let file = disk::TestFile::create(&path).with_context(|| path.display().to_string())?;
    for case in disk::CASES {
        add(file.measure(case, span)?);
    }
    drop(file);
    add(loopback_stream(span)?);
    add(loopback_round_trips(span)?);
    add(memory_copy(span));
    Ok(limits)
}

/// What bounds the bytes of a load: the disk for one that writes, the loopback interface for one
/// that reads, nothing for one that moves none. Its name and 10⁶ bytes a second.
pub(crate) fn bound(limits: &[Limit], direction: Direction) -> Option<(&'static str, f64)> {
    let (name, start) = match direction {
        Direction::Produce => ("of disk write", "disk write, "),
        Direction::Consume => ("of loopback", "loopback stream"),
        Direction::Coordinate => return None,
    };
    let of_kind = limits.iter().filter(|limit| limit.what.starts_with(start));
    Some((name, of_kind.map(|limit| limit.mb_s).max_by(f64::total_cmp)?))
}

/// Of these, a write of 4 KiB and its sync, one at a time: what a single small record waits for.
#[must_use]
pub fn lone_sync(limits: &[Limit]) -> Option<&Limit> {
    let name = disk::LONE_SYNC.to_string();
    limits.iter().find(|limit| limit.what == name)
}

/// The table of limits.
#[must_use]
pub fn table(limits: &[Limit]) -> String {
    let (head, rows) = cells(limits);
    render(&head, &rows)
}

/// The table's head and rows.
pub(crate) fn cells(limits: &[Limit]) -> ([&'static str; 6], Vec<Vec<String>>) {
    let rows = limits
        .iter()
        .map(|limit| {
            let latency = &limit.latency;
            let mut row = vec![limit.what.clone(), digits(limit.per_s), digits(limit.mb_s)];
            row.extend([latency.p50, latency.p99, latency.max].map(|ns| match latency.count {
                0 => "-".to_owned(),
                _ => nanos(ns),
            }));
            row
        })
        .collect();
    (["limit", "per s", "MB/s", "p50", "p99", "max"], rows)
}

fn loopback_stream(span: Duration) -> Result<Limit> {
    let (mut near, mut far) = pair()?;
    let reader = thread::spawn(move || {
        let mut room = vec![0; STREAM_PIECE];
        let mut total = 0_u64;
        while let Ok(read @ 1..) = far.read(&mut room) {
            total += read as u64;
        }
        total
    });
    let started = Instant::now();
    let piece = vec![7; STREAM_PIECE];
    let mut writes = 0;
    while started.elapsed() < span {
        near.write_all(&piece)?;
        writes += 1;
    }
    drop(near);
    let total = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Limit {
        what: format!("loopback stream, {} writes", Bytes(STREAM_PIECE as u64)),
        per_s: f64::from(writes) / seconds,
        mb_s: total as f64 / 1e6 / seconds,
        ..Limit::default()
    })
}

fn loopback_round_trips(span: Duration) -> Result<Limit> {
    let (mut near, mut far) = pair()?;
    let echo = thread::spawn(move || {
        let mut room = [0; ROUND_TRIP_BYTES];
        while far.read_exact(&mut room).is_ok() && far.write_all(&room).is_ok() {}
    });
    let mut latency = histogram();
    let mut room = [3; ROUND_TRIP_BYTES];
    let started = Instant::now();
    while started.elapsed() < span {
        let sent = Instant::now();
        near.write_all(&room)?;
        near.read_exact(&mut room)?;
        latency.record(sent.elapsed().as_nanos() as u64)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    drop(near);
    echo.join().map_err(|_| anyhow!("the echo panicked"))?;
    let per_s = latency.len() as f64 / seconds;
    Ok(Limit {
        what: format!("loopback round trip, {ROUND_TRIP_BYTES} B"),
        per_s,
        mb_s: per_s * ROUND_TRIP_BYTES as f64 / 1e6,
        latency: Percentiles::of(&latency),
    })
}

fn memory_copy(span: Duration) -> Limit {
    // Larger than any cache.
    let from = vec![1_u8; COPY_BYTES];
    let mut to = vec![0_u8; COPY_BYTES];
    let started = Instant::now();
    let mut copies = 0;
    while started.elapsed() < span {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        copies += 1;
    }
    let per_s = f64::from(copies) / started.elapsed().as_secs_f64();
    Limit {
        what: format!("memory copy, {}", Bytes(COPY_BYTES as u64)),
        per_s,
        mb_s: per_s * COPY_BYTES as f64 / 1e6,
        ..Limit::default()
    }
}

fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

const STREAM_PIECE: usize = 1 << 20;
const ROUND_TRIP_BYTES: usize = 128;
const COPY_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_found() {
        let folder = tempfile::tempdir_in(env!("OUT_DIR")).expect("a folder");
        let limits = measure(folder.path(), Duration::from_millis(20), |_| {}).expect("it can");
        assert!(limits.len() > 6);
        assert!(limits.iter().all(|limit| limit.per_s > 0.0 && limit.mb_s > 0.0), "{limits:?}");
        assert!(bound(&limits, Direction::Produce).is_some_and(|(_, mb_s)| mb_s > 0.0));
        assert!(bound(&limits, Direction::Consume).is_some());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "no file stays");
    }
}
