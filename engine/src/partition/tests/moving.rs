//! A partition that moves between two log directories, whatever happens meanwhile.
//!
//! After any crash it must hold that
//! - exactly one directory has the partition, with everything that was acknowledged, from where the
//!   log was made to start;
//! - the producer may go on where it was.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::TopicConfig;
use wire::primitives::Uuid;

use super::kit::*;
use super::restart::{live_a_while, on};
use crate::cx::{EngineCx, EngineLimits};
use crate::error::LogError;
use crate::ids::{CoreId, Offset, PartitionId};
use crate::log::Pace;
use crate::log::dir::{DirContents, DirState, LogDir, MetaProperties};
use crate::partition::*;
use crate::rt::Rt;
use crate::rt::sim::{Crash, DiskOp, DiskOptions, NodeId, SimOptions, World};
use crate::testing::{Choices, for_seeds};

const ROOTS: [&str; 2] = ["/a", "/b"];

/// One core's engine with two log directories on two disks.
struct Two {
    cx: Rc<EngineCx>,
    dirs: Vec<Rc<LogDir>>,
}

impl Two {
    async fn start(rt: &Rt, journal: bool) -> Self {
        let mut contents = Vec::new();
        for (number, root) in (1..).zip(ROOTS.map(Path::new)) {
            if DirContents::inspect(rt, root).await.expect("readable") == DirState::Empty {
                let directory_id = Some(Uuid([number; 16]));
                let meta = MetaProperties { cluster_id: "c".to_owned(), node_id: 1, directory_id };
                DirContents::format(rt, root, &meta).await.expect("formatted");
            }
            let dir = DirContents::read(rt, root).await.expect("readable");
            dir.check_journals(rt).await.expect("understood");
            dir.replay_journals(rt).await.expect("replayed");
            dir.begin(rt).await.expect("begun");
            contents.push(dir);
        }
        DirContents::finish_moves(rt, &mut contents).await.expect("finished");
        let dirs = contents.into_iter().map(|dir| LogDir::attach(rt, &Arc::new(dir)));
        let dirs: Vec<_> = dirs.collect();
        if journal {
            dirs.iter().for_each(|dir| dir.set_journal(JOURNAL));
        }
        for dir in &dirs {
            dir.doom_leftovers();
            for (_, future) in &dir.contents().futures {
                dir.discard_future(future).await.expect("discarded");
            }
        }
        Self { cx: EngineCx::new(rt.clone(), EngineLimits::default()), dirs }
    }

    /// The directory that has the partition; the first if none has.
    fn holder(&self) -> usize {
        let holders: Vec<_> =
            (0..2).filter(|&dir| self.dirs[dir].contents().holds("t", 0)).collect();
        assert!(holders.len() < 2, "in both");
        holders.first().copied().unwrap_or(0)
    }

    async fn lead(&self, config: TopicConfig, epoch: i32) -> Rc<Partition> {
        let spec = PartitionSpec {
            topic: "t".to_owned(),
            topic_id: TOPIC,
            partition: PartitionId(0),
            log_dir: Rc::clone(&self.dirs[self.holder()]),
            config: Rc::new(config),
        };
        let partition = Partition::open(&self.cx, spec).await.expect("opens");
        partition.become_leader(alone(epoch));
        partition
    }

    /// The directory that the partition is not in.
    fn other(&self, partition: &Partition) -> &Rc<LogDir> {
        let here = partition.log_dir();
        self.dirs.iter().find(|dir| !Rc::ptr_eq(dir, &here)).expect("there are two")
    }
}

fn config(seed: u64) -> TopicConfig {
    TopicConfig {
        segment_bytes: [4_000, 60_000, 1 << 20][(seed % 3) as usize],
        index_interval_bytes: [1, 4096][(seed / 3 % 2) as usize],
        file_delete_delay_ms: [0, 60_000][(seed / 2 % 2) as usize],
        retention_ms: None,
        ..TopicConfig::default()
    }
}

fn world(seed: u64) -> (World, NodeId) {
    let world = World::new(seed, SimOptions::default());
    let node = world.add_node(1);
    world.add_disk(node, Path::new("/b"), DiskOptions::default());
    (world, node)
}

/// What must be true of the log.
#[derive(Default)]
struct Model {
    seed: u64,
    /// First offset, last offset and tag of each batch.
    written: Vec<(i64, i64, u64)>,
    /// Everything below survives a power loss.
    safe: i64,
    log_start: i64,
    epoch: i32,
    tag: u64,
    moves: u64,
}

