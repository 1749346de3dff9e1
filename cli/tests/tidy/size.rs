//! Files and functions short enough to be read whole.

use super::Finding;
use super::source::{Source, Tree};

/// Past this a file is several nouns.
const FILE_LINES_MAX: usize = 800;
/// Past this a function no longer fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// No file longer than its limit, tests inside it not counted.
pub(super) fn files(tree: &Tree) -> Vec<Finding> {
    let too_long = tree.rust.iter().filter_map(|source| {
        let counted = |line: &usize| is_integration_test(source) || !source.is_test(*line);
        let lines = (1..=source.text.lines().count()).filter(counted).count();
        (lines > FILE_LINES_MAX).then(|| Finding {
            path: source.path.clone(),
            line: 1,
            what: format!("{lines} lines, the limit is {FILE_LINES_MAX}: split it by nouns"),
        })
    });
    too_long.collect()
}

/// No function longer than its limit, from its signature to its last brace.
pub(super) fn functions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.rust {
        for function in &source.functions {
            let lines = function.last_line - function.first_line + 1;
            let counted = is_integration_test(source) || !source.is_test(function.first_line);
            if counted && lines > FUNCTION_LINES_MAX {
                findings.push(Finding {
                    path: source.path.clone(),
                    line: function.first_line,
                    what: format!(
                        "{} has {lines} lines, the limit is {FUNCTION_LINES_MAX}",
                        function.name
                    ),
                });
            }
        }
    }
    findings
}

/// The end-to-end tests are a program of their own and keep its rules.
fn is_integration_test(source: &Source) -> bool {
    source.is_in(&["cli/tests"])
}

mod tests {
    use super::{FILE_LINES_MAX, FUNCTION_LINES_MAX, Tree, files, functions};

    #[test]
    fn a_long_file_is_found_and_its_tests_are_not_counted() {
        let lines = |n: usize| "const X: u8 = 0;\n".repeat(n);
        let count = |text: String| files(&Tree::of(&[("net/src/a.rs", &text)])).len();
        assert_eq!(count(lines(FILE_LINES_MAX)), 0);
        assert_eq!(count(lines(FILE_LINES_MAX + 1)), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(FILE_LINES_MAX));
        assert_eq!(count(lines(10) + &tests), 0);
    }

    #[test]
    fn a_long_function_is_found_wherever_it_hides() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "g();\n".repeat(lines - 2));
        let count = |text: String| functions(&Tree::of(&[("net/src/a.rs", &text)])).len();
        assert_eq!(count(body(FUNCTION_LINES_MAX)), 0);
        let long = body(FUNCTION_LINES_MAX + 1);
        assert_eq!(count(long.clone()), 1);
        assert_eq!(count(format!("impl X {{\n{long}}}\n")), 1);
        assert_eq!(count(format!("trait X {{\n{long}}}\n")), 1);
        assert_eq!(count(format!("mod m {{ const X: () = {{\n{long}}}; }}\n")), 1);
        assert_eq!(count(format!("#[cfg(test)]\nmod tests {{\n{long}}}\n")), 0);
    }
}
