//! Subscriptions by regular expression, of the RE2 kind: matched in time that grows with the name
//! alone, whatever the expression.

use regex::bytes::{Regex, RegexBuilder};

use super::GroupError;

/// Topics that a member of a consumer group reads, by expression. A name has to match as a whole.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    /// It is none, or takes more memory than an expression may.
    pub fn new(text: &str) -> Result<Self, GroupError> {
        if text.len() > TEXT_LEN_MAX {
            return Err(GroupError::InvalidPattern);
        }
        let text = unquoted(text);
        // By itself first: parentheses that go with those around it are no way out of them.
        let whole = |unicode| {
            compile(&text, unicode).and_then(|_| compile(&format!(r"\A(?:{text})\z"), unicode))
        };
        // Classes such as \w are ASCII as in RE2; others, such as \pL, need all of Unicode.
        let compiled = whole(false).or_else(|_| whole(true));
        compiled.map(Self).map_err(|_| GroupError::InvalidPattern)
    }

    /// Whether it stands for the topic.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic.as_bytes())
    }
}

fn compile(text: &str, unicode: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text)
        .unicode(unicode)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build()
}

/// RE2's `\Q…\E`, which is taken literally, in other words. A quotation may lack its end.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        match escape.strip_prefix(r"\Q") {
            Some(quoted) => {
                let (literal, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                out.push_str(&regex::escape(literal));
                rest = after;
            }
            None => {
                let len = 1 + escape[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&escape[..len]);
                rest = &escape[len..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Longest expression: some hundred names of topics.
const TEXT_LEN_MAX: usize = 32_000;
/// Largest program: real ones take some kilobytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::new(pattern).expect("valid").matches(topic)
    }

    #[test]
    fn names_match_as_a_whole() {
        assert!(matches("a|ab", "ab"));
        assert!(matches("foo-.*", "foo-1"));
        assert!(!matches("foo", "foo-1"));
        assert!(!matches("foo", "a-foo"));
        assert!(matches("", ""));
        assert!(!matches("", "a"));
    }

    #[test]
    fn quotations_are_literal() {
        assert!(matches(r"\Qa.b\E.*", "a.bc"));
        assert!(!matches(r"\Qa.b\E", "axb"));
        assert!(matches(r"\Qa.b", "a.b"));
        assert!(matches(r"a\\Q", r"a\Q"));
    }

    #[test]
    fn classes_are_ascii_unless_they_say_otherwise() {
        assert!(matches(r"\w+", "abc_1"));
        assert!(!matches(r"\w", "ä"));
        assert!(matches(r"\pL+", "abc"));
    }

    #[test]
    fn what_is_none_is_refused() {
        let long = "a".repeat(TEXT_LEN_MAX + 1);
        let bombs = ["((a{100}){100}){100}", r"(?:\pL{500}){500}", &long];
        for bad in ["(", "a)(?:b", "[", r"(?P<a>x)(?P=a)", "(?=a)", r"\1", "(?x)a #", "*"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        for bomb in bombs {
            assert!(Pattern::new(bomb).is_err());
        }
    }

    #[test]
    fn time_does_not_explode() {
        let topic = "a".repeat(249);
        assert!(!matches("(a*)*b", &topic));
        assert!(!matches("(a|aa)+b", &topic));
    }
}
