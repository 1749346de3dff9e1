//! Which crate may know which: `config <- engine <- replication <- net <- cli`, `wire` a leaf.

use super::Finding;
use super::source::Tree;

/// Workspace crates by folder: what each may depend on, for tests too.
const ALLOWED: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("net/wire", &[]),
    ("net/wire/fuzz", &["wire"]),
    ("engine", &["config", "wire"]),
    ("replication", &["config", "engine", "wire"]),
    ("net", &["config", "engine", "replication", "wire"]),
    ("net/sim", &["config", "engine", "replication", "net", "wire"]),
    ("cli", &["config", "engine", "replication", "net", "sim", "wire", "perf"]),
    ("benches", &["config", "engine", "replication", "net", "wire"]),
    // Speaks only the protocol, so that it can't cheat.
    ("perf", &["wire"]),
];

/// Outside crates with one home: the crate, and the folders whose manifest may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("glommio", &["engine"]),
    ("tokio", &["net"]),
    ("axum", &["net"]),
    ("object_store", &["net"]),
    ("anyhow", &["cli", "perf"]),
    // The reference decoder allocates what the wire announces: an oracle for tests only.
    ("kafka-protocol", &["net/wire"]),
    ("rdkafka", &["cli", "perf"]),
];

/// Every workspace crate is known here and depends only on what lies below it.
pub(super) fn manifests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &tree.manifests {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else { continue };
        let allowed = ALLOWED.iter().find(|(crate_folder, _)| *crate_folder == folder);
        let Some((_, allowed)) = allowed else {
            findings.push(finding(path, 1, format!("{folder} has no place in the layer table")));
            continue;
        };
        for (line, name) in dependencies(text) {
            if is_workspace_crate(&name) && !allowed.contains(&name.as_str()) {
                findings.push(finding(path, line, format!("{folder} must not know {name}")));
            }
            let home = HOMES.iter().find(|(outside, _)| *outside == name);
            if let Some((_, homes)) = home
                && !homes.contains(&folder)
            {
                findings.push(finding(path, line, format!("{name} belongs to {homes:?}")));
            }
        }
    }
    findings
}

/// `wire::msg` (requests) is the shell's; engine and replication know only `wire::record`.
pub(super) fn request_schemas(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.rust.iter().filter(|s| s.is_in(&["engine", "replication"])) {
        findings.extend(source.names_of_crate("wire", "msg").into_iter().map(|line| {
            finding(&source.path, line, "wire::msg is the shell's: take plain structs".to_owned())
        }));
    }
    findings
}

fn is_workspace_crate(name: &str) -> bool {
    matches!(name, "config" | "engine" | "replication" | "net" | "wire" | "sim" | "perf")
        || name.starts_with("odradek")
}

/// `(line, name)` of every dependency in a manifest, whatever the table's kind or target.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            inside = header.ends_with("dependencies");
            // `[dependencies.name]` is one dependency spelt as a table.
            if let Some((table, name)) = header.rsplit_once('.')
                && table.ends_with("dependencies")
            {
                found.push((index + 1, name.to_owned()));
            }
        } else if inside && let Some((key, _)) = line.split_once('=') {
            let name = key.trim().split('.').next().unwrap_or_default();
            if !name.starts_with('#') {
                found.push((index + 1, name.trim_matches('"').to_owned()));
            }
        }
    }
    found
}

fn finding(path: &str, line: usize, what: String) -> Finding {
    Finding { path: path.to_owned(), line, what }
}

mod tests {
    use super::{Tree, manifests, request_schemas};

    fn offences(path: &str, text: &str) -> Vec<String> {
        let tree = Tree::of(&[(path, text)]);
        manifests(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_upward_dependency_is_found() {
        let lawful = "[dependencies]\nconfig.workspace = true\nwire = { workspace = true }\n";
        assert!(offences("engine/Cargo.toml", lawful).is_empty());
        let upward = "[dependencies]\nnet.workspace = true\n";
        assert_eq!(
            offences("engine/Cargo.toml", upward),
            ["engine/Cargo.toml:2: engine must not know net"]
        );
        let spelt_as_table = "[dev-dependencies.sim]\nworkspace = true\n";
        assert_eq!(offences("net/Cargo.toml", spelt_as_table).len(), 1);
        let by_path = "[target.'cfg(unix)'.dependencies]\nodradek-net = { path = \"../net\" }\n";
        assert_eq!(offences("net/wire/Cargo.toml", by_path).len(), 1);
    }

    #[test]
    fn a_library_outside_its_home_is_found() {
        let text = "[dependencies]\ntokio.workspace = true\n";
        assert_eq!(offences("engine/Cargo.toml", text).len(), 1);
        assert!(offences("net/Cargo.toml", text).is_empty());
    }

    #[test]
    fn an_unknown_crate_is_found() {
        assert_eq!(offences("extras/Cargo.toml", "").len(), 1);
    }

    #[test]
    fn request_schemas_in_the_engine_are_found() {
        let count = |path: &str, text: &str| request_schemas(&Tree::of(&[(path, text)])).len();
        assert_eq!(count("engine/src/a.rs", "use wire::msg::fetch::FetchRequest;"), 1);
        assert_eq!(count("engine/src/a.rs", "use wire::{cursor::Cursor, msg::fetch};"), 1);
        assert_eq!(count("replication/src/a.rs", "fn a() { wire::msg::produce::x() }"), 1);
        assert_eq!(count("engine/src/a.rs", "use wire::{record::topic}; use x::{msg};"), 0);
        assert_eq!(count("net/src/a.rs", "use wire::msg::fetch::FetchRequest;"), 0);
    }
}
