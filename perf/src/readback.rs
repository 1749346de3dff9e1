//! Reading a topic back after a run, and checking every batch of it.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use wire::error_code::ErrorCode;
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::primitives::{Records, Uuid};

use crate::batch::next_batch;
use crate::control::{Control, TopicView, check};
use crate::load::template::FIRST_BY_ID;
use crate::setup::{Bounds, bounds, brokers};
use crate::verify::{Checker, Lanes, Tally, sum};

/// A partition being read.
struct Reader {
    partition: u32,
    next: i64,
    end: i64,
    checker: Checker,
}

/// Reads at most `limit` bytes of the topic, from its beginning, and compares with what was sent.
/// `progress` hears how many bytes were read.
pub(crate) fn read_back(
    control: &mut Control,
    topic: &TopicView,
    run: u32,
    lanes: &Lanes,
    limit: u64,
    mut progress: impl FnMut(u64),
) -> Result<Tally> {
    let Bounds { start, end } = bounds(control, topic)?;
    let mut sent: HashMap<u32, Vec<(u32, u64)>> = HashMap::new();
    for &(partition, lane, count) in &lanes.sent {
        sent.entry(partition).or_default().push((lane, count));
    }
    let mut tallies = Vec::new();
    let mut left = limit;
    for (address, partitions) in brokers(topic) {
        let mut control = Control::open(&address.to_string())?;
        let mut open: Vec<Reader> = Vec::new();
        let mut waiting = partitions.into_iter();
        loop {
            while open.len() < AT_ONCE && left > 0 {
                let Some(partition) = waiting.next() else { break };
                let (start, end) = (start[partition as usize], end[partition as usize]);
                let checker = match start {
                    0 => Checker::new(run),
                    // Retention took the beginning.
                    _ => Checker::starting_anywhere(run),
                };
                open.push(Reader { partition, next: start, end, checker });
            }
            if open.is_empty() || left == 0 {
                break;
            }
            let read = fetch(&mut control, topic, &mut open)?;
            left = left.saturating_sub(read);
            progress(limit - left);
            let mut at = 0;
            while at < open.len() {
                if open[at].next < open[at].end && left > 0 {
                    at += 1;
                    continue;
                }
                let Reader { partition, next, end, checker } = open.swap_remove(at);
                let sent = sent.get(&partition).map_or(&[][..], Vec::as_slice);
                tallies.push(checker.close(sent, &lanes.failed, next >= end));
            }
        }
        if left == 0 && waiting.next().is_some() {
            tallies.push(Tally::default());
        }
    }
    Ok(sum(&tallies))
}

/// One fetch of all that are open; bytes read.
fn fetch(control: &mut Control, topic: &TopicView, open: &mut [Reader]) -> Result<u64> {
    let by_id = control.versions().of::<FetchRequest<'_>>()? >= FIRST_BY_ID;
    let asked: Vec<_> = open
        .iter()
        .map(|reader| FetchPartition {
            partition: reader.partition as i32,
            fetch_offset: reader.next,
            partition_max_bytes: PART_BYTES,
            ..Default::default()
        })
        .collect();
    let topics = [FetchTopic {
        topic: if by_id { "" } else { &topic.name },
        topic_id: if by_id { topic.id } else { Uuid::ZERO },
        partitions: (&asked).into(),
    }];
    let request = FetchRequest {
        max_wait_ms: 1000,
        min_bytes: 1,
        max_bytes: ALL_BYTES,
        topics: (&topics).into(),
        ..Default::default()
    };
    let (answer, _): (FetchResponse<'_>, _) = control.call(&request)?;
    check(answer.error_code, "Fetch")?;
    let (mut bytes, mut moved) = (0, false);
    for part in answer.responses.iter().flat_map(|topic| topic.partitions.to_vec()) {
        let index = part.partition_index.cast_unsigned();
        let reader = open.iter_mut().find(|reader| reader.partition == index);
        let reader = reader.context("an answer about a partition that was not asked for")?;
        if part.error_code == ErrorCode::OFFSET_OUT_OF_RANGE.0 {
            ensure!(part.log_start_offset > reader.next, "an offset within the log is refused");
            reader.next = part.log_start_offset;
            reader.checker.forgive_the_past();
            moved = true;
            continue;
        }
        check(part.error_code, "Fetch")?;
        let Some(Records::Inline(mut records)) = part.records else { continue };
        bytes += records.len() as u64;
        while let Some(batch) = next_batch(&mut records)? {
            if batch.next_offset() > reader.next {
                reader.next = batch.next_offset();
                reader.checker.batch(&batch, |_, _| {});
            }
        }
    }
    ensure!(bytes > 0 || moved, "the broker brings nothing of {} partitions", open.len());
    Ok(bytes)
}

/// Partitions in one fetch.
const AT_ONCE: usize = 64;
const PART_BYTES: i32 = 4 << 20;
const ALL_BYTES: i32 = 16 << 20;
