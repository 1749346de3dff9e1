use std::collections::VecDeque;

use proptest::prelude::*;

use super::snapshot::SnapshotError;
use super::txn_index::{ENTRY_BYTES, TxnIndex, TxnIndexError};
use super::*;
use crate::batch::header::BatchHeader;
use crate::batch::{BatchBuilder, BatchOptions, NewRecord};
use crate::compress::Codecs;
use crate::ids::LeaderEpoch;

const NOW: i64 = 1_700_000_000_000;

/// A partition without a disk: what a log does around the producers.
struct Log {
    states: ProducerStates,
    /// Every batch, to replay.
    batches: Vec<Vec<u8>>,
    index: TxnIndex,
    now: i64,
}

#[derive(Clone, Copy)]
struct Send {
    id: i64,
    epoch: i16,
    sequence: i32,
    count: i32,
    transactional: bool,
}

fn send(id: i64, epoch: i16, sequence: i32, count: i32) -> Send {
    Send { id, epoch, sequence, count, transactional: false }
}

impl Log {
    fn new() -> Self {
        let states = ProducerStates::new(ProducerLimits::default(), Offset::ZERO);
        Self { states, batches: Vec::new(), index: TxnIndex::default(), now: NOW }
    }

    fn end(&self) -> Offset {
        self.states.end()
    }

    fn rules(origin: Origin) -> PlanRules {
        PlanRules { origin, verified: true, transaction_version: 1 }
    }

    fn bytes(&self, send: Send) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: self.end(),
            leader_epoch: LeaderEpoch(0),
            producer_id: ProducerId(send.id),
            producer_epoch: ProducerEpoch(send.epoch),
            base_sequence: send.sequence,
            transactional: send.transactional,
            ..BatchOptions::default()
        });
        for i in 0..send.count {
            let timestamp = self.now + i64::from(i);
            builder.push(&NewRecord { timestamp, ..NewRecord::default() });
        }
        builder.build(&mut Codecs::default())
    }

    fn append(&mut self, bytes: Vec<u8>, rules: PlanRules) -> Result<Step, ProducerError> {
        let batch = BatchView::decode(&bytes).expect("a batch");
        let control = batch.attributes.is_control();
        let marker = control.then(|| EndTxnMarker::of_batch(&batch).expect("a marker")).flatten();
        let mut plan = AppendPlan::new(rules);
        let step = plan.add(&self.states, batch.header(), marker)?;
        if step == Step::Append {
            for aborted in self.states.apply(plan, self.now) {
                self.index.push(aborted);
            }
            self.batches.push(bytes);
        }
        Ok(step)
    }

    fn client(&mut self, send: Send) -> Result<Step, ProducerError> {
        let bytes = self.bytes(send);
        self.append(bytes, Self::rules(Origin::Client))
    }

    fn marker(&mut self, id: i64, epoch: i16, commit: bool) -> Result<Step, ProducerError> {
        self.marker_of(id, epoch, commit, 0, Self::rules(Origin::Coordinator))
    }

    fn marker_of(
        &mut self,
        id: i64,
        epoch: i16,
        commit: bool,
        coordinator_epoch: i32,
        rules: PlanRules,
    ) -> Result<Step, ProducerError> {
        let marker = EndTxnMarker { commit, coordinator_epoch, timestamp: self.now };
        let bytes = marker.to_batch(BatchOptions {
            base_offset: self.end(),
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            ..BatchOptions::default()
        });
        self.append(bytes, rules)
    }

    fn lso(&self) -> i64 {
        self.states.last_stable(Offset::ZERO, self.end()).0
    }
}

fn appended(first: i64, last: i64, timestamp: i64) -> Step {
    Step::Duplicate(AppendedBatch { first: Offset(first), last: Offset(last), timestamp })
}

#[test]
fn sequences_go_on_and_gaps_are_refused() {
    let mut log = Log::new();
    assert_eq!(log.client(send(1, 0, 0, 3)), Ok(Step::Append));
    assert_eq!(log.client(send(1, 0, 3, 2)), Ok(Step::Append));
    for sequence in [4, 6, 100] {
        assert!(matches!(
            log.client(send(1, 0, sequence, 1)),
            Err(ProducerError::OutOfOrderSequence { last: 4, .. })
        ));
    }
    assert_eq!(log.client(send(1, 0, 5, 1)), Ok(Step::Append));
    assert_eq!(log.end(), Offset(6));
    // Records without a producer move the end alone.
    assert_eq!(log.client(send(-1, -1, -1, 4)), Ok(Step::Append));
    assert_eq!((log.end(), log.states.len()), (Offset(10), 1));
}

