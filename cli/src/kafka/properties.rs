//! Properties of Kafka's clients, from files and from `KEY=VALUE` options: those that have a
//! meaning here are taken out one by one, and what is left is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use super::Failed;

/// Properties that nobody has asked for yet.
#[derive(Debug)]
pub(super) struct Properties {
    /// The option they were given by, for messages.
    option: &'static str,
    left: BTreeMap<String, String>,
}

impl Properties {
    pub(super) fn new(option: &'static str) -> Self {
        Self { option, left: BTreeMap::new() }
    }

    /// From a file and from options `KEY=VALUE`, which win.
    pub(super) fn of(
        option: &'static str,
        file: Option<&Path>,
        options: &[String],
    ) -> Result<Self, Failed> {
        let mut properties = Self::new(option);
        if let Some(path) = file {
            properties.read_file(path)?;
        }
        properties.add(options)?;
        Ok(properties)
    }

    /// A file as Java's `Properties` reads it: `key=value`, `key: value` or `key value` a line, `#`
    /// and `!` before comments, and `\` where a line goes on.
    pub(super) fn read_file(&mut self, path: &Path) -> Result<(), Failed> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("can't read {}: {error}", path.display()))?;
        self.left.extend(lines(&text));
        Ok(())
    }

    /// `KEY=VALUE`; the later one wins.
    pub(super) fn add(&mut self, properties: &[String]) -> Result<(), Failed> {
        for property in properties {
            let (key, value) = property.split_once('=').ok_or_else(|| {
                format!("Invalid command line properties: {property} is not of the form key=value")
            })?;
            self.left.insert(key.trim().to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// A value, as it is.
    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        self.left.remove(key)
    }

    /// A value that has to be of some kind.
    pub(super) fn parse<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, Failed> {
        self.take(key).map(|text| text.trim().parse().map_err(|_| wrong(key, &text))).transpose()
    }

    /// A value out of a few.
    pub(super) fn choose<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Failed> {
        let Some(text) = self.take(key) else { return Ok(None) };
        let choice = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
        choice.map(|(_, value)| Some(*value)).ok_or_else(|| wrong(key, &text))
    }

    /// What every client has: a name of its own, and how it speaks to brokers.
    pub(super) fn client_id(&mut self, default: &str) -> Result<String, Failed> {
        if let Some(protocol) = self.take("security.protocol")
            && protocol != "PLAINTEXT"
        {
            let why = "this client speaks PLAINTEXT alone";
            return Err(format!("security.protocol={protocol} is not supported: {why}").into());
        }
        // The option that says whom to ask wins, as in Kafka.
        self.take("bootstrap.servers");
        Ok(self.take("client.id").unwrap_or_else(|| default.to_owned()))
    }

    /// All, as they are.
    pub(super) fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.left.into_iter()
    }

    /// Refuses what has no meaning here.
    pub(super) fn refuse_rest(self) -> Result<(), Failed> {
        match self.left.first_key_value() {
            Some((key, value)) => {
                let option = self.option;
                Err(format!("{option}: {key}={value} has no meaning for this program").into())
            }
            None => Ok(()),
        }
    }
}

fn wrong(key: &str, value: &str) -> Failed {
    format!("Invalid value {value} for configuration {key}").into()
}

fn lines(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut whole = String::new();
    for line in text.lines() {
        let line = line.trim_start();
        if whole.is_empty() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            whole += part;
            continue;
        }
        whole += line;
        let line = std::mem::take(&mut whole);
        let end = line.find(['=', ':', ' ', '\t']).unwrap_or(line.len());
        let (key, rest) = line.split_at(end);
        let rest = rest.trim_start();
        let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
        found.push((key.to_owned(), value.to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_javas() {
        let text = "# a\n! b\nclient.id = c d \n\nacks:all\nkey value\nlist=a,\\\n   b\nempty=\n";
        let of = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = [
            of("client.id", "c d "),
            of("acks", "all"),
            of("key", "value"),
            of("list", "a,b"),
            of("empty", ""),
        ];
        assert_eq!(lines(text), expected);
    }

    #[test]
    fn what_has_no_meaning_is_refused_by_name() {
        let mut properties = Properties::new("--command-property");
        properties.add(&["client.id=me".into(), "acks=1".into()]).expect("properties");
        assert_eq!(properties.client_id("x").expect("plain"), "me");
        let refused = properties.refuse_rest().expect_err("acks is left").0;
        assert!(refused.contains("--command-property: acks=1"), "{refused}");
        let mut properties = Properties::new("--command-config");
        properties.add(&["security.protocol=SSL".into()]).expect("properties");
        assert!(properties.client_id("x").is_err());
        assert!(Properties::new("").add(&["nothing".into()]).is_err());
    }
}