type Shared = Rc<RefCell<Model>>;

async fn append(partition: &Rc<Partition>, model: &Shared, random: &mut Choices) {
    let tag = {
        let mut model = model.borrow_mut();
        model.tag += 1;
        model.tag
    };
    let (count, size) = (1 + random.below(3) as usize, 8 + random.below(900) as usize);
    // All records are one producer's, so its sequence is the offset.
    let sequence = i32::try_from(partition.offsets().log_end.0).expect("small");
    let records = batch_at(tag, count, size, 5, Some((7, 0, sequence)));
    let appended = partition.append_as_leader(records, AppendOptions::default()).await;
    let appended = appended.expect("taken");
    assert!(!appended.duplicate);
    model.borrow_mut().written.push((appended.first.0, appended.last.0, tag));
    if !random.one_in(4) {
        partition.acked(appended.last).await.expect("acknowledged");
        let mut model = model.borrow_mut();
        model.safe = model.safe.max(appended.last.0 + 1);
    }
}

async fn check(partition: &Rc<Partition>, model: &Shared) {
    let start = partition.offsets().log_start.0;
    assert!(start >= model.borrow().log_start, "{start} comes back");
    let found = read_all(partition, start).await;
    let model = model.borrow();
    let there: Vec<_> = model.written.iter().filter(|batch| batch.1 >= start).copied().collect();
    assert!(there.starts_with(&found), "other records: {found:?} of {there:?}");
    assert!(found.last().map_or(start, |last| last.1 + 1) >= model.safe, "lost records");
    assert!(found.is_empty() || !partition.producers().is_empty(), "forgot the producer");
}

async fn relocate(
    two: &Two,
    partition: &Rc<Partition>,
    model: &Shared,
    rate: f64,
) -> Option<Result<MoveOutcome, LogError>> {
    let target = two.other(partition);
    let it = partition.begin_move(target).await.expect("begins")?;
    let future = partition.future().expect("it moves");
    assert!(Rc::ptr_eq(&future.log_dir, target));
    let outcome = it.run(&Pace::new(&two.cx.rt, rate)).await;
    if let Ok(MoveOutcome::Moved { from }) = &outcome {
        model.borrow_mut().moves += 1;
        assert!(Rc::ptr_eq(target, &partition.log_dir()));
        if model.borrow().moves.is_multiple_of(2) {
            from.forget(TOPIC, PartitionId(0));
        }
    }
    Some(outcome)
}

/// One life of the node, until it is crashed or ends by itself.
async fn live(rt: Rt, model: Shared, seed: u64, steps: u64) {
    let mut random = Choices(seed);
    let (journal, config) = (model.borrow().seed % 2 == 1, config(model.borrow().seed));
    let two = Two::start(&rt, journal).await;
    model.borrow_mut().epoch += 1;
    let epoch = model.borrow().epoch;
    let partition = two.lead(config, epoch).await;
    {
        let end = partition.offsets().log_end.0;
        let mut model = model.borrow_mut();
        assert!(end >= model.safe, "lost acknowledged records");
        // What the log lost at its end never happened.
        model.written.retain(|batch| batch.1 < end);
        model.safe = end;
    }
    check(&partition, &model).await;
    for _ in 0..steps {
        step(&rt, &two, &partition, &model, &mut random).await;
    }
    check(&partition, &model).await;
    if random.one_in(2) {
        partition.close().await.expect("closes");
        for dir in &two.dirs {
            dir.close_journal().await.expect("empty");
            dir.checkpoint_last().await.expect("written");
            dir.contents().end(&rt, &dir.positions(), i64::from(epoch)).await.expect("ended");
        }
        model.borrow_mut().safe = partition.offsets().log_end.0;
    }
}

async fn step(rt: &Rt, two: &Two, partition: &Rc<Partition>, model: &Shared, random: &mut Choices) {
    match random.below(100) {
        0..60 => append(partition, model, random).await,
        60..80 => {
            let rate = [1e12, 2e6, 1e5][random.below(3) as usize];
            let moving = relocate(two, partition, model, rate);
            let meanwhile = async {
                let mut random = Choices(random.below(u64::MAX));
                for _ in 0..random.below(12) {
                    beside(rt, two, partition, model, &mut random).await;
                }
            };
            let (moved, ()) = futures_util::future::join(moving, meanwhile).await;
            drop(moved.expect("nothing else moves").expect("moves or is cancelled"));
        }
        80..85 => check(partition, model).await,
        _ => beside(rt, two, partition, model, random).await,
    }
}

