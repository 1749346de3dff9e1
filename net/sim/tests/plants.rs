//! The simulation finds bugs: each one that can be planted is found by some of the first seeds.

use std::sync::Mutex;
use std::thread;

use sim::{Options, Outcome, Plant, run};

#[test]
fn every_planted_bug_is_found() {
    let queue = Mutex::new(Plant::ALL.to_vec());
    let missed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    // Not held while it hunts.
                    let next = queue.lock().expect("no one panics with it").pop();
                    let Some(plant) = next else { return };
                    match hunt(plant) {
                        Some(found) => {
                            let first = &found.violations[0];
                            println!("{plant:<20} seed {:>3}  {first}", found.seed);
                        }
                        None => missed.lock().expect("no one panics with it").push(plant),
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("no one panics with it");
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}

/// The first run that shows the bug.
fn hunt(plant: Plant) -> Option<Outcome> {
    let options = Options { operations: 500, plant: Some(plant), trace: None };
    (1..=SEEDS).map(|seed| run(seed, options)).find(|outcome| !outcome.violations.is_empty())
}

/// Without a plant these pass: `seeds` runs them too.
const SEEDS: u64 = 100;
