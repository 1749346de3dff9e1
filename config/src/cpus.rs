//! Lists of CPUs as Linux writes them: `0-3,8`.

/// The CPUs of a list, in the order named; none if it is malformed, too long or names one twice.
#[must_use]
pub fn parse(list: &str) -> Option<Vec<usize>> {
    /// More than any machine has; keeps a typing error from filling memory.
    const CPU_MAX: usize = 4_095;

    let list = list.trim();
    let mut cpus = Vec::new();
    for part in list.split(',').map(str::trim).filter(|_| !list.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > CPU_MAX {
            return None;
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return None;
            }
            cpus.push(cpu);
        }
    }
    Some(cpus)
}

/// The list that names these CPUs.
#[must_use]
pub fn list(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|one, next| *next == one + 1).map(|run| match run {
        [only] => only.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for (text, cpus) in
            [("0-3,8", vec![0, 1, 2, 3, 8]), ("5", vec![5]), ("4,0,2", vec![4, 0, 2])]
        {
            assert_eq!(parse(text), Some(cpus.clone()));
            assert_eq!(list(&cpus), text);
        }
        assert_eq!(parse(" 1-2\n"), Some(vec![1, 2]));
        assert_eq!((parse(""), &*list(&[])), (Some(vec![]), ""));
        for wrong in ["3-1", "a", "1,1", "1,", "0-9999999"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
