//! Things with exactly one home in the tree: the runtime, global state, Kafka's error numbers.

use super::Finding;
use super::source::{Source, Tree};

/// `glommio` is named only where the runtime seam is made.
pub(super) fn glommio(tree: &Tree) -> Vec<Finding> {
    let outside = tree.rust.iter().filter(|s| !s.is_in(&["engine/src/rt"]));
    named(outside, &["glommio"], "glommio is engine::rt's: use the seam")
}

/// Tokio and what stands on it live on the one ordinary thread.
pub(super) fn tokio(tree: &Tree) -> Vec<Finding> {
    let outside = product(tree).filter(|s| !s.is_in(&["net/src/side", "net/src/admin"]));
    named(outside, &["tokio", "axum", "object_store"], "belongs to net::{side, admin}")
}

/// State reaches code as an argument, so that the simulator can hold many nodes on one thread.
///
/// Constant tables are no state. The runtime seam itself owns what is per thread.
pub(super) fn static_state(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in product(tree).filter(|s| !s.is_in(&["engine/src/rt", "perf"])) {
        for at in source.product_hits(&["thread_local", "!"]) {
            findings.push(offence(source, at, "thread-local state: pass it"));
        }
        for at in source.product_hits(&["static"]) {
            let is_lifetime = at > 0 && source.tokens[at - 1].text == "'";
            if !is_lifetime && declares_state(source, at) {
                findings.push(offence(source, at, "a static with state: pass it"));
            }
        }
    }
    findings
}

/// Kafka's error numbers are chosen at the edge, from errors that say what happened.
pub(super) fn error_codes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in product(tree).filter(|source| {
        source.is_in(&["config", "engine", "replication", "net/src"])
            && !source.is_in(&["net/src/api"])
    }) {
        let lines = source.names_of_crate("wire", "error_code").into_iter();
        findings.extend(lines.filter(|line| !source.is_test(*line)).map(|line| Finding {
            path: source.path.clone(),
            line,
            what: "map errors to Kafka's codes in net::api".to_owned(),
        }));
    }
    findings
}

/// A seed from outside `rt` would make two runs of one simulation differ.
pub(super) fn random_state(tree: &Tree) -> Vec<Finding> {
    let seeded = product(tree).filter(|s| !s.is_in(&["engine/src/rt", "cli", "perf", "benches"]));
    let names = ["HashMap", "HashSet", "RandomState", "DefaultHasher"];
    named(seeded, &names, "use engine::rt::Map, a BTreeMap or an rpds map")
}

fn product(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.rust.iter().filter(|source| !source.is_test_file())
}

fn named<'a>(
    sources: impl Iterator<Item = &'a Source>,
    names: &[&str],
    remedy: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for name in names {
            for at in source.product_hits(&[name]) {
                findings.push(offence(source, at, &format!("{name}: {remedy}")));
            }
        }
    }
    findings
}

/// Whether the declaration after the `static` keyword is mutable or holds a cell, lock or atomic.
fn declares_state(source: &Source, at: usize) -> bool {
    let declaration = source.tokens[at + 1..].iter().take_while(|t| t.text != "=" && t.text != ";");
    declaration.into_iter().any(|token| {
        let name = token.text.as_str();
        name == "mut"
            || name.starts_with("Atomic")
            || name.ends_with("Cell")
            || name.ends_with("Lock")
            || matches!(name, "Mutex" | "Once" | "Condvar" | "LocalKey")
    })
}

fn offence(source: &Source, at: usize, what: &str) -> Finding {
    Finding { path: source.path.clone(), line: source.tokens[at].line, what: what.to_owned() }
}

mod tests {
    use super::{Finding, Tree};

    fn count(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> usize {
        rule(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn glommio_outside_the_seam_is_found() {
        let text = "use glommio::LocalExecutor;";
        assert_eq!(count(super::glommio, "engine/src/log/file.rs", text), 1);
        assert_eq!(count(super::glommio, "engine/src/rt/real.rs", text), 0);
    }

    #[test]
    fn tokio_on_a_core_is_found() {
        let text = "fn f() { tokio::spawn(async {}); }";
        assert_eq!(count(super::tokio, "net/src/conn/read.rs", text), 1);
        assert_eq!(count(super::tokio, "net/src/side.rs", text), 0);
        assert_eq!(count(super::tokio, "net/src/admin/http.rs", text), 0);
    }

    #[test]
    fn global_state_is_found_and_tables_are_not() {
        let found = |text: &str| count(super::static_state, "engine/src/log.rs", text);
        assert_eq!(found("static COUNT: AtomicU64 = AtomicU64::new(0);"), 1);
        assert_eq!(found("fn f() { static ONCE: OnceLock<u8> = OnceLock::new(); }"), 1);
        assert_eq!(found("static mut X: u8 = 0;"), 1);
        assert_eq!(found("thread_local! { static X: u8 = 0; }"), 1);
        assert_eq!(found("macro_rules! m { () => { static X: Mutex<u8> = Mutex::new(0); } }"), 1);
        assert_eq!(found("static TABLE: [u8; 2] = [1, 2]; fn f(x: &'static str) {}"), 0);
        assert_eq!(found("#[cfg(test)] mod tests { static X: AtomicU8 = AtomicU8::new(0); }"), 0);
    }

    #[test]
    fn an_error_code_below_the_edge_is_found() {
        let text = "use wire::error_code::ErrorCode;";
        assert_eq!(count(super::error_codes, "engine/src/error.rs", text), 1);
        assert_eq!(count(super::error_codes, "net/src/conn.rs", text), 1);
        let grouped = "use wire::{cursor::Cursor, error_code::ErrorCode};";
        assert_eq!(count(super::error_codes, "replication/src/a.rs", grouped), 1);
        let zstds_own = "use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode as ErrorCode;";
        assert_eq!(count(super::error_codes, "engine/src/a.rs", zstds_own), 0);
        assert_eq!(count(super::error_codes, "net/src/api/errors.rs", text), 0);
        assert_eq!(count(super::error_codes, "net/wire/src/error_code.rs", text), 0);
    }

    #[test]
    fn a_randomly_seeded_map_is_found() {
        let text = "use std::collections::HashMap;";
        assert_eq!(count(super::random_state, "net/src/session.rs", text), 1);
        assert_eq!(count(super::random_state, "engine/src/rt.rs", text), 0);
        assert_eq!(count(super::random_state, "cli/src/main.rs", text), 0);
    }
}
