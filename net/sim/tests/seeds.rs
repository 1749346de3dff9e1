//! Many seeds: no invariant is violated, and a seed says it all.

use sim::{Options, Summary, campaign, replay_command, run};

#[test]
fn a_thousand_seeds_hold() {
    let summary = campaign(1, SEEDS, OPTIONS, |outcome| {
        for violation in &outcome.violations {
            println!("{violation}\n  {}", replay_command(outcome.seed, OPTIONS));
        }
    });
    let Summary { seeds, operations, role_changes, faults, .. } = &summary;
    println!("{operations} operations, {role_changes} of {seeds} with role changes, {faults:?}");
    assert!(summary.failed.is_empty(), "{} seeds failed", summary.failed.len());
    assert_eq!(summary.seeds, SEEDS);
    assert!(summary.operations >= SEEDS * u64::from(OPTIONS.operations));
    assert!(summary.faults.values().sum::<u64>() >= SEEDS);
    // A node that its faults keep from serving at the time changes none.
    assert!(summary.role_changes >= SEEDS * 19 / 20, "roles changed in {}", summary.role_changes);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 1..=5 {
        let (one, other) = (run(seed, OPTIONS), run(seed, OPTIONS));
        assert_eq!((one.hash, one.operations), (other.hash, other.operations), "seed {seed}");
        assert_eq!(one.violations, other.violations, "seed {seed}");
        assert_ne!(one.hash, run(seed + 1_000, OPTIONS).hash);
    }
}

const OPTIONS: Options = Options { operations: 500, plant: None, trace: None };
const SEEDS: u64 = 1_000;