#[test]
fn the_last_five_batches_are_answered_again() {
    let mut log = Log::new();
    for i in 0..7 {
        assert_eq!(log.client(send(1, 0, i * 10, 10)), Ok(Step::Append));
        log.now += 1_000;
    }
    for i in 2..7i32 {
        let first = i64::from(i) * 10;
        let timestamp = NOW + i64::from(i) * 1_000 + 9;
        assert_eq!(log.client(send(1, 0, i * 10, 10)), Ok(appended(first, first + 9, timestamp)));
    }
    // Forgotten, or cut differently than the first time.
    for (sequence, count) in [(0, 10), (10, 10), (20, 9), (61, 9), (60, 11)] {
        let refused = log.client(send(1, 0, sequence, count));
        assert!(matches!(refused, Err(ProducerError::OutOfOrderSequence { .. })));
    }
    // Only clients repeat themselves.
    let again = log.bytes(send(1, 0, 60, 10));
    assert_eq!(log.append(again, Log::rules(Origin::Coordinator)), Ok(Step::Append));
}

#[test]
fn sequences_wrap_after_the_largest() {
    let mut log = Log::new();
    assert_eq!(log.client(send(1, 0, i32::MAX - 1, 2)), Ok(Step::Append));
    assert!(log.client(send(1, 0, 1, 1)).is_err());
    assert_eq!(log.client(send(1, 0, 0, 1)), Ok(Step::Append));
    assert_eq!(log.client(send(1, 0, 1, 1)), Ok(Step::Append));
    assert_eq!(log.client(send(1, 0, i32::MAX - 1, 2)), Ok(appended(0, 1, NOW + 1)));
    // One batch across the wrap.
    let mut log = Log::new();
    assert_eq!(log.client(send(1, 0, i32::MAX - 1, 5)), Ok(Step::Append));
    assert_eq!(log.states.get(ProducerId(1)).expect("known").last_sequence(), 2);
    assert_eq!(log.client(send(1, 0, i32::MAX - 1, 5)), Ok(appended(0, 4, NOW + 4)));
    assert_eq!(log.client(send(1, 0, 3, 1)), Ok(Step::Append));
}

#[test]
fn a_newer_epoch_fences_and_starts_from_zero() {
    let mut log = Log::new();
    assert_eq!(log.client(send(1, 3, 0, 2)), Ok(Step::Append));
    assert!(matches!(
        log.client(send(1, 2, 2, 1)),
        Err(ProducerError::InvalidProducerEpoch { .. })
    ));
    assert!(matches!(log.client(send(1, 4, 2, 1)), Err(ProducerError::NotFirstOfEpoch { .. })));
    assert_eq!(log.client(send(1, 4, 0, 2)), Ok(Step::Append));
    // The same numbers under the old epoch are not a repetition.
    assert!(matches!(
        log.client(send(1, 3, 0, 2)),
        Err(ProducerError::InvalidProducerEpoch { .. })
    ));
    assert_eq!(log.client(send(1, 4, 0, 2)), Ok(appended(2, 3, NOW + 1)));
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    let mut log = Log::new();
    assert_eq!(log.client(send(1, 5, 77, 1)), Ok(Step::Append));
    assert_eq!(log.client(send(1, 5, 78, 1)), Ok(Step::Append));
    assert!(log.client(send(1, 5, 80, 1)).is_err());
    // Forgotten, it is unknown again.
    log.now += 86_400_000;
    assert_eq!(log.states.expire(log.now - 1), 0);
    assert_eq!(log.states.expire(log.now), 1);
    assert_eq!(log.client(send(1, 5, 80, 1)), Ok(Step::Append));
}

#[test]
fn a_producer_of_old_records_is_not_forgotten_early() {
    let mut log = Log::new();
    let old = Log { now: 5, ..Log::new() };
    let bytes = old.bytes(send(1, 0, 0, 1));
    assert_eq!(log.append(bytes.clone(), Log::rules(Origin::Client)), Ok(Step::Append));
    assert_eq!(log.states.expire(NOW + 1_000), 0);
    assert_eq!(log.append(bytes, Log::rules(Origin::Client)), Ok(appended(0, 0, 5)));
    // Nor by a restart.
    let file = log.states.snapshot();
    let limits = ProducerLimits::default();
    let mut loaded = ProducerStates::load(limits, &file, Offset(1), NOW).expect("a snapshot");
    assert_eq!(loaded.expire(NOW + 1_000), 0);
    assert_eq!(loaded.expire(NOW + 86_400_000), 1);
}

