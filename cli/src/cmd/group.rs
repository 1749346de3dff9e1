//! `odradek group …`: groups of consumers, how far they have come, and how to move that.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use wire::error_code::ErrorCode;
use wire::msg::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use wire::msg::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use wire::msg::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use wire::msg::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use wire::msg::list_groups::{ListGroupsRequest, ListGroupsResponse};
use wire::msg::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use wire::msg::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse};

use crate::args::{GroupCommand, ResetArgs};
use crate::client::cluster::{Cluster, host_port};
use crate::client::conn::{Conn, check, check_with};
use crate::client::fetcher::{EARLIEST, Fetcher, LATEST};

/// Committed offsets by topic and partition.
type Offsets = BTreeMap<(String, i32), i64>;

/// Runs one of the group commands.
pub(crate) fn run(command: GroupCommand) -> Result<()> {
    match command {
        GroupCommand::List { bootstrap } => list(&bootstrap.bootstrap_server),
        GroupCommand::Describe { bootstrap, group } => {
            describe(&bootstrap.bootstrap_server, &group)
        }
        GroupCommand::Members { bootstrap, group } => members(&bootstrap.bootstrap_server, &group),
        GroupCommand::Reset(args) => reset(&args),
        GroupCommand::Delete { bootstrap, groups } => delete(&bootstrap.bootstrap_server, &groups),
    }
}

fn list(bootstrap: &str) -> Result<()> {
    let mut cluster = Cluster::connect(bootstrap)?;
    let mut rows = Vec::new();
    for broker in cluster.brokers()? {
        let request = ListGroupsRequest::default();
        let answer: ListGroupsResponse<'_> = cluster.broker(broker)?.call(&request)?;
        check(answer.error_code, &format!("groups of broker {broker}"))?;
        rows.extend(answer.groups.iter().map(|group| {
            // Brokers that do not say know no other.
            let kind = if group.group_type.is_empty() { "classic" } else { group.group_type };
            [group.group_id, kind, group.protocol_type, group.group_state]
                .map(str::to_owned)
                .to_vec()
        }));
    }
    rows.sort();
    print(&["GROUP", "KIND", "PROTOCOL-TYPE", "STATE"], rows);
    Ok(())
}

fn describe(bootstrap: &str, group: &str) -> Result<()> {
    let offsets = committed(&mut coordinator(bootstrap, group)?, group)?;
    let mut rows = Vec::new();
    let mut reader: Option<(String, Fetcher)> = None;
    for ((topic, partition), offset) in &offsets {
        let fetcher = match &mut reader {
            Some((name, fetcher)) if name == topic => fetcher,
            other => {
                let fetcher = Fetcher::new(Cluster::connect(bootstrap)?, topic)?;
                &mut other.insert((topic.clone(), fetcher)).1
            }
        };
        let end = fetcher.offset_at(*partition, LATEST)?;
        let numbers = [i64::from(*partition), *offset, end, end - offset];
        let numbers = numbers.map(|number| number.to_string());
        rows.push([std::slice::from_ref(topic), &numbers[..]].concat());
    }
    print(&["TOPIC", "PARTITION", "OFFSET", "END", "LAG"], rows);
    Ok(())
}

fn members(bootstrap: &str, group: &str) -> Result<()> {
    let mut coordinator = coordinator(bootstrap, group)?;
    if consumer_members(&mut coordinator, group)? {
        return Ok(());
    }
    let names = [group];
    let request = DescribeGroupsRequest { groups: (&names).into(), ..Default::default() };
    let answer: DescribeGroupsResponse<'_> = coordinator.call(&request)?;
    let found = answer.groups.first().context("the broker said nothing of the group")?;
    check_with(found.error_code, found.error_message, &format!("group {group}"))?;
    let rows = found.members.iter().map(|member| {
        let instance = member.group_instance_id.unwrap_or("-");
        [member.member_id, instance, member.client_id, member.client_host]
            .map(str::to_owned)
            .to_vec()
    });
    println!("{group} is {}", found.group_state);
    print(&["MEMBER", "INSTANCE", "CLIENT", "HOST"], rows.collect());
    Ok(())
}

