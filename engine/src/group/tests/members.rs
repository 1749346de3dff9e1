//! Members that stay, go, restart and fall silent.

use super::*;

#[test]
fn a_silent_member_goes_and_the_group_is_remembered_as_empty() {
    let mut world = World::new();
    let joined = world.alone();
    world.pass(Duration::from_secs(9));
    assert_eq!(world.beat(&joined), Ok(()));
    world.pass(Duration::from_secs(9));
    assert_eq!(world.beat(&joined), Ok(()));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.beat(&joined), Err(GroupError::UnknownMember));
    assert_eq!(world.shard.describe("g").expect("known").state, "Empty");
    world.crash();
    assert_eq!(world.shard.describe("g").expect("known").state, "Empty");
    let ticket = world.send_join(join("b"));
    assert_eq!(world.joined(ticket).expect("alone").generation, 3, "2 was the empty one");
}

#[test]
fn those_who_do_not_come_again_are_left_behind() {
    let mut world = World::new();
    let first = world.alone();
    let second = world.send_join(join("b"));
    // It lives, but does not join.
    for _ in 0..60 {
        world.pass(Duration::from_secs(1));
        if world.beat(&first) != Err(GroupError::Rebalancing) {
            break;
        }
    }
    assert_eq!(world.beat(&first), Err(GroupError::UnknownMember));
    let second = world.joined(second).expect("the first did not come");
    assert_eq!((second.generation, &*second.leader, second.members.len()), (2, "b", 1));
}

#[test]
fn those_who_do_not_ask_for_their_assignment_are_dropped() {
    let mut world = World::new();
    let ticket = world.send_join(JoinRequest { session_timeout_ms: 300_000, ..join("a") });
    let joined = world.joined(ticket).expect("it is alone");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.beat(&joined), Err(GroupError::UnknownMember));
}

#[test]
fn a_new_member_that_waits_for_ever_does_not() {
    let mut world = World::new();
    let patient = |id: &str| JoinRequest {
        session_timeout_ms: 1_800_000,
        rebalance_timeout_ms: 1_800_000,
        ..join(id)
    };
    let ticket = world.send_join(patient("a"));
    let joined = world.joined(ticket).expect("it is alone");
    let sync = world.send_sync(&joined, &[]);
    world.synced(sync).expect("kept");
    let second = world.send_join(patient("b"));
    world.pass(Duration::from_secs(299));
    assert!(world.waits(second));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.joined(second), Err((GroupError::UnknownMember, "b".into())));
}

#[test]
fn leavers_are_known_by_id_or_by_instance() {
    let mut world = World::new();
    assert_eq!(world.leave("a", None), Err(GroupError::UnknownMember));
    let joined = world.alone();
    assert_eq!(world.leave("", None), Err(GroupError::UnknownMember));
    assert_eq!(world.leave("a", Some("i")), Err(GroupError::UnknownMember));
    assert_eq!(world.leave("a", None), Ok(()));
    assert_eq!(world.beat(&joined), Err(GroupError::UnknownMember));
    let ticket = world.send_join(join_static("s", "i"));
    world.joined(ticket).expect("alone");
    assert_eq!(world.leave("other", Some("i")), Err(GroupError::FencedInstance));
    assert_eq!(world.leave("", Some("i")), Ok(()));
    assert_eq!(world.shard.describe("g").expect("known").state, "Empty");
}

#[test]
fn a_leavers_waiting_join_is_answered() {
    let mut world = World::new();
    world.alone();
    let second = world.send_join(join("b"));
    assert_eq!(world.leave("b", None), Ok(()));
    assert_eq!(world.joined(second), Err((GroupError::UnknownMember, "b".into())));
}

/// Two static members with assignments.
fn two_static(world: &mut World) -> (Joined, Joined) {
    let first = world.send_join(join_static("a", "one"));
    let first = world.joined(first).expect("alone");
    let second = world.send_join(join_static("b", "two"));
    let first = world.send_join(JoinRequest { member: first.member, ..join_static("", "one") });
    let (first, second) = (world.joined(first), world.joined(second));
    let (first, second) = (first.expect("joined"), second.expect("joined"));
    let sync = world.send_sync(&first, &[("a", b"1"), ("b", b"2")]);
    world.synced(sync).expect("kept");
    let sync = world.send_sync(&second, &[]);
    assert_eq!(world.synced(sync), Ok(b"2".to_vec()));
    (first, second)
}

