//! `kafka-get-offsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use super::{Failed, Server, parse, short};
use crate::client::names;
use crate::client::offsets::look_up;
use crate::client::partitions::TopicPartition;

/// Get topic-partition offsets.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true)]
struct Options {
    #[command(flatten)]
    server: Server,
    /// Topics, a regular expression.
    #[arg(long)]
    topic: Option<String>,
    /// Partitions, with commas between them.
    #[arg(long)]
    partitions: Option<String>,
    /// TOPIC:PARTITION, TOPIC:FROM-UPTO, TOPIC:FROM-, TOPIC:-UPTO or TOPIC, with commas between.
    #[arg(long)]
    topic_partitions: Option<String>,
    /// A time in Unix milliseconds, or latest (-1), earliest (-2), max-timestamp (-3),
    /// earliest-local (-4), latest-tiered (-5), earliest-pending-upload (-6).
    #[arg(long, allow_hyphen_values = true, default_value = "latest")]
    time: String,
    /// Leave out internal topics.
    #[arg(long)]
    exclude_internal_topics: bool,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, Failed> {
    let options: Options = parse("kafka-get-offsets", args)?;
    options.server.check()?;
    print(&options).map_err(|Failed(why)| format!("Error occurred: {why}"))?;
    Ok(ExitCode::SUCCESS)
}

fn print(options: &Options) -> Result<(), Failed> {
    let time = time(&options.time)?;
    let wanted = wanted(options)?;
    let mut cluster = options.server.connect()?;
    let topics = cluster.topics().map_err(short)?.into_iter();
    let topics = topics.filter(|topic| !(options.exclude_internal_topics && topic.internal));
    let partitions: BTreeSet<_> =
        topics.flat_map(|topic| topic.every().collect::<Vec<_>>()).collect();
    let chosen = partitions.into_iter().filter(|at| wanted.iter().any(|it| it.holds(at)));
    let asked: BTreeMap<_, _> = chosen.map(|at| (at, time)).collect();
    if asked.is_empty() {
        return Err("Could not match any topic-partitions with the specified filters".into());
    }
    for (at, found) in look_up(&mut cluster, &asked).map_err(short)? {
        match found {
            Ok(found) if found.offset >= 0 => {
                println!("{}:{}:{}", at.topic, at.partition, found.offset);
            }
            Ok(_) => {}
            Err(refusal) => eprintln!(
                "Skip getting offsets for topic-partition {at} due to error: {}",
                refusal.message
            ),
        }
    }
    Ok(())
}

/// Topics, and which of their partitions.
struct Wanted {
    topics: regex::Regex,
    partitions: Which,
}

enum Which {
    All,
    /// Up to the second, which is not meant.
    Between(i32, i32),
    These(BTreeSet<i32>),
}

impl Wanted {
    fn holds(&self, at: &TopicPartition) -> bool {
        let partition = at.partition;
        self.topics.is_match(&at.topic)
            && match &self.partitions {
                Which::All => true,
                Which::Between(from, up_to) => (*from..*up_to).contains(&partition),
                Which::These(these) => these.contains(&partition),
            }
    }
}

/// As ListOffsets takes it.
fn time(text: &str) -> Result<i64, Failed> {
    let named = TIMES.iter().find(|(name, _)| *name == text).map(|(_, time)| *time);
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        let known = TIMES.map(|(name, time)| format!("{time} or {name}")).join(" / ");
        format!(
            "Malformed time argument {text}. Please use {known}, or a specified long format \
             timestamp"
        )
        .into()
    })
}

fn wanted(options: &Options) -> Result<Vec<Wanted>, Failed> {
    let Some(list) = &options.topic_partitions else {
        let topics = names::include_list(options.topic.as_deref().unwrap_or(".*"));
        let partitions = match &options.partitions {
            None => Which::All,
            Some(text) => Which::These(ids(text)?),
        };
        return Ok(vec![Wanted { topics: topics.map_err(short)?, partitions }]);
    };
    if options.topic.is_some() || options.partitions.is_some() {
        return Err("--topic-partitions cannot be used with --topic or --partitions".into());
    }
    list.split(',').map(one).collect()
}

fn ids(text: &str) -> Result<BTreeSet<i32>, Failed> {
    let ids = text.split(',').filter(|id| !id.is_empty()).map(str::parse);
    ids.collect::<Result<_, _>>().map_err(|_| {
        format!(
            "--partitions expects a comma separated list of numeric partition ids, but received: \
             {text}"
        )
        .into()
    })
}

fn one(text: &str) -> Result<Wanted, Failed> {
    let wrong = || format!("Invalid rule specification: {text}");
    let (topic, partitions) = text.split_once(':').unwrap_or((text, ""));
    let number = |id: &str, default: i32| match id {
        "" => Ok(default),
        id => id.parse().map_err(|_| wrong()),
    };
    let partitions = match partitions.split_once('-') {
        Some((from, up_to)) => Which::Between(number(from, 0)?, number(up_to, i32::MAX)?),
        None if partitions.is_empty() => Which::All,
        None => Which::These([number(partitions, 0)?].into()),
    };
    let topic = if topic.is_empty() { ".*" } else { topic };
    Ok(Wanted { topics: names::whole(topic).map_err(short)?, partitions })
}

const TIMES: [(&str, i64); 6] = [
    ("latest", -1),
    ("earliest", -2),
    ("max-timestamp", -3),
    ("earliest-local", -4),
    ("latest-tiered", -5),
    ("earliest-pending-upload", -6),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_names() {
        assert_eq!(time("earliest").expect("a name"), -2);
        assert_eq!(time("-1").expect("a number"), -1);
        assert!(time("bogus").expect_err("neither").0.starts_with("Malformed time argument bogus"));
    }

    #[test]
    fn partitions_are_chosen_by_rules() {
        let holds = |rule: &str, topic: &str, partition: i32| {
            one(rule).expect(rule).holds(&TopicPartition::new(topic, partition))
        };
        assert!(holds("t:1", "t", 1) && !holds("t:1", "t", 2) && !holds("t:1", "tt", 1));
        assert!(holds("t:0-2", "t", 1) && !holds("t:0-2", "t", 2));
        assert!(holds("t:2-", "t", 9) && holds("t:-2", "t", 0) && !holds("t:-2", "t", 2));
        assert!(holds("t.*", "tt", 7) && holds(":3", "any", 3));
        assert!(one("t:x").is_err());
    }
}
