//! `odradek group reset`: plans first, and changes something only if asked to.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use wire::error_code::ErrorCode;

use super::print;
use crate::args::ResetArgs;
use crate::client::conn::code_of;
use crate::client::groups::{Committer, Groups};
use crate::client::reset::{
    Note, Offsets, Plan, Scope, Target, is_inactive, plan, read_csv, write_csv,
};

/// Plans, shows and, with `--execute`, commits.
pub(super) fn run(groups: &mut Groups, args: &ResetArgs) -> Result<()> {
    let names = match args.all_groups {
        true => groups.list(&[], &[])?.into_iter().map(|it| it.group).collect(),
        false => args.groups.clone(),
    };
    let scope = match args.all_topics {
        true => Scope::Committed,
        false => Scope::Topics(args.topics.clone()),
    };
    let mut targets = targets(args, &names)?;
    let mut plans = BTreeMap::new();
    for name in &names {
        let Some(target) = targets.remove(name) else { continue };
        refuse_active(groups, name)?;
        let Plan { offsets, notes } = plan(groups, name, &scope, &target)?;
        notes.iter().for_each(|note| eprintln!("odradek: {}", told(note)));
        plans.insert(name.clone(), offsets);
    }
    if args.execute {
        for (name, offsets) in &plans {
            commit(groups, name, offsets)?;
        }
    }
    show(args, &plans);
    if !args.execute && !args.dry_run {
        eprintln!("Nothing was changed: give --execute to do it.");
    }
    Ok(())
}

/// Where each group goes; groups of which a file says nothing stay.
fn targets(args: &ResetArgs, names: &[String]) -> Result<BTreeMap<String, Target>> {
    if let Some(path) = &args.to.from_file {
        let mut plans = read_csv(path)?;
        let common = plans.remove(&None);
        let of = |name: &String| {
            let own = plans.remove(&Some(name.clone()));
            own.or_else(|| common.clone()).map(|plan| (name.clone(), Target::These(plan)))
        };
        return Ok(names.iter().filter_map(of).collect());
    }
    let one =
        args.to_timestamp.map(Target::Time).map_or_else(|| args.to.target(), |it| Ok(Some(it)));
    let one = one?.context("say where to, for instance --to-earliest; see --help")?;
    Ok(names.iter().map(|name| (name.clone(), one.clone())).collect())
}

/// Nobody reads on from an offset that is changed under him.
fn refuse_active(groups: &mut Groups, name: &str) -> Result<()> {
    let group = match groups.describe(name) {
        // It comes to be with its first offset.
        Err(error) if code_of(&error) == ErrorCode::GROUP_ID_NOT_FOUND => return Ok(()),
        found => found?,
    };
    if !is_inactive(&group.state) {
        bail!(
            "group {name} is {} with {} members: only a group without members can be moved",
            group.state,
            group.members.len()
        );
    }
    Ok(())
}

pub(crate) fn commit(groups: &mut Groups, name: &str, offsets: &Offsets) -> Result<()> {
    let outcomes = groups.commit(name, &Committer::ADMINISTRATOR, offsets)?;
    let failed = outcomes.iter().filter(|(_, code)| !code.is_ok());
    let failed: Vec<_> = failed.map(|(at, code)| format!("{at}: {}", code.name())).collect();
    if !failed.is_empty() {
        bail!("group {name}: {} partitions were not moved: {}", failed.len(), failed.join(", "));
    }
    Ok(())
}

fn show(args: &ResetArgs, plans: &BTreeMap<String, Offsets>) {
    if args.export {
        let several = plans.len() > 1;
        let plans = plans.iter().map(|(name, offsets)| (several.then_some(name.as_str()), offsets));
        print!("{}", write_csv(plans));
        return;
    }
    let rows = plans.iter().flat_map(|(name, offsets)| {
        offsets.iter().map(|(at, offset)| {
            vec![name.clone(), at.topic.clone(), at.partition.to_string(), offset.to_string()]
        })
    });
    print(&["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"], rows.collect());
}

fn told(note: &Note) -> String {
    match note {
        Note::AboveEnd(at, offset) => format!("{at}: {offset} is behind its end, which is taken"),
        Note::BelowStart(at, offset) => {
            format!("{at}: {offset} is before its first record, which is taken")
        }
        Note::NothingSoLate(at) => format!("{at}: no record is so late; its end is taken"),
    }
}
