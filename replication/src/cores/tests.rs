use proptest::prelude::*;

use super::*;

fn key(topic: u8, partition: i32) -> PartitionKey {
    PartitionKey { topic: TopicId(Uuid([topic; 16])), partition: PartitionId(partition) }
}

fn topic(id: u8, partitions: i32) -> impl Iterator<Item = PartitionKey> {
    (0..partitions).map(move |partition| key(id, partition))
}

fn counts(map: &CoreMap) -> Vec<usize> {
    let mut counts = vec![0; map.cores()];
    for (_, core) in map.iter() {
        counts[core.index()] += 1;
    }
    counts
}

#[test]
fn a_topic_is_spread_evenly_whatever_the_load_elsewhere() {
    let mut map = CoreMap::new(4);
    map.place(topic(1, 1));
    map.note_load(key(1, 0), 1 << 40);
    let owners = map.place(topic(2, 8));
    for core in 0..4 {
        assert_eq!(owners.iter().filter(|owner| owner.0 == core).count(), 2);
    }
}

#[test]
fn a_lone_partition_avoids_the_busy_core() {
    let mut map = CoreMap::new(2);
    map.place(topic(1, 1));
    map.note_load(key(1, 0), 1_000_000);
    for id in 2..10 {
        assert_eq!(map.place(topic(id, 1)), [CoreId(1)]);
    }
}

#[test]
fn placing_again_changes_nothing() {
    let mut map = CoreMap::new(3);
    let first = map.place(topic(1, 7));
    map.place(topic(2, 5));
    assert_eq!(map.place(topic(1, 7)), first);
    assert_eq!(map.resize(3), []);
}

#[test]
fn fewer_cores_move_only_the_orphans() {
    let mut map = CoreMap::new(4);
    map.place(topic(1, 40));
    let moves = map.resize(2);
    assert_eq!(moves.len(), 20);
    assert!(moves.iter().all(|moved| moved.from.0 >= 2 && moved.to.0 < 2));
    assert_eq!(counts(&map), [20, 20]);
}

#[test]
fn more_cores_move_only_what_fills_them() {
    let mut map = CoreMap::new(2);
    map.place(topic(1, 40));
    let moves = map.resize(4);
    assert_eq!(moves.len(), 20);
    assert_eq!(counts(&map), [10, 10, 10, 10]);
}

#[test]
fn rebalance_evens_out_load_and_then_rests() {
    let mut map = CoreMap::new(2);
    map.place(topic(1, 6));
    for partition in [0, 2, 4] {
        map.note_load(key(1, partition), 10_000_000);
    }
    assert_eq!(map.rebalance(10).len(), 1, "30 : 0 MB/s becomes 20 : 10");
    assert_eq!(map.rebalance(10), []);
}

#[test]
fn a_stored_map_is_checked() {
    let mut map = CoreMap::new(3);
    map.place(topic(1, 10));
    map.note_load(key(1, 3), 77);
    let bytes = map.encode();
    assert_eq!(CoreMap::decode(&bytes), Ok(map));

    let mut newer = bytes.clone();
    newer[4] = 2;
    assert_eq!(CoreMap::decode(&newer), Err(CoreMapError::Newer { found: 2 }));
    assert!(matches!(CoreMap::decode(b"no map at all"), Err(CoreMapError::Magic(_))));
    for cut in 0..bytes.len() {
        assert!(CoreMap::decode(&bytes[..cut]).is_err());
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(CoreMap::decode(&flipped).is_err(), "a flip of byte {at} is noticed");
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_core_and_totals_hold(
        cores in 1u16..9, later in 1u16..9,
        loads in prop::collection::vec((0u8..5, 0i32..20, 0u64..1 << 30), 0..120),
    ) {
        let mut map = CoreMap::new(cores);
        for &(topic, partition, load) in &loads {
            map.place([key(topic, partition)]);
            map.note_load(key(topic, partition), load);
        }
        let partitions = map.iter().count();
        map.resize(later);
        map.rebalance(1000);
        prop_assert_eq!(map.iter().count(), partitions);
        prop_assert!(map.iter().all(|(_, core)| core.0 < later));
        prop_assert_eq!(map.rebalance(usize::MAX), vec![]);
        let rebuilt = CoreMap::decode(&map.encode()).expect("own encoding");
        prop_assert_eq!(rebuilt, map);
    }
}
