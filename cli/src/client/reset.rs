//! Where a group's offsets go, by Kafka's strategies. Planning changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::groups::Groups;
use super::offsets::{EARLIEST, LATEST, all_at, look_up};
use super::partitions::TopicPartition;

/// Offsets by partition.
pub(crate) type Offsets = BTreeMap<TopicPartition, i64>;

/// Which partitions move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those in which the group has committed offsets.
    Committed,
    /// Topics, or some of a topic's partitions as `TOPIC:0,1`.
    Topics(Vec<String>),
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Earliest,
    Latest,
    /// Where the group is; where it is nowhere, the end.
    Current,
    Offset(i64),
    ShiftBy(i64),
    /// The first record not older than this; the end where there is none. Unix milliseconds.
    Time(i64),
    /// As in a file, see [`read_csv`].
    These(Offsets),
}

/// A plan and what a user should know of it.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) offsets: Offsets,
    /// Offsets that are outside of what their partition holds, and partitions without a record so
    /// late.
    pub(crate) notes: Vec<Note>,
}

/// Why an offset is not the one asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// The offset asked for is behind the end, which was taken.
    AboveEnd(TopicPartition, i64),
    /// The offset asked for is before the start, which was taken.
    BelowStart(TopicPartition, i64),
    /// No record is so late; the end was taken.
    NothingSoLate(TopicPartition),
}

/// A group cannot be shifted from where it is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Cannot shift offset for partition {0} since there is no current committed offset")]
pub(crate) struct NowhereYet(TopicPartition);

/// Whether a group in this state may be moved: nobody is in it.
pub(crate) fn is_inactive(state: &str) -> bool {
    matches!(state, "Empty" | "Dead")
}

/// Plans a group's new offsets.
pub(crate) fn plan(
    groups: &mut Groups,
    group: &str,
    scope: &Scope,
    target: &Target,
) -> Result<Plan> {
    if let Target::These(offsets) = target {
        return within(groups, offsets.clone());
    }
    let partitions = in_scope(groups, group, scope)?;
    match target {
        Target::Earliest => at_once(all_at(groups.cluster(), &partitions, EARLIEST)?),
        Target::Latest => at_once(all_at(groups.cluster(), &partitions, LATEST)?),
        Target::Current => {
            let now = groups.offsets(group)?;
            let mut offsets = all_at(groups.cluster(), &partitions, LATEST)?;
            for (at, offset) in &mut offsets {
                if let Some(committed) = now.get(at) {
                    *offset = committed.offset;
                }
            }
            at_once(offsets)
        }
        Target::Offset(offset) => {
            within(groups, partitions.into_iter().map(|at| (at, *offset)).collect())
        }
        Target::ShiftBy(by) => {
            let now = groups.offsets(group)?;
            let shifted = partitions.into_iter().map(|at| match now.get(&at) {
                Some(committed) => Ok((at, committed.offset.saturating_add(*by))),
                None => Err(NowhereYet(at)),
            });
            let shifted = shifted.collect::<Result<_, _>>()?;
            within(groups, shifted)
        }
        Target::Time(ms) => at_time(groups, &partitions, *ms),
        Target::These(_) => unreachable!("returned above"),
    }
}

/// The partitions of topics, or those that are named with them as `TOPIC:0,1`.
pub(crate) fn partitions_of(
    groups: &mut Groups,
    topics: &[String],
) -> Result<BTreeSet<TopicPartition>> {
    let mut partitions = BTreeSet::new();
    for text in topics {
        let (name, only) = topic_and_partitions(text)?;
        let topic = groups.cluster().topic(name, false)?;
        match only {
            None => partitions.extend(topic.every()),
            Some(only) => {
                let unknown = only.iter().filter(|&&id| topic.partition(id).is_none());
                let unknown: Vec<_> =
                    unknown.map(|id| TopicPartition::new(name, *id).to_string()).collect();
                if !unknown.is_empty() {
                    bail!("The partitions \"{}\" do not exist", unknown.join(", "));
                }
                partitions.extend(only.into_iter().map(|id| TopicPartition::new(name, id)));
            }
        }
    }
    Ok(partitions)
}

/// Reads `topic,partition,offset` lines, or with a group before the topic.
pub(crate) fn read_csv(path: &Path) -> Result<BTreeMap<Option<String>, Offsets>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let mut groups: BTreeMap<Option<String>, Offsets> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (group, at, offset) = csv_line(line)
            .with_context(|| format!("{}, line {}: {line:?}", path.display(), number + 1))?;
        groups.entry(group).or_default().insert(at, offset);
    }
    Ok(groups)
}

