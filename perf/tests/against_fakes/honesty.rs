//! The harness finds what a broker does to records, and shows how long it really took.

use std::time::Duration;

use super::fake::{FakeBroker, Lie};
use perf::{RunOptions, RunResult, Workload};

/// A closed loop of raw batches, and one consumer that checks them on arrival.
const RAW: &str = r#"
about = "raw"
warmup = "0s"
duration = "400ms"
drain = "3s"
[topic]
partitions = 3
[[produce]]
connections = 2
depth = 2
batch = "4KiB"
record = "500B"
idempotent = true
[[consume]]
end-to-end = true
max-wait = "20ms"
"#;

/// Keyed and compressed records at a rate.
const CLIENT: &str = r#"
about = "client"
warmup = "0s"
duration = "400ms"
drain = "3s"
[topic]
partitions = 3
[[produce]]
kind = "client"
connections = 2
rate = 2000
record = 100
batch = "2KiB"
linger = "2ms"
keys = 50
compression = "lz4"
"#;

fn no_delay(_: u64) -> Duration {
    Duration::ZERO
}

fn run(text: &str, broker: &FakeBroker) -> RunResult {
    let workload = Workload::parse("test", text).expect("a sound workload");
    let options =
        RunOptions { bootstrap: broker.address.clone(), threads: 2, ..RunOptions::default() };
    perf::run(&workload, &options, &mut || Ok(None)).expect("the run ends")
}

#[test]
fn an_honest_broker_passes() {
    for text in [RAW, CLIENT] {
        let result = run(text, &FakeBroker::start(Lie::None, no_delay));
        assert_eq!(result.faults(), [""; 0]);
        let truth = result.truth.expect("read back");
        assert!(truth.complete && truth.checked > 0 && truth.is_clean(), "{truth:?}");
        let produce = &result.loads[0];
        assert!(produce.records > 0 && produce.latency.count > 0, "{produce:?}");
        assert_eq!(produce.unanswered, 0);
        if let Some(consume) = result.loads.get(1) {
            let seen = consume.seen.expect("checked on arrival");
            assert!(seen.checked > 0 && consume.latency.count > 0, "{seen:?}");
        }
    }
}

#[test]
fn every_lie_is_caught_and_called_by_its_name() {
    for text in [RAW, CLIENT] {
        for lie in [Lie::Lose, Lie::Repeat, Lie::Reorder, Lie::Corrupt, Lie::CorruptAndReseal] {
            let result = run(text, &FakeBroker::start(lie, no_delay));
            let truth = result.truth.expect("read back");
            let count = match lie {
                Lie::Lose => truth.lost,
                Lie::Repeat => truth.duplicated,
                Lie::Reorder => truth.reordered,
                _ => truth.corrupted,
            };
            assert!(count > 0, "{lie:?}: {truth:?}");
            assert!(!result.faults().is_empty(), "{lie:?} is no fault");
            // The other kinds are not named for it; but a corrupted record is lost as well, and so
            // is one that is still held back at the end.
            let named = [truth.lost, truth.duplicated, truth.reordered, truth.corrupted];
            let kinds = named.iter().filter(|count| **count > 0).count();
            let expected = match lie {
                Lie::Reorder | Lie::Corrupt | Lie::CorruptAndReseal => 1..=2,
                _ => 1..=1,
            };
            assert!(expected.contains(&kinds), "{lie:?}: {truth:?}");
        }
    }
}

#[test]
fn a_refusal_is_an_error_and_not_a_loss() {
    for text in [RAW, CLIENT] {
        let result = run(text, &FakeBroker::start(Lie::Refuse, no_delay));
        let truth = result.truth.expect("read back");
        assert!(truth.is_clean(), "{truth:?}");
        assert!(result.loads[0].errors.contains_key("REQUEST_TIMED_OUT"), "{:?}", result.loads[0]);
        assert!(!result.faults().is_empty());
    }
}

#[test]
fn known_delays_are_in_the_histogram() {
    let text = "about = \"x\"\nwarmup = \"0s\"\nduration = \"500ms\"\n[[produce]]\ndepth = 1\n";
    // One in five takes 30 ms, the others 10.
    let delay = |n: u64| Duration::from_millis(if n.is_multiple_of(5) { 30 } else { 10 });
    let result = run(text, &FakeBroker::start(Lie::None, delay));
    let latency = result.loads[0].latency;
    let ms = |ms: u64| ms * 1_000_000;
    assert!(latency.min >= ms(10) && latency.p50 >= ms(10), "{latency:?}");
    assert!(latency.p90 >= ms(29) && latency.max >= ms(30), "{latency:?}");
    assert!(latency.count >= 5, "{latency:?}");
}

#[test]
fn a_stall_shows_in_the_percentiles_of_an_open_loop() {
    // 500 requests a second for a second; the 100th stalls the broker for 400 ms. A closed loop
    // would see one slow request; in truth some 200 were to be sent while it stood still.
    let text = "about = \"x\"\nwarmup = \"0s\"\nduration = \"1s\"\n[[produce]]\nrate = 500\n";
    let delay = |n: u64| Duration::from_millis(if n == 100 { 400 } else { 0 });
    for load in ["", "kind = \"client\"\nlinger = \"0s\"\n", "depth = 1\n"] {
        let result = run(&format!("{text}{load}"), &FakeBroker::start(Lie::None, delay));
        let latency = result.loads[0].latency;
        let ms = |ms: u64| ms * 1_000_000;
        assert!((499..=501).contains(&latency.count), "every arrival counts: {latency:?}");
        assert!(latency.max >= ms(395), "{latency:?}");
        assert!(latency.p90 >= ms(190), "the stall is left out: {latency:?}");
        assert!(latency.p99 >= ms(370), "the stall is left out: {latency:?}");
    }
}
