//! Groups whose members come by both protocols, and change from one to the other.

use super::consumers::{first, next};
use super::*;
use crate::group::migration::{CUSTOM_ASSIGNOR, MALFORMED};
use crate::group::subscription::{read_assignment, write_assignment};

const TOPIC: Uuid = Uuid([b't'; 16]);

fn ids(assignment: &[u8]) -> Vec<i32> {
    let (topics, _) = read_assignment(assignment).expect("an assignment");
    topics.into_iter().flat_map(|(_, ids)| ids).collect()
}

fn all_of_t(partitions: &[i32]) -> Vec<u8> {
    write_assignment(&[], &vec![("t".to_owned(), partitions.to_vec())])
}

/// A member that comes twice, as clients do.
fn come(fresh: &str) -> JoinRequest {
    JoinRequest { knows_member_id_required: true, ..join(fresh) }
}

impl World {
    fn with_t(partitions: i32) -> Self {
        let world = Self::new();
        world.topics.set("t", partitions);
        world
    }

    /// A classic group of one, that has all of `t`.
    fn classic(&mut self, partitions: &[i32]) -> Joined {
        let ticket = self.send_join(join("a"));
        let joined = self.joined(ticket).expect("it is alone");
        let ticket = self.send_sync(&joined, &[("a", &all_of_t(partitions))]);
        assert_eq!(self.synced(ticket).map(|it| ids(&it)), Ok(partitions.to_vec()));
        joined
    }

    fn says(&mut self, beat: ConsumerBeat) -> Result<Beaten, GroupError> {
        let ticket = self.send_beat(beat);
        self.beaten(ticket)
    }

    fn joins(&mut self, request: JoinRequest) -> Result<Joined, (GroupError, String)> {
        let ticket = self.send_join(request);
        self.joined(ticket)
    }

    fn syncs(&mut self, joined: &Joined) -> Result<Vec<i32>, GroupError> {
        let ticket = self.send_sync(joined, &[]);
        self.synced(ticket).map(|it| ids(&it))
    }

    /// Keys' types and whether they are tombstones, since.
    fn written_since(&self, at: usize) -> Vec<(u8, bool)> {
        self.log[at..].iter().map(|entry| (entry.key[1], entry.value.is_none())).collect()
    }

    fn kind(&self) -> (&'static str, &'static str) {
        let listing = self.shard.list().next().expect("a group");
        (listing.kind, listing.state)
    }

    /// A group of a guest `a` and a member `b`, each with what it is to have.
    fn mixed(&mut self) -> Joined {
        let joined = self.classic(&[0, 1]);
        self.says(first("b")).expect("an upgrade");
        assert_eq!(self.beat(&joined), Err(GroupError::Rebalancing));
        let joined = self.joins(rejoin("a")).expect("a guest");
        assert_eq!(self.syncs(&joined).map(|it| it.len()), Ok(1));
        let told = self.says(next("b", 2)).expect("a member").assignment;
        assert_eq!(told.map(|it| it[0].1.len()), Some(1));
        joined
    }
}

#[test]
fn a_classic_group_is_upgraded_by_the_first_member_that_comes_by_the_other_protocol() {
    let mut world = World::with_t(3);
    let joined = world.classic(&[0, 1, 2]);
    let at = world.log.len();
    let told = world.says(first("b")).expect("an upgrade");
    // The classic generation is the epoch that its members stand at.
    assert_eq!((told.epoch, told.assignment), (2, Some(vec![])));
    assert_eq!(
        world.written_since(at),
        [
            (2, true),
            (5, false),
            (3, false),
            (7, false),
            (6, false),
            (8, false),
            (5, false),
            (7, false),
            (8, false)
        ]
    );
    assert_eq!(world.kind(), ("consumer", "Reconciling"));
    let group = world.shard.describe_consumer("g").expect("a consumer group");
    let guest = &group.members[0];
    assert_eq!((guest.epoch, guest.is_classic, group.members[1].is_classic), (1, true, false));
    assert_eq!(guest.assignment, [(TOPIC, vec![0, 1, 2])]);
    // The guest is told to join again, and gives up what it has when it does.
    assert_eq!(world.beat(&joined), Err(GroupError::Rebalancing));
    assert_eq!(world.syncs(&joined), Err(GroupError::Rebalancing));
    let joined = world.joins(rejoin("a")).expect("a guest");
    assert_eq!((joined.generation, &*joined.leader, joined.members.len()), (2, "", 0));
    assert_eq!((&*joined.protocol, &*joined.protocol_type), ("range", "consumer"));
    let has = world.syncs(&joined).expect("what it has");
    let told = world.says(next("b", 2)).expect("a member").assignment.expect("it is free now");
    assert_eq!([has.len(), told[0].1.len()], [2, 1]);
    assert_eq!(world.beat(&joined), Ok(()));
    assert_eq!(world.kind(), ("consumer", "Stable"));
    let before = world.shard.describe_consumer("g");
    world.crash();
    assert_eq!(world.shard.describe_consumer("g"), before);
    assert_eq!(world.beat(&joined), Ok(()));
}

