//! Joining and syncing.

use super::*;

#[test]
fn a_new_member_comes_twice_where_its_client_knows_how() {
    let mut world = World::new();
    let knowing = JoinRequest { knows_member_id_required: true, ..join("a") };
    world.writes = false;
    let ticket = world.send_join(knowing.clone());
    assert!(world.waits(ticket), "the group is to be kept first");
    world.writes = true;
    world.pump();
    assert_eq!(world.joined(ticket), Err((GroupError::MemberIdRequired, "a".into())));
    let ticket = world.send_join(JoinRequest { member: "a".into(), ..knowing });
    let joined = world.joined(ticket).expect("it is alone");
    assert_eq!((joined.generation, &*joined.leader, joined.members.len()), (1, "a", 1));
}

#[test]
fn a_reserved_id_holds_the_others_up_until_it_expires() {
    let mut world = World::new();
    let first = world.alone();
    let knowing = JoinRequest { knows_member_id_required: true, ..join("b") };
    let ticket = world.send_join(knowing);
    assert_eq!(world.joined(ticket), Err((GroupError::MemberIdRequired, "b".into())));
    assert_eq!(world.beat(&first), Ok(()), "nothing has happened yet");
    let ticket = world.send_join(JoinRequest {
        protocols: vec![("range".into(), subscription(&["u"]))],
        ..rejoin("a")
    });
    assert!(world.waits(ticket));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.joined(ticket).expect("b has not come").generation, 2);
}

#[test]
fn a_group_that_was_empty_waits_for_newcomers() {
    let delay = Duration::from_secs(3);
    let mut world = World::with(GroupSettings { initial_delay: delay, ..settings() });
    let first = world.send_join(join("a"));
    world.pass(Duration::from_secs(2));
    let second = world.send_join(join("b"));
    world.pass(Duration::from_secs(3));
    assert!(world.waits(first) && world.waits(second), "one came: as long again");
    world.pass(Duration::from_secs(1));
    let (first, second) = (world.joined(first), world.joined(second));
    let (first, second) = (first.expect("joined"), second.expect("joined"));
    assert_eq!((first.generation, second.generation), (1, 1));
    let seen: Vec<_> = first.members.iter().map(|member| &*member.member).collect();
    assert_eq!((seen, second.members.len(), &*second.leader), (vec!["a", "b"], 0, "a"));
}

#[test]
fn assignments_wait_for_the_leader_and_for_the_log() {
    let mut world = World::new();
    let first = world.alone();
    let second = world.send_join(join("b"));
    assert_eq!(world.beat(&first), Err(GroupError::Rebalancing));
    let first = world.send_join(rejoin("a"));
    let (first, second) = (world.joined(first), world.joined(second));
    let (first, second) = (first.expect("joined"), second.expect("joined"));
    world.writes = false;
    let of_second = world.send_sync(&second, &[]);
    assert!(world.waits(of_second));
    let of_first = world.send_sync(&first, &[("b", b"b's"), ("stranger", b"x")]);
    assert!(world.waits(of_first) && world.waits(of_second), "nothing is kept yet");
    world.writes = true;
    world.pump();
    assert_eq!(world.synced(of_first), Ok(vec![]), "left out: it gets nothing");
    assert_eq!(world.synced(of_second), Ok(b"b's".to_vec()));
    let again = world.send_sync(&second, &[]);
    assert_eq!(world.synced(again), Ok(b"b's".to_vec()));
    assert_eq!(world.shard.describe("g").expect("known").members.len(), 2);
}

#[test]
fn an_assignment_that_is_not_kept_is_made_again() {
    let mut world = World::new();
    let ticket = world.send_join(join("a"));
    let joined = world.joined(ticket).expect("it is alone");
    world.pump();
    world.writes = false;
    let sync = world.send_sync(&joined, &[("a", b"all")]);
    world.write(Err(GroupError::Unwritten));
    world.pump();
    assert_eq!(world.synced(sync), Err(GroupError::Unwritten));
    assert_eq!(world.beat(&joined), Err(GroupError::Rebalancing));
    world.writes = true;
    let ticket = world.send_join(rejoin("a"));
    let joined = world.joined(ticket).expect("it is alone");
    let sync = world.send_sync(&joined, &[("a", b"all")]);
    assert_eq!((joined.generation, world.synced(sync)), (2, Ok(b"all".to_vec())));
}

#[test]
fn an_assignment_too_large_to_keep_is_refused() {
    let mut world = World::with(GroupSettings { append_bytes_max: 4096, ..settings() });
    let ticket = world.send_join(join("a"));
    let joined = world.joined(ticket).expect("it is alone");
    let sync = world.send_sync(&joined, &[("a", &[0; 5000])]);
    assert!(matches!(world.synced(sync), Err(GroupError::TooLarge { .. })));
    assert_eq!(world.beat(&joined), Err(GroupError::Rebalancing));
}

