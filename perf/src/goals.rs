//! The goals of the project, as loads and as ratios to Apache Kafka on the same machine.

use crate::compare::{Comparison, Spread};
use crate::figure::Figure;

/// One line of the table: in this load, this figure of ours stands to theirs as at least, or at
/// most, this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) workload: &'static str,
    pub(crate) figure: Figure,
    /// A bound of ours / theirs; which way follows from the figure.
    pub(crate) ratio: f64,
    /// Held against our own figure in this load, not against theirs.
    pub(crate) against: Option<&'static str>,
}

/// All of them, in the table's order.
pub(crate) const GOALS: &[Goal] = &[
    goal("produce-1m", Figure::MegabytesPerS, 4.0),
    goal("produce-1m", Figure::CpuPerGb, 1.0 / 7.0),
    goal("produce-1m", Figure::P99, 1.0 / 4.0),
    goal("produce-64k", Figure::RequestsPerS, 4.0),
    goal("produce-64k", Figure::CpuPerRequest, 1.0 / 6.0),
    goal("produce-16k", Figure::RequestsPerS, 5.0),
    goal("produce-16k", Figure::CpuPerRequest, 1.0 / 6.0),
    goal("produce-4k-1", Figure::RequestsPerS, 3.0),
    goal("produce-4k-1", Figure::CpuPerRequest, 1.0 / 4.0),
    goal("produce-4k-10", Figure::RequestsPerS, 3.0),
    goal("produce-4k-10", Figure::CpuPerRequest, 1.0 / 4.0),
    goal("produce-4k-100", Figure::RequestsPerS, 3.0),
    goal("produce-4k-100", Figure::CpuPerRequest, 1.0 / 4.0),
    goal("produce-4k-1000", Figure::RequestsPerS, 3.0),
    goal("produce-4k-1000", Figure::CpuPerRequest, 1.0 / 4.0),
    within("produce-4k-1000", "produce-4k-1", Figure::CpuPerRequest, 1.5),
    goal("produce-100b", Figure::RequestsPerS, 4.0),
    goal("produce-100b", Figure::CpuPerRequest, 1.0 / 4.0),
    goal("spread-100", Figure::RequestsPerS, 2.0),
    goal("spread-100", Figure::CpuPerRequest, 1.0 / 3.0),
    goal("spread-100", Figure::P999, 1.0 / 6.0),
    goal("first-writes", Figure::RequestsPerS, 2.0),
    within("first-writes", "spread-100", Figure::RequestsPerS, 0.5),
    goal("fetch-hot", Figure::MegabytesPerS, 1.2),
    goal("fetch-hot", Figure::CpuPerGb, 0.6),
    goal("fetch-large", Figure::MegabytesPerS, 1.2),
    goal("fetch-cold", Figure::MegabytesPerS, 2.0),
    goal("end-to-end", Figure::P50, 1.0),
    goal("end-to-end", Figure::P99, 1.0 / 5.0),
    goal("end-to-end", Figure::P999, 1.0 / 5.0),
    goal("end-to-end", Figure::CpuPerRecord, 1.0 / 6.0),
    goal("end-to-end-100", Figure::P99, 1.0 / 30.0),
    goal("end-to-end-100", Figure::CpuPerRecord, 1.0 / 8.0),
    goal("produce-fsync", Figure::RequestsPerS, 8.0),
    within("compaction", "compaction-idle", Figure::P99, 1.2),
    goal("group-commit", Figure::RequestsPerS, 5.0),
    goal("group-heartbeat", Figure::CpuPerRequest, 0.5),
    goal("group-rebalance", Figure::P99, 1.0),
    goal("produce-1m", Figure::RssPeak, 1.0 / 3.0),
    goal(LIFE, Figure::StartS, 1.0 / 30.0),
    goal(LIFE, Figure::IdleRss, 1.0 / 6.0),
    goal(LIFE, Figure::CrashRestartS, 1.0 / 10.0),
];

/// The pseudo-workload that measures start and restart.
pub(crate) const LIFE: &str = "start-and-restart";

const fn goal(workload: &'static str, figure: Figure, ratio: f64) -> Goal {
    Goal { workload, figure, ratio, against: None }
}

const fn within(workload: &'static str, against: &'static str, figure: Figure, ratio: f64) -> Goal {
    Goal { workload, figure, ratio, against: Some(against) }
}

/// A goal held against what was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) goal: Goal,
    pub(crate) ours: Spread,
    pub(crate) theirs: Spread,
    pub(crate) ratio: Spread,
    pub(crate) met: bool,
}

impl Goal {
    /// Holds it against a comparison of ours (the first broker) with theirs (the second); none
    /// where it was not measured.
    fn judge(self, comparison: &Comparison) -> Option<Verdict> {
        let find = |name| comparison.workloads.iter().find(|c| c.workload == name);
        let compared = find(self.workload)?;
        let of = |run: &_| self.figure.of(run);
        let ours = compared.figure(0, of)?;
        let (theirs, ratio) = match self.against {
            None => (compared.figure(1, of)?, compared.ratio((0, 1), of)?),
            Some(other) => {
                let other = find(other)?.figure(0, of)?;
                (other, Spread::of([ours.median / other.median])?)
            }
        };
        let met = match self.figure.higher_is_better() {
            true => ratio.median >= self.ratio,
            false => ratio.median <= self.ratio,
        };
        Some(Verdict { goal: self, ours, theirs, ratio, met })
    }

    /// What is held against what.
    pub(crate) fn name(self) -> String {
        match self.against {
            None => self.figure.name().to_owned(),
            Some(other) => format!("{} against {other}", self.figure.name()),
        }
    }

    /// The bound, for people.
    pub(crate) fn bound(self) -> String {
        let sign = if self.figure.higher_is_better() { "≥" } else { "≤" };
        match self.ratio {
            ratio if ratio < 0.5 => format!("{sign} 1/{}", (1.0 / ratio).round()),
            ratio => format!("{sign} {ratio}"),
        }
    }
}

/// The workloads of the table, each once, in order: those of a goal, and those that one is held
/// against.
pub(crate) fn workloads() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for name in GOALS.iter().flat_map(|goal| [Some(goal.workload), goal.against]).flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// All goals that a comparison says something about.
pub(crate) fn judge(comparison: &Comparison) -> Vec<Verdict> {
    GOALS.iter().filter_map(|goal| goal.judge(comparison)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    #[test]
    fn every_goal_has_its_workload() {
        for name in workloads().into_iter().filter(|name| *name != LIFE) {
            Workload::load(name).expect("a workload of the table");
        }
    }

    #[test]
    fn the_table_measures_what_a_goal_is_held_against() {
        let names = workloads();
        for goal in GOALS {
            let other = goal.against.unwrap_or(goal.workload);
            assert_eq!(names.iter().filter(|name| **name == other).count(), 1, "{other}");
        }
    }

    #[test]
    fn bounds_read_as_in_the_table() {
        assert_eq!(GOALS[0].bound(), "≥ 4");
        assert_eq!(GOALS[1].bound(), "≤ 1/7");
        assert_eq!(goal("x", Figure::CpuPerGb, 0.6).bound(), "≤ 0.6");
    }
}
