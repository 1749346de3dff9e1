//! `odradek group …`: groups of consumers, how far they have come, and how to move that.

pub(crate) mod reset;

use std::collections::BTreeMap;

use anyhow::Result;

use super::table::print;
use crate::args::GroupCommand;
use crate::client::cluster::Cluster;
use crate::client::groups::{Group, Groups};
use crate::client::offsets::{LATEST, look_up};
use crate::client::partitions::{TopicPartition, in_short};

/// Runs one of the group commands.
pub(crate) fn run(command: GroupCommand) -> Result<()> {
    match command {
        GroupCommand::List { bootstrap, state, kind } => {
            list(&mut groups(&bootstrap.bootstrap_server)?, &state, &kind)
        }
        GroupCommand::Describe { bootstrap, groups: names } => {
            let mut groups = groups(&bootstrap.bootstrap_server)?;
            names.iter().try_for_each(|group| describe(&mut groups, group))
        }
        GroupCommand::Members { bootstrap, group } => {
            members(&mut groups(&bootstrap.bootstrap_server)?, &group)
        }
        GroupCommand::Lag { bootstrap, groups: names } => {
            lag(&mut groups(&bootstrap.bootstrap_server)?, names)
        }
        GroupCommand::Reset(args) => {
            reset::run(&mut groups(&args.bootstrap.bootstrap_server)?, &args)
        }
        GroupCommand::Delete { bootstrap, groups: names } => {
            let mut groups = groups(&bootstrap.bootstrap_server)?;
            names.iter().try_for_each(|group| {
                groups.delete(group)?;
                println!("Deleted group {group}.");
                Ok(())
            })
        }
    }
}

/// How far a group has come in one partition.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) at: TopicPartition,
    /// Offset and leader epoch, where something is committed.
    pub(crate) committed: Option<(i64, i32)>,
    /// None where the partition is gone or has no leader.
    pub(crate) end: Option<i64>,
    /// The member that reads it: its place in [`Group::members`].
    pub(crate) member: Option<usize>,
}

impl Progress {
    /// Records behind; unknown where either end is.
    pub(crate) fn lag(&self) -> Option<i64> {
        Some(self.end? - self.committed?.0)
    }
}

/// Every partition that a group reads or has an offset in, in order.
pub(crate) fn progress(groups: &mut Groups, name: &str, group: &Group) -> Result<Vec<Progress>> {
    let committed = groups.offsets(name)?;
    let mut members = BTreeMap::new();
    for (index, member) in group.members.iter().enumerate() {
        members.extend(member.has.iter().map(|at| (at.clone(), index)));
    }
    let partitions = committed.keys().chain(members.keys());
    let wanted: BTreeMap<_, _> = partitions.map(|at| (at.clone(), LATEST)).collect();
    let ends = look_up(groups.cluster(), &wanted)?.into_iter();
    let rows = ends.map(|(at, end)| Progress {
        committed: committed.get(&at).map(|it| (it.offset, it.leader_epoch)),
        end: end.ok().map(|found| found.offset),
        member: members.get(&at).copied(),
        at,
    });
    Ok(rows.collect())
}

fn groups(bootstrap: &str) -> Result<Groups> {
    Ok(Groups::of(Cluster::connect(bootstrap)?))
}

fn list(groups: &mut Groups, states: &[String], kinds: &[String]) -> Result<()> {
    let [states, kinds] = [states, kinds].map(|list| list.iter().map(String::as_str).collect());
    let (states, kinds): (Vec<&str>, Vec<&str>) = (states, kinds);
    let rows = groups.list(&states, &kinds)?.into_iter();
    let rows = rows.map(|it| vec![it.group, it.kind, it.protocol_type, it.state]);
    print(&["GROUP", "KIND", "PROTOCOL-TYPE", "STATE"], rows.collect());
    Ok(())
}

fn describe(groups: &mut Groups, name: &str) -> Result<()> {
    let group = groups.describe(name)?;
    summarize(name, &group);
    let rows = progress(groups, name, &group)?.into_iter().map(|row| {
        let member = row.member.and_then(|index| group.members.get(index));
        let (reader, host) = match member {
            Some(member) => (&*member.id, &*member.host),
            None => ("-", "-"),
        };
        vec![
            row.at.topic.clone(),
            row.at.partition.to_string(),
            or_dash(row.committed.map(|(offset, _)| offset)),
            or_dash(row.end),
            or_dash(row.lag()),
            reader.to_owned(),
            host.to_owned(),
        ]
    });
    let rows = rows.collect();
    print(&["TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MEMBER", "HOST"], rows);
    Ok(())
}

fn members(groups: &mut Groups, name: &str) -> Result<()> {
    let group = groups.describe(name)?;
    summarize(name, &group);
    let rows = group.members.into_iter().map(|member| {
        let epoch = or_dash(member.modern.as_ref().map(|modern| modern.epoch));
        let has = if member.has.is_empty() { "-".to_owned() } else { in_short(&member.has) };
        let instance = member.instance.unwrap_or_else(|| "-".to_owned());
        vec![member.id, instance, member.client, member.host, epoch, has]
    });
    let rows = rows.collect();
    print(&["MEMBER", "INSTANCE", "CLIENT", "HOST", "EPOCH", "ASSIGNMENT"], rows);
    Ok(())
}

/// One line on a group as a whole.
fn summarize(name: &str, group: &Group) {
    let kind = if group.epochs.is_some() { "consumer" } else { "classic" };
    let assignor = if group.assignor.is_empty() { "none" } else { &group.assignor };
    println!(
        "{name} is {}: {kind} group of {} members, assignor {assignor}, coordinator {} ({})",
        group.state,
        group.members.len(),
        group.coordinator.id,
        group.coordinator.host_port
    );
}

fn lag(groups: &mut Groups, names: Vec<String>) -> Result<()> {
    let names = match names.is_empty() {
        false => names,
        true => groups.list(&[], &[])?.into_iter().map(|it| it.group).collect(),
    };
    let mut rows = Vec::new();
    for name in names {
        let group = groups.describe(&name)?;
        // Partitions, those of unknown lag, and the sum over the others.
        let mut topics: BTreeMap<String, (usize, usize, i64)> = BTreeMap::new();
        for row in progress(groups, &name, &group)? {
            let lag = row.lag();
            let sum = topics.entry(row.at.topic).or_default();
            sum.0 += 1;
            sum.1 += usize::from(lag.is_none());
            sum.2 += lag.unwrap_or(0);
        }
        rows.extend(topics.into_iter().map(|(topic, (partitions, unknown, lag))| {
            vec![name.clone(), topic, partitions.to_string(), unknown.to_string(), lag.to_string()]
        }));
    }
    print(&["GROUP", "TOPIC", "PARTITIONS", "UNKNOWN", "LAG"], rows);
    Ok(())
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
