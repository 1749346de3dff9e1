//! Topics chosen by a pattern.

use anyhow::{Context, Result};
use regex::Regex;

/// A regular expression for whole names.
pub(crate) fn whole(pattern: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{pattern})$"))
        .with_context(|| format!("{pattern:?} is not a regular expression"))
}

/// As Kafka's tools take it: see [`alternatives`].
pub(crate) fn include_list(text: &str) -> Result<Regex> {
    whole(&alternatives(text))
}

/// A regular expression from a list of them: commas separate alternatives, blanks and quotes mean
/// nothing.
pub(crate) fn alternatives(text: &str) -> String {
    let text: String = text.chars().filter(|c| !matches!(c, ' ' | '"' | '\'')).collect();
    text.replace(',', "|")
}

#[cfg(test)]
mod tests {
    use super::include_list;

    #[test]
    fn lists_are_of_whole_names() {
        let list = include_list("'a.*, b'").expect("a pattern");
        assert!(list.is_match("abc") && list.is_match("b") && !list.is_match("bc"));
        assert!(include_list("a(*").is_err());
    }
}
