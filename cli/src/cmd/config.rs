//! `odradek config …`: what holds, for what, and from where.

use anyhow::{Context, Result, bail};

use super::table;
use super::topic::key_values;
use crate::args::{ConfigCommand, Entity};
use crate::client::cluster::Cluster;
use crate::client::configs::{self, Change, Entry, Resource, Source};

/// Runs one of the config commands.
pub(crate) fn run(command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Reference { toml: false } => print!("{}", config::docs::reference()),
        ConfigCommand::Reference { toml: true } => print!("{}", config::docs::example()),
        ConfigCommand::Describe { bootstrap, entity, keys, all, synonyms, documentation } => {
            let mut cluster = Cluster::connect(&bootstrap.bootstrap_server)?;
            let entries = configs::describe(&mut cluster, &resource(entity)?)?;
            let unknown = keys.iter().find(|key| entries.iter().all(|entry| entry.name != **key));
            if let Some(key) = unknown {
                bail!("{key} is not a key of {}", resource(entity)?);
            }
            let shown = |entry: &Entry| match keys.is_empty() {
                true => *all || entry.source != Source::DEFAULT,
                false => keys.contains(&entry.name),
            };
            let entries: Vec<_> = entries.into_iter().filter(shown).collect();
            show(&entries, *synonyms, *documentation);
        }
        ConfigCommand::Alter { bootstrap, entity, set, delete, append, subtract, dry_run } => {
            let mut cluster = Cluster::connect(&bootstrap.bootstrap_server)?;
            let resource = resource(entity)?;
            let [set, append, subtract] = [set, append, subtract].map(|args| key_values(args));
            let set = set?.into_iter().map(|(key, value)| Change::Set(key, value));
            let append = append?.into_iter().map(|(key, value)| Change::Append(key, value));
            let subtract = subtract?.into_iter().map(|(key, value)| Change::Subtract(key, value));
            let delete = delete.iter().map(|key| Change::Delete(key));
            let changes: Vec<_> = set.chain(append).chain(subtract).chain(delete).collect();
            configs::alter(&mut cluster, &resource, &changes, *dry_run)?;
            match dry_run {
                true => println!("{resource} could be altered so."),
                false => println!("Altered {resource}."),
            }
        }
    }
    Ok(())
}

fn resource(entity: &Entity) -> Result<Resource> {
    let Entity { topic, broker, broker_default, broker_loggers, group, client_metrics } = entity;
    let named = topic.clone().map(Resource::Topic);
    let named = named.or(broker.map(Resource::Broker));
    let named = named.or(broker_default.then_some(Resource::BrokerDefault));
    let named = named.or(broker_loggers.map(Resource::BrokerLoggers));
    let named = named.or_else(|| group.clone().map(Resource::Group));
    let named = named.or_else(|| client_metrics.clone().map(Resource::ClientMetrics));
    named.context("say of what, for instance --topic NAME; see --help")
}

fn show(entries: &[Entry], synonyms: bool, documentation: bool) {
    let rows = entries.iter().map(|entry| {
        let mut notes = Vec::new();
        notes.extend(entry.read_only.then_some("read-only"));
        notes.extend(entry.sensitive.then_some("sensitive"));
        let value = value(entry.value.as_deref(), entry.sensitive);
        vec![entry.name.clone(), value, entry.source.name().to_owned(), notes.join(",")]
    });
    if !synonyms && !documentation {
        table::print(&["KEY", "VALUE", "SOURCE", "NOTES"], rows.collect());
        return;
    }
    for (entry, row) in entries.iter().zip(rows) {
        println!("{}", row.join("  ").trim_end());
        if synonyms {
            for it in &entry.synonyms {
                let value = value(it.value.as_deref(), entry.sensitive);
                println!("    {}: {}={value}", it.source.name(), it.name);
            }
        }
        if let Some(text) = entry.documentation.as_deref().filter(|_| documentation) {
            println!("    {text}");
        }
    }
}

/// A value that is kept secret is told from one that is not there.
fn value(value: Option<&str>, sensitive: bool) -> String {
    match value {
        Some(value) => value.to_owned(),
        None if sensitive => "(hidden)".to_owned(),
        None => "(none)".to_owned(),
    }
}
