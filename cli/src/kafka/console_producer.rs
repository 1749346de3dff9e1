//! `kafka-console-producer`.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use super::properties::Properties;
use super::{Failed, parse, refuse_unsupported, short, tell_deprecated};
use crate::args::Codec;
use crate::client::cluster::Cluster;
use crate::client::producer::{Producer, ProducerOptions, Turns};
use crate::cmd::produce::{Header, Line, Pace, send_lines};

/// Read data from standard input and publish it to Kafka.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true)]
struct Options {
    /// The servers to connect to, HOST1:PORT1,HOST2:PORT2.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// The topic to produce messages to.
    #[arg(long)]
    topic: Option<String>,
    /// Producer configurations, a file.
    #[arg(long, visible_alias = "producer.config", value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// A producer configuration; may be repeated.
    #[arg(long, visible_alias = "producer-property", value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    /// Configurations of the reader of lines, a file.
    #[arg(long, value_name = "FILE")]
    reader_config: Option<PathBuf>,
    /// A configuration of the reader of lines: parse.key, key.separator, parse.headers,
    /// headers.delimiter, headers.separator, headers.key.separator, ignore.error, null.marker.
    #[arg(long, visible_alias = "property", value_name = "KEY=VALUE")]
    reader_property: Vec<String>,
    /// The reader of lines; there is one.
    #[arg(long, default_value = LINE_READER)]
    line_reader: String,
    /// none, gzip, snappy, lz4 or zstd; gzip when none is named.
    #[arg(long, num_args = 0..=1, default_missing_value = "gzip")]
    compression_codec: Option<Codec>,
    /// Most bytes of a batch.
    #[arg(long)]
    batch_size: Option<usize>,
    /// The same.
    #[arg(long)]
    max_partition_memory_bytes: Option<usize>,
    /// How long a message waits for others.
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    /// Send messages one by one.
    #[arg(long)]
    sync: bool,
    /// all or -1, 1, 0.
    #[arg(long, allow_hyphen_values = true)]
    request_required_acks: Option<String>,
    /// How long the broker may wait for its followers.
    #[arg(long, value_name = "MS")]
    request_timeout_ms: Option<u64>,
    /// How often a batch is sent again.
    #[arg(long)]
    message_send_max_retries: Option<u32>,
    /// Before it is sent again.
    #[arg(long, value_name = "MS")]
    retry_backoff_ms: Option<u64>,
    #[arg(long, hide = true)]
    max_block_ms: Option<u64>,
    #[arg(long, hide = true)]
    max_memory_bytes: Option<u64>,
    #[arg(long, hide = true)]
    metadata_expiry_ms: Option<u64>,
    #[arg(long, hide = true)]
    socket_buffer_size: Option<i64>,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, Failed> {
    let options: Options = parse("kafka-console-producer", args)?;
    tell_deprecated("Warning:", args, &DEPRECATED);
    let Some(topic) = &options.topic else {
        return Err("Missing required argument \"[topic]\"".into());
    };
    let Some(bootstrap) = &options.bootstrap_server else {
        return Err("Missing required argument \"[bootstrap-server]\"".into());
    };
    refuse_unsupported(&[
        ("line-reader", options.line_reader != LINE_READER, "other readers are Java classes"),
        ("max-block-ms", options.max_block_ms.is_some(), "metadata is waited for 10 s"),
        ("max-memory-bytes", options.max_memory_bytes.is_some(), "one batch a partition is kept"),
        ("metadata-expiry-ms", options.metadata_expiry_ms.is_some(), "nothing expires"),
        ("socket-buffer-size", options.socket_buffer_size.is_some(), "the system chooses it"),
    ])?;
    let format = line_format(&options)?;
    let (how, linger, client_id) = producer(&options)?;
    let cluster = Cluster::connect_as(bootstrap, &client_id).map_err(short)?;
    let mut producer = Producer::new(cluster, topic, how).map_err(short)?;
    let stdin = BufReader::new(io::stdin());
    let prompts = io::stdin().is_terminal() && io::stdout().is_terminal();
    let input: Box<dyn BufRead + Send> =
        if prompts { Box::new(BufReader::new(Prompting(stdin))) } else { Box::new(stdin) };
    let linger = if options.sync { Duration::ZERO } else { linger };
    let pace = Pace { linger, partition: None, headers: &[], progress: false };
    send_lines(input, &mut producer, pace, |number, line| format.parse(number, line))
        .map_err(short)?;
    Ok(ExitCode::SUCCESS)
}

/// How to send: options win over properties, as in Kafka.
fn producer(options: &Options) -> Result<(ProducerOptions, Duration, String), Failed> {
    let (file, given) = (options.command_config.as_deref(), &options.command_property);
    let mut properties = Properties::of("--command-property", file, given)?;
    let client_id = properties.client_id("console-producer")?;
    let codecs = Codec::value_variants().iter();
    let codecs: Vec<_> = codecs
        .filter_map(|codec| Some((codec.to_possible_value()?.get_name().to_owned(), *codec)))
        .collect();
    let codecs: Vec<_> = codecs.iter().map(|(name, codec)| (name.as_str(), *codec)).collect();
    let acks = [("all", -1), ("-1", -1), ("1", 1), ("0", 0)];
    let mut asked = Properties::new("--request-required-acks");
    asked.add(
        &options.request_required_acks.iter().map(|it| format!("acks={it}")).collect::<Vec<_>>(),
    )?;
    let of_option = asked.choose("acks", &acks)?;
    let of_property = properties.choose("acks", &acks)?;
    let millis = |ms: Option<u64>| ms.map(Duration::from_millis);
    let codec = properties.choose("compression.type", &codecs)?;
    let batch = properties.parse("batch.size")?;
    let linger = properties.parse("linger.ms")?;
    let default = ProducerOptions::default();
    let how = ProducerOptions {
        acks: of_option.or(of_property).unwrap_or(-1),
        compression: options.compression_codec.or(codec).unwrap_or(Codec::None).into(),
        batch_bytes_max: options
            .max_partition_memory_bytes
            .or(options.batch_size)
            .or(batch)
            .unwrap_or(BATCH_BYTES),
        idempotent: properties.parse("enable.idempotence")?.unwrap_or(true),
        turns: Turns::Batches,
        delivery_timeout: millis(properties.parse("delivery.timeout.ms")?)
            .unwrap_or(default.delivery_timeout),
        retries: options.message_send_max_retries.or(properties.parse("retries")?),
        retry_pause: millis(options.retry_backoff_ms.or(properties.parse("retry.backoff.ms")?))
            .unwrap_or(default.retry_pause),
        request_timeout: millis(
            options.request_timeout_ms.or(properties.parse("request.timeout.ms")?),
        )
        .unwrap_or(default.request_timeout),
    };
    properties.refuse_rest()?;
    Ok((how, millis(options.timeout.or(linger)).unwrap_or(LINGER), client_id))
}

/// How a line is taken apart.
#[derive(Debug)]
struct LineFormat {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: String,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    null_marker: Option<String>,
}

fn line_format(options: &Options) -> Result<LineFormat, Failed> {
    let (file, given) = (options.reader_config.as_deref(), &options.reader_property);
    let mut properties = Properties::of("--reader-property", file, given)?;
    let is_true =
        |text: Option<String>| text.is_some_and(|it| it.trim().eq_ignore_ascii_case("true"));
    let mut or = |key: &str, default: &str| properties.take(key).unwrap_or(default.to_owned());
    let (key_separator, headers_delimiter) =
        (or("key.separator", "\t"), or("headers.delimiter", "\t"));
    let headers_separator = or("headers.separator", ",");
    let headers_key_separator = or("headers.key.separator", ":");
    let format = LineFormat {
        parse_key: is_true(properties.take("parse.key")),
        parse_headers: is_true(properties.take("parse.headers")),
        ignore_error: is_true(properties.take("ignore.error")),
        key_separator,
        headers_delimiter,
        headers_separator,
        headers_key_separator,
        null_marker: properties.take("null.marker"),
    };
    properties.refuse_rest()?;
    if format.parse_headers && format.headers_separator == format.headers_key_separator {
        return Err("headers.separator and headers.key.separator may not be equal".into());
    }
    Ok(format)
}

impl LineFormat {
    fn parse<'l>(&self, number: u64, line: &'l [u8]) -> Result<Line<'l>> {
        let (headers, rest) = match self.parse_headers {
            true => {
                self.part(line, &self.headers_delimiter, "headers delimiter", (number, line))?
            }
            false => (None, line),
        };
        let (key, value) = match self.parse_key {
            true => self.part(rest, &self.key_separator, "key separator", (number, line))?,
            false => (None, rest),
        };
        let headers =
            self.unless_null(headers).map(|text| self.headers(number, text)).transpose()?;
        Ok(Line {
            key: self.unless_null(key),
            value: self.unless_null(Some(value)),
            headers: headers.unwrap_or_default(),
        })
    }

    /// What is before the mark, and what is behind it.
    fn part<'l>(
        &self,
        text: &'l [u8],
        mark: &str,
        what: &str,
        (number, line): (u64, &[u8]),
    ) -> Result<(Option<&'l [u8]>, &'l [u8])> {
        match split(text, mark) {
            Some((before, behind)) => Ok((Some(before), behind)),
            None if self.ignore_error => Ok((None, text)),
            None => {
                let line = String::from_utf8_lossy(line);
                bail!("No {what} found on line number {number}: '{line}'")
            }
        }
    }

    fn headers<'l>(&self, number: u64, text: &'l [u8]) -> Result<Vec<Header<'l>>> {
        let mut headers = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (pair, behind) = match split(text, &self.headers_separator) {
                Some((pair, behind)) => (pair, Some(behind)),
                None => (text, None),
            };
            rest = behind;
            match split(pair, &self.headers_key_separator) {
                Some((key, value)) => {
                    self.unless_null(Some(key))
                        .context("Header keys should not be equal to the null marker")?;
                    headers.push((key, self.unless_null(Some(value))));
                }
                None if self.ignore_error => headers.push((pair, None)),
                None => {
                    let pair = String::from_utf8_lossy(pair);
                    bail!("No header key separator found in pair '{pair}' on line number {number}")
                }
            }
        }
        Ok(headers)
    }

    fn unless_null<'l>(&self, text: Option<&'l [u8]>) -> Option<&'l [u8]> {
        text.filter(|text| self.null_marker.as_deref().map(str::as_bytes) != Some(*text))
    }
}