#[test]
fn what_does_not_belong_is_refused() {
    let mut world = World::new();
    let told = |world: &mut World, request: JoinRequest| {
        let ticket = world.send_join(request);
        world.joined(ticket).map(drop).map_err(|(error, _)| error)
    };
    let nameless = JoinRequest { group: String::new(), ..join("a") };
    assert_eq!(told(&mut world, nameless), Err(GroupError::InvalidGroupId));
    for session_timeout_ms in [-1, 5_999, 1_800_001] {
        let odd = JoinRequest { session_timeout_ms, ..join("a") };
        let refused = told(&mut world, odd);
        assert!(matches!(refused, Err(GroupError::InvalidSessionTimeout { .. })), "{refused:?}");
    }
    assert_eq!(told(&mut world, rejoin("a")), Err(GroupError::UnknownMember));
    let without = JoinRequest { protocols: vec![], ..join("a") };
    assert_eq!(told(&mut world, without), Err(GroupError::InconsistentProtocol));
    assert!(world.shard.is_empty());
    world.alone();
    for odd in [
        JoinRequest { protocol_type: "connect".into(), ..join("b") },
        JoinRequest { protocols: vec![("sticky".into(), vec![])], ..join("b") },
    ] {
        assert_eq!(told(&mut world, odd), Err(GroupError::InconsistentProtocol));
    }
    assert_eq!(told(&mut world, rejoin("b")), Err(GroupError::UnknownMember));
}

#[test]
fn the_members_vote() {
    let mut world = World::new();
    let with = |id: &str, names: &[&str]| JoinRequest {
        protocols: names.iter().map(|name| ((*name).to_owned(), name.as_bytes().into())).collect(),
        ..join(id)
    };
    world.alone();
    let tickets =
        [("b", &["sticky", "range"][..]), ("c", &["sticky", "range"]), ("d", &["range", "sticky"])];
    let tickets = tickets.map(|(id, names)| world.send_join(with(id, names)));
    let first =
        world.send_join(JoinRequest { member: "a".into(), ..with("x", &["range", "sticky"]) });
    let joined = world.joined(first).expect("all have come");
    assert_eq!(joined.protocol, "range", "two to two: the first name");
    assert_eq!(joined.members[1].metadata, b"range");
    assert!(tickets.into_iter().all(|ticket| world.joined(ticket).is_ok()));
    let fifth = world.send_join(with("e", &["sticky"]));
    for id in ["a", "b", "c", "d"] {
        world.send_join(JoinRequest { member: id.into(), ..with("x", &["range", "sticky"]) });
    }
    assert_eq!(world.joined(fifth).expect("all have come").protocol, "sticky");
}

#[test]
fn a_full_group_takes_nobody_more() {
    let mut world = World::with(GroupSettings { members_max: 2, ..settings() });
    world.alone();
    let second = world.send_join(join("b"));
    let first = world.send_join(rejoin("a"));
    let first = world.joined(first).expect("two may");
    world.joined(second).expect("two may");
    let sync = world.send_sync(&first, &[]);
    world.synced(sync).expect("kept");
    let third = world.send_join(join("c"));
    assert_eq!(world.joined(third), Err((GroupError::Full, String::new())));
    assert_eq!(world.beat(&first), Ok(()));
}

#[test]
fn a_thousand_members_join_at_once() {
    let delay = Duration::from_secs(3);
    let mut world = World::with(GroupSettings { initial_delay: delay, ..settings() });
    let mut tickets = Vec::new();
    for n in 0..1000 {
        let knowing = JoinRequest { knows_member_id_required: true, ..join(&format!("m{n:04}")) };
        let ticket = world.send_join(knowing.clone());
        let (error, member) = world.joined(ticket).expect_err("it has to come twice");
        assert_eq!(error, GroupError::MemberIdRequired);
        tickets.push(world.send_join(JoinRequest { member, ..knowing }));
    }
    world.pass(Duration::from_secs(6));
    let joined: Vec<_> =
        tickets.into_iter().map(|ticket| world.joined(ticket).expect("joined")).collect();
    assert!(joined.iter().all(|joined| joined.generation == 1));
    let leader = joined.iter().find(|joined| !joined.members.is_empty()).expect("one leads");
    assert_eq!(leader.members.len(), 1000);
    let syncs: Vec<_> = joined
        .iter()
        .map(|joined| {
            let own = joined.member.as_bytes().to_vec();
            let all: Vec<_> =
                leader.members.iter().map(|m| (&*m.member, m.member.as_bytes())).collect();
            let leads = joined.member == leader.member;
            (world.send_sync(joined, if leads { &all } else { &[] }), own)
        })
        .collect();
    for (ticket, own) in syncs {
        assert_eq!(world.synced(ticket), Ok(own));
    }
    assert!(joined.iter().all(|joined| world.beat(joined) == Ok(())));
}
