//! Choices operations on a partition against a plain list of what was appended, with crashes.
//!
//! After every start it must hold that
//! - what is there is a prefix of what was appended, and contiguous;
//! - nothing that was acknowledged, or seen by a consumer, is missing;
//! - the high watermark never went back behind what was acknowledged.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use config::{Durability, TopicConfig};

use super::kit::*;
use super::restart::{live_a_while, on, world};
use crate::ids::{LeaderEpoch, Offset};
use crate::partition::*;
use crate::rt::Rt;
use crate::rt::sim::Crash;
use crate::testing::{Choices, for_seeds};

/// What must be true of the log.
#[derive(Default)]
struct Model {
    /// Base offset, last offset and tag of everything that was appended, in order.
    appended: Vec<(i64, i64, u64)>,
    /// Everything below survives a crash.
    safe: i64,
    /// Everything below survives the process.
    safe_from_kill: i64,
    log_start: i64,
    next_tag: u64,
    epoch: i32,
}

type Shared = Rc<RefCell<Model>>;

fn config(seed: u64) -> TopicConfig {
    TopicConfig {
        segment_bytes: [20_000, 150_000, 1 << 30][(seed % 3) as usize],
        index_interval_bytes: [1, 4096][(seed / 3 % 2) as usize],
        odradek_durability: match seed % 7 {
            0 => Durability::WriteCache,
            _ => Durability::Sync,
        },
        ..TopicConfig::default()
    }
}

/// One life of the node, until it is crashed or ends by itself.
async fn live(rt: Rt, model: Shared, seed: u64, steps: u64) {
    let mut random = Choices(seed);
    let kit = Kit::start(&rt).await;
    if seed_of(&model) % 2 == 1 {
        kit.dir.set_journal(JOURNAL);
    }
    let epoch = {
        let mut model = model.borrow_mut();
        model.epoch += 1;
        model.epoch
    };
    let partition = kit.open(config(seed_of(&model))).await.expect("opens");
    check_start(&partition, &model, epoch).await;
    let all_safe = partition.offsets();
    assert_eq!(all_safe.high_watermark, all_safe.log_end, "a lone leader has all it recovered");
    for _ in 0..steps {
        step(&rt, &kit, &partition, &model, &mut random).await;
    }
    if random.below(2) == 0 {
        partition.close().await.expect("closes");
        kit.stop(i64::from(epoch)).await;
        let end = partition.offsets().log_end.0;
        let mut model = model.borrow_mut();
        (model.safe, model.safe_from_kill) = (end, end);
    }
}

fn seed_of(model: &Shared) -> u64 {
    model.borrow().next_tag >> 32
}

async fn check_start(partition: &Rc<Partition>, model: &Shared, epoch: i32) {
    let offsets = partition.offsets();
    if std::env::var_os("ODRADEK_TRACE").is_some() {
        eprintln!(" step start {offsets:?} {:?}", partition.recovery());
    }
    let (safe, log_start) = (model.borrow().safe, model.borrow().log_start);
    assert!(offsets.log_end.0 >= safe, "lost: {} of {safe} acknowledged", offsets.log_end);
    assert!(offsets.log_start.0 >= log_start, "log start went back to {}", offsets.log_start);
    partition.become_leader(alone(epoch));
    let found = read_all(partition, offsets.log_start.0).await;
    let mut model = model.borrow_mut();
    // What the log lost at its end never happened.
    model.appended.retain(|(_, last, _)| *last < offsets.log_end.0);
    let expected: Vec<_> = model
        .appended
        .iter()
        .filter(|(_, last, _)| *last >= offsets.log_start.0)
        .copied()
        .collect();
    assert_eq!(found, expected);
    model.safe = offsets.log_end.0;
    model.safe_from_kill = offsets.log_end.0;
}

async fn step(rt: &Rt, kit: &Kit, partition: &Rc<Partition>, model: &Shared, random: &mut Choices) {
    let choice = random.below(100);
    if std::env::var_os("ODRADEK_TRACE").is_some() {
        eprintln!("{:?} step {choice} {:?}", rt.now(), partition.offsets());
    }
    match choice {
        0..40 => append(partition, model, random, true).await,
        40..60 => append(partition, model, random, false).await,
        60..75 => check_read(partition, model, random).await,
        75..80 => burst(rt, partition, model, random).await,
        80..84 => kit.dir.checkpoint().await.expect("written"),
        84..86 => delete_records(partition, model, random).await,
        86..90 => rt.sleep(Duration::from_millis(random.below(20_000))).await,
        90..94 => partition.housekeep(rt.wall_ms()).await.expect("kept"),
        94..97 => follow(partition, model, random).await,
        _ => {
            let epoch = model.borrow().epoch + 1;
            model.borrow_mut().epoch = epoch;
            partition.become_leader(alone(epoch));
        }
    }
}

fn next_batch(model: &Shared, random: &mut Choices) -> (u64, crate::buf::Slice) {
    let tag = model.borrow().next_tag;
    model.borrow_mut().next_tag += 1;
    let size = match random.below(10) {
        0..6 => random.below(300),
        6..9 => random.below(9_000),
        _ => random.below(400_000),
    };
    let count = 1 + random.below(3);
    (tag, batch(tag, count as usize, size as usize))
}