/// Shows the members of a group of the consumer protocol; false where it is none.
fn consumer_members(coordinator: &mut Conn, group: &str) -> Result<bool> {
    if coordinator.version::<ConsumerGroupDescribeRequest<'_>>().is_err() {
        return Ok(false);
    }
    let names = [group];
    let request = ConsumerGroupDescribeRequest { group_ids: (&names).into(), ..Default::default() };
    let answer: ConsumerGroupDescribeResponse<'_> = coordinator.call(&request)?;
    let found = answer.groups.first().context("the broker said nothing of the group")?;
    if ErrorCode(found.error_code) == ErrorCode::GROUP_ID_NOT_FOUND {
        return Ok(false);
    }
    check_with(found.error_code, found.error_message, &format!("group {group}"))?;
    let rows = found.members.iter().map(|member| {
        let topics = member.assignment.topic_partitions.iter().map(|topic| {
            let partitions: Vec<_> = topic.partitions.iter().map(|id| id.to_string()).collect();
            format!("{}:{}", topic.topic_name, partitions.join(","))
        });
        let topics: Vec<_> = topics.collect();
        let has = if topics.is_empty() { "-".to_owned() } else { topics.join(" ") };
        let epoch = member.member_epoch.to_string();
        let instance = member.instance_id.unwrap_or("-");
        [member.member_id, instance, member.client_id, member.client_host, &epoch, &has]
            .map(str::to_owned)
            .to_vec()
    });
    println!("{group} is {}", found.group_state);
    print(&["MEMBER", "INSTANCE", "CLIENT", "HOST", "EPOCH", "ASSIGNMENT"], rows.collect());
    Ok(true)
}

fn delete(bootstrap: &str, groups: &[String]) -> Result<()> {
    for group in groups {
        let mut coordinator = coordinator(bootstrap, group)?;
        let names = [group.as_str()];
        let request = DeleteGroupsRequest { groups_names: (&names).into() };
        let answer: DeleteGroupsResponse<'_> = coordinator.call(&request)?;
        let found = answer.results.first().context("the broker said nothing of the group")?;
        check(found.error_code, &format!("group {group}"))?;
        println!("Deleted group {group}.");
    }
    Ok(())
}

fn reset(args: &ResetArgs) -> Result<()> {
    let bootstrap = &args.bootstrap.bootstrap_server;
    let mut coordinator = coordinator(bootstrap, &args.group)?;
    let now = committed(&mut coordinator, &args.group)?;
    let mut wanted = Vec::new();
    for topic in &args.topics {
        let (topic, only) = partitions_of(topic)?;
        let mut fetcher = Fetcher::new(Cluster::connect(bootstrap)?, topic)?;
        let all: Vec<i32> = fetcher.partitions().iter().map(|partition| partition.index).collect();
        for partition in only.unwrap_or(all) {
            let offset = now.get(&(topic.to_owned(), partition)).copied();
            wanted.push((
                topic.to_owned(),
                partition,
                target(args, &mut fetcher, partition, offset)?,
            ));
        }
    }
    if args.execute {
        commit(&mut coordinator, &args.group, &wanted)?;
    }
    let rows = wanted.iter().map(|(topic, partition, offset)| {
        vec![topic.clone(), partition.to_string(), offset.to_string()]
    });
    print(&["TOPIC", "PARTITION", "NEW-OFFSET"], rows.collect());
    if !args.execute {
        eprintln!("Nothing was changed: give --execute to do it.");
    }
    Ok(())
}

/// Where a partition's offset goes, within what the partition holds.
fn target(
    args: &ResetArgs,
    fetcher: &mut Fetcher,
    partition: i32,
    now: Option<i64>,
) -> Result<i64> {
    let first = fetcher.offset_at(partition, EARLIEST)?;
    let end = fetcher.offset_at(partition, LATEST)?;
    let wanted = match args {
        ResetArgs { to_earliest: true, .. } => first,
        ResetArgs { to_latest: true, .. } => end,
        ResetArgs { to_offset: Some(offset), .. } => *offset,
        ResetArgs { shift_by: Some(by), .. } => {
            let now = now.with_context(|| {
                format!("partition {partition}: nothing is committed that could be shifted")
            })?;
            now.saturating_add(*by)
        }
        ResetArgs { to_timestamp: Some(ms), .. } => match fetcher.offset_at(partition, *ms)? {
            -1 => end,
            found => found,
        },
        _ => bail!(
            "say where to: --to-earliest, --to-latest, --to-offset, --shift-by or --to-timestamp"
        ),
    };
    Ok(wanted.clamp(first, end))
}