/// What also happens while a partition moves.
async fn beside(
    rt: &Rt,
    two: &Two,
    partition: &Rc<Partition>,
    model: &Shared,
    random: &mut Choices,
) {
    match random.below(40) {
        0..4 => partition.log_dir().checkpoint().await.expect("written"),
        4..8 => rt.sleep(Duration::from_millis(random.below(300))).await,
        8..12 => {
            partition.housekeep(rt.wall_ms()).await.expect("kept");
            for dir in &two.dirs {
                dir.remove_due().await;
            }
        }
        12..15 => {
            for dir in &two.dirs {
                let positions = dir.positions();
                dir.contents().write_positions(rt, &positions).await.expect("written");
            }
        }
        15 => {
            let offsets = partition.offsets();
            let span = (offsets.high_watermark.0 - offsets.log_start.0) as u64;
            let before = offsets.log_start.0 + random.below(span / 2 + 1) as i64;
            partition.delete_records(Offset(before)).await.expect("deleted");
            model.borrow_mut().log_start = partition.offsets().log_start.0;
        }
        16 => {
            let offsets = partition.offsets();
            let end = offsets.log_end.0 - random.below(4) as i64;
            // What may not be lost is given up on purpose.
            model.borrow_mut().safe = 0;
            partition.truncate_to(Offset(end.max(offsets.log_start.0))).await.expect("cut");
            let end = partition.offsets().log_end.0;
            let mut model = model.borrow_mut();
            model.written.retain(|batch| batch.1 < end);
            model.safe = end;
        }
        17 => partition.call_off_move().await,
        _ => append(partition, model, random).await,
    }
}

fn run(seed: u64) -> u64 {
    let (world, node) = world(seed);
    let model = Shared::default();
    model.borrow_mut().seed = seed;
    let mut random = Choices(seed);
    for _ in 0..4 {
        let shared = Rc::clone(&model);
        live_a_while(&world, node, &mut random, 200_000, |rt, seed| live(rt, shared, seed, 60));
        world.crash(node, if random.one_in(3) { Crash::Kill } else { Crash::PowerLoss });
        world.restart(node);
    }
    let last = Rc::clone(&model);
    on(&world, node, async move |rt| live(rt, last, seed, 0).await);
    model.borrow().moves
}

#[test]
fn nothing_is_lost_on_the_way() {
    let moves: Vec<u64> = for_seeds(24, run);
    let (lives, moves) = (moves.len() as u64, moves.iter().sum::<u64>());
    assert!(moves >= lives, "{moves} moves in {lives} seeds show nothing");
}

/// Fills a log of some segments and moves it, with appends on the way.
async fn fill_and_move(rt: Rt, model: Shared) {
    let seed = model.borrow().seed;
    let two = Two::start(&rt, seed % 2 == 1).await;
    model.borrow_mut().epoch += 1;
    let partition = two.lead(config(seed), 1).await;
    let mut random = Choices(seed);
    while partition.size_bytes() < 12_000 {
        append(&partition, &model, &mut random).await;
    }
    let before = partition.offsets().high_watermark.0 / 3;
    partition.delete_records(Offset(before)).await.expect("deleted");
    model.borrow_mut().log_start = before;
    let moving = relocate(&two, &partition, &model, 1e12);
    let appends = async {
        for _ in 0..4 {
            append(&partition, &model, &mut random).await;
        }
    };
    let (moved, ()) = futures_util::future::join(moving, appends).await;
    assert!(matches!(moved, Some(Ok(MoveOutcome::Moved { .. }))));
    for _ in 0..3 {
        append(&partition, &model, &mut random).await;
    }
}

/// Ends it `polls` steps in; false if it was over by then.
fn cut_off(seed: u64, polls: u64, how: Crash) -> bool {
    let (world, node) = world(seed);
    let model = Shared::default();
    model.borrow_mut().seed = seed;
    let shared = Rc::clone(&model);
    let rt = world.rt(node, CoreId(0));
    let ended = Rc::new(Cell::new(false));
    let (end, task) = (Rc::clone(&ended), rt.clone());
    rt.spawn("move", async move {
        fill_and_move(task, shared).await;
        end.set(true);
    })
    .detach();
    drop(rt);
    world.run_until(Duration::from_secs(100_000), || world.polls() >= polls || ended.get());
    let over = ended.get();
    world.crash(node, how);
    world.restart(node);
    let again = Rc::clone(&model);
    on(&world, node, async move |rt| live(rt, again, seed, 3).await);
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async move |rt| live(rt, model, seed, 0).await);
    !over
}

