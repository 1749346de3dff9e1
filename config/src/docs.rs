//! The reference page and the example file, rendered from the table.
//!
//! `config/REFERENCE.md` and `config/odradek.toml` hold what these functions return; a test
//! compares them and, with `UPDATE_DOCS=1`, writes them.

use std::fmt::Write as _;

use crate::keys;
use crate::keys::foreign;
use crate::layer::Layers;
use crate::table::{Key, Kind, Scope, Standing, Unit};
use crate::value::Value;

/// `REFERENCE.md`: every key in tables.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## Broker\n");
    for (group, keys) in grouped(keys::broker_keys()) {
        page.push_str(&format!(
            "\n### {group}\n\n| key | default | allowed | changes | |\n|---|---|---|---|---|\n"
        ));
        for key in keys {
            line(
                &mut page,
                &[&code(key.name), &default(key), &allowed(key), changes(key), &meaning(key)],
            );
        }
    }
    page.push_str(TOPICS);
    set_on(&mut page, keys::topic_keys());
    page.push_str(GROUPS);
    set_on(&mut page, keys::group_keys());
    page.push_str(SUBSCRIPTIONS);
    set_on(&mut page, keys::subscription_keys());
    page.push_str(REFUSED);
    for (why, rules) in foreign::RULES {
        let rule = |rule: &&str| match rule.ends_with('.') {
            true => code(&format!("{rule}*")),
            false => code(rule),
        };
        let rules: Vec<_> = rules.iter().map(rule).collect();
        line(&mut page, &[&rules.join(" "), why]);
    }
    page
}

/// Keys of things that follow broker keys where they do not say otherwise.
fn set_on(page: &mut String, keys: impl Iterator<Item = &'static Key>) {
    for (group, keys) in grouped(keys) {
        page.push_str(&format!(
            "\n### {group}\n\n| key | default | allowed | default from | |\n|---|---|---|---|---|\n"
        ));
        for key in keys {
            let from: Vec<_> = key.synonyms.iter().map(|synonym| code(synonym.name)).collect();
            line(
                page,
                &[
                    &code(key.name),
                    &default(key),
                    &allowed(key),
                    &from.join(", else "),
                    &meaning(key),
                ],
            );
        }
    }
}

/// `odradek.toml`: every broker key with its default, commented out.
#[must_use]
pub fn example() -> String {
    let mut file = String::from(EXAMPLE);
    for (group, keys) in grouped(keys::broker_keys()) {
        let rule = "-".repeat(EXAMPLE_WIDTH.saturating_sub(group.len() + 6));
        file.push_str(&format!("\n# --- {group} {rule}\n"));
        for key in keys {
            file.push('\n');
            for text in [explained(key), format!("({})", noted(key))] {
                for text in wrapped(&plain(&text), EXAMPLE_WIDTH - 2) {
                    file.push_str(&format!("# {text}\n"));
                }
            }
            file.push_str(&format!("#{} = {}\n", toml_key(key.name), toml_value(key)));
        }
    }
    file
}

/// Runs of keys under one heading, in the table's order.
fn grouped(keys: impl Iterator<Item = &'static Key>) -> Vec<(&'static str, Vec<&'static Key>)> {
    let mut groups: Vec<(&str, Vec<&Key>)> = Vec::new();
    for key in keys {
        match groups.last_mut() {
            Some((group, keys)) if *group == key.group => keys.push(key),
            _ => groups.push((key.group, vec![key])),
        }
    }
    groups
}

fn line(page: &mut String, cells: &[&str]) {
    for cell in cells {
        // A bar would end the cell.
        write!(page, "| {} ", cell.replace('|', "\\|")).expect("a String takes all");
    }
    page.push_str("|\n");
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn plain(text: &str) -> String {
    text.replace('`', "")
}

fn changes(key: &Key) -> &'static str {
    match key.scope {
        Scope::Fixed => "at start",
        Scope::PerBroker => "any time, per broker",
        Scope::ClusterWide | Scope::Topic | Scope::Group | Scope::Subscription => "any time",
    }
}

fn default(key: &Key) -> String {
    match key.default_value() {
        Value::Null => "not set".to_owned(),
        Value::Int(n) => match in_words(key.unit, n) {
            Some(words) => format!("{} ({words})", code(&n.to_string())),
            None => code(&n.to_string()),
        },
        Value::Text(text) if text.is_empty() => "empty".to_owned(),
        Value::List(parts) if parts.is_empty() => "empty".to_owned(),
        value => code(&value.to_string()),
    }
}

fn allowed(key: &Key) -> String {
    format!("{}{}", unit(key), key.allowed())
}

fn unit(key: &Key) -> &'static str {
    match key.unit {
        Unit::None => "",
        Unit::Millis => "ms, ",
        Unit::Bytes => "bytes, ",
    }
}

