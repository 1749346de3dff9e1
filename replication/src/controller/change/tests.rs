use engine::ids::LeaderEpoch;

use super::*;

const TOPIC: TopicId = TopicId(Uuid([7; 16]));

struct Case {
    partition: Partition,
    alive: Vec<i32>,
    elr: bool,
    min_isr: usize,
    level: i16,
}

fn b(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn case(replicas: &[i32], isr: &[i32], leader: Option<i32>, alive: &[i32]) -> Case {
    let partition = Partition {
        replicas: b(replicas),
        directories: vec![Uuid([1; 16]); replicas.len()],
        isr: b(isr),
        leader: leader.map(BrokerId),
        leader_epoch: LeaderEpoch(3),
        partition_epoch: 5,
        ..Partition::default()
    };
    Case { partition, alive: alive.to_vec(), elr: true, min_isr: 2, level: 30 }
}

impl Case {
    fn build(
        &self,
        with: impl for<'a> FnOnce(Change<'a>) -> Change<'a>,
    ) -> Option<PartitionChangeRecord> {
        let setting = Setting {
            acceptable: &|broker| self.alive.contains(&broker.0),
            default_directory: &|_| Uuid([9; 16]),
            version: MetadataVersion(self.level),
            elr_enabled: self.elr,
            min_isr: self.min_isr,
        };
        with(Change::new(setting, TOPIC, PartitionId(0), &self.partition)).build()
    }
}

fn nothing() -> PartitionChangeRecord {
    PartitionChangeRecord { partition_id: 0, topic_id: TOPIC.0, ..Default::default() }
}

#[test]
fn nothing_to_say_is_no_record() {
    assert_eq!(case(&[1, 2, 3], &[1, 2, 3], Some(1), &[1, 2, 3]).build(|change| change), None);
}

#[test]
fn an_isr_above_the_minimum_shrinks_without_election() {
    let record = case(&[1, 2, 3], &[1, 2, 3], Some(1), &[1, 2]).build(|c| c.isr(b(&[1, 2])));
    assert_eq!(record, Some(PartitionChangeRecord { isr: Some(vec![1, 2]), ..nothing() }));
    let mut old = case(&[1, 2, 3], &[1, 2, 3], Some(1), &[1, 2]);
    (old.level, old.elr) = (11, false);
    old.partition.directories.clear();
    let record = old.build(|c| c.isr(b(&[1, 2])));
    let bumped = PartitionChangeRecord { isr: Some(vec![1, 2]), leader: 1, ..nothing() };
    assert_eq!(record, Some(bumped), "before 3.6 every shrink is a new leader epoch");
}

#[test]
fn below_the_minimum_who_leaves_stays_eligible() {
    let mut case = case(&[1, 2, 3], &[1, 2], Some(1), &[1]);
    let record = case.build(|c| c.isr(b(&[1])));
    let expected = PartitionChangeRecord {
        isr: Some(vec![1]),
        eligible_leader_replicas: Some(vec![2]),
        ..nothing()
    };
    assert_eq!(record, Some(expected));
    let unclean = case.build(|c| c.isr(b(&[1])).unclean_shutdown(Some(BrokerId(2))));
    assert_eq!(unclean, Some(PartitionChangeRecord { isr: Some(vec![1]), ..nothing() }));
    case.partition.elr = b(&[3]);
    let recovered = case.build(|c| c.isr(b(&[1, 2])));
    let cleared = PartitionChangeRecord { eligible_leader_replicas: Some(vec![]), ..nothing() };
    assert_eq!(recovered, Some(cleared), "enough in sync: nobody else is eligible");
}

#[test]
fn the_lone_replica_goes_and_comes_back_as_in_kafka() {
    let mut alone = case(&[1], &[1], Some(1), &[]);
    alone.min_isr = 1;
    let left = PartitionChangeRecord {
        isr: Some(vec![]),
        leader: -1,
        eligible_leader_replicas: Some(vec![1]),
        last_known_elr: Some(vec![1]),
        ..nothing()
    };
    assert_eq!(alone.build(|c| c.isr(vec![])), Some(left));

    let mut back = case(&[1], &[], None, &[1]);
    (back.min_isr, back.partition.elr, back.partition.last_known_elr) = (1, b(&[1]), b(&[1]));
    let elected = PartitionChangeRecord {
        isr: Some(vec![1]),
        leader: 1,
        eligible_leader_replicas: Some(vec![]),
        last_known_elr: Some(vec![]),
        ..nothing()
    };
    assert_eq!(back.build(|c| c), Some(elected));

    // It may have lost records: elected all the same, being the last leader, and it must say so.
    back.partition.elr.clear();
    let recovering = PartitionChangeRecord {
        isr: Some(vec![1]),
        leader: 1,
        leader_recovery_state: 1,
        last_known_elr: Some(vec![]),
        ..nothing()
    };
    assert_eq!(back.build(|c| c), Some(recovering));
}