#[test]
fn a_rebalance_under_way_is_told_to_begin_anew() {
    let mut world = World::with_t(3);
    let joined = world.classic(&[0, 1, 2]);
    let waiting = world.send_join(join("c"));
    assert!(world.waits(waiting));
    world.says(first("b")).expect("an upgrade");
    assert_eq!(world.joined(waiting), Err((GroupError::Rebalancing, "c".into())));
    // What its members had before that they may still have.
    let group = world.shard.describe_consumer("g").expect("a consumer group");
    assert_eq!(group.members[0].assignment, [(TOPIC, vec![0, 1, 2])]);
    assert_eq!(world.beat(&joined), Err(GroupError::Rebalancing));
}

#[test]
fn what_cannot_be_upgraded_stays_classic() {
    let with = |migration| {
        let consumer = ConsumerSettings { migration, ..settings().consumer };
        World::with(GroupSettings { consumer, ..settings() })
    };
    for policy in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        let mut world = with(policy);
        world.topics.set("t", 3);
        let joined = world.classic(&[0]);
        let why = "online upgrade is disabled";
        assert_eq!(world.says(first("b")), Err(GroupError::NotUpgraded(why)));
        assert_eq!(world.beat(&joined), Ok(()));
    }
    let mut world = World::with_t(3);
    let joined = world.alone();
    assert_eq!(world.says(first("b")), Err(MALFORMED));
    assert_eq!(world.says(next("b", 3)), Err(GroupError::NotConsumer));
    assert_eq!(world.beat(&joined), Ok(()));
    let mut world = World::with_t(3);
    let ticket = world.send_join(join("a"));
    let joined = world.joined(ticket).expect("it is alone");
    let mut own = all_of_t(&[0]);
    let len = own.len();
    own[len - 4..].copy_from_slice(&1_i32.to_be_bytes());
    own.push(b'x');
    let ticket = world.send_sync(&joined, &[("a", &own)]);
    world.synced(ticket).expect("whatever it is");
    assert_eq!(world.says(first("b")), Err(CUSTOM_ASSIGNOR));
    let mut world = World::with_t(3);
    let ticket = world.send_join(JoinRequest { protocol_type: "connect".into(), ..join("a") });
    world.joined(ticket).expect("it is alone");
    let why = "the group does not use the consumer embedded protocol";
    assert_eq!(world.says(first("b")), Err(GroupError::NotUpgraded(why)));
}

