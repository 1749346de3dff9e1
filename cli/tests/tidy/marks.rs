//! Marks of work that is not done, and words that mean nothing outside one machine.

use super::Finding;
use super::source::Tree;

/// No macro that stands for code still to be written or watched.
pub(super) fn unfinished(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.rust {
        for name in ["todo", "unimplemented", "dbg"] {
            for at in source.hits(&[name, "!"]) {
                findings.push(Finding {
                    path: source.path.clone(),
                    line: source.tokens[at].line,
                    what: format!("{name}! is not an answer"),
                });
            }
        }
    }
    findings
}

/// A test that is not run proves nothing.
pub(super) fn ignored_tests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.rust {
        for at in source.hits(&["#", "[", "ignore"]) {
            findings.push(Finding {
                path: source.path.clone(),
                line: source.tokens[at].line,
                what: "run it or remove it".to_owned(),
            });
        }
    }
    findings
}

/// No path that exists on one machine only, in any file.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    // Spelt in two halves, or this file would be its own offence.
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/hom", "e/"),
        concat!("/Use", "rs/"),
        concat!("../sha", "red/"),
    ];
    let rust = tree.rust.iter().map(|source| (&source.path, &source.text));
    let other = tree.manifests.iter().chain(&tree.texts).map(|(path, text)| (path, text));
    let mut findings = Vec::new();
    for (path, text) in rust.chain(other) {
        for (index, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(*word)) {
                findings.push(Finding {
                    path: path.clone(),
                    line: index + 1,
                    what: format!("{word} is one machine's"),
                });
            }
        }
    }
    findings
}

mod tests {
    use super::{Finding, Tree};

    fn count(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> usize {
        rule(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn an_unfinished_function_is_found() {
        let text = |name: &str| format!("fn f() {{ {name}!(\"later\") }}");
        for name in ["todo", "unimplemented", "dbg"] {
            assert_eq!(count(super::unfinished, "net/src/a.rs", &text(name)), 1);
        }
        assert_eq!(count(super::unfinished, "net/src/a.rs", &text("println")), 0);
    }

    #[test]
    fn an_ignored_test_is_found() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn f() {}";
        assert_eq!(count(super::ignored_tests, "net/src/a.rs", text), 1);
        let text = "fn ignore(ignore: [u8; 1]) {}";
        assert_eq!(count(super::ignored_tests, "net/src/a.rs", text), 0);
    }

    #[test]
    fn a_machine_path_is_found_in_every_kind_of_file() {
        let text = format!("# see /hom{}\n", "e/me/notes");
        for path in ["README.md", "net/Cargo.toml", ".ci/run"] {
            assert_eq!(count(super::machine_paths, path, &text), 1);
        }
        assert_eq!(count(super::machine_paths, "README.md", "see /etc/kafka"), 0);
    }
}
