//! `uniform`: every member gets as many partitions as the others, give or take one, and keeps what it
//! had as far as that goes. Where members read different topics, loads are levelled as far as the
//! subscriptions allow.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use wire::primitives::Uuid;

use super::{Claim, Partitions};

pub(super) fn assign(members: &[Claim<'_>], topics: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let Some(first) = members.first() else { return Vec::new() };
    let alike = members
        .iter()
        .all(|member| Rc::ptr_eq(&member.topics, &first.topics) || member.topics == first.topics);
    let mut deal = Deal::keep(members, topics);
    match alike {
        true => deal.level_all(members, topics),
        false => deal.level_by_topic(members, topics),
    }
    deal.dealt
}

/// What has been dealt so far.
struct Deal {
    dealt: Vec<Partitions>,
    loads: Vec<usize>,
    taken: BTreeSet<(Uuid, i32)>,
}

impl Deal {
    /// Everybody keeps what is still there and read by it. Where records of two states of the group
    /// mixed, a partition is the first one's.
    fn keep(members: &[Claim<'_>], topics: &BTreeMap<Uuid, i32>) -> Self {
        let count = members.len();
        let mut deal = Self {
            dealt: vec![Partitions::new(); count],
            loads: vec![0; count],
            taken: BTreeSet::new(),
        };
        for (at, member) in members.iter().enumerate() {
            for (topic, partitions) in member.had.into_iter().flatten() {
                let Some(count) = topics.get(topic) else { continue };
                if !member.topics.contains(topic) {
                    continue;
                }
                for partition in partitions.range(0..*count) {
                    deal.give(at, *topic, *partition);
                }
            }
        }
        deal
    }

    /// Gives a partition, unless somebody has it.
    fn give(&mut self, to: usize, topic: Uuid, partition: i32) {
        if self.taken.insert((topic, partition)) {
            self.dealt[to].entry(topic).or_default().insert(partition);
            self.loads[to] += 1;
        }
    }

    fn take(&mut self, from: usize, topic: Uuid, partition: i32) {
        if let Some(partitions) = self.dealt[from].get_mut(&topic)
            && partitions.remove(&partition)
        {
            if partitions.is_empty() {
                self.dealt[from].remove(&topic);
            }
            self.taken.remove(&(topic, partition));
            self.loads[from] -= 1;
        }
    }

    /// All read the same: quotas, what is over them goes to those who lack.
    fn level_all(&mut self, members: &[Claim<'_>], topics: &BTreeMap<Uuid, i32>) {
        let read = &members[0].topics;
        let counts = topics.iter().filter(|(topic, _)| read.contains(topic));
        let counts: Vec<(Uuid, i32)> = counts.map(|(topic, count)| (*topic, *count)).collect();
        let total: usize =
            counts.iter().map(|(_, count)| usize::try_from(*count).unwrap_or(0)).sum();
        let (quota, mut over) = (total / members.len(), total % members.len());
        let mut quotas = vec![quota; members.len()];
        // Who has more than the quota is first to have one more than others.
        for (at, load) in self.loads.iter().enumerate() {
            if *load > quota && over > 0 {
                quotas[at] += 1;
                over -= 1;
            }
        }
        for mine in quotas.iter_mut().filter(|mine| **mine == quota) {
            if over == 0 {
                break;
            }
            *mine += 1;
            over -= 1;
        }
        for (at, quota) in quotas.iter().enumerate() {
            let surplus = self.loads[at].saturating_sub(*quota);
            let last: Vec<_> = all_of(&self.dealt[at]).rev().take(surplus).collect();
            for (topic, partition) in last {
                self.take(at, topic, partition);
            }
        }
        let mut at = 0;
        for (topic, count) in counts {
            for partition in 0..count {
                if self.taken.contains(&(topic, partition)) {
                    continue;
                }
                while self.loads[at] >= quotas[at] {
                    at += 1;
                }
                self.give(at, topic, partition);
            }
        }
    }

    /// Members read different topics: what is free goes to the least loaded of its readers, topics
    /// with the most partitions a reader first; then partitions move from the most to the least
    /// loaded of a topic's readers for as long as that helps.
    fn level_by_topic(&mut self, members: &[Claim<'_>], topics: &BTreeMap<Uuid, i32>) {
        let mut readers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        for (at, member) in members.iter().enumerate() {
            for topic in member.topics.iter().filter(|topic| topics.contains_key(topic)) {
                readers.entry(*topic).or_default().push(at);
            }
        }
        let mut order: Vec<(Uuid, i32)> =
            readers.keys().map(|topic| (*topic, topics[topic])).collect();
        let share = |(topic, count): &(Uuid, i32)| {
            let among = readers[topic].len();
            // Partitions a reader, in thousandths.
            i64::from(*count) * 1_000 / i64::try_from(among).unwrap_or(i64::MAX)
        };
        order.sort_by_key(|it| (std::cmp::Reverse(share(it)), it.0));
        for (topic, count) in &order {
            for partition in 0..*count {
                if !self.taken.contains(&(*topic, partition)) {
                    let least = self.least_loaded(&readers[topic]);
                    self.give(least, *topic, partition);
                }
            }
        }
        for _ in 0..ROUNDS_MAX {
            let moved = order.iter().fold(false, |moved, (topic, _)| {
                self.level_topic(*topic, &readers[topic]) || moved
            });
            if !moved {
                return;
            }
        }
    }

    fn least_loaded(&self, readers: &[usize]) -> usize {
        let least = readers.iter().copied().min_by_key(|at| (self.loads[*at], *at));
        least.expect("a topic that is dealt has readers")
    }

    fn level_topic(&mut self, topic: Uuid, readers: &[usize]) -> bool {
        let mut moved = false;
        loop {
            let to = self.least_loaded(readers);
            let having = readers.iter().copied().filter(|at| self.dealt[*at].contains_key(&topic));
            let Some(from) = having.max_by_key(|at| self.loads[*at]) else { return moved };
            if self.loads[from] <= self.loads[to] + 1 {
                return moved;
            }
            let last = self.dealt[from].get(&topic).and_then(|partitions| partitions.last());
            let partition = *last.expect("it has some of the topic");
            self.take(from, topic, partition);
            self.give(to, topic, partition);
            moved = true;
        }
    }
}

fn all_of(partitions: &Partitions) -> impl DoubleEndedIterator<Item = (Uuid, i32)> {
    partitions.iter().flat_map(|(topic, ids)| ids.iter().map(move |id| (*topic, *id)))
}

/// How often all topics are levelled at most: each round makes a sum of squares smaller, the first
/// few do nearly all of it.
const ROUNDS_MAX: usize = 16;