#[test]
fn the_longest_silent_make_room_and_open_transactions_stay() {
    let mut log = Log::new();
    log.states.set_limits(ProducerLimits { entries_max: 32, ..ProducerLimits::default() });
    let open = Send { transactional: true, ..send(0, 0, 0, 1) };
    assert_eq!(log.client(open), Ok(Step::Append));
    for id in 1..200 {
        log.now += 1;
        assert_eq!(log.client(send(id, 0, 0, 1)), Ok(Step::Append));
        assert!(log.states.len() <= 32);
    }
    assert!(log.states.get(ProducerId(0)).is_some());
    for id in 175..200 {
        assert!(log.states.get(ProducerId(id)).is_some(), "{id} was heard of lately");
    }
    assert!(log.states.get(ProducerId(100)).is_none());
}

#[test]
fn open_transactions_hold_back_committed_readers() {
    let mut log = Log::new();
    let txn = |id, sequence| Send { transactional: true, ..send(id, 0, sequence, 2) };
    assert_eq!(log.lso(), 0);
    log.client(send(9, 0, 0, 2)).expect("plain");
    assert_eq!(log.lso(), 2);
    log.client(txn(1, 0)).expect("begins");
    log.client(txn(2, 0)).expect("begins");
    log.client(txn(1, 2)).expect("goes on");
    assert_eq!((log.lso(), log.states.oldest_txn_timestamp()), (2, Some(NOW + 1)));
    log.marker(1, 0, false).expect("aborts");
    // Decided, but not replicated.
    assert_eq!(log.lso(), 2);
    log.states.on_high_watermark(Offset(8));
    assert_eq!(log.lso(), 2, "the marker itself is at 8");
    log.states.on_high_watermark(Offset(9));
    assert_eq!(log.lso(), 4);
    log.marker(2, 0, true).expect("commits");
    log.states.on_high_watermark(log.end());
    assert_eq!((log.lso(), log.end()), (10, Offset(10)));
    assert_eq!(log.states.last_stable(Offset(10), Offset(7)), Offset(7));
    let aborted = AbortedTxn {
        producer_id: ProducerId(1),
        first: Offset(2),
        last: Offset(8),
        last_stable: Offset(4),
    };
    assert_eq!(log.index.entries(), [aborted]);
}

#[test]
fn a_transaction_is_entered_and_left_only_as_it_should() {
    let mut log = Log::new();
    let txn = |sequence| Send { transactional: true, ..send(1, 0, sequence, 1) };
    let bytes = log.bytes(txn(0));
    let unverified = PlanRules { verified: false, ..Log::rules(Origin::Client) };
    assert!(matches!(
        log.append(bytes, unverified),
        Err(ProducerError::NotInTransaction { producer_id: ProducerId(1) })
    ));
    log.client(txn(0)).expect("verified");
    let bytes = log.bytes(txn(1));
    assert_eq!(log.append(bytes, unverified), Ok(Step::Append), "begun, it needs no proof");
    assert!(matches!(log.client(send(1, 0, 2, 1)), Err(ProducerError::OutsideTransaction { .. })));
    log.marker(1, 0, true).expect("commits");
    assert_eq!(log.client(send(1, 0, 2, 1)), Ok(Step::Append));
    // A transaction that has records stays for ever: it is not idle, it hangs.
    log.client(txn(3)).expect("begins");
    assert_eq!(log.states.expire(i64::MAX), 0);
}

#[test]
fn markers_are_fenced_by_producer_and_coordinator_epochs() {
    let mut log = Log::new();
    let coordinator = Log::rules(Origin::Coordinator);
    let second = PlanRules { transaction_version: 2, ..coordinator };
    let txn = |epoch| Send { transactional: true, ..send(1, epoch, 0, 1) };
    log.client(txn(5)).expect("begins");
    assert!(matches!(
        log.marker_of(1, 4, true, 0, coordinator),
        Err(ProducerError::InvalidProducerEpoch { .. })
    ));
    assert!(matches!(
        log.marker_of(1, 5, true, 0, second),
        Err(ProducerError::InvalidProducerEpoch { .. })
    ));
    log.marker_of(1, 6, true, 3, second).expect("bumped");
    log.marker_of(1, 6, true, 3, second).expect("repeated, without effect");
    log.client(txn(6)).expect("the next");
    assert!(matches!(
        log.marker_of(1, 7, false, 2, second),
        Err(ProducerError::CoordinatorFenced { current: 3, epoch: 2, .. })
    ));
    // A follower takes what its leader took.
    log.marker_of(1, 5, false, 1, Log::rules(Origin::Replica)).expect("replicated");
    assert_eq!(log.index.entries().len(), 1);
}

