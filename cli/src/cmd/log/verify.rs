//! `odradek log verify`: every checksum, offset and index of partition directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use engine::batch::{BatchView, Records};
use engine::compress::Codecs;

use super::segment::{SegmentReader, Tail, base_offset, extension, read_index, read_time_index};
use crate::client::batches::open;

/// Checks directories and prints what is wrong; an error if anything is.
pub(crate) fn run(paths: &[PathBuf]) -> Result<()> {
    let mut faults = 0;
    for path in paths {
        for dir in partition_dirs(path)? {
            let mut report = verify_partition(&dir)?;
            report.faults.extend(report.torn.take());
            for fault in &report.faults {
                println!("{}: {fault}", dir.display());
            }
            println!(
                "{}: {} segments, {} batches, {} records, {} bytes, offsets {} to {}: {}",
                dir.display(),
                report.segments,
                report.batches,
                report.records,
                report.bytes,
                report.first_offset.unwrap_or(0),
                report.next_offset,
                if report.faults.is_empty() { "sound" } else { "NOT SOUND" }
            );
            faults += report.faults.len();
        }
    }
    if faults > 0 {
        bail!("{faults} faults found; nothing was changed");
    }
    Ok(())
}

/// The path itself if it has segments, else the directories in it that have.
pub(super) fn partition_dirs(path: &Path) -> Result<Vec<PathBuf>> {
    if !segments(path)?.is_empty() {
        return Ok(vec![path.to_owned()]);
    }
    let mut dirs = Vec::new();
    for entry in fs::read_dir(path)? {
        let dir = entry?.path();
        if dir.is_dir() && !segments(&dir)?.is_empty() {
            dirs.push(dir);
        }
    }
    dirs.sort();
    if dirs.is_empty() {
        bail!("{} holds no partition: no directory in it has a .log file", path.display());
    }
    Ok(dirs)
}

/// The `.log` files of a directory, by offset.
fn segments(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("can't read {}", dir.display()))?;
    let mut files: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|f| extension(f) == "log" && base_offset(f).is_ok());
    files.sort();
    Ok(files)
}

#[derive(Debug, Default)]
pub(super) struct Report {
    segments: usize,
    batches: u64,
    records: u64,
    bytes: u64,
    first_offset: Option<i64>,
    next_offset: i64,
    pub(super) last_epoch: i32,
    pub(super) producer_id_max: Option<i64>,
    pub(super) faults: Vec<String>,
    /// How the last segment ends, if not with a batch: what a crash leaves, and recovery mends.
    pub(super) torn: Option<String>,
}

pub(super) fn verify_partition(dir: &Path) -> Result<Report> {
    let mut report = Report { last_epoch: -1, ..Default::default() };
    let mut codecs = Codecs::default();
    for path in segments(dir)? {
        report.segments += 1;
        let base = base_offset(&path)?;
        report.next_offset = report.next_offset.max(base);
        let mut batches = BTreeMap::new();
        let tail = SegmentReader::open(&path)?.for_each(|position, batch| {
            batches.insert(position, batch.last_offset().0);
            verify_batch(&mut report, &mut codecs, (&path, position), batch);
            Ok(())
        })?;
        // A torn end is a fault if anything follows.
        report.faults.extend(report.torn.take());
        if let Tail::Broken(at, what) = tail {
            report.torn = Some(format!("{}: no batch at {at}: {what}", name(&path)));
        }
        verify_indexes(&mut report, &path, &batches)?;
    }
    Ok(report)
}

/// What is wrong with the indexes of one segment, named by one of them.
pub(crate) fn index_faults(index: &Path) -> Result<Vec<String>> {
    let log = index.with_extension("log");
    let (mut report, mut batches) = (Report::default(), BTreeMap::new());
    SegmentReader::open(&log)?.for_each(|position, batch| {
        batches.insert(position, batch.last_offset().0);
        report.next_offset = batch.next_offset().0;
        Ok(())
    })?;
    verify_indexes(&mut report, &log, &batches)?;
    let of_this = format!("{}: ", name(index));
    Ok(report.faults.into_iter().filter(|fault| fault.starts_with(&of_this)).collect())
}

fn verify_batch(
    report: &mut Report,
    codecs: &mut Codecs,
    (path, position): (&Path, u64),
    batch: &BatchView<'_>,
) {
    let at = format!("{} at {position}, offset {}", name(path), batch.base_offset);
    report.batches += 1;
    report.bytes += batch.size() as u64;
    report.first_offset.get_or_insert(batch.base_offset.0);
    if batch.base_offset.0 < report.next_offset {
        report.faults.push(format!("{at}: offsets before {} were there", report.next_offset));
    }
    report.next_offset = batch.next_offset().0;
    if batch.leader_epoch.0 < report.last_epoch {
        let (epoch, last) = (batch.leader_epoch, report.last_epoch);
        report.faults.push(format!("{at}: leader epoch {epoch} after {last}"));
    }
    report.last_epoch = batch.leader_epoch.0;
    if batch.producer_id.0 >= 0 {
        report.producer_id_max = report.producer_id_max.max(Some(batch.producer_id.0));
    }
    if !batch.checksum_holds() {
        report.faults.push(format!("{at}: the checksum does not match"));
        return;
    }
    match count_records(codecs, batch) {
        Ok(count) => report.records += count,
        Err(e) => report.faults.push(format!("{at}: {e:#}")),
    }
}

fn count_records(codecs: &mut Codecs, batch: &BatchView<'_>) -> Result<u64> {
    let mut opened = Vec::new();
    let payload = open(codecs, batch, &mut opened)?;
    let mut last_delta = -1;
    let mut count = 0;
    for record in Records::new(payload, batch.records_count)? {
        let record = record?;
        if record.offset_delta <= last_delta || record.offset_delta > batch.last_offset_delta {
            bail!("offset delta {} after {last_delta}", record.offset_delta);
        }
        last_delta = record.offset_delta;
        count += 1;
    }
    Ok(count)
}

/// Each index entry must name a batch that is there.
fn verify_indexes(report: &mut Report, log: &Path, batches: &BTreeMap<u64, i64>) -> Result<()> {
    let index = log.with_extension("index");
    if index.exists() {
        for e in read_index(&index)? {
            let found = u64::try_from(e.position).ok().and_then(|p| batches.get(&p));
            if found.is_none_or(|&last| last < e.offset) {
                report.faults.push(format!(
                    "{}: offset {} is not at position {}",
                    name(&index),
                    e.offset,
                    e.position
                ));
            }
        }
    }
    let index = log.with_extension("timeindex");
    if index.exists() {
        let mut last = i64::MIN;
        for e in read_time_index(&index)? {
            if e.timestamp < last || e.offset >= report.next_offset {
                report.faults.push(format!(
                    "{}: timestamp {} with offset {} does not fit",
                    name(&index),
                    e.timestamp,
                    e.offset
                ));
            }
            last = e.timestamp;
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
