use super::*;
use crate::testing::Choices;

fn topic(n: u8) -> Uuid {
    Uuid([n; 16])
}

fn reads(topics: &[u8]) -> Rc<BTreeSet<Uuid>> {
    Rc::new(topics.iter().map(|n| topic(*n)).collect())
}

struct Group {
    ids: Vec<String>,
    reads: Vec<Rc<BTreeSet<Uuid>>>,
    has: Vec<Partitions>,
}

impl Group {
    fn alike(count: usize, topics: &[u8]) -> Self {
        let reads = reads(topics);
        Self {
            ids: (0..count).map(|n| format!("m{n:04}")).collect(),
            reads: vec![reads; count],
            has: vec![Partitions::new(); count],
        }
    }

    /// Assigns anew; how many partitions are with another member than before.
    fn assign(&mut self, assignor: Assignor, topics: &BTreeMap<Uuid, i32>) -> usize {
        let claims: Vec<_> = (0..self.ids.len())
            .map(|at| Claim {
                id: &self.ids[at],
                instance: None,
                topics: Rc::clone(&self.reads[at]),
                had: Some(&self.has[at]),
            })
            .collect();
        let dealt = assignor.assign(&claims, topics);
        drop(claims);
        self.check(&dealt, topics);
        let kept = |(now, before): (&Partitions, &Partitions)| {
            let same = |(id, partitions): (&Uuid, &BTreeSet<i32>)| {
                before.get(id).map_or(0, |had| had.intersection(partitions).count())
            };
            now.iter().map(same).sum::<usize>()
        };
        let had: usize = self.has.iter().flat_map(|it| it.values().map(BTreeSet::len)).sum();
        let kept: usize = dealt.iter().zip(&self.has).map(kept).sum();
        self.has = dealt;
        had - kept
    }

    fn check(&self, dealt: &[Partitions], topics: &BTreeMap<Uuid, i32>) {
        assert_eq!(dealt.len(), self.ids.len());
        let mut all = BTreeSet::new();
        for (at, mine) in dealt.iter().enumerate() {
            for (topic, partitions) in mine {
                assert!(self.reads[at].contains(topic) && !partitions.is_empty());
                for partition in partitions {
                    assert!((0..topics[topic]).contains(partition));
                    assert!(all.insert((*topic, *partition)), "twice");
                }
            }
        }
        let read: BTreeSet<_> = self.reads.iter().flat_map(|it| it.iter().copied()).collect();
        let wanted = topics.iter().filter(|(topic, _)| read.contains(topic));
        assert_eq!(all.len(), wanted.map(|(_, count)| *count as usize).sum::<usize>());
    }

    fn loads(&self) -> Vec<usize> {
        self.has.iter().map(|mine| mine.values().map(BTreeSet::len).sum()).collect()
    }
}

fn spread(loads: &[usize]) -> usize {
    loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0)
}

#[test]
fn range_deals_neighbours_in_order_of_names() {
    let mut group = Group::alike(2, &[1, 2]);
    group.assign(Assignor::Range, &BTreeMap::from([(topic(1), 3), (topic(2), 4)]));
    assert_eq!(group.has[0][&topic(1)], BTreeSet::from([0, 1]));
    assert_eq!(group.has[1][&topic(1)], BTreeSet::from([2]));
    assert_eq!(group.has[1][&topic(2)], BTreeSet::from([2, 3]));
}

#[test]
fn static_members_come_first_in_a_range() {
    let claim = |id, instance| Claim { id, instance, topics: reads(&[1]), had: None };
    let claims = [claim("a", None), claim("c", Some("y")), claim("b", Some("z"))];
    let dealt = Assignor::Range.assign(&claims, &BTreeMap::from([(topic(1), 2)]));
    let counts: Vec<_> = dealt.iter().map(BTreeMap::len).collect();
    assert_eq!(counts, [0, 1, 1]);
}

#[test]
fn uniform_moves_what_a_newcomer_needs_and_no_more() {
    let topics = BTreeMap::from([(topic(1), 12)]);
    let mut group = Group::alike(3, &[1]);
    group.assign(Assignor::Uniform, &topics);
    assert_eq!(group.loads(), [4, 4, 4]);
    group.ids.push("new".into());
    group.reads.push(Rc::clone(&group.reads[0]));
    group.has.push(Partitions::new());
    assert_eq!(group.assign(Assignor::Uniform, &topics), 3);
    assert_eq!(group.loads(), [3, 3, 3, 3]);
    group.has.remove(0);
    group.reads.remove(0);
    group.ids.remove(0);
    assert_eq!(group.assign(Assignor::Uniform, &topics), 0);
    assert_eq!(spread(&group.loads()), 0);
}

#[test]
fn nobody_is_left_with_less_than_others_by_two() {
    for seed in 0..400 {
        let mut rng = Choices(seed);
        let mut topics: BTreeMap<_, _> =
            (0..1 + rng.below(4) as u8).map(|n| (topic(n), rng.below(20) as i32)).collect();
        let all: Vec<u8> = (0..4).collect();
        let mut group = Group::alike(1 + rng.below(9) as usize, &all);
        for _ in 0..4 {
            group.assign(Assignor::Uniform, &topics);
            assert!(spread(&group.loads()) <= 1, "seed {seed}: {:?}", group.loads());
            let before = group.has.clone();
            assert_eq!(group.assign(Assignor::Uniform, &topics), 0, "seed {seed}");
            assert_eq!(group.has, before, "seed {seed}");
            let grown = topic(rng.below(4) as u8);
            *topics.entry(grown).or_default() += rng.below(5) as i32;
        }
    }
}

#[test]
fn mixed_subscriptions_are_levelled_and_settle() {
    for seed in 0..400 {
        let mut rng = Choices(seed);
        let topics: BTreeMap<_, _> =
            (0..1 + rng.below(5) as u8).map(|n| (topic(n), rng.below(12) as i32)).collect();
        let mut group = Group::alike(1 + rng.below(7) as usize, &[]);
        for assignor in [Assignor::Uniform, Assignor::Range] {
            for mine in &mut group.reads {
                *mine = reads(&(0..5).filter(|_| rng.one_in(2)).collect::<Vec<_>>());
            }
            group.assign(assignor, &topics);
            group.assign(assignor, &topics);
            assert_eq!(group.assign(assignor, &topics), 0, "seed {seed}");
        }
    }
}