#[test]
fn several_batches_are_judged_together() {
    let log = Log::new();
    let mut plan = AppendPlan::new(Log::rules(Origin::Client));
    let mut offset = 0;
    for (sequence, ok) in [(0, true), (2, true), (5, false)] {
        let bytes = log.bytes(send(1, 0, sequence, 2));
        let batch = BatchView::decode(&bytes).expect("a batch");
        let placed = BatchHeader { base_offset: Offset(offset), ..*batch.header() };
        // An unknown producer's numbers are taken as they come, within one append too.
        assert_eq!(plan.add(&log.states, &placed, None), Ok(Step::Append), "{ok}");
        offset += 2;
    }
    let mut states = log.states;
    states.apply(plan, NOW);
    assert_eq!(states.end(), Offset(6));
    assert_eq!(states.get(ProducerId(1)).expect("known").last_offset(), Some(Offset(5)));
}

#[test]
fn a_snapshot_is_kafkas_format() {
    let mut log = Log::new();
    log.client(send(0x11, 2, 0, 3)).expect("plain");
    log.client(Send { transactional: true, ..send(0x22, 0, 7, 1) }).expect("begins");
    let file = log.states.snapshot();
    assert_eq!(file.len(), 10 + 2 * 46);
    assert_eq!(file[..2], [0, 1]);
    assert_eq!(file[6..10], [0, 0, 0, 2]);
    let first = [
        &0x11i64.to_be_bytes()[..],
        &2i16.to_be_bytes(),
        &2i32.to_be_bytes(),
        &2i64.to_be_bytes(),
        &2i32.to_be_bytes(),
        &(NOW + 2).to_be_bytes(),
        &(-1i32).to_be_bytes(),
        &(-1i64).to_be_bytes(),
    ];
    assert_eq!(file[10..56], first.concat());

    let loaded = ProducerStates::load(ProducerLimits::default(), &file, Offset(4), NOW);
    let mut loaded = loaded.expect("a snapshot");
    assert!(loaded.active().eq(log.states.active()));
    assert_eq!((loaded.end(), loaded.first_unstable()), (Offset(4), Some(Offset(3))));
    assert_eq!(loaded.snapshot(), file);
    loaded.on_log_start(Offset(9));
    assert_eq!(loaded.last_stable(Offset(9), Offset(12)), Offset(9));

    let load =
        |file: &[u8]| ProducerStates::load(ProducerLimits::default(), file, Offset(4), NOW).err();
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(load(&damaged).is_some(), "{at}");
        assert!(load(&file[..at]).is_some(), "cut at {at}");
    }
    let mut newer = file;
    newer[1] = 2;
    assert_eq!(load(&newer), Some(SnapshotError::Version { version: 2 }));
}

#[test]
fn a_transaction_index_finds_what_overlaps() {
    let txn = |id, first, last, last_stable| AbortedTxn {
        producer_id: ProducerId(id),
        first: Offset(first),
        last: Offset(last),
        last_stable: Offset(last_stable),
    };
    let entries = [txn(1, 100, 110, 105), txn(2, 105, 120, 121), txn(3, 130, 140, 141)];
    let mut index = TxnIndex::default();
    entries.into_iter().for_each(|entry| index.push(entry));
    let file = index.encode();
    assert_eq!(TxnIndex::decode(&file, Offset(100)), Ok(index.clone()));
    let found = |from, until| {
        let mut found = Vec::new();
        let done = index.collect(Offset(from), Offset(until), &mut found);
        (found.iter().map(|txn| txn.producer_id.0).collect::<Vec<_>>(), done)
    };
    assert_eq!(found(0, 101), (vec![1], true));
    assert_eq!(found(111, 121), (vec![2], true));
    assert_eq!(found(111, 131), (vec![2, 3], true));
    assert_eq!(found(121, 200), (vec![3], false));
    assert_eq!(found(105, 106), (vec![1, 2], true));
    let kept = index.clone().truncate(Offset(140));
    assert_eq!(kept, 2 * ENTRY_BYTES);
    // A cut entry is left out, a foreign one refused.
    assert_eq!(TxnIndex::decode(&file[..70], Offset(0)).expect("two").entries().len(), 2);
    assert!(matches!(TxnIndex::decode(&file, Offset(111)), Err(TxnIndexError::Order { .. })));
    let mut newer = file;
    newer[35] = 1;
    assert_eq!(TxnIndex::decode(&newer, Offset(0)), Err(TxnIndexError::Version { version: 1 }));
}

