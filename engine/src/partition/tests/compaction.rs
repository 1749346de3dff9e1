//! Compaction against a plain map of what was written, with crashes at any moment.
//!
//! Whatever happens it must hold that
//! - a record that is there is the one that was appended at its offset;
//! - the newest value of every key is there, and a key whose newest record is a tombstone has no
//!   older record without it;
//! - after a pass, nothing below its end is superseded there;
//! - a reader who went through the log while it was compacted knows every key's value;
//! - producers may go on where they were.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use config::{CleanupPolicy, TopicConfig};

use super::kit::*;
use super::restart::{live_a_while, on, world};
use crate::batch::{
    BatchBuilder, BatchOptions, BatchView, Batches, NewRecord, Records, Scratch, TimestampType,
};
use crate::buf::Slice;
use crate::compress::{Codec, Codecs, Compression};
use crate::ids::{Offset, ProducerEpoch, ProducerId};
use crate::log::{Cleaned, Cleaner, CleanerLimits};
use crate::partition::*;
use crate::rt::Rt;
use crate::rt::sim::Crash;
use crate::testing::{Choices, for_seeds};

/// Key, value, timestamp.
type Written = (u64, Option<Vec<u8>>, i64);

/// What must be true of the log.
#[derive(Default)]
struct Model {
    seed: u64,
    /// Every record that was appended, by offset.
    written: BTreeMap<i64, Written>,
    /// Everything below survives a power loss.
    safe: i64,
    log_start: i64,
    epoch: i32,
    next_value: u64,
    /// The producer's next.
    sequence: i32,
    passes: u64,
}

type Shared = Rc<RefCell<Model>>;

fn config(seed: u64) -> TopicConfig {
    TopicConfig {
        cleanup_policy: CleanupPolicy { compact: true, delete: seed.is_multiple_of(5) },
        retention_ms: None,
        segment_bytes: [4_000, 40_000, 300_000][(seed % 3) as usize],
        index_interval_bytes: [1, 4096][(seed / 3 % 2) as usize],
        delete_retention_ms: [0, 5_000, 86_400_000][(seed / 6 % 3) as usize],
        min_cleanable_dirty_ratio: 0.0,
        file_delete_delay_ms: [0, 60_000][(seed / 2 % 2) as usize],
        ..TopicConfig::default()
    }
}

const LIMITS: CleanerLimits = CleanerLimits { map_bytes: 0, bytes_per_second: 1e12 };

fn keys(seed: u64) -> u64 {
    [5, 60, 4_000][(seed / 4 % 3) as usize]
}

/// One life of the node, until it is crashed or ends by itself.
async fn live(rt: Rt, model: Shared, seed: u64, steps: u64) {
    let mut random = Choices(seed);
    let kit = Kit::start(&rt).await;
    if model.borrow().seed % 2 == 1 {
        kit.dir.set_journal(JOURNAL);
    }
    let epoch = {
        let mut model = model.borrow_mut();
        model.epoch += 1;
        // A producer of a new epoch begins anew.
        model.sequence = 0;
        model.epoch
    };
    let config = config(model.borrow().seed);
    let partition = kit.open(config).await.expect("opens");
    partition.become_leader(alone(epoch));
    {
        let offsets = partition.offsets();
        let mut model = model.borrow_mut();
        assert!(offsets.log_end.0 >= model.safe, "lost acknowledged records");
        assert!(offsets.log_start.0 >= model.log_start);
        // What the log lost at its end never happened.
        model.written.split_off(&offsets.log_end.0);
        model.safe = offsets.log_end.0;
        // A torn end is nobody's; a whole segment would be.
        let aside = &partition.recovery().aside;
        assert!(!aside.iter().any(|path| path.to_string_lossy().contains("unreachable")));
    }
    check(&partition, &model).await;
    let stop = Rc::new(Cell::new(false));
    let reading = rt.spawn(
        "reader",
        follow(rt.clone(), Rc::clone(&partition), Rc::clone(&model), Rc::clone(&stop)),
    );
    let cleaner = Cleaner::new(&rt, LIMITS);
    for _ in 0..steps {
        step(&rt, &kit, &partition, &cleaner, &model, &mut random).await;
    }
    stop.set(true);
    reading.await.expect("no panic");
    check(&partition, &model).await;
    if random.below(2) == 0 {
        partition.close().await.expect("closes");
        kit.stop(i64::from(epoch)).await;
        model.borrow_mut().safe = partition.offsets().log_end.0;
    }
}