#[test]
fn a_static_member_takes_its_former_place() {
    let mut world = World::new();
    let (first, second) = two_static(&mut world);
    let ticket = world.send_join(join_static("c", "two"));
    let again = world.joined(ticket).expect("its own place");
    assert_eq!((again.generation, &*again.member, again.skip_assignment), (2, "c", false));
    let sync = world.send_sync(&again, &[]);
    assert_eq!(world.synced(sync), Ok(b"2".to_vec()));
    assert_eq!(world.beat(&first), Ok(()), "the others need not know");
    let old = world.shard.heartbeat(world.now, "g", 2, &second.member, Some("two"));
    assert_eq!(old, Err(GroupError::FencedInstance));
    world.crash();
    let members = world.shard.describe("g").expect("known").members;
    let ids: Vec<_> = members.iter().map(|member| &*member.member).collect();
    assert_eq!(ids, ["a", "c"]);
}

#[test]
fn a_static_leader_that_comes_back_has_nothing_to_assign() {
    let mut world = World::new();
    two_static(&mut world);
    let ticket = world.send_join(join_static("c", "one"));
    let again = world.joined(ticket).expect("its own place");
    assert_eq!((&*again.leader, again.skip_assignment, again.members.len()), ("c", true, 2));
    // A client that does not know of this is told that the former one leads.
    let unknowing = JoinRequest { knows_skip_assignment: false, ..join_static("d", "one") };
    let ticket = world.send_join(unknowing);
    let again = world.joined(ticket).expect("its own place");
    assert_eq!((&*again.leader, again.skip_assignment, again.members.len()), ("c", false, 0));
}

#[test]
fn a_replaced_members_requests_are_fenced() {
    let mut world = World::new();
    let (first, _) = two_static(&mut world);
    let third = world.send_join(join_static("c", "three"));
    let waiting = world.send_join(JoinRequest { member: "b".into(), ..join_static("", "two") });
    let again = world.send_join(join_static("d", "two"));
    assert_eq!(world.joined(waiting), Err((GroupError::FencedInstance, "b".into())));
    let leader = world.send_join(JoinRequest { member: first.member, ..join_static("", "one") });
    for ticket in [third, again, leader] {
        assert_eq!(world.joined(ticket).expect("joined").generation, 3);
    }
}

#[test]
fn static_members_are_waited_for_until_their_session_ends() {
    let mut world = World::new();
    two_static(&mut world);
    let third = world.send_join(JoinRequest { rebalance_timeout_ms: 5_000, ..join("c") });
    world.pass(Duration::from_secs(10));
    // Both fell silent before the rebalance was over: theirs is a minute.
    let joined = world.joined(third).expect("nobody else is left");
    assert_eq!((joined.generation, joined.members.len()), (3, 1));
}

#[test]
fn members_outlive_a_restart_of_the_broker() {
    let mut world = World::new();
    let joined = world.alone();
    world.crash();
    assert_eq!(world.beat(&joined), Ok(()));
    let sync = world.send_sync(&joined, &[]);
    assert_eq!(world.synced(sync), Ok(b"all".to_vec()));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.beat(&joined), Err(GroupError::UnknownMember));
}

#[test]
fn an_ending_shard_sends_everybody_away() {
    let mut world = World::new();
    world.alone();
    let join = world.send_join(join("b"));
    world.writes = false;
    let commit = world.ticket();
    let offsets = vec![NewOffset { topic: "t".into(), ..NewOffset::default() }];
    let request = CommitRequest {
        group: "other".into(),
        generation: -1,
        offsets,
        ..CommitRequest::default()
    };
    world.shard.commit(world.now, commit, &request);
    world.shard.unload();
    world.pump();
    assert_eq!(world.joined(join), Err((GroupError::NotHere, "b".into())));
    assert_eq!(world.parts(commit), Err(GroupError::NotHere));
    assert_eq!(world.memory.used(), 0);
}

#[test]
fn memory_is_bounded_and_given_back() {
    let mut world = World::new();
    let mut refused = 0;
    for n in 0..200 {
        let bulky = vec![("range".into(), vec![0; 1 << 20])];
        let group = format!("g{n}");
        let ticket = world.send_join(JoinRequest { group, protocols: bulky, ..join("a") });
        refused +=
            u32::from(world.joined(ticket).is_err_and(|(e, _)| e == GroupError::OutOfMemory));
    }
    assert!((130..140).contains(&refused), "{refused} of 200 were refused");
    assert!(world.memory.used() <= 64 << 20);
    world.pass(Duration::from_secs(100));
    assert!(world.memory.used() < 1 << 20, "{} bytes are kept", world.memory.used());
}