/// The rules once more, as a reader of KIP-98 would write them down.
#[derive(Default)]
struct Model {
    /// (id, epoch, first sequence, last sequence, first offset), newest last.
    sent: Vec<(i64, i16, i32, i32, i64)>,
    epochs: BTreeMap<i64, i16>,
    open: BTreeMap<i64, i64>,
    aborted: Vec<(i64, i64, i64)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Append,
    Duplicate(i64),
    Fenced,
    OutOfOrder,
    BadTxn,
}

impl Model {
    fn data(&mut self, send: Send, end: i64) -> Answer {
        let last = send.sequence.wrapping_add(send.count - 1) & i32::MAX;
        let known = self.epochs.get(&send.id).copied();
        let mine = self.sent.iter().rev().filter(|s| (s.0, Some(s.1)) == (send.id, known));
        let mine: VecDeque<_> = mine.take(5).collect();
        if known == Some(send.epoch)
            && let Some(twin) = mine.iter().find(|s| (s.2, s.3) == (send.sequence, last))
        {
            return Answer::Duplicate(twin.4);
        }
        if known.is_some_and(|known| send.epoch < known) {
            return Answer::Fenced;
        }
        let expected = match known {
            None => send.sequence,
            Some(known) if known != send.epoch => 0,
            Some(_) => mine.front().map_or(0, |s| s.3.wrapping_add(1) & i32::MAX),
        };
        if send.sequence != expected {
            return Answer::OutOfOrder;
        }
        if self.open.contains_key(&send.id) && !send.transactional {
            return Answer::BadTxn;
        }
        self.epochs.insert(send.id, send.epoch);
        self.sent.push((send.id, send.epoch, send.sequence, last, end));
        if send.transactional {
            self.open.entry(send.id).or_insert(end);
        }
        Answer::Append
    }

    fn marker(&mut self, id: i64, epoch: i16, commit: bool, end: i64) -> Answer {
        if self.epochs.get(&id).is_some_and(|known| epoch < *known) {
            return Answer::Fenced;
        }
        self.epochs.insert(id, epoch);
        if let Some(first) = self.open.remove(&id)
            && !commit
        {
            self.aborted.push((id, first, end));
        }
        Answer::Append
    }
}

fn answer(outcome: Result<Step, ProducerError>) -> Answer {
    match outcome {
        Ok(Step::Append) => Answer::Append,
        Ok(Step::Duplicate(batch)) => Answer::Duplicate(batch.first.0),
        Err(ProducerError::InvalidProducerEpoch { .. }) => Answer::Fenced,
        Err(ProducerError::OutOfOrderSequence { .. } | ProducerError::NotFirstOfEpoch { .. }) => {
            Answer::OutOfOrder
        }
        Err(_) => Answer::BadTxn,
    }
}

/// A small generator of its own: a failing seed replays without any file.
struct Seed(u64);

