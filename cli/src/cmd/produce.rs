//! `odradek produce`: lines in, records out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use engine::batch::NewRecord;
use engine::compress::{Codec as BatchCodec, Compression};

use super::topic::key_values;
use crate::args::{Acks, Codec, ProduceArgs};
use crate::client::cluster::Cluster;
use crate::client::producer::{Producer, ProducerOptions};
use crate::client::times::now_ms;

/// Sends every line of the input as a record.
pub(crate) fn run(args: &ProduceArgs) -> Result<()> {
    let input: Box<dyn BufRead + Send> = match &args.file {
        Some(path) => {
            let file =
                File::open(path).with_context(|| format!("can't read {}", path.display()))?;
            Box::new(BufReader::with_capacity(1 << 20, file))
        }
        None => Box::new(BufReader::new(io::stdin())),
    };
    let options = ProducerOptions {
        acks: match args.acks {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        },
        compression: args.compression.into(),
        batch_bytes_max: args.batch_size,
        ..Default::default()
    };
    let cluster = Cluster::connect(&args.bootstrap.bootstrap_server)?;
    let mut producer = Producer::new(cluster, &args.topic, options)?;
    let headers = key_values(&args.headers)?;
    let headers: Vec<_> = headers.iter().map(|(k, v)| (k.as_bytes(), Some(v.as_bytes()))).collect();
    let separator = args.key_separator.as_deref().map(str::as_bytes);
    let pace = Pace {
        linger: LINGER,
        partition: args.partition,
        headers: &headers,
        progress: args.progress,
    };
    send_lines(input, &mut producer, pace, |_, line| {
        let (key, value) = split(line, separator);
        Ok(Line { key, value: Some(value), headers: Vec::new() })
    })?;
    if args.progress {
        eprintln!("\r{} records sent", producer.records_sent());
    }
    Ok(())
}

/// A header's key and value.
pub(crate) type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// A record, as a line of the input tells of it.
pub(crate) struct Line<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<Header<'a>>,
}

/// How lines are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace<'a> {
    /// How long a record waits for others; none to send each on its own.
    pub(crate) linger: Duration,
    /// The partition for all, instead of one by key or in turn.
    pub(crate) partition: Option<i32>,
    /// Of every record, before its own.
    pub(crate) headers: &'a [Header<'a>],
    /// Told on standard error.
    pub(crate) progress: bool,
}

/// Sends lines as they come; whatever waits is sent as soon as the input pauses. Lines are counted
/// from 1.
pub(crate) fn send_lines(
    input: Box<dyn BufRead + Send>,
    producer: &mut Producer,
    pace: Pace<'_>,
    mut parse: impl for<'l> FnMut(u64, &'l [u8]) -> Result<Line<'l>>,
) -> Result<()> {
    let lines = lines(input);
    let mut shown = Instant::now();
    for number in 1.. {
        let line = match lines.recv_timeout(pace.linger) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                producer.flush()?;
                match lines.recv() {
                    Ok(line) => line,
                    Err(_) => break,
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let line = line.context("can't read the input")?;
        let Line { key, value, headers } = parse(number, &line)?;
        let headers: Vec<_> = pace.headers.iter().copied().chain(headers).collect();
        let record = NewRecord { timestamp: now_ms(), key, value, headers: &headers };
        producer.push(pace.partition, &record)?;
        if pace.linger.is_zero() {
            producer.flush()?;
        }
        if pace.progress && shown.elapsed() > PROGRESS_EVERY && io::stderr().is_terminal() {
            eprint!("\r{} records sent", producer.records_sent());
            shown = Instant::now();
        }
    }
    producer.flush()
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self::new(match codec {
            Codec::None => BatchCodec::None,
            Codec::Gzip => BatchCodec::Gzip,
            Codec::Snappy => BatchCodec::Snappy,
            Codec::Lz4 => BatchCodec::Lz4,
            Codec::Zstd => BatchCodec::Zstd,
        })
    }
}

/// Reads lines on a thread of its own, so that a pause in the input is seen.
fn lines(mut input: Box<dyn BufRead + Send>) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(LINES_AHEAD);
    thread::spawn(move || {
        loop {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            if line.last() == Some(&b'\n') {
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
            }
            let sent = match read {
                Ok(0) => return,
                Ok(_) => sender.send(Ok(line)),
                Err(e) => {
                    // The receiver may have left, on an error of its own.
                    let _ = sender.send(Err(e));
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Key and value of a line; no key where there is no separator in it.
fn split<'a>(line: &'a [u8], separator: Option<&[u8]>) -> (Option<&'a [u8]>, &'a [u8]) {
    let Some(separator) = separator.filter(|s| !s.is_empty()) else { return (None, line) };
    match line.windows(separator.len()).position(|w| w == separator) {
        Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
        None => (None, line),
    }
}

/// How long a record waits for others before it is sent.
const LINGER: Duration = Duration::from_millis(5);

const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Lines read before they are sent: enough to fill batches while one is under way.
const LINES_AHEAD: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_first_separator_splits() {
        assert_eq!(split(b"a:b:c", Some(b":")), (Some(&b"a"[..]), &b"b:c"[..]));
        assert_eq!(split(b"a=>b", Some(b"=>")), (Some(&b"a"[..]), &b"b"[..]));
        assert_eq!(split(b"plain", Some(b":")), (None, &b"plain"[..]));
        assert_eq!(split(b"a:b", None), (None, &b"a:b"[..]));
    }
}
