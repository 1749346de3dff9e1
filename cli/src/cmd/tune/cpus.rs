//! Lists of CPUs as Linux writes them: `0-3,8`.

/// The CPUs that a list names; what is no number is passed over.
pub(super) fn parse(list: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
        {
            cpus.extend(first..=last.min(first.saturating_add(CPUS_MAX)));
        }
    }
    cpus
}

/// The list that names these CPUs, which ascend.
pub(super) fn list(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|one, next| *next == one + 1).map(|run| match run {
        [only] => only.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// More than Linux can be built for.
const CPUS_MAX: usize = 1 << 16;