async fn step(
    rt: &Rt,
    kit: &Kit,
    partition: &Rc<Partition>,
    cleaner: &Cleaner,
    model: &Shared,
    random: &mut Choices,
) {
    let choice = random.below(100);
    if std::env::var_os("ODRADEK_TRACE").is_some() {
        eprintln!("{:?} step {choice} {:?}", rt.now(), partition.offsets());
    }
    match choice {
        0..70 => append(partition, model, random).await,
        70..84 => {
            // Appends go on while a pass runs.
            let pass = clean(rt, partition, cleaner, model);
            let appends = async {
                let mut random = Choices(random.below(u64::MAX));
                for _ in 0..random.below(6) {
                    append(partition, model, &mut random).await;
                }
            };
            futures_util::future::join(pass, appends).await;
        }
        84..88 => kit.dir.checkpoint().await.expect("written"),
        88..92 => rt.sleep(Duration::from_millis(random.below(20_000))).await,
        92..95 => {
            partition.housekeep(rt.wall_ms()).await.expect("kept");
            kit.dir.remove_due().await;
        }
        95..97 => {
            let contents = kit.dir.contents();
            contents.write_positions(rt, &kit.dir.positions()).await.expect("written");
        }
        97 => {
            let offsets = partition.offsets();
            let span = (offsets.high_watermark.0 - offsets.log_start.0) as u64;
            let before = offsets.log_start.0 + random.below(span / 3 + 1) as i64;
            partition.delete_records(Offset(before)).await.expect("deleted");
            model.borrow_mut().log_start = partition.offsets().log_start.0;
        }
        _ => check(partition, model).await,
    }
}

