//! `kafka-dump-log`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use super::{Failed, parse, refuse_unsupported, short};
use crate::cmd::log::dump::{Decoder, DumpOptions, dump};
use crate::cmd::log::segment::{extension, read_index, read_time_index};
use crate::cmd::log::verify::index_faults;

/// Parse a log file and dump its contents to the console.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true)]
struct Options {
    /// Files, with commas between them.
    #[arg(long)]
    files: Option<String>,
    /// Print the records, not only the batches.
    #[arg(long)]
    deep_iteration: bool,
    /// Print the records' keys and values.
    #[arg(long)]
    print_data_log: bool,
    /// Keys and values are cluster metadata.
    #[arg(long)]
    cluster_metadata_decoder: bool,
    /// Keys and values are from __consumer_offsets.
    #[arg(long)]
    offsets_decoder: bool,
    /// Read no further than this into a file.
    #[arg(long)]
    max_bytes: Option<u64>,
    /// Only check that indexes can be read.
    #[arg(long)]
    index_sanity_check: bool,
    /// Only check indexes against their logs.
    #[arg(long)]
    verify_index_only: bool,
    /// Print the records' keys and values alone.
    #[arg(long)]
    skip_record_metadata: bool,
    #[arg(long, hide = true)]
    transaction_log_decoder: bool,
    #[arg(long, hide = true)]
    share_group_state_decoder: bool,
    #[arg(long, hide = true)]
    remote_log_metadata_decoder: bool,
    #[arg(long, hide = true)]
    max_message_size: Option<u64>,
    /// The class that reads keys: the StringDecoder.
    #[arg(long, num_args = 0..=1, default_missing_value = STRING_DECODER)]
    key_decoder_class: Option<String>,
    /// The class that reads values: the StringDecoder.
    #[arg(long, num_args = 0..=1, default_missing_value = STRING_DECODER)]
    value_decoder_class: Option<String>,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, Failed> {
    let options: Options = parse("kafka-dump-log", args)?;
    let Some(files) = &options.files else {
        return Err("Missing required argument \"[files]\"".into());
    };
    let other = |class: &Option<String>| class.as_deref().is_some_and(|it| it != STRING_DECODER);
    let decoders = "it is for logs that this version of Odradek does not write";
    refuse_unsupported(&[
        ("key-decoder-class", other(&options.key_decoder_class), "decoders are Java classes"),
        ("value-decoder-class", other(&options.value_decoder_class), "decoders are Java classes"),
        ("transaction-log-decoder", options.transaction_log_decoder, decoders),
        ("share-group-state-decoder", options.share_group_state_decoder, decoders),
        ("remote-log-metadata-decoder", options.remote_log_metadata_decoder, decoders),
        ("max-message-size", options.max_message_size.is_some(), "messages have no limit here"),
    ])?;
    let decoder = match (options.cluster_metadata_decoder, options.offsets_decoder) {
        (true, _) => Decoder::Metadata,
        (_, true) => Decoder::Groups,
        _ => Decoder::Text,
    };
    let contents = options.print_data_log || decoder != Decoder::Text;
    let how = DumpOptions {
        deep_iteration: options.deep_iteration || contents,
        contents,
        contents_only: contents && options.skip_record_metadata,
        decoder,
        bytes_max: options.max_bytes.unwrap_or(u64::MAX),
    };
    for file in files.split(',').map(|file| PathBuf::from(file.trim())) {
        one(&file, &options, how)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn one(file: &Path, options: &Options, how: DumpOptions) -> Result<(), Failed> {
    let is_index = matches!(extension(file), "index" | "timeindex");
    if !is_index || !(options.index_sanity_check || options.verify_index_only) {
        return Ok(dump(file, how).map_err(short)?);
    }
    println!("Dumping {}", file.display());
    let read = match extension(file) {
        "index" => read_index(file).map(|_| ()),
        _ => read_time_index(file).map(|_| ()),
    };
    read.map_err(short)?;
    if options.index_sanity_check {
        println!("{} passed sanity check.", file.display());
        return Ok(());
    }
    let faults = index_faults(file).map_err(short)?;
    if !faults.is_empty() {
        eprintln!("Mismatches in :{}", file.display());
        faults.iter().for_each(|fault| eprintln!("  {fault}"));
    }
    Ok(())
}

const STRING_DECODER: &str = "org.apache.kafka.tools.api.StringDecoder";