#[test]
fn guests_are_told_what_is_wrong() {
    let mut world = World::with_t(2);
    let joined = world.mixed();
    let refused = |world: &mut World, request: JoinRequest| world.joins(request).expect_err("no").0;
    let protocols = vec![("other".to_owned(), subscription(&["t"]))];
    let other = JoinRequest { protocols, ..join("c") };
    assert_eq!(refused(&mut world, other), GroupError::InconsistentProtocol);
    let other = JoinRequest { protocol_type: "connect".into(), ..join("c") };
    assert_eq!(refused(&mut world, other), GroupError::InconsistentProtocol);
    let garbled = JoinRequest { protocols: vec![("range".into(), vec![0])], ..join("c") };
    assert_eq!(refused(&mut world, garbled), GroupError::MalformedSubscription);
    assert_eq!(refused(&mut world, come("c")), GroupError::MemberIdRequired);
    let nobody = JoinRequest { member: "x".into(), ..join_static("c", "i") };
    assert_eq!(refused(&mut world, nobody), GroupError::UnknownMember);
    // It was a member, and does not know that it is none any more.
    let metadata = [&b"\0\x01"[..], &subscription(&["t"])[2..], &all_of_t(&[0])[2..17]].concat();
    let protocols = vec![("range".to_owned(), metadata)];
    let gone = JoinRequest { protocols, ..rejoin("gone") };
    assert_eq!(refused(&mut world, gone), GroupError::UnknownMember);
    let old = Joined { generation: 1, ..joined.clone() };
    assert_eq!(world.beat(&old), Err(GroupError::IllegalGeneration { asked: 1 }));
    assert_eq!(world.syncs(&old), Err(GroupError::IllegalGeneration { asked: 1 }));
    // Who has come by the other protocol is no guest.
    let member = Joined { generation: 2, member: "b".into(), ..joined };
    assert_eq!(world.beat(&member), Err(GroupError::UnknownMember));
    assert_eq!(world.syncs(&member), Err(GroupError::UnknownMember));
    assert_eq!(world.leave("x", None), Err(GroupError::UnknownMember));
    let ticket = world.ticket();
    let request = SyncRequest {
        group: "g".into(),
        generation: 2,
        member: "a".into(),
        protocol: Some("other".into()),
        ..SyncRequest::default()
    };
    world.shard.sync(world.now, ticket, request);
    world.pump();
    assert_eq!(world.synced(ticket), Err(GroupError::InconsistentProtocol));
    // Guests commit in any version of the request, and are told in their own words.
    let mut commit = |member: &str, generation| {
        let request = CommitRequest {
            group: "g".into(),
            member: member.into(),
            generation,
            offsets: vec![NewOffset { topic: "t".into(), ..NewOffset::default() }],
            ..CommitRequest::default()
        };
        let ticket = world.ticket();
        world.shard.commit(world.now, ticket, &request);
        world.pump();
        world.parts(ticket).map(|parts| parts[0])
    };
    assert_eq!(commit("a", 2), Ok(Ok(())));
    // Kept where it has had the partition since then.
    assert_eq!(commit("a", 1), Ok(Ok(())));
    assert_eq!(commit("a", 3), Err(GroupError::IllegalGeneration { asked: 3 }));
    assert_eq!(commit("a", 0), Err(GroupError::IllegalGeneration { asked: 0 }));
    assert_eq!(commit("b", 2), Err(GroupError::UnsupportedVersion));
    let fetch = |member, epoch| world.shard.check_fetch("g", Some(member), epoch);
    assert_eq!(fetch("a", 1), Err(GroupError::IllegalGeneration { asked: 1 }));
    assert_eq!(fetch("b", 1), Err(GroupError::StaleMemberEpoch { said: 1 }));
}

#[test]
fn guests_that_do_not_come_again_or_do_not_sync_are_dropped() {
    let mut world = World::with_t(2);
    let joined = world.mixed();
    // It is alive, and does not join.
    world.topics.set("t", 4);
    let mut epoch = world.says(next("b", 2)).expect("a member").epoch;
    let mut has = None;
    let mut seconds = |world: &mut World, count: u64, joined: &Joined| {
        for _ in 0..count {
            world.pass(Duration::from_secs(1));
            let _ = world.beat(joined);
            let owned = Some(has.clone().unwrap_or_default());
            let told = world.says(ConsumerBeat { owned, ..next("b", epoch) }).expect("a member");
            (epoch, has) = (told.epoch, told.assignment.or(has.take()));
        }
    };
    seconds(&mut world, 59, &joined);
    assert_eq!(world.beat(&joined), Err(GroupError::Rebalancing));
    seconds(&mut world, 2, &joined);
    assert_eq!(world.beat(&joined), Err(GroupError::UnknownMember));
    // It joins, and does not sync.
    let joined = world.joins(join("c")).expect("a guest");
    seconds(&mut world, 61, &joined);
    assert_eq!(world.beat(&joined), Err(GroupError::UnknownMember));
    // A silent one goes when the session that it asked for is over.
    let joined = world.joins(join("d")).expect("a guest");
    world.pass(Duration::from_secs(11));
    assert_eq!(world.beat(&joined), Err(GroupError::UnknownMember));
}

