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

/// A name that differs from `name` in `.` and `_` only (metric names can't tell the two apart), if
/// there is one. `first_from` finds the first existing name that is not before its argument.
///
/// Tries both marks at every place, but only goes on where some name starts like that; so it takes
/// two look-ups a mark unless colliding names exist already.
pub fn collision<'t>(name: &str, first_from: impl Fn(&str) -> Option<&'t str>) -> Option<&'t str> {
    let mut starts = vec![String::new()];
    for piece in name.split_inclusive(['.', '_']) {
        let plain = piece.trim_end_matches(['.', '_']);
        let ends: &[&str] = if plain.len() < piece.len() { &[".", "_"] } else { &[""] };
        let longer = starts
            .iter()
            .flat_map(|start| ends.iter().map(move |end| [start, plain, end].concat()));
        starts = longer
            .filter(|start| {
                first_from(start).is_some_and(|found| found.starts_with(start.as_str()))
            })
            .collect();
    }
    let others = starts.iter().filter(|other| *other != name);
    others.filter_map(|other| first_from(other)).find(|found| found.len() == name.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Bound;

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
        let names: BTreeSet<&str> =
            ["a.b_c", "a.b_cd", "plain", "x.y.z", "_", "logs.1", "logs.2"].into();
        let collides = |name: &str| {
            collision(name, |from| {
                let from = (Bound::Included(from), Bound::Unbounded);
                names.range::<str, _>(from).next().copied()
            })
        };
        assert_eq!(collides("a_b.c"), Some("a.b_c"));
        assert_eq!(collides("a.b.c"), Some("a.b_c"));
        assert_eq!(collides("x_y_z"), Some("x.y.z"));
        assert_eq!(collides("."), Some("_"));
        for free in ["a.b_c", "a.b", "a_b", "a.b_c.", "plain", "plai.", "logs.3", "x_y_", "__"] {
            assert_eq!(collides(free), None, "{free}");
        }
    }
}
