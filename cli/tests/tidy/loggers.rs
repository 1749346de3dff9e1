//! Every module that writes lines to the log is a logger whose level can be set, and no other is.

use std::collections::BTreeSet;

use super::Finding;
use super::source::{Source, Tree};

/// Where the loggers are listed.
const LIST: &str = "net/src/loggers.rs";
/// Crates whose lines a broker writes.
const CRATES: [&str; 3] = ["engine", "net", "replication"];
const MACROS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

pub(super) fn unlisted(tree: &Tree) -> Vec<Finding> {
    let Some(list) = tree.rust.iter().find(|source| source.path == LIST) else { return vec![] };
    let listed: BTreeSet<String> = names(list).collect();
    let mut writers = BTreeSet::new();
    let mut findings = Vec::new();
    for source in &tree.rust {
        let Some(logger) = logger(&source.path) else { continue };
        let Some(line) = MACROS.iter().find_map(|level| first_line(source, level)) else {
            continue;
        };
        if !listed.contains(&logger) {
            let what = format!("it logs, but {LIST} does not list {logger}");
            findings.push(Finding { path: source.path.clone(), line, what });
        }
        writers.insert(logger);
    }
    let idle = listed.iter().filter(|name| name.contains('.') && !writers.contains(*name));
    findings.extend(idle.map(|name| Finding {
        path: LIST.to_owned(),
        line: 1,
        what: format!("no module logs as {name}"),
    }));
    findings
}

/// The module below the crate that a file is of: `net.meta` of `net/src/meta/home.rs`.
fn logger(path: &str) -> Option<String> {
    let mut parts = path.split('/');
    let name = parts.next().filter(|name| CRATES.contains(name))?;
    parts.next().filter(|folder| *folder == "src")?;
    match parts.next()?.trim_end_matches(".rs") {
        "lib" => Some(name.to_owned()),
        module => Some(format!("{name}.{module}")),
    }
}

fn first_line(source: &Source, level: &str) -> Option<usize> {
    source.product_hits(&["tracing", ":", ":", level, "!"]).next()
}

/// The texts of the list that name a module.
fn names(list: &Source) -> impl Iterator<Item = String> + '_ {
    list.tokens.iter().filter_map(|token| {
        let text = token.text.strip_prefix('"')?.strip_suffix('"')?;
        let of_crate = CRATES.contains(&text.split('.').next()?);
        (of_crate && !list.is_test(token.line)).then(|| text.to_owned())
    })
}

mod tests {
    use super::{LIST, Tree, unlisted};

    fn found(list: &str, path: &str, text: &str) -> Vec<String> {
        let tree = Tree::of(&[(LIST, list), (path, text)]);
        unlisted(&tree).iter().map(|finding| finding.what.clone()).collect()
    }

    #[test]
    fn a_module_that_logs_is_listed() {
        let text = "fn f() { tracing::warn!(\"x\"); }";
        let list = "const LOGGERS: &[&str] = &[\"net\", \"net.meta\"];";
        assert!(found(list, "net/src/meta/home.rs", text).is_empty());
        let missed = found(list, "net/src/mesh.rs", text);
        assert_eq!(missed.len(), 2, "{missed:?}");
        assert!(missed[0].contains("does not list net.mesh"), "{missed:?}");
        assert!(missed[1].contains("no module logs as net.meta"), "{missed:?}");
        let quiet = found("const LOGGERS: &[&str] = &[\"net\"];", "net/src/mesh.rs", "fn f() {}");
        assert!(quiet.is_empty(), "{quiet:?}");
    }
}
