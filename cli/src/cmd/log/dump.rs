//! `odradek log dump`: what is in the files, in the words of Kafka's own dump tool.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use engine::batch::{BatchView, Records, TimestampType};
use engine::compress::Codecs;
use engine::ids::Offset;
use engine::producer::txn_index::TxnIndex;
use wire::record::control::ControlRecord;
use wire::record::metadata::MetadataRecord;

use super::segment::{SegmentReader, Tail, base_offset, extension, read_index, read_time_index};
use crate::client::fetcher::open;

/// How much to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DumpOptions {
    /// Every record, not only the batches.
    pub(crate) deep_iteration: bool,
    /// Values are cluster metadata records.
    pub(crate) cluster_metadata_decoder: bool,
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

fn dump(path: &Path, options: DumpOptions) -> Result<()> {
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
    if let Ok(base) = base_offset(path) {
        println!("Log starting offset: {base}");
    }
    let mut codecs = Codecs::default();
    let mut opened = Vec::new();
    let tail = SegmentReader::open(path)?.for_each(|position, batch| {
        print_batch(position, batch);
        let deep = options.deep_iteration || options.cluster_metadata_decoder;
        if deep { print_records(batch, &mut codecs, &mut opened, options) } else { Ok(()) }
    })?;
    match tail {
        Tail::None => {}
        Tail::Zeros(bytes) => println!("{bytes} bytes of zeros follow: set aside, not written"),
        Tail::Broken(at, what) => println!("No batch at position {at}: {what}"),
    }
    Ok(())
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
            batch.base_timestamp.to_string()
        } else {
            "none".to_owned()
        },
        match batch.attributes.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        },
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
        print!(
            "| offset: {} timestamp: {} keySize: {} valueSize: {}",
            record.offset(batch.header()),
            record.timestamp(batch.header()),
            record.key.map_or(-1, |k| k.len() as i64),
            record.value.map_or(-1, |v| v.len() as i64)
        );
        let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        if batch.attributes.is_control() {
            match ControlRecord::decode(key, value) {
                Ok(control) => println!(" control: {control:?}"),
                Err(e) => println!(" control record of another kind: {e}"),
            }
        } else if options.cluster_metadata_decoder {
            match MetadataRecord::decode(value) {
                Ok((decoded, version)) => println!(" version: {version} payload: {decoded:?}"),
                Err(e) => println!(" not a metadata record: {e}"),
            }
        } else {
            let headers: Vec<_> =
                record.headers.map(|h| String::from_utf8_lossy(h.key).into_owned()).collect();
            println!(
                " headerKeys: [{}] key: {} payload: {}",
                headers.join(","),
                String::from_utf8_lossy(key),
                String::from_utf8_lossy(value)
            );
        }
    }
    Ok(())
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
