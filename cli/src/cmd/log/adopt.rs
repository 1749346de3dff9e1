//! `odradek log adopt`: takes partitions in that another broker, ours or Kafka's, has written.
//!
//! Everything is read and checked first. The source is never changed, so that its broker can go on
//! if the adoption is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use anyhow::{Context, Result, anyhow, bail};
use engine::log::dir::{OffsetFile, TopicPartition};
use engine::log::journal;
use engine::rt::FileLock;
use net::adopt::{AdoptedPartition, AdoptedTopic, Adoption};
use wire::primitives::Uuid;

use super::verify::{partition_dirs, verify_partition};
use crate::args::AdoptArgs;
use crate::loggers::Levels;
use crate::serve::{Settings, configure};

/// Takes the partitions in. Errors are printed here: each kind has its exit code.
pub(crate) fn run(args: &AdoptArgs) -> ExitCode {
    let settings =
        Settings { config: args.config.as_deref(), data: args.data.as_deref(), set: &args.set };
    let config = match configure(&settings, None) {
        Ok(config) => config,
        Err(message) => {
            eprintln!("odradek: {message}");
            return ExitCode::from(net::boot::ExitCode::Usage as u8);
        }
    };
    Levels::start(config.log_format, config.log_level);
    let surveyed = lock(&args.paths).and_then(|locks| Ok((locks, survey(args)?)));
    let (_locks, adoption) = match surveyed {
        Ok(surveyed) => surveyed,
        Err(error) => {
            eprintln!("odradek: {error:#}");
            return ExitCode::from(net::boot::ExitCode::Failed as u8);
        }
    };
    let topics: Vec<(String, usize)> =
        adoption.topics.iter().map(|topic| (topic.name.clone(), topic.partitions.len())).collect();
    match net::adopt::adopt(&config, adoption) {
        Ok(()) => {
            for (name, partitions) in topics {
                println!("{name}: {partitions} partitions taken in");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("odradek: {error}");
            ExitCode::from(error.exit_code() as u8)
        }
    }
}

/// A topic as its directories show it.
#[derive(Default)]
struct Found {
    id: Option<Uuid>,
    partitions: BTreeMap<i32, AdoptedPartition>,
}

/// Keeps the brokers that own the sources from running meanwhile; refuses if one does.
fn lock(paths: &[PathBuf]) -> Result<Vec<FileLock>> {
    let mut roots = BTreeSet::new();
    for path in paths {
        let path = path.canonicalize().with_context(|| format!("can't read {}", path.display()))?;
        roots.extend(path.parent().map(Path::to_owned));
        roots.insert(path);
    }
    let mut locks = Vec::new();
    for root in roots {
        refuse_unfinished(&root)?;
        let file = root.join(".lock");
        if !file.exists() {
            continue;
        }
        locks.push(FileLock::take(&file).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                anyhow!("{} is locked: stop the broker that uses it first", root.display())
            }
            _ => anyhow!("{}: {error}", file.display()),
        })?);
    }
    Ok(locks)
}

/// What a crash left in a commit journal is not in the partitions' files.
fn refuse_unfinished(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).with_context(|| format!("can't read {}", root.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if journal::is_journal(&name) && journal::may_hold_records(fs::File::open(&path)?)? {
            bail!(
                "{} holds records that their partitions do not have yet: its broker crashed; start \
                 it once and stop it in order",
                path.display()
            );
        }
    }
    Ok(())
}

/// Reads every file of every partition.
fn survey(args: &AdoptArgs) -> Result<Adoption> {
    let mut topics: BTreeMap<String, Found> = BTreeMap::new();
    let mut internal: BTreeMap<String, usize> = BTreeMap::new();
    let mut log_starts = LogStarts::default();
    let mut producer_id_end = None;
    for path in &args.paths {
        let alone = is_partition(path);
        for dir in partition_dirs(path)? {
            let name = name_of(&dir)?;
            if !alone && PASSED_OVER.iter().any(|suffix| name.ends_with(suffix)) {
                continue;
            }
            let (topic, partition) = split(&dir, &name)?;
            // The coordinators' and the metadata: what they say is about another cluster.
            if topic.starts_with("__") {
                *internal.entry(topic).or_default() += 1;
                continue;
            }
            let report = verify_partition(&dir)?;
            if let Some(fault) = report.faults.first() {
                bail!("{}: {fault}; `odradek log verify` shows all faults", dir.display());
            }
            if let Some(torn) = &report.torn {
                eprintln!("{}: {torn}; it will be set aside", dir.display());
            }
            let end = report.producer_id_max.map(|id| id + 1);
            producer_id_end = producer_id_end.max(end);
            let found = topics.entry(topic.clone()).or_default();
            take_id(found, &dir)?;
            let last_epoch = report.last_epoch.max(newest_epoch(&dir)?);
            let log_start = log_starts.of(&dir, &(topic, partition))?;
            let adopted = AdoptedPartition { path: dir.clone(), last_epoch, log_start };
            if let Some(other) = found.partitions.insert(partition, adopted) {
                bail!("{} and {} are the same partition", other.path.display(), dir.display());
            }
        }
    }
    for (topic, partitions) in internal {
        eprintln!("{topic}: {partitions} partitions left out, an internal topic");
    }
    if topics.is_empty() {
        bail!("no partition to take in");
    }
    let configs = args.topic_configs.iter().map(|pair| {
        let (key, value) =
            pair.split_once('=').with_context(|| format!("{pair}: KEY=VALUE expected"))?;
        Ok((key.to_owned(), value.to_owned()))
    });
    let configs = configs.collect::<Result<Vec<_>>>()?;
    let topics = topics.into_iter().map(|(name, found)| adopted(name, found, &configs));
    Ok(Adoption { topics: topics.collect::<Result<_>>()?, producer_id_end })
}

