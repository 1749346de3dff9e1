//! Counts against counts.

use super::Counts;

/// One case's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The case.
    pub case: String,
    /// As committed; `None` for a case that is new.
    pub committed: Option<u64>,
    /// As counted; `None` for a case that is gone.
    pub counted: Option<u64>,
}

/// What a comparison means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Less than 5 % away.
    Same,
    /// At least 5 % fewer: to be committed, or a later change could lose it again unnoticed.
    Better,
    /// At least 5 % more.
    Worse,
    /// There is nothing to compare with.
    New,
    /// There is no such case any more.
    Gone,
}

/// Compares each case that is on either side, in order of name.
#[must_use]
pub fn compare(committed: &Counts, counted: &Counts) -> Vec<Comparison> {
    let mut names: Vec<_> = committed.keys().chain(counted.keys()).collect();
    names.sort();
    names.dedup();
    let sides = |case: &String| Comparison {
        case: case.clone(),
        committed: committed.get(case).copied(),
        counted: counted.get(case).copied(),
    };
    names.into_iter().map(sides).collect()
}

impl Comparison {
    /// What it means.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let (before, now) = match (self.committed, self.counted) {
            (Some(before), Some(now)) => (u128::from(before), u128::from(now)),
            (None, _) => return Verdict::New,
            (_, None) => return Verdict::Gone,
        };
        match now * 100 {
            now if now >= before * (100 + LIMIT_PERCENT) => Verdict::Worse,
            now if now <= before * (100 - LIMIT_PERCENT) => Verdict::Better,
            _ => Verdict::Same,
        }
    }

    /// How much more was counted than is committed, in percent.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        let (before, now) = (self.committed? as f64, self.counted? as f64);
        Some((now - before) / before * 100.0)
    }
}

impl Verdict {
    /// Whether the change must not pass as it is. What other tools count says nothing of it.
    #[must_use]
    pub fn fails(self, same_tools: bool) -> bool {
        match self {
            Self::Worse => same_tools,
            Self::New | Self::Gone => true,
            Self::Same | Self::Better => false,
        }
    }
}

/// Far above what one tree's counts differ by between machines, and below what an extra pass over
/// the bytes or an allocation costs.
const LIMIT_PERCENT: u128 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(entries: &[(&str, u64)]) -> Counts {
        entries.iter().map(|(case, count)| ((*case).to_owned(), *count)).collect()
    }

    fn verdict(before: u64, now: u64) -> Verdict {
        compare(&counts(&[("a", before)]), &counts(&[("a", now)]))[0].verdict()
    }

    #[test]
    fn five_percent_more_fail_and_a_little_less_passes() {
        assert_eq!(verdict(1000, 1050), Verdict::Worse);
        assert_eq!(verdict(1000, 1049), Verdict::Same);
        assert_eq!(verdict(1000, 1000), Verdict::Same);
        assert_eq!(verdict(1000, 951), Verdict::Same);
        assert_eq!(verdict(1000, 950), Verdict::Better);
        assert_eq!(verdict(u64::MAX / 2, u64::MAX), Verdict::Worse);
        assert!(Verdict::Worse.fails(true) && !Verdict::Worse.fails(false));
        assert!(!Verdict::Better.fails(true) && !Verdict::Same.fails(true));
    }

    #[test]
    fn a_case_on_one_side_only_fails() {
        let both =
            compare(&counts(&[("gone", 1), ("kept", 1)]), &counts(&[("kept", 1), ("new", 1)]));
        let verdicts: Vec<_> = both.iter().map(|c| (c.case.as_str(), c.verdict())).collect();
        let expected = [("gone", Verdict::Gone), ("kept", Verdict::Same), ("new", Verdict::New)];
        assert_eq!(verdicts, expected);
        assert!(Verdict::Gone.fails(false) && Verdict::New.fails(false));
        assert_eq!((both[0].percent(), both[1].percent()), (None, Some(0.0)));
    }
}