#[test]
fn a_group_goes_back_when_only_guests_are_left() {
    for how in ["leaves", "is removed", "dies"] {
        let mut world = World::with_t(2);
        let joined = world.mixed();
        let at = world.log.len();
        if how == "is removed" {
            assert_eq!(world.leave("b", None), Ok(()));
        } else if how == "dies" {
            for _ in 0..46 {
                world.pass(Duration::from_secs(1));
                let _ = world.beat(&joined);
            }
        } else {
            world.says(next("b", -1)).expect("a member");
        }
        assert_eq!(
            world.written_since(at),
            [
                [8, 8, 7, 7].map(|kind| (kind, true)).to_vec(),
                [6, 5, 5, 4, 3].map(|kind| (kind, true)).to_vec(),
                vec![(2, false)],
            ]
            .concat()
        );
        assert_eq!(world.kind(), ("classic", "PreparingRebalance"));
        assert_eq!(world.beat(&joined), Err(GroupError::Rebalancing));
        // Its generation was the group's epoch.
        let joined = world.joins(rejoin("a")).expect("a member");
        assert_eq!((joined.generation, &*joined.leader), (3, "a"));
        let ticket = world.send_sync(&joined, &[("a", &all_of_t(&[0, 1]))]);
        assert_eq!(world.synced(ticket).map(|it| ids(&it)), Ok(vec![0, 1]));
        world.crash();
        assert_eq!(world.kind(), ("classic", "Stable"));
        assert_eq!(world.beat(&joined), Ok(()));
    }
}

#[test]
fn what_a_guest_has_not_given_up_is_its_own_over_both_changes() {
    let mut world = World::with_t(4);
    world.classic(&[0, 1, 2, 3]);
    world.says(first("b")).expect("an upgrade");
    let group = world.shard.describe_consumer("g").expect("a consumer group");
    assert_eq!(group.members[0].target[0].1.len(), 2, "half is to be another's");
    // The guest has not heard of it when the group goes back, and changes again.
    world.says(next("b", -1)).expect("it leaves");
    assert_eq!(world.kind(), ("classic", "PreparingRebalance"));
    let told = world.says(first("c")).expect("an upgrade");
    assert_eq!(told.assignment, Some(vec![]));
    let told = world.says(next("c", told.epoch)).expect("it stays");
    assert_eq!(told.assignment, None);
    let group = world.shard.describe_consumer("g").expect("a consumer group");
    assert_eq!(group.members[0].assignment, [(TOPIC, vec![0, 1, 2, 3])]);
}

#[test]
fn guests_are_not_taken_in_where_no_group_changes() {
    let consumer = ConsumerSettings { migration: MigrationPolicy::Disabled, ..settings().consumer };
    let mut world = World::with(GroupSettings { consumer, ..settings() });
    world.topics.set("t", 2);
    world.says(first("b")).expect("a member");
    assert_eq!(world.joins(join("a")).expect_err("no").0, GroupError::InconsistentProtocol);
}

#[test]
fn a_guest_waits_for_the_next_target_and_has_it_computed() {
    let mut settings = settings();
    settings.consumer.pace.assignment_interval_ms = 1_000;
    let mut world = World::with(settings);
    world.topics.set("t", 2);
    world.says(first("b")).expect("a member");
    let joined = world.joins(join("a")).expect("a guest");
    assert_eq!((joined.generation, world.syncs(&joined)), (2, Ok(vec![])));
    assert_eq!(world.beat(&joined), Ok(()));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.beat(&joined), Err(GroupError::Rebalancing));
    let joined = world.joins(rejoin("a")).expect("a guest");
    assert_eq!((joined.generation, world.syncs(&joined)), (3, Ok(vec![])));
}

#[test]
fn a_group_of_guests_stays_where_it_may_not_go_back() {
    let consumer = ConsumerSettings { migration: MigrationPolicy::Upgrade, ..settings().consumer };
    let mut world = World::with(GroupSettings { consumer, ..settings() });
    world.topics.set("t", 2);
    let joined = world.mixed();
    world.says(next("b", -1)).expect("a member");
    assert_eq!(world.kind().0, "consumer");
    assert_eq!(world.beat(&joined), Err(GroupError::Rebalancing));
    let joined = world.joins(rejoin("a")).expect("a guest");
    assert_eq!(world.syncs(&joined), Ok(vec![0, 1]));
}