impl Seed {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn play(seed: u64) {
    let mut dice = Seed(seed);
    let (mut log, mut model) = (Log::new(), Model::default());
    for step in 0..200 {
        let id = dice.below(3) as i64 + 1;
        let end = log.end().0;
        let known = model.epochs.get(&id).copied();
        let epoch = known.unwrap_or(0) + [0, 0, 0, 0, 0, 0, 1, -1][dice.below(8) as usize];
        let epoch = epoch.max(0);
        let (got, want) = if dice.below(6) == 0 {
            let commit = dice.below(2) == 0;
            (answer(log.marker(id, epoch, commit)), model.marker(id, epoch, commit, end))
        } else {
            let last = model.sent.iter().rev().find(|s| s.0 == id);
            let next = last.map_or(i32::MAX - 9, |s| s.3.wrapping_add(1) & i32::MAX);
            let repeat = model.sent.len().checked_sub(1 + dice.below(12) as usize);
            let repeat = repeat.map(|at| model.sent[at]);
            let send = match (dice.below(8), repeat) {
                (0, Some((id, epoch, first, last, _))) => {
                    let count = (last.wrapping_sub(first) & i32::MAX) + 1;
                    Send { id, epoch, sequence: first, count, transactional: false }
                }
                (1, _) => send(id, epoch, dice.below(40) as i32, 1),
                (2, _) => send(id, epoch, 0, 1 + dice.below(3) as i32),
                _ => send(id, epoch, next, 1 + dice.below(3) as i32),
            };
            let send = Send { transactional: dice.below(3) == 0, ..send };
            (answer(log.client(send)), model.data(send, end))
        };
        assert_eq!(got, want, "seed {seed} step {step}");

        let open = model.open.values().copied().min();
        assert_eq!(log.states.txns.first_open().map(|o| o.0), open, "seed {seed} step {step}");
        if dice.below(4) == 0 {
            log.states.on_high_watermark(log.end());
            assert_eq!(log.lso(), open.unwrap_or(log.end().0), "seed {seed} step {step}");
        }
        if dice.below(25) == 0 {
            restart(&log, &mut dice, seed);
        }
    }
    let aborted: Vec<_> =
        log.index.entries().iter().map(|t| (t.producer_id.0, t.first.0, t.last.0)).collect();
    assert_eq!(aborted, model.aborted, "seed {seed}");
}

/// What a restart makes of the same log: by replay alone, and by a snapshot on the way.
fn restart(log: &Log, dice: &mut Seed, seed: u64) {
    let mut states = ProducerStates::new(ProducerLimits::default(), Offset::ZERO);
    let mut index = TxnIndex::default();
    let cut = dice.below(log.batches.len() as u64 + 1) as usize;
    for (at, bytes) in log.batches.iter().enumerate() {
        if at == cut {
            let file = states.snapshot();
            let loaded = ProducerStates::load(ProducerLimits::default(), &file, states.end(), NOW);
            states = loaded.expect("a snapshot");
        }
        let batch = BatchView::decode(bytes).expect("a batch");
        for aborted in states.replay(&batch, NOW).expect("replays") {
            index.push(aborted);
        }
    }
    assert_eq!(states.end(), log.end(), "seed {seed}");
    assert!(states.active().eq(log.states.active()), "seed {seed}");
    assert_eq!(index, log.index, "seed {seed}");
    states.on_high_watermark(log.end());
    let mut live = log.states.clone();
    live.on_high_watermark(log.end());
    assert_eq!(states.first_unstable(), live.first_unstable(), "seed {seed}");
}

#[test]
fn a_thousand_histories_go_as_the_model_says() {
    for seed in 0..1_000 {
        play(seed);
    }
}

proptest! {
    #[test]
    fn garbage_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(snapshot::decode(&bytes).is_err());
        let mut index = bytes;
        // Past the version check.
        index.chunks_mut(ENTRY_BYTES).for_each(|entry| entry.iter_mut().take(2).for_each(|b| *b = 0));
        let _ = TxnIndex::decode(&index, Offset(0));
    }

    #[test]
    fn forged_batches_never_panic(
        fields in prop::array::uniform8(any::<i32>()),
        long in prop::array::uniform4(any::<i64>()),
        attributes: i16,
    ) {
        let mut log = Log::new();
        log.client(send(1, 0, 0, 1)).expect("appends");
        let bytes = log.bytes(send(1, 0, 1, 1));
        let header = BatchHeader {
            base_offset: Offset(long[0]),
            attributes: crate::batch::header::Attributes(attributes),
            last_offset_delta: fields[0],
            max_timestamp: long[1],
            producer_id: ProducerId(long[2] & 1),
            producer_epoch: ProducerEpoch(fields[1] as i16),
            base_sequence: fields[2],
            ..*BatchView::decode(&bytes).expect("a batch").header()
        };
        for origin in [Origin::Client, Origin::Coordinator, Origin::Replica] {
            let mut plan = AppendPlan::new(Log::rules(origin));
            let marker = EndTxnMarker { commit: false, coordinator_epoch: fields[3], timestamp: 0 };
            if plan.add(&log.states, &header, Some(marker)).is_ok() {
                log.states.apply(plan, long[3]);
            }
            log.states.expire(long[1]);
            let _ = log.states.snapshot();
        }
    }
}
