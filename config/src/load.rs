//! How a configuration is put together at start: defaults, file, command line.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{LoadError, LoadErrors, Origin, Problem};
use crate::file;
use crate::keys;
use crate::layer::Static;
use crate::node::Config;
use crate::table::Key;
use crate::value::Value;

/// Collects what file and command line say; what is said later wins.
#[derive(Debug, Default)]
pub struct ConfigBuilder {
    fixed: BTreeMap<&'static str, Static>,
    errors: Vec<LoadError>,
}

impl ConfigBuilder {
    /// Reads a TOML file.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        match std::fs::read_to_string(path) {
            Ok(text) => self.toml(path, &text),
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                self.errors.push(LoadError { origin: Origin::Flag("--config"), message });
                self
            }
        }
    }

    /// Reads the text of a TOML file; `path` is for messages only.
    #[must_use]
    pub fn toml(mut self, path: &Path, text: &str) -> Self {
        match file::entries(path, text) {
            Ok(entries) => entries
                .into_iter()
                .fold(self, |builder, entry| builder.put(&entry.key, &entry.value, entry.origin)),
            Err(mut errors) => {
                self.errors.append(&mut errors);
                self
            }
        }
    }

    /// Takes the argument of `--set`: `KEY=VALUE`.
    #[must_use]
    pub fn set(mut self, argument: &str) -> Self {
        match argument.split_once('=') {
            Some((key, value)) => self.put(key.trim(), value, Origin::Set),
            None => {
                let message = format!("{argument}: not of the form KEY=VALUE");
                self.errors.push(LoadError { origin: Origin::Set, message });
                self
            }
        }
    }

    /// Takes a value that an option of its own gives, such as `--data` for `log.dirs`.
    #[must_use]
    pub fn put(mut self, name: &str, text: &str, origin: Origin) -> Self {
        match fixed_value(name, text) {
            Ok((key, value)) => drop(self.fixed.insert(key.name, Static { value, origin })),
            Err(message) => self.errors.push(LoadError { origin, message }),
        }
        self
    }

    /// Fails with everything that is wrong; what must fit together is checked last.
    pub fn build(self) -> Result<Config, LoadErrors> {
        if !self.errors.is_empty() {
            return Err(LoadErrors(self.errors));
        }
        Config::from_fixed(self.fixed).map_err(|error| LoadErrors(vec![error]))
    }
}

/// Reads a static value; the error says key, value and what is allowed.
fn fixed_value(name: &str, text: &str) -> Result<(&'static Key, Value), String> {
    let Some(key) = keys::broker_key(name) else {
        return Err(unknown(name));
    };
    let refused = |problem: Problem| {
        let allowed = key.allowed();
        let known =
            matches!(problem, Problem::OneOf { .. }) || problem.to_string().ends_with(&allowed);
        let allowed = if known { String::new() } else { format!(" (allowed: {allowed})") };
        format!("{name} = {text}: {problem}{allowed}")
    };
    let value = key.parse(text).map_err(refused)?;
    key.supports(&value).map_err(|why| format!("{name} = {text}: {why}"))?;
    Ok((key, value))
}

fn unknown(name: &str) -> String {
    if keys::topic_key(name).is_some() {
        let default = keys::topic_key(name).and_then(|key| key.synonyms.first());
        let instead = default.map(|key| format!("; its default is {}", key.name));
        return format!("{name} is set on topics{}", instead.unwrap_or_default());
    }
    match keys::hint(name, keys::broker_keys()) {
        Some(hint) => format!("{name} cannot be set: {hint}"),
        None => {
            format!("{name}: no such key; REFERENCE.md and `odradek config reference` list all")
        }
    }
}

#[cfg(test)]
mod tests;