#[test]
fn an_end_at_any_step_of_a_move_loses_nothing() {
    for (seed, how) in [(0, Crash::PowerLoss), (3, Crash::PowerLoss), (1, Crash::Kill)] {
        let mut polls = 0;
        while cut_off(seed, polls, how) {
            polls += 3;
        }
        assert!(polls > 200, "{polls} steps of seed {seed} show little");
    }
}

/// A partition with some records, in the first directory.
async fn some(two: &Two, model: &Shared, config: TopicConfig) -> Rc<Partition> {
    let partition = two.lead(config, 1).await;
    let mut random = Choices(5);
    for _ in 0..20 {
        append(&partition, model, &mut random).await;
    }
    partition
}

/// Fails a move by `fault`, and sees that the log serves on where it was, also after a power loss.
fn stays(fault: impl Fn(&World, NodeId) + 'static) {
    let (world, node) = world(1);
    let (world, model) = (Rc::new(world), Shared::default());
    let (fails, shared) = (Rc::clone(&world), Rc::clone(&model));
    on(&world, node, async move |rt| {
        let two = Two::start(&rt, false).await;
        let partition = some(&two, &shared, TopicConfig::default()).await;
        let it = partition.begin_move(two.other(&partition)).await.expect("begins");
        fault(&fails, node);
        let failed = it.expect("there is a way").run(&Pace::new(&rt, 1e12)).await;
        assert!(matches!(failed.err(), Some(LogError::Io { .. })));
        assert!(partition.future().is_none());
        let mut random = Choices(6);
        for _ in 0..5 {
            append(&partition, &shared, &mut random).await;
        }
        let last = partition.offsets().log_end.0 - 1;
        partition.acked(Offset(last)).await.expect("acknowledged");
        shared.borrow_mut().safe = last + 1;
    });
    world.crash(node, Crash::PowerLoss);
    world.revive_disk(node, Path::new("/b"));
    world.set_disk(node, Path::new("/b"), |disk| *disk = DiskOptions::default());
    world.restart(node);
    on(&world, node, async move |rt| {
        let two = Two::start(&rt, false).await;
        assert_eq!(two.holder(), 0);
        let partition = two.lead(TopicConfig::default(), 2).await;
        check(&partition, &model).await;
        // Nothing of the attempt is in the way of the next.
        let moved = relocate(&two, &partition, &model, 1e12).await;
        assert!(matches!(moved, Some(Ok(MoveOutcome::Moved { .. }))));
        check(&partition, &model).await;
    });
}

#[test]
fn a_log_stays_where_it_is_if_the_copy_cannot_be_written() {
    for op in [DiskOp::Write, DiskOp::Sync, DiskOp::Meta] {
        stays(move |world, node| world.fail_next(node, Path::new("/b"), op, libc::EIO));
    }
}

#[test]
fn a_log_stays_where_it_is_if_the_other_disk_is_full() {
    stays(|world, node| world.set_disk(node, Path::new("/b"), |disk| disk.total_bytes = 10));
}

#[test]
fn a_log_stays_where_it_is_if_the_other_disk_dies() {
    stays(|world, node| world.kill_disk(node, Path::new("/b")));
}

/// Lets an operation on the other disk fail so many microseconds into a move; whether it moved.
fn fails_at(seed: u64, op: DiskOp, micros: u64) -> bool {
    let (world, node) = world(seed);
    let (world, model) = (Rc::new(world), Shared::default());
    model.borrow_mut().seed = seed;
    let (fails, shared) = (Rc::clone(&world), Rc::clone(&model));
    let moved = on(&world, node, async move |rt| {
        let two = Two::start(&rt, seed % 2 == 1).await;
        let partition = some(&two, &shared, config(seed)).await;
        let fault = async {
            rt.sleep(Duration::from_micros(micros)).await;
            fails.fail_next(node, Path::new("/b"), op, libc::EIO);
        };
        let it = partition.begin_move(two.other(&partition)).await.expect("begins");
        let run = async { it.expect("a way").run(&Pace::new(&rt, 1e12)).await };
        let (ended, ()) = futures_util::future::join(run, fault).await;
        fails.clear_faults(node);
        let moved = match ended {
            Ok(MoveOutcome::Moved { .. }) => true,
            Err(LogError::Io { .. }) => false,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("nobody cancelled it"),
        };
        let mut random = Choices(seed);
        for _ in 0..5 {
            append(&partition, &shared, &mut random).await;
        }
        let last = partition.offsets().log_end.0 - 1;
        partition.acked(Offset(last)).await.expect("acknowledged");
        shared.borrow_mut().safe = last + 1;
        moved
    });
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async move |rt| {
        let two = Two::start(&rt, false).await;
        assert_eq!(two.holder(), usize::from(moved), "{op:?} after {micros} us");
        let partition = two.lead(config(seed), 2).await;
        check(&partition, &model).await;
    });
    moved
}