async fn append(partition: &Rc<Partition>, model: &Shared, random: &mut Choices, wait: bool) {
    let (tag, records) = next_batch(model, random);
    let acks = if wait { Acks::All } else { Acks::Leader };
    let options = AppendOptions { acks, ..AppendOptions::default() };
    match partition.append_as_leader(records, options).await {
        Ok(appended) => {
            model.borrow_mut().appended.push((appended.first.0, appended.last.0, tag));
            if wait {
                partition.acked(appended.last).await.expect("acknowledged");
                note_acked(partition, model, appended.last.0 + 1);
            }
        }
        Err(crate::error::AppendError::Batch(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

fn note_acked(partition: &Rc<Partition>, model: &Shared, end: i64) {
    assert!(partition.offsets().high_watermark.0 >= end);
    let mut model = model.borrow_mut();
    model.safe_from_kill = model.safe_from_kill.max(end);
    if partition.config().odradek_durability == Durability::Sync {
        model.safe = model.safe.max(end);
    }
}

/// Many appends at once; they take their places in the order in which they were asked for.
async fn burst(rt: &Rt, partition: &Rc<Partition>, model: &Shared, random: &mut Choices) {
    let mut tasks = Vec::new();
    for _ in 0..random.below(12) {
        let (tag, records) = next_batch(model, random);
        let (partition, model) = (Rc::clone(partition), Rc::clone(model));
        tasks.push(async move {
            let result = partition.append_as_leader(records, AppendOptions::default()).await;
            let Ok(appended) = result else { return };
            model.borrow_mut().appended.push((appended.first.0, appended.last.0, tag));
            partition.acked(appended.last).await.expect("acknowledged");
            note_acked(&partition, &model, appended.last.0 + 1);
        });
    }
    futures_util::future::join_all(tasks).await;
    rt.turn().await;
}

async fn check_read(partition: &Rc<Partition>, model: &Shared, random: &mut Choices) {
    let offsets = partition.offsets();
    let span = (offsets.high_watermark.0 - offsets.log_start.0) as u64;
    let start = offsets.log_start.0 + random.below(span + 1) as i64;
    let max = 1 + random.below(200_000) as usize;
    let at_least_one = random.below(4) > 0;
    let read = partition.read(ReadSpec { at_least_one, ..from(start, max) }).await.expect("reads");
    let found = tags(&joined(&read));
    let model = model.borrow();
    let first = model.appended.partition_point(|(_, last, _)| *last < start);
    let expected = &model.appended[first..first + found.len()];
    assert_eq!(found, expected);
    assert!(read.bytes <= max || found.len() == 1);
    if start < offsets.high_watermark.0 && at_least_one {
        assert!(!found.is_empty());
    }
}

async fn delete_records(partition: &Rc<Partition>, model: &Shared, random: &mut Choices) {
    let offsets = partition.offsets();
    let span = (offsets.high_watermark.0 - offsets.log_start.0) as u64;
    let before = offsets.log_start.0 + random.below(span / 2 + 1) as i64;
    let start = partition.delete_records(Offset(before)).await.expect("deleted");
    assert_eq!(start.0, before.max(offsets.log_start.0));
    model.borrow_mut().log_start = start.0;
    assert!(partition.read(from(start.0 - 1, 1)).await.is_err());
}

/// Loses the lead, gives up some of what was not acknowledged to others, gets it back.
async fn follow(partition: &Rc<Partition>, model: &Shared, random: &mut Choices) {
    let epoch = model.borrow().epoch + 1;
    model.borrow_mut().epoch = epoch + 1;
    partition.become_follower(FollowerSpec { epoch: LeaderEpoch(epoch) });
    let offsets = partition.offsets();
    let span = (offsets.log_end.0 - offsets.log_start.0) as u64;
    let end = offsets.log_end.0 - random.below(span + 1).min(30) as i64;
    {
        // A crash on the way may find it done; a batch has at most three records.
        let mut model = model.borrow_mut();
        model.safe = model.safe.min(end - 3);
        model.safe_from_kill = model.safe_from_kill.min(end - 3);
    }
    partition.truncate_to(Offset(end)).await.expect("truncated");
    let log_end = partition.offsets().log_end.0;
    assert!(log_end <= end);
    {
        let mut model = model.borrow_mut();
        model.appended.retain(|(_, last, _)| *last < log_end);
    }
    partition.become_leader(alone(epoch + 1));
}

fn run(seed: u64) {
    let (world, node) = world(seed);
    let model = Shared::default();
    model.borrow_mut().next_tag = seed << 32;
    let mut random = Choices(seed);
    for _ in 0..4 {
        let shared = Rc::clone(&model);
        live_a_while(&world, node, &mut random, 100_000, |rt, seed| live(rt, shared, seed, 60));
        let kind = if random.below(3) == 0 { Crash::Kill } else { Crash::PowerLoss };
        world.crash(node, kind);
        if std::env::var_os("ODRADEK_TRACE").is_some() {
            eprintln!("crash {kind:?}");
        }
        let mut model = model.borrow_mut();
        if kind == Crash::Kill {
            model.safe = model.safe.max(model.safe_from_kill);
        }
        drop(model);
        world.restart(node);
    }
    let last = Rc::clone(&model);
    on(&world, node, async move |rt| live(rt, last, seed, 0).await);
}

#[test]
fn the_log_is_what_was_appended() {
    for_seeds(300, run);
}
