//! `counts.toml`: the counts that a change is compared with.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::{Counts, Tools};

/// The counts of the tree, and what they were counted with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Committed {
    /// What counts depend on beside the code.
    pub counted_with: Tools,
    /// Instructions of one operation each.
    pub instructions: Counts,
}

/// Why there are no committed counts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommittedError {
    /// It could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is no such file.
    #[error("{}: {error}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: toml::de::Error,
    },
}

impl Committed {
    /// Reads the counts from `path`.
    ///
    /// # Errors
    /// When there is no such file, or it holds something else.
    pub fn load(path: &Path) -> Result<Self, CommittedError> {
        let text = fs::read_to_string(path)
            .map_err(|error| CommittedError::Io { path: path.to_owned(), error })?;
        toml::from_str(&text).map_err(|error| CommittedError::Toml { path: path.to_owned(), error })
    }

    /// Writes the counts to `path`.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn store(&self, path: &Path) -> Result<(), CommittedError> {
        fs::write(path, self.text())
            .map_err(|error| CommittedError::Io { path: path.to_owned(), error })
    }

    /// The tools that are not the same here, each as `name: committed, here`.
    #[must_use]
    pub fn other_tools(&self, here: &Tools) -> Vec<String> {
        let differing = self.counted_with.iter().filter_map(|(tool, committed)| {
            let found = here.get(tool).map_or("unknown", String::as_str);
            (found != committed).then(|| format!("{tool}: {committed:?} there, {found:?} here"))
        });
        differing.collect()
    }

    fn text(&self) -> String {
        let tables = toml::to_string(self).expect("two tables of plain values");
        format!("{HEAD}\n{tables}")
    }
}

const HEAD: &str = "\
# Instructions of single operations, compared by `.ci/run` with what a change makes of them.
# Written by `cargo run --release -p odradek-benches --bin counts renew`; README tells when.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded() {
        let committed = Committed {
            counted_with: [("rustc".to_owned(), "1.2.3 \"x\"".to_owned())].into(),
            instructions: [("a/b".to_owned(), 12), ("c".to_owned(), u64::from(u32::MAX) + 1)]
                .into(),
        };
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("counts.toml");
        committed.store(&path).expect("written");
        assert_eq!(Committed::load(&path).expect("read"), committed);
        fs::write(&path, "[instructions]\n\"a\" = -1\n").expect("written");
        let error = Committed::load(&path).expect_err("no counts").to_string();
        assert!(error.contains("counts.toml"), "{error}");
    }

    #[test]
    fn another_tool_is_named() {
        let tools = |rustc: &str| Tools::from([("rustc".to_owned(), rustc.to_owned())]);
        let committed = Committed { counted_with: tools("1.95.0"), instructions: Counts::new() };
        assert!(committed.other_tools(&tools("1.95.0")).is_empty());
        assert_eq!(
            committed.other_tools(&tools("1.96.0")),
            ["rustc: \"1.95.0\" there, \"1.96.0\" here"]
        );
    }
}
