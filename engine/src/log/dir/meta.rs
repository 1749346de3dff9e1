//! `meta.properties`: whose directory this is. Written once, by whoever formatted it.

use std::fmt::Write as _;
use std::path::Path;

use wire::primitives::Uuid;

use crate::error::DirError;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`: 22 characters of base64url in a cluster that was formatted by today's tools,
    /// any text in an older one.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id`; a Kafka before 3.7 wrote none.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// The file's name in a log directory.
    pub const FILE: &'static str = "meta.properties";

    /// The file's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::from("#\n");
        let _ = writeln!(text, "cluster.id={}", escape(&self.cluster_id));
        if let Some(id) = self.directory_id {
            let _ = writeln!(text, "directory.id={id}");
        }
        let _ = writeln!(text, "node.id={}", self.node_id);
        text.push_str("version=1\n");
        text
    }

    /// Reads the file at `path`, which is named in errors.
    ///
    /// # Errors
    /// When it is of another version, or lacks or garbles a field.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, DirError> {
        let bad = |reason: &str| DirError::unreadable(path, reason);
        let text = std::str::from_utf8(bytes).map_err(|_| bad("not text"))?;
        let field = |name: &str| text.lines().find_map(|line| property(line, name));
        let version = field("version").ok_or_else(|| bad("without a version"))?;
        match version.parse::<i32>() {
            Ok(1) => {}
            Ok(0) => {
                return Err(bad("of a ZooKeeper cluster; migrate it to KRaft with Kafka first"));
            }
            Ok(_) => return Err(bad(&format!("of version {version}; only version 1 is known"))),
            Err(_) => return Err(bad(&format!("of version {version:?}"))),
        }
        let cluster_id = field("cluster.id").ok_or_else(|| bad("without cluster.id"))?;
        let node_id = field("node.id").ok_or_else(|| bad("without node.id"))?;
        let node_id = node_id.parse().map_err(|_| bad("with a node.id that is no number"))?;
        let directory_id = field("directory.id").map(|id| id.parse()).transpose();
        let directory_id = directory_id.map_err(|_| bad("with a directory.id that is no id"))?;
        Ok(Self { cluster_id, node_id, directory_id })
    }
}

/// The value of `name`, if this line of a Java properties file sets it.
fn property(line: &str, name: &str) -> Option<String> {
    let line = line.trim_start();
    if line.starts_with(['#', '!']) {
        return None;
    }
    let value = line.strip_prefix(name)?.trim_start().strip_prefix(['=', ':'])?;
    let mut plain = String::new();
    let mut letters = value.trim_start().chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next()? } else { letter });
    }
    Some(plain)
}

fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for letter in value.chars() {
        if matches!(letter, '\\' | ':' | '=' | '#' | '!') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<MetaProperties, DirError> {
        MetaProperties::decode(Path::new("/d/meta.properties"), text.as_bytes())
    }

    #[test]
    fn reads_what_kafka_writes() {
        let text = "#\n#Sun Nov 22 18:00:00 UTC 2026\ncluster.id=6Jm3tDxNRq-K8c7G0V2lzw\n\
                    directory.id=AAAAAAAAAAAAAAAAAAAAAQ\nnode.id=7\nversion=1\n";
        let meta = decode(text).expect("Kafka's own");
        assert_eq!(meta.cluster_id, "6Jm3tDxNRq-K8c7G0V2lzw");
        assert_eq!((meta.node_id, meta.directory_id), (7, Some(Uuid::ONE)));
        assert_eq!(decode(&meta.encode()), Ok(meta));
    }

    #[test]
    fn odd_names_survive() {
        let meta =
            MetaProperties { cluster_id: "a:b=c#d\\e".to_owned(), node_id: 0, directory_id: None };
        assert_eq!(decode(&meta.encode()), Ok(meta));
    }

    #[test]
    fn refusals_name_the_field() {
        for (text, wrong) in [
            ("cluster.id=x\nnode.id=1\n", "without a version"),
            ("version=0\nbroker.id=1\n", "ZooKeeper"),
            ("version=2\n", "version 2"),
            ("version=1\nnode.id=1\n", "cluster.id"),
            ("version=1\ncluster.id=x\nnode.id=one\n", "node.id"),
            ("version=1\ncluster.id=x\nnode.id=1\ndirectory.id=short\n", "directory.id"),
        ] {
            let told = decode(text).expect_err(text).to_string();
            assert!(told.contains(wrong) && told.contains("/d/meta.properties"), "{told}");
        }
    }
}