fn split<'l>(text: &'l [u8], mark: &str) -> Option<(&'l [u8], &'l [u8])> {
    let mark = mark.as_bytes();
    let at = text.windows(mark.len().max(1)).position(|window| window == mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

/// Shows `>` before each line that is typed.
struct Prompting<R>(R);

impl<R: io::Read> io::Read for Prompting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        out.write_all(b">")?;
        out.flush()?;
        // A terminal hands over line by line.
        self.0.read(buf)
    }
}

const LINE_READER: &str = "org.apache.kafka.tools.LineMessageReader";
const BATCH_BYTES: usize = 16_384;
const LINGER: Duration = Duration::from_millis(1000);

/// What Kafka will drop, and what stands for it.
const DEPRECATED: [(&str, &str); 3] = [
    ("--property", "--reader-property"),
    ("--producer-property", "--command-property"),
    ("--producer.config", "--command-config"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn format(properties: &[&str]) -> LineFormat {
        let args = properties.iter().map(|it| format!("--reader-property={it}"));
        let args: Vec<_> = args.map(OsString::from).collect();
        line_format(&parse("x", &args).expect("right")).expect("right")
    }

    #[test]
    fn lines_are_taken_apart_as_kafka_does() {
        let all = ["parse.key=true", "parse.headers=true", "null.marker=NUL"];
        let line = format(&all);
        let read = line.parse(1, b"h1:v1,h2:NUL\tk\tv\tw").expect("all three");
        assert_eq!((read.key, read.value), (Some(&b"k"[..]), Some(&b"v\tw"[..])));
        assert_eq!(read.headers, [(&b"h1"[..], Some(&b"v1"[..])), (b"h2", None)]);
        let read = line.parse(1, b"NUL\tNUL\tNUL").expect("nothing at all");
        assert!(read.key.is_none() && read.value.is_none() && read.headers.is_empty());
        let refused = line.parse(7, b"none").err().expect("no headers").to_string();
        assert_eq!(refused, "No headers delimiter found on line number 7: 'none'");
        let refused = line.parse(7, b"h\tk\tv").err().expect("no pair").to_string();
        assert_eq!(refused, "No header key separator found in pair 'h' on line number 7");
        let line = format(&["parse.key=true", "key.separator=:", "ignore.error=true"]);
        assert_eq!(line.parse(1, b"none").expect("ignored").value, Some(&b"none"[..]));
        assert_eq!(line.parse(1, b"a:b").expect("both").key, Some(&b"a"[..]));
    }

    #[test]
    fn options_win_over_properties() {
        let of = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(OsString::from).collect();
            producer(&parse("x", &args).expect("right"))
        };
        let (how, linger, id) = of(&[
            "--producer-property",
            "acks=1",
            "--request-required-acks",
            "0",
            "--compression-codec",
            "--command-property=linger.ms=5",
            "--command-property=client.id=me",
        ])
        .expect("right");
        assert_eq!((how.acks, linger, &*id), (0, Duration::from_millis(5), "me"));
        assert!(of(&["--command-property=nonsense=1"]).is_err());
        assert!(of(&["--command-property=acks=2"]).is_err());
    }
}
