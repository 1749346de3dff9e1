//! `odradek consume`: prints the records of a topic.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use anyhow::Result;

use crate::args::ConsumeArgs;
use crate::client::cluster::Cluster;
use crate::client::fetcher::{EARLIEST, Fetcher, LATEST};
use crate::format::Format;

/// Prints records until the limit, the end (with `--exit-at-end`) or an interrupt.
pub(crate) fn run(args: &ConsumeArgs) -> Result<()> {
    let format = if args.json {
        Format::Json
    } else {
        Format::parse(args.format.as_deref().unwrap_or("%v\\n"))?
    };
    let cluster = Cluster::connect(&args.bootstrap.bootstrap_server)?;
    let mut fetcher = Fetcher::new(cluster, &args.topic)?;
    let ends = seek(args, &mut fetcher)?;
    let mut left = args.max_messages.unwrap_or(u64::MAX);
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    while left > 0 && !(args.exit_at_end && at_end(&fetcher, &ends)) {
        let flow = fetcher.poll(WAIT_MS, |record| {
            // What came after the end as it was at the start is left for the next time.
            let past = args.exit_at_end
                && ends.get(&record.partition).is_some_and(|&end| record.offset >= end);
            if past {
                return Ok(ControlFlow::Continue(()));
            }
            format.write(&mut out, record)?;
            left -= 1;
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        let flow = match flow {
            // The reader of a pipe has seen enough.
            Err(e) if is_broken_pipe(&e) => return Ok(()),
            other => other?,
        };
        match out.flush() {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// Sets where each partition begins and returns where each ends now.
fn seek(args: &ConsumeArgs, fetcher: &mut Fetcher) -> Result<BTreeMap<i32, i64>> {
    let partitions: Vec<i32> = if args.partition.is_empty() {
        fetcher.partitions().iter().map(|p| p.index).collect()
    } else {
        args.partition.clone()
    };
    let mut ends = BTreeMap::new();
    for partition in partitions {
        let end = fetcher.offset_at(partition, LATEST)?;
        let start = match (args.offset, args.timestamp) {
            (Some(offset), _) if offset >= 0 => offset,
            (Some(back), _) => (end + back).max(fetcher.offset_at(partition, EARLIEST)?),
            (None, Some(ms)) => match fetcher.offset_at(partition, ms)? {
                -1 => end,
                found => found,
            },
            (None, None) if args.from_beginning => fetcher.offset_at(partition, EARLIEST)?,
            (None, None) => end,
        };
        fetcher.seek(partition, start);
        ends.insert(partition, end);
    }
    Ok(ends)
}

fn at_end(fetcher: &Fetcher, ends: &BTreeMap<i32, i64>) -> bool {
    fetcher.positions().iter().all(|(p, &at)| ends.get(p).is_none_or(|&end| at >= end))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// How long one Fetch waits for new records.
const WAIT_MS: i32 = 500;