fn adopted(name: String, found: Found, configs: &[(String, String)]) -> Result<AdoptedTopic> {
    if let Some(missing) = (0..).zip(found.partitions.keys()).find(|(want, have)| want != *have) {
        bail!(
            "{name}: partition {} is missing; name the directories of all partitions, which may lie \
             in several places",
            missing.0
        );
    }
    let partitions = found.partitions.into_values().collect();
    Ok(AdoptedTopic { name, id: found.id, configs: configs.to_vec(), partitions })
}

fn is_partition(path: &Path) -> bool {
    partition_dirs(path).is_ok_and(|dirs| dirs.first().is_some_and(|dir| dir == path))
}

fn name_of(dir: &Path) -> Result<String> {
    let whole = dir.canonicalize()?;
    let name = whole.file_name().with_context(|| format!("{} has no name", dir.display()))?;
    Ok(name.to_string_lossy().into_owned())
}

fn split(dir: &Path, name: &str) -> Result<(String, i32)> {
    let parts = name.rsplit_once('-');
    let parsed = parts.and_then(|(topic, number)| Some((topic.to_owned(), number.parse().ok()?)));
    let parsed = parsed.filter(|(topic, partition)| !topic.is_empty() && *partition >= 0);
    parsed.ok_or_else(|| anyhow!("{}: the name is not <topic>-<partition>", dir.display()))
}

/// Takes the topic's id from `partition.metadata`; all partitions must agree.
fn take_id(found: &mut Found, dir: &Path) -> Result<()> {
    let file = dir.join("partition.metadata");
    let Some(text) = read(&file)? else { return Ok(()) };
    let line = text.lines().find_map(|line| line.strip_prefix("topic_id:"));
    let id: Uuid = line
        .and_then(|id| id.trim().parse().ok())
        .with_context(|| format!("{}: no topic_id", file.display()))?;
    match found.id.replace(id) {
        Some(other) if other != id => bail!(
            "{}: the topic id is {id}, in another partition {other}: not partitions of one topic",
            file.display()
        ),
        _ => Ok(()),
    }
}

/// The newest epoch of `leader-epoch-checkpoint`: version, count, then epoch and offset a line.
fn newest_epoch(dir: &Path) -> Result<i32> {
    let file = dir.join("leader-epoch-checkpoint");
    let Some(text) = read(&file)? else { return Ok(-1) };
    let last = text.lines().skip(2).last().and_then(|line| line.split(' ').next());
    last.map_or(Ok(-1), |epoch| {
        epoch.parse().with_context(|| format!("{}: {epoch} is not an epoch", file.display()))
    })
}

/// Where partitions start, as brokers note beside their directories; each file read once.
#[derive(Default)]
struct LogStarts {
    of_roots: BTreeMap<PathBuf, BTreeMap<TopicPartition, i64>>,
}

impl LogStarts {
    /// Where the partition in `dir` starts; 0 where nothing was deleted.
    fn of(&mut self, dir: &Path, partition: &TopicPartition) -> Result<i64> {
        let whole = dir.canonicalize()?;
        let Some(root) = whole.parent() else { return Ok(0) };
        if !self.of_roots.contains_key(root) {
            self.of_roots.insert(root.to_owned(), Self::read(root)?);
        }
        Ok(self.of_roots[root].get(partition).copied().unwrap_or(0))
    }

    fn read(root: &Path) -> Result<BTreeMap<TopicPartition, i64>> {
        let file = root.join(OffsetFile::LogStart.name());
        let Some(text) = read(&file)? else { return Ok(BTreeMap::new()) };
        // What was deleted would be shown again where it was passed over.
        OffsetFile::decode(text.as_bytes()).map_err(|fault| anyhow!("{}: {fault}", file.display()))
    }
}

fn read(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {}", file.display())),
    }
}

/// Directories of topics that were deleted, of none, and of moves that were not finished.
const PASSED_OVER: [&str; 3] = ["-delete", "-stray", "-future"];