#[test]
fn a_failure_at_any_moment_leaves_one_log() {
    for op in [DiskOp::Sync, DiskOp::Meta, DiskOp::Write] {
        let moved = (0..120).filter(|step| fails_at(step % 4, op, step * 40)).count();
        assert!((1..119).contains(&moved), "{moved} of 120 moves with {op:?} show little");
    }
}

#[test]
fn a_deleted_partition_takes_its_copy_along() {
    let (world, node) = world(2);
    on(&world, node, async |rt| {
        let two = Two::start(&rt, false).await;
        let config = TopicConfig { file_delete_delay_ms: 0, ..TopicConfig::default() };
        let partition = some(&two, &Shared::default(), config).await;
        let it = partition.begin_move(&two.dirs[1]).await.expect("begins").expect("a way");
        partition.delete().await.expect("deleted");
        assert!(matches!(it.run(&Pace::new(&rt, 1e12)).await, Ok(MoveOutcome::Cancelled)));
        for (dir, root) in two.dirs.iter().zip(ROOTS) {
            rt.sleep(Duration::from_secs(1)).await;
            dir.remove_due().await;
            let left = rt.list_dir(Path::new(root)).await.expect("listed");
            assert!(!left.iter().any(|entry| entry.is_dir), "{left:?}");
        }
    });
}

#[test]
fn a_move_is_begun_once_and_cancelled_by_the_way_back() {
    let (world, node) = world(3);
    on(&world, node, async |rt| {
        let (two, model) = (Two::start(&rt, false).await, Shared::default());
        let partition = some(&two, &model, TopicConfig::default()).await;
        let it = partition.begin_move(&two.dirs[1]).await.expect("begins").expect("a way");
        assert!(partition.begin_move(&two.dirs[1]).await.expect("known").is_none());
        let future = partition.future().expect("it moves");
        assert_eq!((future.size_bytes, future.log_end), (0, Offset(0)));
        assert!(partition.begin_move(&two.dirs[0]).await.expect("back").is_none());
        assert!(partition.future().is_none());
        assert!(matches!(it.run(&Pace::new(&rt, 1e12)).await, Ok(MoveOutcome::Cancelled)));
        check(&partition, &model).await;
        let again = relocate(&two, &partition, &model, 1e12).await;
        assert!(matches!(again, Some(Ok(MoveOutcome::Moved { .. }))));
        check(&partition, &model).await;
    });
}

#[test]
fn without_its_new_directory_a_log_that_moved_is_missed() {
    let (world, node) = world(4);
    let model = Shared::default();
    let shared = Rc::clone(&model);
    on(&world, node, async move |rt| {
        let two = Two::start(&rt, false).await;
        let partition = some(&two, &shared, TopicConfig::default()).await;
        relocate(&two, &partition, &shared, 1e12).await.expect("moves").expect("moves");
        // The controller was not told yet.
        two.dirs[0].checkpoint().await.expect("written");
        assert!(!rt.exists(Path::new("/a/t-0")).await.expect("looked at"));
        rt.rename(Path::new("/b/t-0"), Path::new("/b/lost+found")).await.expect("renamed");
        rt.sync_dir(Path::new("/b")).await.expect("synced");
    });
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async |rt| {
        let two = Two::start(&rt, false).await;
        let spec = PartitionSpec {
            topic: "t".to_owned(),
            topic_id: TOPIC,
            partition: PartitionId(0),
            log_dir: Rc::clone(&two.dirs[0]),
            config: Rc::new(TopicConfig::default()),
        };
        assert!(two.dirs[0].contents().knows(TOPIC, 0));
        let refused = Partition::open(&two.cx, spec).await.err();
        assert!(matches!(refused, Some(crate::error::OpenError::Missing { .. })), "{refused:?}");
    });
}
