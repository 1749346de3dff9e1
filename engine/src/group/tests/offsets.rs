//! Offsets: committed, fetched, expired, deleted.

use super::*;

fn commit(world: &mut World, generation: i32, member: &str, parts: &[(&str, i64)]) -> Ticket {
    let ticket = world.ticket();
    let offset = |&(topic, offset): &(&str, i64)| NewOffset {
        topic: topic.into(),
        offset,
        leader_epoch: 3,
        metadata: "note".into(),
        ..NewOffset::default()
    };
    let request = CommitRequest {
        group: "g".into(),
        generation,
        member: member.into(),
        offsets: parts.iter().map(offset).collect(),
        ..CommitRequest::default()
    };
    world.shard.commit(world.now, ticket, &request);
    world.pump();
    ticket
}

fn fetched(world: &World, topic: &str) -> Option<i64> {
    world.shard.offset("g", topic, wire::primitives::Uuid::ZERO, 0).map(|offset| offset.offset)
}

#[test]
fn an_offset_counts_when_it_is_kept() {
    let mut world = World::new();
    world.writes = false;
    let first = commit(&mut world, -1, "", &[("t", 5), ("u", 6)]);
    assert!(world.waits(first) && fetched(&world, "t").is_none());
    world.write(Ok(()));
    world.pump();
    assert_eq!(world.parts(first), Ok(vec![Ok(()), Ok(())]));
    assert_eq!((fetched(&world, "t"), fetched(&world, "u")), (Some(5), Some(6)));
    let lost = commit(&mut world, -1, "", &[("t", 9)]);
    world.write(Err(GroupError::Unwritten));
    world.pump();
    assert_eq!(world.parts(lost), Err(GroupError::Unwritten));
    assert_eq!(fetched(&world, "t"), Some(5));
    world.crash();
    let offset = world.shard.offset("g", "t", wire::primitives::Uuid::ZERO, 0).expect("kept");
    assert_eq!((offset.offset, offset.leader_epoch, &*offset.metadata), (5, 3, "note"));
    assert_eq!(world.shard.list().next().expect("a simple group").state, "Empty");
}

#[test]
fn only_members_commit_to_a_group_that_has_some() {
    let mut world = World::new();
    let ticket = commit(&mut world, 0, "a", &[("t", 1)]);
    assert_eq!(world.parts(ticket), Err(GroupError::NotFound));
    let joined = world.alone();
    for (generation, member, expected) in [
        (1, "a", Ok(vec![Ok(())])),
        (2, "a", Err(GroupError::IllegalGeneration { asked: 2 })),
        (1, "b", Err(GroupError::UnknownMember)),
        (-1, "", Err(GroupError::UnknownMember)),
    ] {
        let ticket = commit(&mut world, generation, member, &[("t", 1)]);
        assert_eq!(world.parts(ticket), expected, "{generation} {member}");
    }
    // While the others come it may still say how far it has come.
    let second = world.send_join(join("b"));
    let ticket = commit(&mut world, 1, "a", &[("t", 2)]);
    assert_eq!(world.parts(ticket), Ok(vec![Ok(())]));
    let first = world.send_join(rejoin("a"));
    world.joined(first).expect("both have come");
    world.joined(second).expect("both have come");
    let ticket = commit(&mut world, joined.generation + 1, "a", &[("t", 3)]);
    assert_eq!(world.parts(ticket), Err(GroupError::Rebalancing));
    assert_eq!(fetched(&world, "t"), Some(2));
}

#[test]
fn a_note_that_is_too_long_is_refused_alone() {
    let mut world = World::with(GroupSettings { metadata_len_max: 4, ..settings() });
    let ticket = world.ticket();
    let offset = |metadata: &str| NewOffset {
        topic: "t".into(),
        partition: i32::try_from(metadata.len()).expect("short"),
        metadata: metadata.into(),
        ..NewOffset::default()
    };
    let offsets = vec![offset("1234"), offset("12345"), offset("ääää")];
    let group = "g".to_owned();
    let request = CommitRequest { group, generation: -1, offsets, ..CommitRequest::default() };
    world.shard.commit(world.now, ticket, &request);
    world.pump();
    let too_long = Err(GroupError::MetadataTooLarge { len: 5, max: 4 });
    assert_eq!(world.parts(ticket), Ok(vec![Ok(()), too_long, Ok(())]));
    assert_eq!(world.shard.offsets("g").count(), 2);
}

