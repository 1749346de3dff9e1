//! The truth about a run: what was written must be there, once, in order, unchanged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::batch::BatchView;
use crate::stamp::{STAMP_BYTES, Stamp};

/// What producers sent, by lane.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// Partition, lane, and how many numbers were used.
    pub(crate) sent: Vec<(u32, u32, u64)>,
    /// Lane and number of what was refused or never answered: it may be there or not.
    pub(crate) failed: HashSet<(u32, u64)>,
}

/// What reading brought to light. Counts are of stamps: of batches in a raw load, of records in a
/// client load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Stamps that were read and checked.
    pub checked: u64,
    /// Acknowledged, and not there.
    pub lost: u64,
    /// There more than once.
    pub duplicated: u64,
    /// Behind one with a higher number of the same lane.
    pub reordered: u64,
    /// Checksums that do not fit the content, or content that is not this program's.
    pub corrupted: u64,
    /// Whether all that was written was read.
    pub complete: bool,
}

/// Checks one partition as one reader sees it.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    run: u32,
    /// The oldest records may be gone: a lane begins with whatever number comes first.
    starts_anywhere: bool,
    lanes: HashMap<u32, LaneCheck>,
    pub(crate) tally: Tally,
    room: Vec<u8>,
}

#[derive(Debug, Default)]
struct LaneCheck {
    /// The number that should come next.
    next: u64,
    /// Below `next`, and not seen: first and last of each gap.
    gaps: BTreeMap<u64, u64>,
}

impl Lanes {
    pub(crate) fn merge(&mut self, other: Self) {
        self.sent.extend(other.sent);
        self.failed.extend(other.failed);
    }
}

impl Tally {
    /// Whether anything is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.reordered + self.corrupted == 0
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.checked += other.checked;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
    }
}

impl Checker {
    /// For what run `run` wrote.
    pub(crate) fn new(run: u32) -> Self {
        Self { run, ..Self::default() }
    }

    /// The same, where retention may have taken the beginning.
    pub(crate) fn starting_anywhere(run: u32) -> Self {
        Self { run, starts_anywhere: true, ..Self::default() }
    }

    /// Checks a batch's content and place; calls `each` with every sound stamp and the number of
    /// records it stands for.
    pub(crate) fn batch(&mut self, batch: &BatchView<'_>, mut each: impl FnMut(&Stamp, u64)) {
        if batch.is_control() {
            return;
        }
        if !batch.is_intact() {
            self.tally.corrupted += 1;
            return;
        }
        // A raw batch has one stamp, in front, for all of it.
        if let Some((at, len)) = batch.first_value()
            && let Some(stamp) = Stamp::decode(&batch.bytes()[at..at + len])
            && stamp.to_batch_end
        {
            let rest = crc32c::crc32c(&batch.bytes()[at + STAMP_BYTES..]);
            self.stamp(&stamp, rest, || each(&stamp, u64::from(batch.count().unsigned_abs())));
            return;
        }
        let mut room = std::mem::take(&mut self.room);
        match batch.values(&mut room) {
            Err(_) => self.tally.corrupted += 1,
            Ok(values) => {
                for value in values {
                    match Stamp::decode(value) {
                        None => self.tally.corrupted += 1,
                        Some(stamp) => {
                            let rest = crc32c::crc32c(&value[STAMP_BYTES..]);
                            self.stamp(&stamp, rest, || each(&stamp, 1));
                        }
                    }
                }
            }
        }
        self.room = room;
    }

    fn stamp(&mut self, stamp: &Stamp, rest: u32, sound: impl FnOnce()) {
        if stamp.run != self.run || stamp.rest != rest {
            self.tally.corrupted += 1;
            return;
        }
        self.tally.checked += 1;
        let first = if self.starts_anywhere { stamp.sequence } else { 0 };
        let lane =
            self.lanes.entry(stamp.lane).or_insert(LaneCheck { next: first, ..Default::default() });
        match lane.see(stamp.sequence) {
            Seen::InOrder => {}
            Seen::Late => self.tally.reordered += 1,
            Seen::Again => self.tally.duplicated += 1,
        }
        sound();
    }

    /// Starts all lanes anew, since retention took what came next.
    pub(crate) fn forgive_the_past(&mut self) {
        self.starts_anywhere = true;
        self.lanes.clear();
    }

