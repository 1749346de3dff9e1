//! A key that can be set takes effect: whoever sets it would otherwise wait for nothing.

use super::Finding;
use super::source::{Source, Tree};

/// Every key of a table with accessors is read by name somewhere, or its row says that only the
/// default is taken.
pub(super) fn unread(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in tree.rust.iter().filter(|source| is_table(source)) {
        for row in rows(table).filter(|row| !row.refused && !is_read(tree, &row.accessor)) {
            findings.push(Finding {
                path: table.path.clone(),
                line: row.line,
                what: format!("nothing reads {}; read it, or refuse it by name", row.key),
            });
        }
    }
    findings
}

struct Row {
    key: String,
    accessor: String,
    line: usize,
    /// Anything but the default is refused, or told to change nothing.
    refused: bool,
}

fn is_table(source: &Source) -> bool {
    source.is_in(&["config/src/keys"]) && !source.is_test_file()
}

/// Rows as `"the.key" the_key: Type …;`.
fn rows(table: &Source) -> impl Iterator<Item = Row> + '_ {
    let tokens = &table.tokens;
    (2..tokens.len()).filter_map(|at| {
        let key = tokens[at - 2].text.strip_prefix('"')?.strip_suffix('"')?;
        let accessor = &tokens[at - 1].text;
        if tokens[at].text != ":" || *accessor != key.replace('.', "_") {
            return None;
        }
        let row = tokens[at..].iter().take_while(|token| token.text != ";");
        let mut row = row.map(|token| token.text.as_str());
        Some(Row {
            key: key.to_owned(),
            accessor: accessor.clone(),
            line: tokens[at].line,
            refused: row.any(|text| text == "default_only" || text == "inert"),
        })
    })
}

fn is_read(tree: &Tree, accessor: &str) -> bool {
    let mut readers = tree.rust.iter().filter(|source| !is_table(source));
    readers.any(|source| source.product_hits(&[".", accessor]).next().is_some())
}

mod tests {
    use super::{Tree, unread};

    #[test]
    fn a_key_that_nothing_reads_is_found() {
        let table = "keys! { \"Node\" { \"a.b\" a_b: Int = 1, fixed, \"Says.\"; } }";
        let refused =
            "keys! { \"Node\" { \"a.b\" a_b: Int = 1, fixed, default_only(\"no\"), \"Says.\"; } }";
        let count = |table: &str, reader: &str| {
            let files = [("config/src/keys/broker.rs", table), ("net/src/a.rs", reader)];
            unread(&Tree::of(&files)).len()
        };
        assert_eq!(count(table, "fn f(a_b: u8) { g(a_b) }"), 1);
        assert_eq!(count(table, "fn f(c: &Config) { g(c.a_b) }"), 0);
        assert_eq!(count(table, "#[cfg(test)] mod tests { fn f(c: &C) { g(c.a_b) } }"), 1);
        assert_eq!(count(refused, ""), 0);
    }
}
