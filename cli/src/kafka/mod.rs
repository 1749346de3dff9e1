//! Kafka's scripts by their names: `odradek kafka-topics …`, or the binary under such a name.
//!
//! Options, output and exit codes are those of Kafka 4.3, as far as scripts look at them: a wrong
//! command line is told on standard error and ends with 1. An option that has no meaning here is
//! refused by name, never ignored.

mod configs;
mod configs_change;
mod console_consumer;
mod console_format;
mod console_producer;
mod consumer_groups;
mod consumer_groups_describe;
mod consumer_groups_reset;
mod delete_records;
mod dump_log;
mod get_offsets;
mod log_dirs;
mod properties;
mod topics;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser};

use crate::client::cluster::Cluster;
use crate::client::conn::refusal;
use properties::Properties;

/// A script of Kafka's.
type Tool = fn(&[OsString]) -> Result<ExitCode, Failed>;

/// All of them, by name.
const TOOLS: [(&str, Tool); 9] = [
    ("kafka-topics", topics::run),
    ("kafka-console-producer", console_producer::run),
    ("kafka-console-consumer", console_consumer::run),
    ("kafka-consumer-groups", consumer_groups::run),
    ("kafka-configs", configs::run),
    ("kafka-get-offsets", get_offsets::run),
    ("kafka-delete-records", delete_records::run),
    ("kafka-log-dirs", log_dirs::run),
    ("kafka-dump-log", dump_log::run),
];

/// What the binary's help says of them.
pub(crate) const HELP: &str = "\
Kafka's scripts by their names, with Kafka's options; also as links of these names, with or without
`.sh`, to this binary: kafka-topics, kafka-console-producer, kafka-console-consumer,
kafka-consumer-groups, kafka-configs, kafka-get-offsets, kafka-delete-records, kafka-log-dirs,
kafka-dump-log.";

/// Runs the script that the command line names, by the program's own name or by its first
/// argument.
pub(crate) fn run(args: &[OsString]) -> Option<ExitCode> {
    let program = args.first().and_then(|name| tool(Path::new(name)));
    let (tool, args) = match program {
        Some(tool) => (tool, &args[1..]),
        None => (tool(Path::new(args.get(1)?))?, &args[2..]),
    };
    if args.iter().any(|arg| arg == "--version") {
        println!("{KAFKA_VERSION} (Odradek {})", env!("CARGO_PKG_VERSION"));
        return Some(ExitCode::SUCCESS);
    }
    Some(tool(args).unwrap_or_else(|failed| {
        if !failed.0.is_empty() {
            eprintln!("{}", failed.0.trim_end());
        }
        ExitCode::FAILURE
    }))
}

fn tool(path: &Path) -> Option<Tool> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    TOOLS.iter().find(|(known, _)| *known == name).map(|(_, tool)| *tool)
}

/// Why a script failed, for standard error; empty where it was told already.
#[derive(Debug)]
struct Failed(String);

impl Failed {
    /// Told already.
    fn told() -> Self {
        Self(String::new())
    }
}

