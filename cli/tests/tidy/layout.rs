//! The top level of the repository is the map that README draws; nothing else lies there.

use super::Finding;
use super::source::Tree;

/// What the map names; `perf` (the load harness) where it exists.
const NAMES: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "cli",
    "config",
    "engine",
    "net",
    "perf",
    "replication",
];
const OPTIONAL: &[&str] = &["perf"];

/// Exactly the map's names, beside dot files.
pub(super) fn top_level(tree: &Tree) -> Vec<Finding> {
    let strangers = tree.top_level.iter().filter(|name| !name.starts_with('.'));
    let strangers = strangers.filter(|name| !NAMES.contains(&name.as_str()));
    let found =
        |path: &str, what: &str| Finding { path: path.to_owned(), line: 1, what: what.to_owned() };
    let missing = NAMES.iter().filter(|name| {
        !OPTIONAL.contains(name) && !tree.top_level.iter().any(|present| present == *name)
    });
    strangers
        .map(|name| found(name, "is not on the map: it belongs into one of its folders"))
        .chain(missing.map(|name| found(name, "is missing")))
        .collect()
}

mod tests {
    use super::{NAMES, Tree, top_level};

    fn offences(names: &[&str]) -> Vec<String> {
        let mut tree = Tree::of(&[]);
        tree.top_level = names.iter().map(|name| (*name).to_owned()).collect();
        top_level(&tree).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_stranger_and_a_gap_are_found() {
        assert!(offences(NAMES).is_empty());
        assert!(offences(&[NAMES, &[".gitignore"]].concat()).is_empty());
        assert_eq!(offences(&[NAMES, &["scripts"]].concat()), ["scripts"]);
        let gap: Vec<&str> = NAMES.iter().copied().filter(|n| *n != "config").collect();
        assert_eq!(offences(&gap), ["config"]);
    }
}