const WEEK: Duration = Duration::from_secs(7 * 86_400);

#[test]
fn offsets_expire_when_nobody_reads_the_topic() {
    let mut world = World::new();
    let ticket = commit(&mut world, -1, "", &[("simple", 1)]);
    world.parts(ticket).expect("kept");
    world.pass(WEEK - Duration::from_secs(1));
    world.shard.expire_offsets(world.now);
    world.pump();
    assert_eq!(fetched(&world, "simple"), Some(1));
    world.pass(Duration::from_secs(1));
    world.shard.expire_offsets(world.now);
    world.pump();
    assert!(world.shard.is_empty());
    world.crash();
    assert!(world.shard.is_empty(), "it stays forgotten");
}

#[test]
fn a_group_in_use_keeps_what_it_reads() {
    let mut world = World::new();
    let ticket = world.send_join(JoinRequest { session_timeout_ms: 1_800_000, ..join("a") });
    let joined = world.joined(ticket).expect("it is alone");
    let sync = world.send_sync(&joined, &[]);
    world.synced(sync).expect("kept");
    let ticket = commit(&mut world, 1, "a", &[("t", 1), ("other", 2)]);
    world.parts(ticket).expect("kept");
    let mut waited = Duration::ZERO;
    while waited < WEEK {
        world.pass(Duration::from_secs(1_200));
        waited += Duration::from_secs(1_200);
        assert_eq!(world.beat(&joined), Ok(()));
    }
    world.shard.expire_offsets(world.now);
    world.pump();
    assert_eq!((fetched(&world, "t"), fetched(&world, "other")), (Some(1), None));
    // From now on it counts from when the group became empty.
    world.leave("a", None).expect("it was one");
    world.shard.expire_offsets(world.now);
    world.pump();
    assert_eq!(fetched(&world, "t"), Some(1));
    world.pass(WEEK);
    world.shard.expire_offsets(world.now);
    world.pump();
    assert!(world.shard.is_empty());
}

#[test]
fn a_group_is_deleted_with_what_is_on_its_way() {
    let mut world = World::new();
    let ticket = world.ticket();
    world.shard.delete_group(ticket, "g");
    world.pump();
    assert_eq!(world.parts(ticket), Err(GroupError::NotFound));
    world.alone();
    let ticket = world.ticket();
    world.shard.delete_group(ticket, "g");
    world.pump();
    assert_eq!(world.parts(ticket), Err(GroupError::NotEmpty));
    world.leave("a", None).expect("it was one");
    let kept = commit(&mut world, -1, "", &[("t", 1)]);
    world.parts(kept).expect("kept");
    world.writes = false;
    let late = commit(&mut world, -1, "", &[("u", 2)]);
    let ticket = world.ticket();
    world.shard.delete_group(ticket, "g");
    world.pump();
    assert!(world.waits(late) && world.waits(ticket));
    world.writes = true;
    world.pump();
    assert_eq!((world.parts(late), world.parts(ticket)), (Ok(vec![Ok(())]), Ok(vec![])));
    assert!(world.shard.is_empty());
    world.crash();
    assert!(world.shard.is_empty(), "it stays deleted");
}

#[test]
fn offsets_in_use_are_not_deleted() {
    let mut world = World::new();
    world.alone();
    let ticket = commit(&mut world, 1, "a", &[("t", 1), ("other", 2)]);
    world.parts(ticket).expect("kept");
    let ticket = world.ticket();
    let places = [("t".to_owned(), 0), ("other".to_owned(), 0), ("never".to_owned(), 7)];
    world.shard.delete_offsets(ticket, "g", &places);
    world.pump();
    assert_eq!(world.parts(ticket), Ok(vec![Err(GroupError::Subscribed), Ok(()), Ok(())]));
    assert_eq!((fetched(&world, "t"), fetched(&world, "other")), (Some(1), None));
}

#[test]
fn a_topics_offsets_go_with_it() {
    let mut world = World::new();
    let ticket = commit(&mut world, -1, "", &[("t", 1), ("u", 2)]);
    world.parts(ticket).expect("kept");
    world.shard.topic_deleted("t", wire::primitives::Uuid([1; 16]));
    world.pump();
    assert_eq!((fetched(&world, "t"), fetched(&world, "u")), (None, Some(2)));
    world.crash();
    assert_eq!((fetched(&world, "t"), fetched(&world, "u")), (None, Some(2)));
}