impl<T: fmt::Display> From<T> for Failed {
    fn from(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Reads a command line as Kafka's scripts do: long options may be shortened, and given with `=`.
fn parse<T: Parser>(name: &'static str, args: &[OsString]) -> Result<T, Failed> {
    let line = [OsString::from(name)].into_iter().chain(args.iter().cloned());
    T::try_parse_from(line).map_err(|error| match error.kind() {
        ErrorKind::UnknownArgument => {
            let unknown = error.get(clap::error::ContextKind::InvalidArg);
            let unknown = unknown.map(ToString::to_string).unwrap_or_default();
            let option = unknown.trim_start_matches('-');
            Failed(format!("{option} is not a recognized option; see {name} --help"))
        }
        _ => Failed(error.render().to_string()),
    })
}

/// Says of options that Kafka will drop what it says of them.
fn tell_deprecated(word: &str, args: &[OsString], deprecated: &[(&str, &str)]) {
    let given = |option: &str| {
        args.iter().filter_map(|arg| arg.to_str()).any(|arg| arg.split('=').next() == Some(option))
    };
    for (old, new) in deprecated.iter().filter(|(old, _)| given(old)) {
        println!(
            "{word} {old} is deprecated and will be removed in a future version. Use {new} instead."
        );
    }
}

/// Refuses options that have no meaning here.
fn refuse_unsupported(given: &[(&str, bool, &str)]) -> Result<(), Failed> {
    match given.iter().find(|(_, given, _)| *given) {
        Some((option, _, why)) => Err(format!("Option {option} is not supported: {why}").into()),
        None => Ok(()),
    }
}

/// How administrative scripts reach the cluster.
#[derive(Debug, Args)]
struct Server {
    /// The servers to connect to, HOST1:PORT1,HOST2:PORT2.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// Property file with configurations of the admin client.
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
}

impl Server {
    /// Where it is missing, most scripts say so in these words.
    fn check(&self) -> Result<(), Failed> {
        match self.bootstrap_server {
            Some(_) => Ok(()),
            None => Err("Missing required argument \"[bootstrap-server]\"".into()),
        }
    }

    fn connect(&self) -> Result<Cluster, Failed> {
        let mut properties = Properties::new("--command-config");
        if let Some(path) = &self.command_config {
            properties.read_file(path)?;
        }
        let client_id = properties.client_id(ADMIN_CLIENT_ID)?;
        properties.refuse_rest()?;
        let servers = self.bootstrap_server.as_deref().unwrap_or_default();
        Ok(Cluster::connect_as(servers, &client_id).map_err(short)?)
    }
}

/// What Kafka prints of an exception: the broker's words where a broker refused.
fn message(error: &anyhow::Error) -> String {
    match refusal(error) {
        Some(refusal) => refusal.message.clone(),
        None => format!("{error:#}"),
    }
}

/// The name and words of the exception that Kafka's client makes of a refusal.
fn exception(error: &anyhow::Error) -> String {
    match refusal(error) {
        Some(refusal) => {
            let name = exception_name(refusal.code.name());
            format!("org.apache.kafka.common.errors.{name}: {}", refusal.message)
        }
        None => format!("{error:#}"),
    }
}

/// `GROUP_ID_NOT_FOUND` is `GroupIdNotFoundException`; a few have names of their own.
fn exception_name(code: &str) -> String {
    let own = match code {
        "NON_EMPTY_GROUP" => "GroupNotEmptyException",
        "TOPIC_ALREADY_EXISTS" => "TopicExistsException",
        "INVALID_CONFIG" => "InvalidConfigurationException",
        "INVALID_TOPIC_EXCEPTION" => "InvalidTopicException",
        "UNKNOWN_TOPIC_OR_PARTITION" => "UnknownTopicOrPartitionException",
        "COORDINATOR_LOAD_IN_PROGRESS" => "CoordinatorLoadInProgressException",
        "POLICY_VIOLATION" => "PolicyViolationException",
        _ => "",
    };
    if !own.is_empty() {
        return own.to_owned();
    }
    let words = code.split('_').map(|word| {
        let (first, rest) = word.split_at(1.min(word.len()));
        format!("{first}{}", rest.to_ascii_lowercase())
    });
    format!("{}Exception", words.collect::<String>())
}

fn short(error: anyhow::Error) -> String {
    format!("{error:#}")
}

/// Whose options and output these are.
const KAFKA_VERSION: &str = "4.3.1";

const ADMIN_CLIENT_ID: &str = "adminclient-1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_known_with_and_without_their_suffix() {
        for name in ["kafka-topics", "kafka-topics.sh", "/opt/kafka/bin/kafka-dump-log.sh"] {
            assert!(tool(Path::new(name)).is_some(), "{name}");
        }
        for name in ["odradek", "kafka-topics.bat", "topics", ""] {
            assert!(tool(Path::new(name)).is_none(), "{name}");
        }
    }

    #[test]
    fn exceptions_have_kafkas_names() {
        for (code, name) in [
            ("GROUP_ID_NOT_FOUND", "GroupIdNotFoundException"),
            ("NON_EMPTY_GROUP", "GroupNotEmptyException"),
            ("GROUP_SUBSCRIBED_TO_TOPIC", "GroupSubscribedToTopicException"),
            ("OFFSET_OUT_OF_RANGE", "OffsetOutOfRangeException"),
        ] {
            assert_eq!(exception_name(code), name);
        }
    }
}