#[test]
fn leaders_come_from_the_isr_then_the_elr_then_anywhere_if_allowed() {
    let lost = case(&[1, 2, 3], &[1, 2, 3], Some(1), &[2, 3]);
    let record = lost.build(|c| c.isr(b(&[2, 3]))).expect("a new leader");
    assert_eq!((record.leader, record.isr), (2, Some(vec![2, 3])));

    let mut eligible = case(&[1, 2, 3], &[], None, &[2, 3]);
    eligible.partition.elr = b(&[1, 3]);
    let record = eligible.build(|c| c).expect("a leader");
    assert_eq!((record.leader, record.isr), (3, Some(vec![3])));
    assert_eq!(record.eligible_leader_replicas, Some(vec![1]));
    assert_eq!(record.leader_recovery_state, -1);

    let mut nobody = case(&[1, 2, 3], &[1], None, &[2, 3]);
    nobody.elr = false;
    assert_eq!(nobody.build(|c| c), None);
    let record = nobody.build(|c| c.election(Election::Unclean)).expect("a leader");
    assert_eq!((record.leader, record.isr, record.leader_recovery_state), (2, Some(vec![2]), 1));
}

#[test]
fn without_elr_the_last_one_stays_in_the_isr() {
    let mut alone = case(&[1], &[1], Some(1), &[]);
    alone.elr = false;
    let record = alone.build(|c| c.isr(vec![]));
    assert_eq!(record, Some(PartitionChangeRecord { leader: -1, ..nothing() }));
}

#[test]
fn the_preferred_leader_needs_to_be_in_sync() {
    let record =
        case(&[1, 2], &[1, 2], Some(2), &[1, 2]).build(|c| c.election(Election::Preferred));
    assert_eq!(record.map(|record| record.leader), Some(1));
    let behind = case(&[1, 2], &[2], Some(2), &[1, 2]);
    let record = behind.build(|c| c.election(Election::Preferred));
    assert_eq!(record.and_then(|record| (record.leader != -2).then_some(record.leader)), None);
    let online = case(&[1, 2], &[1, 2], Some(2), &[1, 2]).build(|c| c.election(Election::Online));
    assert_eq!(online, None, "a leader that may lead is kept");
}

#[test]
fn a_reassignment_starts_and_ends() {
    let start = case(&[1, 2], &[1, 2], Some(1), &[1, 2, 3]);
    let record = start.build(|c| c.reassign(b(&[1, 3, 2]), b(&[2]), b(&[3]))).expect("starts");
    assert_eq!(record.replicas, Some(vec![1, 3, 2]));
    assert_eq!((record.removing_replicas, record.adding_replicas), (Some(vec![2]), Some(vec![3])));
    assert_eq!(record.leader, -2);
    let directories = vec![Uuid([1; 16]), Uuid([9; 16]), Uuid([1; 16])];
    assert_eq!(record.directories, Some(directories));

    let mut running = case(&[1, 3, 2], &[1, 2], Some(1), &[1, 2, 3]);
    (running.partition.removing, running.partition.adding) = (b(&[2]), b(&[3]));
    let record = running.build(|c| c.isr(b(&[1, 2, 3]))).expect("ends");
    assert_eq!((record.replicas, record.isr), (Some(vec![1, 3]), Some(vec![1, 3])));
    assert_eq!((record.removing_replicas, record.adding_replicas), (Some(vec![]), Some(vec![])));
    assert_eq!(record.leader, 1, "who is removed must learn it: a new leader epoch");

    let swap = case(&[1, 2], &[1, 2], Some(1), &[1, 2]);
    let record = swap.build(|c| c.reassign(b(&[2, 1]), vec![], vec![])).expect("a new order");
    assert_eq!((record.replicas, record.leader), (Some(vec![2, 1]), -2));
}
