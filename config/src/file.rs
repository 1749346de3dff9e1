//! The TOML file: nested tables and dotted keys are the same thing, Kafka's dotted names.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{LoadError, Origin};

/// One `key = value` of a file, the value as Kafka would write it.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Every entry of a file, in its order.
pub(crate) fn entries(path: &Path, text: &str) -> Result<Vec<Entry>, Vec<LoadError>> {
    let mut reader = Reader { path, text, entries: Vec::new(), errors: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => reader.table("", table.get_ref()),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let mut message = error.message().to_owned();
            if message.contains("duplicate key") || message.contains("extend value") {
                message.push_str(
                    "; write a key's name in full, in quotes where another key begins with it: \
                     \"max.connections\" = 100",
                );
            }
            reader.fail(at, message);
        }
    }
    let Reader { mut entries, mut errors, .. } = reader;
    entries.sort_by_key(|(at, _)| *at);
    let entries: Vec<Entry> = entries.into_iter().map(|(_, entry)| entry).collect();
    for (i, entry) in entries.iter().enumerate() {
        // TOML refuses a key twice, but not "a.b" beside a.b.
        if entries[..i].iter().any(|other| other.key == entry.key) {
            let message = format!("{} is set twice", entry.key);
            errors.push(LoadError { origin: entry.origin.clone(), message });
        }
    }
    if errors.is_empty() { Ok(entries) } else { Err(errors) }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    /// With the position of the value in the text.
    entries: Vec<(usize, Entry)>,
    errors: Vec<LoadError>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let name = name.get_ref();
            let key = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
            match value.get_ref() {
                DeValue::Table(table) => self.table(&key, table),
                _ => self.entry(key, value),
            }
        }
    }

    fn entry(&mut self, key: String, value: &Spanned<DeValue<'_>>) {
        let at = value.span().start;
        let text = match value.get_ref() {
            DeValue::Array(parts) => parts.iter().map(|part| scalar(part.get_ref())).collect(),
            value => scalar(value).map(|text| vec![text]),
        };
        match text {
            Some(parts) => {
                let entry = Entry { key, value: parts.join(","), origin: self.origin(at) };
                self.entries.push((at, entry));
            }
            None => {
                let kind = value.get_ref().type_str();
                self.fail(at, format!("{key}: {kind} where text, a number, a truth value or a list of these belongs"));
            }
        }
    }

    fn fail(&mut self, at: usize, message: String) {
        self.errors.push(LoadError { origin: self.origin(at), message });
    }

    fn origin(&self, at: usize) -> Origin {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        Origin::File { path: self.path.to_owned(), line }
    }
}

/// A value that is no table and no array, as Kafka would write it.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(n) => {
            let number = i128::from_str_radix(n.as_str(), n.radix()).ok()?;
            Some(number.to_string())
        }
        DeValue::Float(n) => Some(n.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String, usize)>, Vec<String>> {
        let entries = entries(Path::new("o.toml"), text)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let line = |origin: Origin| match origin {
            Origin::File { line, .. } => line,
            _ => 0,
        };
        Ok(entries.into_iter().map(|e| (e.key, e.value, line(e.origin))).collect())
    }

    #[test]
    fn tables_and_dots_are_one() {
        let text = "node.id = 3\nlog.dirs = [\"/a\", '/b']\n\n[log]\nsegment.bytes = 0x10_0000\n[log.retention]\nms = -1\n";
        // `log` is opened by a dotted key first, so TOML forbids the header after it.
        assert!(read(text).is_err());
        let text = &text.replace("log.dirs", "\"log.dirs\"");
        let expected = [
            ("node.id", "3", 1),
            ("log.dirs", "/a,/b", 2),
            ("log.segment.bytes", "1048576", 5),
            ("log.retention.ms", "-1", 7),
        ];
        let expected = expected.map(|(key, value, line)| (key.to_owned(), value.to_owned(), line));
        assert_eq!(read(text), Ok(expected.to_vec()));
    }

    #[test]
    fn errors_name_the_line() {
        let twice = read("node.id = 1\n\"node.id\" = 2\n").expect_err("refused");
        assert_eq!(twice, ["o.toml:2: node.id is set twice"]);
        let date = read("\nnode.id = 1979-05-27\n").expect_err("refused");
        assert_eq!(date[0].split(": ").next(), Some("o.toml:2"));
        assert!(read("node.id = \n").expect_err("refused")[0].starts_with("o.toml:1: "));
    }

    #[test]
    fn a_key_that_begins_another_needs_quotes() {
        let clash = read("max.connections = 1\nmax.connections.per.ip = 2\n").expect_err("refused");
        assert!(clash[0].contains("in quotes"), "{clash:?}");
        read("\"max.connections\" = 1\nmax.connections.per.ip = 2\n").expect("valid");
    }
}
