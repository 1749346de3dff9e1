//! Topic names: what is legal, what collides, what is internal.

/// Longest topic name: with `-<partition>` and a suffix it must stay a file name of 255 bytes.
pub const NAME_LEN_MAX: usize = 249;

/// Topics of the broker itself; clients see them flagged.
pub const INTERNAL_TOPICS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// The metadata log: not a topic that anyone may create.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Whether clients are told that the topic is internal.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// What is wrong with a name, in Kafka's words; `None` if it is legal.
#[must_use]
pub fn refusal(name: &str) -> Option<String> {
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." => "'.' is not allowed".to_owned(),
        ".." => "'..' is not allowed".to_owned(),
        // Kafka counts UTF-16 units; the difference only decides which of two refusals a name with
        // other than ASCII characters gets.
        _ if name.encode_utf16().count() > NAME_LEN_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {NAME_LEN_MAX}")
        }
        _ if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        ),
        _ => return None,
    };
    Some(format!("Topic name is invalid: {reason}"))
}

/// The form under which names that differ in `.` and `_` only are the same (metric names can't
/// tell them apart); `None` if the name has neither.
#[must_use]
pub fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names() {
        for name in ["a", "A-z.0_9", "...", "-", &"x".repeat(249)] {
            assert_eq!(refusal(name), None, "{name}");
        }
    }

    #[test]
    fn refusals_are_kafkas() {
        let cases = [
            ("", "Topic name is invalid: the empty string is not allowed"),
            (".", "Topic name is invalid: '.' is not allowed"),
            ("..", "Topic name is invalid: '..' is not allowed"),
            (
                "a b",
                "Topic name is invalid: 'a b' contains one or more characters other than ASCII \
                 alphanumerics, '.', '_' and '-'",
            ),
        ];
        for (name, text) in cases {
            assert_eq!(refusal(name).as_deref(), Some(text));
        }
        let long = "x".repeat(250);
        let text = format!(
            "Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"
        );
        assert_eq!(refusal(&long), Some(text));
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert_eq!(collision_key("a.b_c"), Some("a_b_c".to_owned()));
        assert_eq!(collision_key("abc"), None);
    }
}