/// What [`read_csv`] reads.
pub(crate) fn write_csv<'a>(
    plans: impl IntoIterator<Item = (Option<&'a str>, &'a Offsets)>,
) -> String {
    let mut lines = String::new();
    for (group, offsets) in plans {
        let group = group.map(|group| format!("{group},")).unwrap_or_default();
        for (at, offset) in offsets {
            lines += &format!("{group}{},{},{offset}\n", at.topic, at.partition);
        }
    }
    lines
}

fn csv_line(line: &str) -> Result<(Option<String>, TopicPartition, i64)> {
    let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
    let (group, [topic, partition, offset]) = match fields[..] {
        [topic, partition, offset] => (None, [topic, partition, offset]),
        [group, topic, partition, offset] => (Some(group.to_owned()), [topic, partition, offset]),
        _ => bail!("neither topic,partition,offset nor group,topic,partition,offset"),
    };
    Ok((group, TopicPartition::new(topic, partition.parse()?), offset.parse()?))
}

/// `TOPIC` or `TOPIC:0,1`.
fn topic_and_partitions(text: &str) -> Result<(&str, Option<Vec<i32>>)> {
    let Some((topic, list)) = text.split_once(':') else { return Ok((text, None)) };
    let partitions: Result<_, _> = list.split(',').map(|one| one.trim().parse()).collect();
    let partitions = partitions.with_context(|| format!("{text} is not TOPIC:PARTITION,…"))?;
    Ok((topic, Some(partitions)))
}

fn in_scope(groups: &mut Groups, group: &str, scope: &Scope) -> Result<BTreeSet<TopicPartition>> {
    match scope {
        Scope::Committed => Ok(groups.offsets(group)?.into_keys().collect()),
        Scope::Topics(topics) => partitions_of(groups, topics),
    }
}

fn at_once(offsets: Offsets) -> Result<Plan> {
    Ok(Plan { offsets, notes: Vec::new() })
}

/// Moves what is outside of a partition to its nearer end.
fn within(groups: &mut Groups, wanted: Offsets) -> Result<Plan> {
    let first = all_at(groups.cluster(), wanted.keys(), EARLIEST)?;
    let ends = all_at(groups.cluster(), wanted.keys(), LATEST)?;
    let mut plan = Plan::default();
    for (at, offset) in wanted {
        let (first, end) = (first[&at], ends[&at]);
        if offset > end {
            plan.notes.push(Note::AboveEnd(at.clone(), offset));
        } else if offset < first {
            plan.notes.push(Note::BelowStart(at.clone(), offset));
        }
        plan.offsets.insert(at, offset.clamp(first, end));
    }
    Ok(plan)
}

fn at_time(groups: &mut Groups, partitions: &BTreeSet<TopicPartition>, ms: i64) -> Result<Plan> {
    let wanted = partitions.iter().map(|at| (at.clone(), ms)).collect();
    let found = look_up(groups.cluster(), &wanted)?;
    let ends = all_at(groups.cluster(), partitions, LATEST)?;
    let mut plan = Plan::default();
    for (at, found) in found {
        let offset = match found {
            Ok(found) if found.offset >= 0 => found.offset,
            Ok(_) => {
                plan.notes.push(Note::NothingSoLate(at.clone()));
                ends[&at]
            }
            Err(refusal) => return Err(refusal).with_context(|| at.to_string()),
        };
        plan.offsets.insert(at, offset);
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_may_be_named() {
        assert_eq!(topic_and_partitions("t").expect("a topic"), ("t", None));
        assert_eq!(topic_and_partitions("t:0, 2").expect("two"), ("t", Some(vec![0, 2])));
        assert!(topic_and_partitions("t:x").is_err());
    }

    #[test]
    fn plans_come_back_from_their_file() {
        let offsets: Offsets =
            [(TopicPartition::new("t", 0), 3), (TopicPartition::new("u", 1), 4)].into();
        let text = write_csv([(None, &offsets), (Some("g"), &offsets)]);
        assert_eq!(text, "t,0,3\nu,1,4\ng,t,0,3\ng,u,1,4\n");
        let read: Vec<_> = text.lines().map(|line| csv_line(line).expect("ours")).collect();
        assert_eq!(read[1], (None, TopicPartition::new("u", 1), 4));
        assert_eq!(read[2], (Some("g".to_owned()), TopicPartition::new("t", 0), 3));
        assert!(csv_line("t,0").is_err() && csv_line("t,x,1").is_err());
    }
}
