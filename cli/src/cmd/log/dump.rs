//! `odradek log dump`: what is in the files, in the words of Kafka's own dump tool.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use engine::batch::header::sequence_after;
use engine::batch::{BatchView, Record, Records, TimestampType};
use engine::compress::Codecs;
use engine::ids::Offset;
use engine::producer::txn_index::TxnIndex;

use super::records;
use super::segment::{SegmentReader, Tail, base_offset, extension, read_index, read_time_index};
use crate::client::batches::open;

/// How much to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DumpOptions {
    /// Every record, not only the batches.
    pub(crate) deep_iteration: bool,
    /// Keys and values too.
    pub(crate) contents: bool,
    /// Of records nothing else.
    pub(crate) contents_only: bool,
    /// What keys and values are.
    pub(crate) decoder: Decoder,
    /// Of the file, about: no batch that begins behind it.
    pub(crate) bytes_max: u64,
}

/// What keys and values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoder {
    Text,
    /// Records of the cluster's metadata.
    Metadata,
    /// Records about groups.
    Groups,
}

/// Prints files, or every known file of a directory.
pub(crate) fn run(paths: &[PathBuf], options: DumpOptions) -> Result<()> {
    for path in paths {
        if !path.is_dir() {
            dump(path, options)?;
            continue;
        }
        let mut files: Vec<_> = fs::read_dir(path)
            .with_context(|| format!("can't read {}", path.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.retain(|f| f.is_file());
        files.sort();
        for file in &files {
            dump(file, options)?;
        }
    }
    Ok(())
}

/// Prints one file.
pub(crate) fn dump(path: &Path, options: DumpOptions) -> Result<()> {
    println!("Dumping {}", path.display());
    match extension(path) {
        "log" | "checkpoint" if base_offset(path).is_ok() || extension(path) == "checkpoint" => {
            dump_batches(path, options)
        }
        "index" => {
            for e in read_index(path)? {
                println!("offset: {} position: {}", e.offset, e.position);
            }
            Ok(())
        }
        "timeindex" => {
            for e in read_time_index(path)? {
                println!("timestamp: {} offset: {}", e.timestamp, e.offset);
            }
            Ok(())
        }
        "snapshot" => dump_producers(path),
        "txnindex" => dump_aborted(path),
        _ => dump_text(path),
    }
}

fn dump_batches(path: &Path, options: DumpOptions) -> Result<()> {
    match (base_offset(path), snapshot_end(path)) {
        _ if path.file_name().is_some_and(|name| name == "bootstrap.checkpoint") => {
            println!("KRaft bootstrap snapshot");
        }
        (_, Some((end, epoch))) => println!("Snapshot end offset: {end}, epoch: {epoch}"),
        (Ok(base), None) => println!("Log starting offset: {base}"),
        (Err(_), None) => {}
    }
    let mut codecs = Codecs::default();
    let mut opened = Vec::new();
    let tail = SegmentReader::open(path)?.for_each(|position, batch| {
        if position >= options.bytes_max {
            return Ok(());
        }
        print_batch(position, batch);
        match options.deep_iteration {
            true => print_records(batch, &mut codecs, &mut opened, options),
            false => Ok(()),
        }
    })?;
    match tail {
        Tail::None => {}
        Tail::Zeros(bytes) => println!("{bytes} bytes of zeros follow: set aside, not written"),
        Tail::Broken(at, what) => println!("No batch at position {at}: {what}"),
    }
    Ok(())
}

/// Offset and epoch of the last record that a snapshot of the metadata covers: they are its name.
fn snapshot_end(path: &Path) -> Option<(i64, i32)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".checkpoint")?;
    let (end, epoch) = name.split_once('-')?;
    Some((end.parse().ok()?, epoch.parse().ok()?))
}

fn print_batch(position: u64, batch: &BatchView<'_>) {
    println!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
         producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} \
         deleteHorizonMs: {} position: {position} {}: {} size: {} magic: 2 compresscodec: {} \
         crc: {} isvalid: {}",
        batch.base_offset,
        batch.last_offset(),
        batch.records_count,
        batch.base_sequence,
        batch.last_sequence(),
        batch.producer_id,
        batch.producer_epoch,
        batch.leader_epoch,
        batch.attributes.is_transactional(),
        batch.attributes.is_control(),
        if batch.attributes.has_delete_horizon() {
            format!("OptionalLong[{}]", batch.base_timestamp)
        } else {
            "OptionalLong.empty".to_owned()
        },
        dated(batch),
        batch.max_timestamp,
        batch.size(),
        batch.attributes.codec().map_or("unknown", engine::compress::Codec::name),
        batch.crc,
        batch.checksum_holds()
    );
}

fn print_records(
    batch: &BatchView<'_>,
    codecs: &mut Codecs,
    opened: &mut Vec<u8>,
    options: DumpOptions,
) -> Result<()> {
    let payload = open(codecs, batch, opened)?;
    for record in Records::new(payload, batch.records_count)? {
        let record = record?;
        let mut parts = Vec::new();
        if !options.contents_only {
            parts.push(metadata_of(batch, &record));
        }
        let (key, value) = (record.key, record.value);
        match batch.attributes.is_control() {
            true if options.contents_only => {}
            true => parts.push(records::of_control(key, value)?),
            false => {
                parts.extend(contents_of(record.offset(batch.header()).0, key, value, options))
            }
        }
        match parts.is_empty() {
            true => println!(),
            false => println!("| {}", parts.join(" ")),
        }
    }
    Ok(())
}

/// Where a record is, and how large.
fn metadata_of(batch: &BatchView<'_>, record: &Record<'_>) -> String {
    let sequence = match batch.base_sequence {
        ..0 => -1,
        base => sequence_after(base, record.offset_delta),
    };
    let headers: Vec<_> = record.headers.map(|it| String::from_utf8_lossy(it.key)).collect();
    format!(
        "offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
        record.offset(batch.header()),
        dated(batch),
        record.timestamp(batch.header()),
        record.key.map_or(-1, |k| k.len() as i64),
        record.value.map_or(-1, |v| v.len() as i64),
        headers.join(",")
    )
}

/// Key and value, as far as there is something to say of them.
fn contents_of(
    offset: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    options: DumpOptions,
) -> impl Iterator<Item = String> {
    let text = |bytes: Option<&[u8]>| bytes.map(|it| String::from_utf8_lossy(it).into_owned());
    let (key, value) = match options.decoder {
        _ if !options.contents => (None, None),
        Decoder::Text => (text(key), text(value)),
        Decoder::Metadata => records::of_metadata(offset, value),
        Decoder::Groups => records::of_groups(offset, key, value),
    };
    let key = key.map(|key| format!("key: {key}"));
    key.into_iter().chain(value.map(|value| format!("payload: {value}")))
}

/// What the timestamps of a batch are.
fn dated(batch: &BatchView<'_>) -> &'static str {
    match batch.attributes.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn dump_producers(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    for p in engine::producer::snapshot::decode(&bytes)? {
        println!("{p:?}");
    }
    Ok(())
}

fn dump_aborted(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    for entry in TxnIndex::decode(&bytes, Offset(base_offset(path)?))?.entries() {
        println!("{entry:?}");
    }
    Ok(())
}

fn dump_text(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.contains('\0') => {
            print!("{text}");
            if !text.ends_with('\n') {
                println!();
            }
        }
        _ => println!("{} bytes of a kind that has no text form", bytes.len()),
    }
    Ok(())
}