#[test]
fn static_members_take_their_places_over_in_both_directions() {
    let mut world = World::with_t(2);
    let ticket = world.send_join(join_static("a1", "a"));
    let joined = world.joined(ticket).expect("it is alone");
    let ticket = world.send_sync(&joined, &[("a1", &all_of_t(&[0, 1]))]);
    world.synced(ticket).expect("its assignment");
    // By the other protocol: at once, with all it had.
    let told = world.says(ConsumerBeat { instance: Some("a".into()), ..first("a2") });
    let told = told.expect("its place");
    assert_eq!(told.assignment, Some(vec![(TOPIC, vec![0, 1])]));
    let fenced = world.shard.heartbeat(world.now, "g", 1, "a1", Some("a"));
    assert_eq!(fenced, Err(GroupError::FencedInstance));
    // And back, while its former self still lives; nobody has to join again.
    let at = world.log.len();
    let back = world.joins(join_static("a3", "a")).expect("its place");
    assert_eq!(back.generation, told.epoch);
    assert_eq!(world.log[at..].last().map(|entry| entry.key[1]), Some(2));
    assert_eq!(world.kind(), ("classic", "Stable"));
    assert_eq!(world.syncs(&back), Ok(vec![0, 1]));
    let old = ConsumerBeat { instance: Some("a".into()), ..next("a2", told.epoch) };
    assert_eq!(world.says(old), Err(GroupError::NotConsumer));
}

#[test]
fn what_could_not_be_written_of_a_change_is_written_later() {
    let mut world = World::with_t(2);
    let joined = world.classic(&[0, 1]);
    world.writes = false;
    let ticket = world.send_beat(first("b"));
    world.write(Err(GroupError::Unwritten));
    world.pump();
    assert_eq!(world.beaten(ticket), Err(GroupError::Unwritten));
    world.writes = true;
    world.pass(Duration::from_secs(2));
    world.says(first("b")).expect("a member");
    assert_eq!(world.beat(&joined), Err(GroupError::Rebalancing));
    let before = world.shard.describe_consumer("g");
    world.crash();
    assert_eq!(world.shard.describe_consumer("g"), before);
    // And the way back.
    world.joins(rejoin("a")).expect("a guest");
    world.writes = false;
    let ticket = world.send_beat(next("b", -1));
    world.write(Err(GroupError::Unwritten));
    world.pump();
    assert_eq!(world.beaten(ticket), Err(GroupError::Unwritten));
    world.writes = true;
    world.pass(Duration::from_secs(2));
    let joined = world.joins(rejoin("a")).expect("a member");
    let ticket = world.send_sync(&joined, &[("a", &all_of_t(&[0, 1]))]);
    world.synced(ticket).expect("its assignment");
    assert_eq!(world.leave("a", None), Ok(()));
    let ticket = world.ticket();
    world.shard.delete_group(ticket, "g");
    world.pump();
    assert_eq!(world.parts(ticket), Ok(vec![]));
    world.crash();
    assert!(world.shard.is_empty(), "{:?}", world.kind());
}

#[test]
fn a_group_whose_deletion_is_not_written_is_still_there() {
    for consumer in [false, true] {
        let mut world = World::with_t(2);
        if consumer {
            world.says(first("b")).expect("a member");
            world.says(next("b", -1)).expect("a member");
        } else {
            world.classic(&[0]);
            assert_eq!(world.leave("a", None), Ok(()));
        }
        let kind = world.kind();
        let listing = world.shard.list().next();
        world.writes = false;
        let ticket = world.ticket();
        world.shard.delete_group(ticket, "g");
        world.pump();
        assert!(world.waits(ticket));
        world.write(Err(GroupError::Unwritten));
        world.pump();
        assert_eq!(world.parts(ticket), Err(GroupError::Unwritten));
        assert_eq!(world.shard.list().next(), listing, "as on disk");
        world.writes = true;
        assert_eq!(world.kind(), kind);
        let ticket = world.ticket();
        world.shard.delete_group(ticket, "g");
        world.pump();
        assert_eq!(world.parts(ticket), Ok(vec![]));
        assert!(world.shard.is_empty());
        assert_eq!(world.memory.used(), 0);
    }
}

#[test]
fn what_guests_say_is_counted() {
    let mut world = World::with_t(2);
    world.mixed();
    let before = world.memory.used();
    let large = JoinRequest {
        protocols: vec![
            ("range".into(), subscription(&["t"])),
            ("more".into(), vec![b'x'; 100_000]),
        ],
        ..join("c")
    };
    world.joins(large).expect("a guest");
    assert!(world.memory.used() >= before + 100_000);
    let large = vec![("range".into(), subscription(&["t"])), ("more".into(), vec![0; 2 << 20])];
    let refused = world.joins(JoinRequest { protocols: large, ..join("d") }).expect_err("no").0;
    assert!(matches!(refused, GroupError::TooLarge { .. }), "{refused}");
    assert_eq!(world.leave("c", None), Ok(()));
    assert_eq!(world.memory.used(), before);
}
