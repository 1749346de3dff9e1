//! `kafka-consumer-groups --describe`: Kafka's tables.

use anyhow::Result;

use crate::client::groups::{Group, Groups, Member};
use crate::client::partitions::in_short;
use crate::client::reset::is_inactive;
use crate::cmd::group::progress;

/// What to tell of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Offsets,
    Members,
    State,
}

/// Prints one group.
pub(super) fn print(groups: &mut Groups, name: &str, view: View, verbose: bool) -> Result<()> {
    let group = groups.describe(name)?;
    if is_inactive(&group.state) {
        eprintln!("\nConsumer group '{name}' has no active members.");
    } else if group.state != "Stable" && view != View::State {
        eprintln!("\nWarning: Consumer group '{name}' is rebalancing.");
    }
    let rows = match view {
        View::Offsets => offsets(groups, name, &group, verbose)?,
        View::Members => members(name, &group, verbose),
        View::State => state(name, &group, verbose),
    };
    println!();
    for row in rows {
        println!("{row}");
    }
    Ok(())
}

fn offsets(groups: &mut Groups, name: &str, group: &Group, verbose: bool) -> Result<Vec<String>> {
    let rows = progress(groups, name, group)?;
    let widest = |column: fn(&Member) -> usize| group.members.iter().map(column).max().unwrap_or(0);
    let groups_width = name.len().max(15);
    let topics_width = rows.iter().map(|row| row.at.topic.len()).max().unwrap_or(0).max(15);
    let members_width = widest(|it| it.id.len()).max(15);
    let hosts_width = widest(|it| it.host.len()).max(15);
    let mut lines = Vec::new();
    let mut line = |[topic, partition, epoch, offset, end, lag, member, host, client]: [&str;
                        9],
                    group: &str| {
        let epoch = if verbose { format!("{epoch:<15} ") } else { String::new() };
        lines.push(format!(
            "{group:<groups_width$} {topic:<topics_width$} {partition:<10} {epoch}{offset:<15} \
             {end:<15} {lag:<15} {member:<members_width$} {host:<hosts_width$} {client}"
        ));
    };
    let head = [
        "TOPIC",
        "PARTITION",
        "LEADER-EPOCH",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ];
    line(head, "GROUP");
    for row in rows {
        let member = row.member.and_then(|index| group.members.get(index));
        let epoch = row.committed.map(|(_, epoch)| epoch).filter(|epoch| *epoch >= 0);
        let [epoch, offset, end, lag] =
            [epoch.map(i64::from), row.committed.map(|(offset, _)| offset), row.end, row.lag()]
                .map(|value| value.map_or("-".to_owned(), |value| value.to_string()));
        let of = |part: fn(&Member) -> &String| member.map_or("-", |member| part(member));
        let partition = row.at.partition.to_string();
        let (id, host, client) = (of(|it| &it.id), of(|it| &it.host), of(|it| &it.client));
        line([&row.at.topic, &partition, &epoch, &offset, &end, &lag, id, host, client], name);
    }
    Ok(lines)
}

fn members(name: &str, group: &Group, verbose: bool) -> Vec<String> {
    let members = &group.members;
    let widest = |column: fn(&Member) -> usize| members.iter().map(column).max().unwrap_or(0);
    let groups_width = name.len().max(15);
    let ids_width = widest(|it| it.id.len()).max(15);
    let instances = members.iter().any(|it| it.instance.is_some());
    let instances_width = widest(|it| it.instance.as_ref().map_or(0, String::len)).max(17);
    let hosts_width = widest(|it| it.host.len()).max(15);
    let clients_width = widest(|it| it.client.len()).max(15);
    let line = |cells: [&str; 10]| {
        let [group, id, instance, host, client, count, epoch, has, target_epoch, target] = cells;
        let instance =
            if instances { format!("{instance:<instances_width$} ") } else { String::new() };
        let more = match verbose {
            true => format!("{epoch:<15} {has:<20} {target_epoch:<15} {target:<20}"),
            false => String::new(),
        };
        format!(
            "{group:<groups_width$} {id:<ids_width$} {instance}{host:<hosts_width$} \
             {client:<clients_width$} {count:<15} {more}"
        )
    };
    let head = line([
        "GROUP",
        "CONSUMER-ID",
        "GROUP-INSTANCE-ID",
        "HOST",
        "CLIENT-ID",
        "#PARTITIONS",
        "CURRENT-EPOCH",
        "CURRENT-ASSIGNMENT",
        "TARGET-EPOCH",
        "TARGET-ASSIGNMENT",
    ]);
    let rows = members.iter().map(|it| {
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let modern = it.modern.as_ref();
        let epoch = modern.map_or("-".to_owned(), |modern| modern.epoch.to_string());
        let target_epoch = group.epochs.map_or("-".to_owned(), |(_, target)| target.to_string());
        let target = or_dash(modern.map(|modern| in_short(&modern.target)).unwrap_or_default());
        line([
            name,
            &it.id,
            it.instance.as_deref().unwrap_or(""),
            &it.host,
            &it.client,
            &it.has.len().to_string(),
            &epoch,
            &or_dash(in_short(&it.has)),
            &target_epoch,
            &target,
        ])
    });
    [head].into_iter().chain(rows).collect()
}

fn state(name: &str, group: &Group, verbose: bool) -> Vec<String> {
    let coordinator = format!("{}  ({})", group.coordinator.host_port, group.coordinator.id);
    let groups_width = name.len().max(15);
    let coordinators_width = coordinator.len().max(25);
    let line = |[group, coordinator, assignor, state, epoch, target, count]: [&str; 7]| {
        let epochs = match verbose {
            true => format!("{epoch:<15} {target:<25} "),
            false => String::new(),
        };
        format!(
            "{group:<groups_width$} {coordinator:<coordinators_width$} {assignor:<20} {state:<20} \
             {epochs}{count}"
        )
    };
    let head = line([
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "GROUP-EPOCH",
        "TARGET-ASSIGNMENT-EPOCH",
        "#MEMBERS",
    ]);
    let assignor = if group.assignor.is_empty() { "-" } else { &group.assignor };
    let [epoch, target] = match group.epochs {
        Some((epoch, target)) => [epoch, target].map(|epoch| epoch.to_string()),
        None => ["-".to_owned(), "-".to_owned()],
    };
    let count = group.members.len().to_string();
    let row = line([name, &coordinator, assignor, &group.state, &epoch, &target, &count]);
    vec![head, row]
}
