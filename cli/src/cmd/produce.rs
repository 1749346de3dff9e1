//! `odradek produce`: lines in, records out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use engine::batch::NewRecord;
use engine::compress::{Codec as BatchCodec, Compression};

use super::topic::key_values;
use crate::args::{Acks, Codec, ProduceArgs};
use crate::client::cluster::Cluster;
use crate::client::producer::{Producer, ProducerOptions};

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
        compression: Compression::new(match args.compression {
            Codec::None => BatchCodec::None,
            Codec::Gzip => BatchCodec::Gzip,
            Codec::Snappy => BatchCodec::Snappy,
            Codec::Lz4 => BatchCodec::Lz4,
            Codec::Zstd => BatchCodec::Zstd,
        }),
        batch_bytes_max: args.batch_size,
    };
    let cluster = Cluster::connect(&args.bootstrap.bootstrap_server)?;
    let mut producer = Producer::new(cluster, &args.topic, options)?;
    send_lines(args, &mut producer, &lines(input))?;
    producer.flush()?;
    if args.progress {
        eprintln!("\r{} records sent", producer.records_sent());
    }
    Ok(())
}

/// Sends lines as they come; whatever waits is sent as soon as the input pauses.
fn send_lines(
    args: &ProduceArgs,
    producer: &mut Producer,
    lines: &Receiver<io::Result<Vec<u8>>>,
) -> Result<()> {
    let headers = key_values(&args.headers)?;
    let headers: Vec<(&[u8], Option<&[u8]>)> =
        headers.iter().map(|(k, v)| (k.as_bytes(), Some(v.as_bytes()))).collect();
    let separator = args.key_separator.as_deref().map(str::as_bytes);
    let mut shown = Instant::now();
    loop {
        let line = match lines.recv_timeout(LINGER) {
            Ok(line) => line.context("can't read the input")?,
            Err(RecvTimeoutError::Timeout) => {
                producer.flush()?;
                let Ok(line) = lines.recv() else { return Ok(()) };
                line.context("can't read the input")?
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let (key, value) = split(&line, separator);
        let timestamp = now_ms();
        producer.push(
            args.partition,
            &NewRecord { timestamp, key, value: Some(value), headers: &headers },
        )?;
        if args.progress && shown.elapsed() > PROGRESS_EVERY && io::stderr().is_terminal() {
            eprint!("\r{} records sent", producer.records_sent());
            shown = Instant::now();
        }
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

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