fn meaning(key: &Key) -> String {
    match standing(key) {
        Some(note) => format!("{} *{}.*", key.doc, capital(&note)),
        None => key.doc.to_owned(),
    }
}

fn standing(key: &Key) -> Option<String> {
    match key.standing {
        Standing::Honoured => None,
        Standing::Inert(why) => Some(format!("changes nothing: {why}")),
        Standing::DefaultOnly(why) => Some(format!("nothing but the default: {why}")),
    }
}

/// What the key does, without a look elsewhere: the default of a topic key tells what that does.
fn explained(key: &Key) -> String {
    let topics = keys::topic_keys();
    let mut heirs =
        topics.filter(|topic| topic.synonyms.first().is_some_and(|s| s.name == key.name));
    match heirs.next() {
        Some(topic) => format!("{} {}", topic.doc, key.doc),
        None => key.doc.to_owned(),
    }
}

/// What may be set, when, and to what end.
fn noted(key: &Key) -> String {
    let mut notes = vec![allowed(key)];
    if !key.read_only() {
        notes.push("can change while the broker runs".to_owned());
    }
    notes.extend(standing(key));
    notes.join("; ")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A number that is hard to read, in the largest unit that divides it.
fn in_words(unit: Unit, n: i64) -> Option<String> {
    let units: &[(i64, &str)] = match unit {
        _ if n == i64::MAX => return Some("no limit".to_owned()),
        Unit::Millis => &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")],
        Unit::Bytes => &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")],
        Unit::None if n == i64::from(i32::MAX) => return Some("no limit".to_owned()),
        Unit::None => &[],
    };
    let (size, name) = units.iter().find(|(size, _)| n >= *size && n % size == 0)?;
    Some(format!("{} {name}", n / size))
}

/// The key as TOML: in quotes if another key begins with it, which would make it a table.
fn toml_key(name: &str) -> String {
    let begins = |key: &Key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    if keys::broker_keys().any(begins) { format!("\"{name}\"") } else { name.to_owned() }
}

fn toml_value(key: &'static Key) -> String {
    let value = match Layers::default().effective(key) {
        Value::Null => key.parse(key.example).expect("the table test parses every example"),
        value => value,
    };
    match (value, key.kind) {
        (Value::List(parts), _) => {
            let parts: Vec<_> = parts.iter().map(|part| format!("\"{part}\"")).collect();
            format!("[{}]", parts.join(", "))
        }
        (value, Kind::String | Kind::Password) => format!("\"{value}\""),
        (value, _) => value.to_string(),
    }
}

/// Lines of at most `width` characters, unless a word is longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

const EXAMPLE_WIDTH: usize = 100;

const INTRODUCTION: &str = "\
# Configuration reference

*Rendered from the table in `config/src/keys`; `odradek config reference` prints this page.*

Nothing has to be configured: `odradek serve` starts with the defaults below. What is set is read
from, the later over the earlier:

1. the defaults,
2. the TOML file of `--config FILE`; [odradek.toml](odradek.toml) holds every key,
3. `--data`, `--listen` and `--set KEY=VALUE`,
4. what Kafka's tools set for all brokers while they run
   (`kafka-configs --entity-type brokers --entity-default --alter …`),
5. what they set for one broker (`--entity-name 1`),
6. for a topic, what is set on it (`--entity-type topics`).

Names, types and values are Apache Kafka 4.3's; keys under `cores.` and `odradek.`, `log.format` and
`log.level` are Odradek's own. In TOML a dotted key and nested tables are the same
(`log.segment.bytes = …`, or `segment.bytes = …` under `[log]`); a key that another one begins with
is written in quotes, as `\"max.connections\" = 100`. Lists are arrays or comma-separated text.

Keys and values that are not known are refused, never ignored. Those that Odradek takes although
they change nothing here say so, and are logged at start.

*changes*: \"at start\" is layers 1 to 3 only (read-only in Kafka's words); \"any time\" is all.
";

const TOPICS: &str = "
## Topics

Set on a topic when it is created or later. A topic that does not set a key follows the broker keys
named under *default from*.
";

const GROUPS: &str = "
## Groups

Set on a group (`kafka-configs --entity-type groups --entity-name GROUP --alter …`), which need not
exist yet; in force from its members' next heartbeats. A group that does not set a key follows the
broker key named under *default from*.
";

const SUBSCRIPTIONS: &str = "
## Client metrics

Set on a telemetry subscription (`kafka-client-metrics`, `kafka-configs --entity-type
client-metrics`).
";

const REFUSED: &str = "
## Keys of Kafka's that are refused

A `*` stands for any rest.

| keys | why |
|---|---|
";

const EXAMPLE: &str = "\
# Every key of a broker, with its default. Nothing here has to be set.
#
# Rendered from the table in config/src/keys; REFERENCE.md explains layers and topic keys.
# Start with it by: odradek serve --config odradek.toml
";

#[cfg(test)]
mod tests;