    /// Compares with what was sent to the partition. With `complete`, all of the log was read, so
    /// what is not there is lost; else only gaps are.
    pub(crate) fn close(
        mut self,
        sent: &[(u32, u64)],
        failed: &HashSet<(u32, u64)>,
        complete: bool,
    ) -> Tally {
        let mut known = BTreeSet::new();
        for &(lane, count) in sent {
            known.insert(lane);
            let Some(check) = self.lanes.get(&lane) else {
                if self.starts_anywhere {
                    continue;
                }
                let excused = failed.iter().filter(|(l, s)| *l == lane && *s < count).count();
                self.tally.lost += if complete { count - excused as u64 } else { 0 };
                continue;
            };
            let mut lost = 0;
            for (&first, &last) in &check.gaps {
                lost += last - first + 1 - excused(failed, lane, first, last);
            }
            if complete && check.next < count {
                lost += count - check.next - excused(failed, lane, check.next, count - 1);
            }
            self.tally.lost += lost;
        }
        // Numbers of lanes that nobody has.
        let strangers = self.lanes.keys().filter(|lane| !known.contains(lane)).count();
        self.tally.corrupted += strangers as u64;
        self.tally.complete = complete;
        self.tally
    }
}

enum Seen {
    InOrder,
    Late,
    Again,
}

impl LaneCheck {
    fn see(&mut self, number: u64) -> Seen {
        if number >= self.next {
            if number > self.next {
                self.gaps.insert(self.next, number - 1);
            }
            self.next = number + 1;
            return Seen::InOrder;
        }
        let gap = self.gaps.range(..=number).next_back().map(|(first, last)| (*first, *last));
        let Some((first, last)) = gap.filter(|(_, last)| *last >= number) else {
            return Seen::Again;
        };
        self.gaps.remove(&first);
        if first < number {
            self.gaps.insert(first, number - 1);
        }
        if number < last {
            self.gaps.insert(number + 1, last);
        }
        Seen::Late
    }
}

fn excused(failed: &HashSet<(u32, u64)>, lane: u32, first: u64, last: u64) -> u64 {
    if failed.is_empty() {
        return 0;
    }
    let within = |(l, number): &&(u32, u64)| *l == lane && (first..=last).contains(number);
    failed.iter().filter(within).count() as u64
}

/// Adds up what several readers found.
pub(crate) fn sum<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Tally {
    let mut sum = Tally { complete: true, ..Tally::default() };
    for tally in tallies {
        sum.add(tally);
        sum.complete &= tally.complete;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[u64], sent: u64, failed: &[u64]) -> Tally {
        let mut checker = Checker::new(1);
        for &sequence in numbers {
            let stamp =
                Stamp { run: 1, lane: 5, to_batch_end: false, sequence, sent_ns: 0, rest: 9 };
            checker.stamp(&stamp, 9, || {});
        }
        let failed = failed.iter().map(|number| (5, *number)).collect();
        checker.close(&[(5, sent)], &failed, true)
    }

    #[test]
    fn every_lie_is_told_from_the_others() {
        let tally = |checked, lost, duplicated, reordered| Tally {
            checked,
            lost,
            duplicated,
            reordered,
            corrupted: 0,
            complete: true,
        };
        assert_eq!(check(&[0, 1, 2, 3], 4, &[]), tally(4, 0, 0, 0));
        assert_eq!(check(&[0, 3], 4, &[]), tally(2, 2, 0, 0));
        assert_eq!(check(&[0, 1], 4, &[]), tally(2, 2, 0, 0));
        assert_eq!(check(&[], 4, &[]), tally(0, 4, 0, 0));
        assert_eq!(check(&[0, 1, 1, 2, 0], 3, &[]), tally(5, 0, 2, 0));
        assert_eq!(check(&[0, 3, 1, 2], 4, &[]), tally(4, 0, 0, 2));
        assert_eq!(check(&[0, 3, 2, 2], 4, &[]), tally(4, 1, 1, 1));
        assert_eq!(check(&[0, 3], 5, &[1, 2, 4]), tally(2, 0, 0, 0));
        assert_eq!(check(&[0, 1, 2], 3, &[1]), tally(3, 0, 0, 0));
    }

    #[test]
    fn a_stranger_is_corruption() {
        let mut checker = Checker::new(1);
        let stamp =
            Stamp { run: 2, lane: 5, to_batch_end: false, sequence: 0, sent_ns: 0, rest: 9 };
        checker.stamp(&stamp, 9, || {});
        checker.stamp(&Stamp { run: 1, ..stamp }, 8, || {});
        checker.stamp(&Stamp { run: 1, lane: 6, ..stamp }, 9, || {});
        let tally = checker.close(&[(5, 0)], &HashSet::new(), true);
        assert_eq!((tally.corrupted, tally.is_clean()), (3, false));
    }
}
