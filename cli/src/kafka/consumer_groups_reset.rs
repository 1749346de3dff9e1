//! `kafka-consumer-groups --reset-offsets`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use wire::error_code::ErrorCode;

use super::Failed;
use super::consumer_groups::{Options as Command, names_of};
use crate::args::ResetTo;
use crate::client::conn::{code_of, refusal};
use crate::client::groups::Groups;
use crate::client::reset::{
    Note, NowhereYet, Offsets, Plan, Scope, Target, is_inactive, plan, read_csv, write_csv,
};
use crate::client::times;
use crate::cmd::group::reset::commit;

/// Where to, and whether to.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Do it.
    #[arg(long)]
    execute: bool,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Print the plan as a CSV file.
    #[arg(long)]
    export: bool,
    #[command(flatten)]
    to: ResetTo,
}

impl Options {
    /// Whether any of them is given.
    pub(super) fn any(&self) -> bool {
        self.execute || self.dry_run || self.export || !self.to.given().is_empty()
    }
}

/// Plans, prints and, with `--execute`, commits.
pub(super) fn run(groups: &mut Groups, command: &Command) -> Result<Result<()>, Failed> {
    check(command)?;
    match reset(groups, command) {
        // Kafka takes this one for a wrong command line.
        Err(error) if error.is::<NowhereYet>() => Err(error.to_string().into()),
        done => Ok(done),
    }
}

fn check(command: &Command) -> Result<(), Failed> {
    let options = &command.reset;
    if options.execute && options.dry_run {
        let which = "[execute] and [dry-run]";
        return Err(format!("Option [reset-offsets] only accepts one of {which}").into());
    }
    if !options.execute && !options.dry_run {
        eprintln!(
            "WARN: No action will be performed as the --execute option is missing. In version 5.0, \
             this command will require either --dry-run or --execute to be specified. You should \
             add the --dry-run option explicitly if you are scripting this command and want to keep \
             the current default behavior without prompting."
        );
    }
    match options.to.given()[..] {
        [_] => {}
        [] => {
            return Err("Option '[reset-offsets]' requires one of the following scenarios: \
                        [[by-duration], [to-datetime], [from-file], [shift-by], [to-offset], \
                        [to-earliest], [to-current], [to-latest]]"
                .into());
        }
        [first, second, ..] => {
            return Err(
                format!("Option \"[{first}]\" can't be used with option \"[{second}]\"").into()
            );
        }
    }
    if options.to.from_file.is_none() && !command.all_topics && command.topic.is_empty() {
        return Err("One of the reset scopes should be defined: --all-topics, --topic.".into());
    }
    Ok(())
}

fn reset(groups: &mut Groups, command: &Command) -> Result<()> {
    let options = &command.reset;
    let scope = match command.all_topics {
        true => Scope::Committed,
        false => Scope::Topics(command.topic.clone()),
    };
    let mut file = options.to.from_file.as_deref().map(read_csv).transpose()?;
    let mut plans = BTreeMap::new();
    for name in names_of(groups, command)? {
        let target = match &mut file {
            Some(file) => {
                let own = file.remove(&Some(name.clone()));
                Target::These(own.or_else(|| file.get(&None).cloned()).unwrap_or_default())
            }
            None => target(&options.to)?,
        };
        let offsets = match state(groups, &name)? {
            state if is_inactive(&state) => {
                let Plan { offsets, notes } = plan(groups, &name, &scope, &target)
                    .map_err(|error| refusal(&error).cloned().map_or(error, Into::into))?;
                notes.iter().for_each(|note| tell(note, &offsets));
                offsets
            }
            state => {
                println!(
                    "\nError: Assignments can only be reset if the group '{name}' is inactive, but \
                     the current state is {state}."
                );
                Offsets::new()
            }
        };
        if options.execute {
            commit(groups, &name, &offsets)?;
        }
        plans.insert(name, offsets);
    }
    print(options.export.then_some(command.group.len() == 1), &plans);
    Ok(())
}

/// As a table, or as a file: of one group, or with the groups' names.
fn print(export_of_one: Option<bool>, plans: &BTreeMap<String, Offsets>) {
    if let Some(one) = export_of_one {
        let plans = plans.iter().map(|(name, offsets)| ((!one).then_some(name.as_str()), offsets));
        println!("{}", write_csv(plans));
        return;
    }
    let groups_width = plans.keys().map(String::len).max().unwrap_or(0).max(15);
    let partitions = plans.values().flat_map(|offsets| offsets.keys());
    let topics_width = partitions.map(|at| at.topic.len()).max().unwrap_or(0).max(15);
    println!(
        "\n{:<groups_width$} {:<topics_width$} {:<10} NEW-OFFSET",
        "GROUP", "TOPIC", "PARTITION"
    );
    for (name, offsets) in plans {
        for (at, offset) in offsets {
            let (topic, partition) = (&at.topic, at.partition);
            println!("{name:<groups_width$} {topic:<topics_width$} {partition:<10} {offset}");
        }
    }
}

/// A group that nobody knows comes to be with its first offset.
fn state(groups: &mut Groups, name: &str) -> Result<String> {
    match groups.describe(name) {
        Err(error) if code_of(&error) == ErrorCode::GROUP_ID_NOT_FOUND => Ok("Dead".to_owned()),
        group => Ok(group?.state),
    }
}

fn target(to: &ResetTo) -> Result<Target> {
    match to {
        ResetTo { to_datetime: Some(time), .. } if !time.contains('T') => Err(anyhow!(
            "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according \
             to ISO8601 format"
        )),
        ResetTo { by_duration: Some(span), .. } if times::span(span).is_err() => {
            Err(anyhow!("Text cannot be parsed to a Duration"))
        }
        to => to.target()?.context("no scenario is chosen"),
    }
}

fn tell(note: &Note, offsets: &Offsets) {
    match note {
        Note::NothingSoLate(at) => println!(
            "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
            at.partition, at.topic
        ),
        Note::AboveEnd(at, wanted) => eprintln!(
            "WARN New offset ({wanted}) is higher than latest offset for topic partition {at}. \
             Value will be set to {}",
            offsets[at]
        ),
        Note::BelowStart(at, wanted) => eprintln!(
            "WARN New offset ({wanted}) is lower than earliest offset for topic partition {at}. \
             Value will be set to {}",
            offsets[at]
        ),
    }
}
