//! `kafka-consumer-groups`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use wire::error_code::ErrorCode;

use super::consumer_groups_describe::{self as describe, View};
use super::{Failed, Server, consumer_groups_reset as reset, exception, message, parse};
use crate::client::conn::Refusal;
use crate::client::groups::{Groups, Listed};
use crate::client::names;
use crate::client::partitions::TopicPartition;
use crate::client::reset::partitions_of;

/// List all consumer groups, describe a consumer group, delete consumer group info, or reset
/// consumer group offsets.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true)]
pub(super) struct Options {
    #[command(flatten)]
    server: Server,
    /// List all consumer groups.
    #[arg(long)]
    list: bool,
    /// Describe groups.
    #[arg(long)]
    describe: bool,
    /// Delete groups.
    #[arg(long)]
    delete: bool,
    /// Move the offsets of groups without members.
    #[arg(long)]
    reset_offsets: bool,
    /// Delete offsets of a group.
    #[arg(long)]
    delete_offsets: bool,
    /// Say whether a regular expression is valid.
    #[arg(long, value_name = "REGEX")]
    validate_regex: Option<String>,
    /// A group; may be repeated.
    #[arg(long)]
    pub(super) group: Vec<String>,
    /// All groups.
    #[arg(long)]
    pub(super) all_groups: bool,
    /// A topic, or TOPIC:0,1,2; may be repeated.
    #[arg(long)]
    pub(super) topic: Vec<String>,
    /// All topics in which the group has offsets.
    #[arg(long)]
    pub(super) all_topics: bool,
    /// Describe the members.
    #[arg(long)]
    members: bool,
    /// Describe the offsets, which is what happens without --members and --state.
    #[arg(long)]
    offsets: bool,
    /// Describe the state, or list it; only groups in these states.
    #[arg(long, num_args = 0..=1, default_missing_value = "")]
    state: Option<String>,
    /// List the types; only groups of these types.
    #[arg(long = "type", num_args = 0..=1, default_missing_value = "")]
    kind: Option<String>,
    /// Describe more.
    #[arg(long)]
    verbose: bool,
    /// How long a group's coordinator may take to be there and ready.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    timeout: u64,
    #[command(flatten)]
    pub(super) reset: reset::Options,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, Failed> {
    let options: Options = parse("kafka-consumer-groups", args)?;
    check(&options)?;
    if let Some(regex) = &options.validate_regex {
        match names::whole(regex) {
            Ok(_) => println!("The regular expression `{regex}` is valid."),
            Err(error) => {
                let cause = error.root_cause().to_string();
                let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ");
                println!("The regular expression `{regex}` is invalid: {cause}.");
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut groups = Groups::of(options.server.connect()?);
    groups.wait_up_to(Duration::from_millis(options.timeout));
    let done = match &options {
        Options { list: true, .. } => list(&mut groups, &options)?,
        Options { describe: true, .. } => describe_all(&mut groups, &options),
        Options { delete: true, .. } => delete(&mut groups, &options),
        Options { reset_offsets: true, .. } => reset::run(&mut groups, &options)?,
        _ => delete_offsets(&mut groups, &options),
    };
    if let Err(error) = done {
        println!("\nError: Executing consumer group command failed due to {}", said(&error));
    }
    // As Kafka's: whatever went wrong with a group, the command itself has run.
    Ok(ExitCode::SUCCESS)
}

/// What a failure is called by Kafka: a missing group by its exception, others by their words.
fn said(error: &anyhow::Error) -> String {
    match crate::client::conn::code_of(error) {
        ErrorCode::GROUP_ID_NOT_FOUND => exception(error),
        _ => message(error),
    }
}

fn check(options: &Options) -> Result<(), Failed> {
    let Options { list, describe, delete, reset_offsets, delete_offsets, .. } = *options;
    let actions = [list, describe, delete, reset_offsets, delete_offsets];
    let chosen = actions.iter().filter(|given| **given).count();
    if chosen + usize::from(options.validate_regex.is_some()) != 1 {
        return Err("Command must include exactly one action: --list, --describe, --delete, \
                    --reset-offsets, --delete-offsets, --validate-regex"
            .into());
    }
    if options.validate_regex.is_none() && options.server.bootstrap_server.is_none() {
        return Err("Missing required argument \"[bootstrap-server]\"".into());
    }
    let action = match options {
        Options { describe: true, .. } => "describe",
        Options { delete: true, .. } => "delete",
        Options { reset_offsets: true, .. } => "reset-offsets",
        Options { delete_offsets: true, .. } => "delete-offsets",
        _ => "",
    };
    let named = !options.group.is_empty();
    if matches!(action, "describe" | "delete" | "reset-offsets") && named == options.all_groups {
        return Err(
            format!("Option [{action}] takes one of these options: [all-groups], [group]").into()
        );
    }
    if describe {
        let views = [options.members, options.offsets, options.state.is_some()];
        if views.iter().filter(|given| **given).count() > 1 {
            let which = "[members], [offsets], [state]";
            return Err(
                format!("Option [describe] takes at most one of these options: {which}").into()
            );
        }
        if options.state.as_deref().is_some_and(|state| !state.is_empty()) {
            return Err("Option [describe] does not take a value for [state]".into());
        }
    }
    if delete_offsets && (options.group.len() != 1 || options.topic.is_empty()) {
        return Err("Option [delete-offsets] takes the following options: [topic], [group]".into());
    }
    let wrong = [
        ("members", options.members && !describe),
        ("offsets", options.offsets && !describe),
        ("verbose", options.verbose && !describe),
        ("state", options.state.is_some() && !(describe || list)),
        ("type", options.kind.is_some() && !list),
        ("group", (named || options.all_groups) && action.is_empty()),
        ("topic", !(options.topic.is_empty() || reset_offsets || delete_offsets)),
        ("all-topics", options.all_topics && !reset_offsets),
        ("execute and the like", options.reset.any() && !reset_offsets),
    ];
    match wrong.iter().find(|(_, wrong)| *wrong) {
        Some((option, _)) => {
            Err(format!("Option \"[{option}]\" can't be used with this action").into())
        }
        None => Ok(()),
    }
}

fn list(groups: &mut Groups, options: &Options) -> Result<Result<()>, Failed> {
    let states = chosen("state", options.state.as_deref(), &STATES)?;
    let kinds = chosen("types", options.kind.as_deref(), &KINDS)?;
    Ok(groups.list(&states, &kinds).map(|listed| print_list(listed, options)))
}

fn print_list(listed: Vec<Listed>, options: &Options) {
    // Groups of others than consumers have their own scripts.
    let listed = listed.into_iter().filter(|it| {
        let kind = it.kind.to_ascii_lowercase();
        kind == "consumer" || kind == "classic" && matches!(&*it.protocol_type, "" | "consumer")
    });
    let listed: Vec<_> = listed.collect();
    let width = listed.iter().map(|it| it.group.len()).max().unwrap_or(0).max(25);
    let (kinds, states) = (options.kind.is_some(), options.state.is_some());
    let row = |group: &str, kind: &str, state: &str| match (kinds, states) {
        (true, true) => println!("{group:<width$} {kind:<20} {state:<20}"),
        (true, false) => println!("{group:<width$} {kind:<20}"),
        (false, true) => println!("{group:<width$} {state:<20}"),
        (false, false) => println!("{group}"),
    };
    if kinds || states {
        row("GROUP", "TYPE", "STATE");
    }
    listed.iter().for_each(|it| row(&it.group, &capital(&it.kind), &it.state));
}

/// Names out of a list with commas, in any case of letters.
fn chosen(
    what: &str,
    text: Option<&str>,
    known: &[&'static str],
) -> Result<Vec<&'static str>, Failed> {
    let names = text.unwrap_or_default().split(',').map(str::trim).filter(|it| !it.is_empty());
    let find = |name: &str| known.iter().find(|known| known.eq_ignore_ascii_case(name)).copied();
    names.map(find).collect::<Option<Vec<_>>>().ok_or_else(|| {
        let text = text.unwrap_or_default();
        format!("Invalid {what} list '{text}'. Valid {what}s are: {}", known.join(", ")).into()
    })
}

fn describe_all(groups: &mut Groups, options: &Options) -> Result<()> {
    let names = names_of(groups, options)?;
    let view = match options {
        Options { members: true, .. } => View::Members,
        Options { state: Some(_), .. } => View::State,
        _ => View::Offsets,
    };
    names.iter().try_for_each(|name| describe::print(groups, name, view, options.verbose))
}

/// Groups that are named, or all.
pub(super) fn names_of(groups: &mut Groups, options: &Options) -> Result<BTreeSet<String>> {
    if options.all_groups {
        return Ok(groups.list(&[], &[])?.into_iter().map(|it| it.group).collect());
    }
    Ok(options.group.iter().cloned().collect())
}

fn delete(groups: &mut Groups, options: &Options) -> Result<()> {
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for name in names_of(groups, options)? {
        match groups.delete(&name) {
            Ok(()) => deleted.push(format!("'{name}'")),
            Err(error) => failed.push((name, error)),
        }
    }
    let deleted = deleted.join(", ");
    if failed.is_empty() {
        println!("Deletion of requested consumer groups ({deleted}) was successful.");
        return Ok(());
    }
    println!("\nError: Deletion of some consumer groups failed:");
    for (name, error) in failed {
        println!("* Group '{name}' could not be deleted due to: {}", exception(&error));
    }
    if !deleted.is_empty() {
        println!("\nThese consumer groups were deleted successfully: {deleted}");
    }
    Ok(())
}

fn delete_offsets(groups: &mut Groups, options: &Options) -> Result<()> {
    let name = &options.group[0];
    let (mut partitions, mut rows) = (Vec::new(), Vec::new());
    let failure =
        |code: ErrorCode| format!("Error: {}", exception(&Refusal::new(code.0, None).into()));
    for topic in &options.topic {
        match partitions_of(groups, std::slice::from_ref(topic)) {
            Ok(found) => partitions.extend(found),
            Err(error) => {
                let gone = crate::client::conn::code_of(&error);
                let name = topic.split(':').next().unwrap_or(topic).to_owned();
                rows.push((name, "-".to_owned(), failure(gone)));
            }
        }
    }
    let outcomes = groups.delete_offsets(name, &partitions)?;
    let failed = outcomes.values().any(|code| !code.is_ok());
    match failed {
        false => println!("Request succeeded for deleting offsets from group {name}."),
        true => {
            println!("\nError: Encountered some partition-level error, see the follow-up details.")
        }
    }
    rows.extend(outcomes.into_iter().map(|(TopicPartition { topic, partition }, code)| {
        let status = if code.is_ok() { "Successful".to_owned() } else { failure(code) };
        (topic, partition.to_string(), status)
    }));
    println!("\n{:<15} {:<10} {:<15}", "TOPIC", "PARTITION", "STATUS");
    for (topic, partition, status) in rows {
        println!("{topic:<15} {partition:<10} {status:<15}");
    }
    Ok(())
}

/// `classic` is `Classic`.
fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1.min(word.len()));
    format!("{}{}", first.to_ascii_uppercase(), rest.to_ascii_lowercase())
}

const STATES: [&str; 7] = [
    "Empty",
    "Stable",
    "CompletingRebalance",
    "Assigning",
    "Reconciling",
    "Dead",
    "PreparingRebalance",
];
const KINDS: [&str; 2] = ["classic", "consumer"];

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Options, Failed> {
        let args = [&["--bootstrap-server", "h:1"], args].concat();
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        let options = parse("kafka-consumer-groups", &args)?;
        check(&options).map(|()| options)
    }

    #[test]
    fn command_lines_are_kafkas() {
        let wrong = |args: &[&str]| options(args).expect_err("refused").0;
        assert!(wrong(&[]).contains("exactly one action"));
        assert!(wrong(&["--list", "--describe"]).contains("exactly one action"));
        assert!(wrong(&["--describe"]).contains("[all-groups], [group]"));
        assert!(wrong(&["--delete-offsets", "--group", "g"]).contains("[topic], [group]"));
        assert!(wrong(&["--list", "--execute"]).contains("can't be used"));
        assert!(wrong(&["--list", "--members"]).contains("[members]"));
        assert!(options(&["--list", "--state", "--type"]).is_ok());
        assert!(options(&["--describe", "--group", "a", "--group", "b", "--state"]).is_ok());
        assert_eq!(chosen("state", Some("empty, Stable"), &STATES).expect("two").len(), 2);
        assert!(chosen("state", Some("bogus"), &STATES).is_err());
    }
}
