//! Kafka's checkpoint files: a version, a count, then one entry a line.
//!
//! ```text
//! 0
//! 2
//! topic-a 0 1741
//! topic-b 3 12
//! ```

/// Writes a file of `lines`.
pub(crate) fn encode(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The entries' lines of a file.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<&str>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        Some(version) if version.parse::<i64>().is_ok_and(|v| v > 0) => {
            return Err(format!(
                "of version {version}, which a newer release wrote; use that release"
            ));
        }
        _ => return Err("without a version in its first line".to_owned()),
    }
    let count: Option<usize> = lines.next().and_then(|count| count.parse().ok());
    let count = count.ok_or("without a count in its second line")?;
    let entries: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    if entries.len() != count {
        return Err(format!("of {} entries although it says {count}", entries.len()));
    }
    Ok(entries)
}

/// An entry of two numbers.
pub(crate) fn pair<A: std::str::FromStr, B: std::str::FromStr>(
    line: &str,
) -> Result<(A, B), String> {
    let mut fields = line.split_ascii_whitespace();
    let first = fields.next().and_then(|field| field.parse().ok());
    let second = fields.next().and_then(|field| field.parse().ok());
    match (first, second, fields.next()) {
        (Some(first), Some(second), None) => Ok((first, second)),
        _ => Err(format!("with a bad entry {line:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let text = encode(["5 10".to_owned(), "7 12".to_owned()].into_iter());
        assert_eq!(text, "0\n2\n5 10\n7 12\n");
        let lines = decode(text.as_bytes()).expect("just written");
        assert_eq!(lines, ["5 10", "7 12"]);
        assert_eq!(pair::<i32, i64>(lines[1]), Ok((7, 12)));
        assert_eq!(decode(b"0\n0\n"), Ok(vec![]));
    }

    #[test]
    fn damage_is_told() {
        for (text, wrong) in [
            ("", "without a version"),
            ("1\n0\n", "newer release"),
            ("0\n", "without a count"),
            ("0\n2\na 0 1\n", "1 entries although it says 2"),
        ] {
            let told = decode(text.as_bytes()).expect_err(text);
            assert!(told.contains(wrong), "{told}");
        }
        assert!(pair::<i32, i64>("1 2 3").is_err());
        assert!(pair::<i32, i64>("1 x").is_err());
    }
}