/// A topic, and perhaps some of its partitions: `TOPIC` or `TOPIC:0,1`.
fn partitions_of(text: &str) -> Result<(&str, Option<Vec<i32>>)> {
    let Some((topic, list)) = text.split_once(':') else { return Ok((text, None)) };
    let partitions = list.split(',').map(|one| one.trim().parse());
    let partitions: Result<_, _> = partitions.collect();
    let partitions = partitions.with_context(|| format!("{text} is not TOPIC:PARTITION,…"))?;
    Ok((topic, Some(partitions)))
}

fn commit(coordinator: &mut Conn, group: &str, wanted: &[(String, i32, i64)]) -> Result<()> {
    let parts: Vec<_> = wanted
        .iter()
        .map(|(_, partition_index, committed_offset)| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            ..Default::default()
        })
        .collect();
    let topics: Vec<_> = wanted
        .iter()
        .zip(parts.chunks(1))
        .map(|((name, ..), partitions)| OffsetCommitRequestTopic {
            name,
            partitions: partitions.into(),
            ..Default::default()
        })
        .collect();
    let request =
        OffsetCommitRequest { group_id: group, topics: (&topics).into(), ..Default::default() };
    // By names: the newest version has ids instead.
    let answer: OffsetCommitResponse<'_> = coordinator.call_at_most(9, &request)?;
    for topic in &answer.topics {
        for partition in &topic.partitions {
            let what = format!("partition {} of {}", partition.partition_index, topic.name);
            check(partition.error_code, &what)?;
        }
    }
    Ok(())
}

fn committed(coordinator: &mut Conn, group: &str) -> Result<Offsets> {
    let groups = [OffsetFetchRequestGroup { group_id: group, topics: None, ..Default::default() }];
    let old = coordinator.version::<OffsetFetchRequest<'_>>()? < 8;
    let request = match old {
        true => OffsetFetchRequest { group_id: group, topics: None, ..Default::default() },
        false => OffsetFetchRequest { groups: (&groups).into(), ..Default::default() },
    };
    let answer: OffsetFetchResponse<'_> = coordinator.call_at_most(9, &request)?;
    check(answer.error_code, &format!("group {group}"))?;
    let mut offsets = Offsets::new();
    for topic in &answer.topics {
        let of = |index| (topic.name.to_owned(), index);
        let partitions = topic.partitions.iter();
        offsets.extend(partitions.map(|it| (of(it.partition_index), it.committed_offset)));
    }
    for found in &answer.groups {
        check(found.error_code, &format!("group {group}"))?;
        for topic in &found.topics {
            let of = |index| (topic.name.to_owned(), index);
            let partitions = topic.partitions.iter();
            offsets.extend(partitions.map(|it| (of(it.partition_index), it.committed_offset)));
        }
    }
    offsets.retain(|_, offset| *offset >= 0);
    Ok(offsets)
}

/// A connection to the broker that the group is with.
fn coordinator(bootstrap: &str, group: &str) -> Result<Conn> {
    let mut any = Conn::open(bootstrap)?;
    let keys = [group];
    let request = match any.version::<FindCoordinatorRequest<'_>>()? {
        4.. => FindCoordinatorRequest { coordinator_keys: (&keys).into(), ..Default::default() },
        _ => FindCoordinatorRequest { key: group, ..Default::default() },
    };
    let answer: FindCoordinatorResponse<'_> = any.call(&request)?;
    let what = format!("coordinator of group {group}");
    let place = match answer.coordinators.first() {
        Some(found) => {
            check_with(found.error_code, found.error_message, &what)?;
            host_port(found.host, found.port)
        }
        None => {
            check_with(answer.error_code, answer.error_message, &what)?;
            host_port(answer.host, answer.port)
        }
    };
    Conn::open(&place)
}

/// A table with columns as wide as what is in them.
fn print(head: &[&str], rows: Vec<Vec<String>>) {
    let mut lines = vec![head.iter().map(|&name| name.to_owned()).collect()];
    lines.extend(rows);
    let width = |column: usize| lines.iter().map(|line: &Vec<String>| line[column].len()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_may_be_named() {
        assert_eq!(partitions_of("t").expect("a topic"), ("t", None));
        assert_eq!(partitions_of("t:0, 2").expect("two"), ("t", Some(vec![0, 2])));
        assert!(partitions_of("t:x").is_err());
    }
}