async fn append(partition: &Rc<Partition>, model: &Shared, random: &mut Choices) {
    let (count, idempotent) = (1 + random.below(12) as usize, random.below(3) == 0);
    let big = random.below(12) == 0;
    let mut records: Vec<Written> = Vec::new();
    for _ in 0..count {
        let mut model = model.borrow_mut();
        model.next_value += 1;
        let key = random.below(keys(model.seed));
        let mut value = model.next_value.to_be_bytes().to_vec();
        value.resize(8 + random.below(if big { 9_000 } else { 200 }) as usize, 7);
        let timestamp = 1_000 + random.below(1_000_000) as i64;
        records.push((key, (random.below(4) > 0).then_some(value), timestamp));
    }
    let codec = Codec::ALL[random.below(5) as usize];
    let mut options = BatchOptions { compression: Compression::new(codec), ..Default::default() };
    if random.below(6) == 0 {
        options.timestamp_type = TimestampType::CreateTime;
    }
    if idempotent {
        // In the order of the appends: the log's lock is taken before anything else waits.
        let mut model = model.borrow_mut();
        options.producer_id = ProducerId(9);
        options.producer_epoch = ProducerEpoch(i16::try_from(model.epoch).expect("few lives"));
        options.base_sequence = model.sequence;
        model.sequence += count as i32;
    }
    let mut builder = BatchBuilder::new(options);
    for (key, value, timestamp) in &records {
        builder.push(&NewRecord {
            timestamp: *timestamp,
            key: Some(&key.to_be_bytes()),
            value: value.as_deref(),
            headers: &[(b"h", None)],
        });
    }
    let bytes = Slice::from_vec(builder.build(&mut Codecs::default()));
    let appended = partition.append_as_leader(bytes, AppendOptions::default()).await;
    let appended = match appended {
        Ok(appended) => appended,
        // Larger than a segment.
        Err(crate::error::AppendError::Batch(_)) => {
            model.borrow_mut().sequence -= if idempotent { count as i32 } else { 0 };
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(!appended.duplicate);
    {
        let mut model = model.borrow_mut();
        for (at, record) in records.into_iter().enumerate() {
            model.written.insert(appended.first.0 + at as i64, record);
        }
    }
    if random.below(5) > 0 {
        partition.acked(appended.last).await.expect("acknowledged");
        let mut model = model.borrow_mut();
        model.safe = model.safe.max(appended.last.0 + 1);
    }
}

async fn clean(rt: &Rt, partition: &Rc<Partition>, cleaner: &Cleaner, model: &Shared) {
    let Some(filth) = partition.filth(rt.wall_ms()).await.expect("looked at") else { return };
    let cleaned = partition.clean(cleaner, filth, rt.wall_ms()).await.expect("cleaned");
    model.borrow_mut().passes += 1;
    check_clean(partition, model, cleaned).await;
}

/// Every record of whole batches, by offset; batches must follow each other.
fn opened(bytes: &[u8], mut next: i64, found: &mut BTreeMap<i64, Written>) -> i64 {
    let mut scratch = Scratch::default();
    for batch in Batches::new(bytes) {
        let batch: BatchView<'_> = batch.expect("whole batches");
        assert!(batch.checksum_holds());
        assert!(batch.last_offset().0 >= next, "{} after {next}", batch.last_offset());
        next = batch.last_offset().0 + 1;
        let payload = scratch.open(&batch, 1 << 20).expect("opens");
        for record in Records::new(payload, batch.records_count).expect("a count") {
            let record = record.expect("whole");
            let key = u64::from_be_bytes(record.key.expect("a key").try_into().expect("8 bytes"));
            assert_eq!(record.headers.len(), 1);
            let value = record.value.map(<[u8]>::to_vec);
            let offset = record.offset(&batch).0;
            let was = found.insert(offset, (key, value, record.timestamp(&batch)));
            assert!(was.is_none(), "offset {offset} twice");
        }
    }
    next
}

async fn read_from(partition: &Rc<Partition>, from_offset: i64) -> BTreeMap<i64, Written> {
    let (mut next, mut found) = (from_offset, BTreeMap::new());
    loop {
        let read = partition.read(from(next, 100_000)).await.expect("readable");
        if read.bytes == 0 {
            return found;
        }
        next = opened(&joined(&read), next, &mut found);
    }
}

/// What every reader may rely on.
async fn check(partition: &Rc<Partition>, model: &Shared) {
    let (start, end) = (partition.offsets().log_start.0, partition.offsets().high_watermark.0);
    let mut found = read_from(partition, start).await;
    found.split_off(&end);
    let model = model.borrow();
    let mut newest: BTreeMap<u64, (i64, &Written)> = BTreeMap::new();
    for (offset, record) in model.written.range(start..end) {
        newest.insert(record.0, (*offset, record));
    }
    for (offset, record) in found.range(start..) {
        assert_eq!(model.written.get(offset), Some(record), "offset {offset}");
    }
    for (key, (offset, record)) in newest {
        if record.1.is_some() {
            assert_eq!(found.get(&offset), Some(record), "newest of key {key} at {offset}");
        } else if !found.contains_key(&offset) {
            let left = found.range(start..).find(|(_, (other, ..))| *other == key);
            assert_eq!(left, None, "key {key} was deleted at {offset}");
        }
    }
}

/// Below the end of a pass no record is superseded by another below it.
async fn check_clean(partition: &Rc<Partition>, model: &Shared, cleaned: Cleaned) {
    let start = partition.offsets().log_start.0.min(cleaned.through);
    let found = read_from(partition, partition.offsets().log_start.0).await;
    let model = model.borrow();
    let mut newest: BTreeMap<u64, i64> = BTreeMap::new();
    for (offset, record) in model.written.range(start..cleaned.through) {
        newest.insert(record.0, *offset);
    }
    for (offset, (key, ..)) in found.range(start..cleaned.through) {
        assert_eq!(newest[key], *offset, "key {key} below {}", cleaned.through);
    }
}

/// Reads the log from its start in small steps, again and again; what it saw is what there is.
async fn follow(rt: Rt, partition: Rc<Partition>, model: Shared, stop: Rc<Cell<bool>>) {
    loop {
        let mut next = partition.offsets().log_start.0;
        let (mut state, mut found) = (BTreeMap::new(), BTreeMap::new());
        let first = next;
        loop {
            let last = stop.get();
            let read = match partition.read(from(next, 3_000)).await {
                Ok(read) => read,
                Err(crate::error::ReadError::OutOfRange { .. }) => break,
                Err(error) => panic!("{error}"),
            };
            if read.bytes > 0 {
                found.clear();
                next = opened(&joined(&read), next, &mut found);
                // The first batch may begin before the log's start.
                let from_start = found.range(first..).map(|(_, record)| record);
                state.extend(from_start.map(|(key, value, _)| (*key, value.clone())));
                rt.turn().await;
            } else if last || next % 7 == 0 {
                break;
            } else {
                rt.sleep(Duration::from_millis(3)).await;
            }
        }
        {
            let model = model.borrow();
            if model.log_start <= first {
                let mut expected = BTreeMap::new();
                for (key, value, _) in model.written.range(first..next).map(|(_, record)| record) {
                    expected.insert(*key, value.clone());
                }
                // Who is slower than delete.retention.ms may miss that a key was deleted.
                let slow = config(model.seed).delete_retention_ms < 86_400_000;
                let gone = |key: &u64| expected.get(key).is_none_or(Option::is_none);
                state.retain(|key, value| value.is_some() && !(slow && gone(key)));
                expected.retain(|_, value: &mut Option<Vec<u8>>| value.is_some());
                assert_eq!(state, expected, "{first}..{next}");
            }
        }
        if stop.get() {
            return;
        }
        rt.sleep(Duration::from_millis(20)).await;
    }
}

fn run(seed: u64) -> u64 {
    let (world, node) = world(seed);
    let model = Shared::default();
    model.borrow_mut().seed = seed;
    let mut random = Choices(seed);
    for _ in 0..4 {
        let shared = Rc::clone(&model);
        live_a_while(&world, node, &mut random, 200_000, |rt, seed| live(rt, shared, seed, 80));
        world.crash(node, if random.below(3) == 0 { Crash::Kill } else { Crash::PowerLoss });
        world.restart(node);
    }
    let last = Rc::clone(&model);
    on(&world, node, async move |rt| live(rt, last, seed, 0).await);
    model.borrow().passes
}

/// Fills a log with some closed segments, in which every key was written several times.
async fn fill(rt: Rt, model: Shared) {
    let kit = Kit::start(&rt).await;
    if model.borrow().seed % 2 == 1 {
        kit.dir.set_journal(JOURNAL);
    }
    model.borrow_mut().epoch += 1;
    let seed = model.borrow().seed;
    let partition = kit.lead(config(seed), 1).await;
    let mut random = Choices(seed);
    while partition.size_bytes() < 14_000 {
        append(&partition, &model, &mut random).await;
    }
    kit.dir.checkpoint().await.expect("written");
    let cleaner = Cleaner::new(&rt, LIMITS);
    clean(&rt, &partition, &cleaner, &model).await;
    rt.sleep(Duration::from_secs(10)).await;
}

/// Cuts the power `polls` steps into filling and compacting a log; false if it was over by then.
fn cut_off(seed: u64, polls: u64) -> bool {
    let (world, node) = world(seed);
    let model = Shared::default();
    model.borrow_mut().seed = seed;
    let shared = Rc::clone(&model);
    let rt = world.rt(node, crate::ids::CoreId(0));
    let ended = Rc::new(Cell::new(false));
    let end = Rc::clone(&ended);
    let task = rt.clone();
    rt.spawn("pass", async move {
        fill(task, shared).await;
        end.set(true);
    })
    .detach();
    drop(rt);
    world.run_until(Duration::from_secs(100_000), || world.polls() >= polls || ended.get());
    let over = ended.get();
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async move |rt| live(rt, model, seed, 0).await);
    !over
}

#[test]
fn a_power_loss_at_any_step_of_a_pass_loses_nothing() {
    for seed in [0, 9] {
        let mut polls = 0;
        while cut_off(seed, polls) {
            polls += 3;
        }
        assert!(polls > 300, "{polls} steps of seed {seed} show little");
    }
}

#[test]
fn the_newest_record_of_every_key_stays() {
    let passes = for_seeds(60, run);
    let (lives, passes) = (passes.len() as u64, passes.iter().sum::<u64>());
    assert!(passes >= lives, "{passes} passes in {lives} seeds show nothing");
}
