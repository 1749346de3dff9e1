//! Consumer groups, a heartbeat at a time.

use super::*;

/// What a member was told, or why not.
type Told = Result<Beaten, GroupError>;

impl World {
    pub(super) fn send_beat(&mut self, beat: ConsumerBeat) -> Ticket {
        let ticket = self.ticket();
        self.shard.consumer_beat(self.now, ticket, beat);
        self.pump();
        ticket
    }

    pub(super) fn beaten(&mut self, ticket: Ticket) -> Told {
        match self.answers.remove(&ticket) {
            Some(Answer::Beaten(told)) => told,
            other => panic!("{other:?}"),
        }
    }

    fn told(&mut self, beat: ConsumerBeat) -> Told {
        let ticket = self.send_beat(beat);
        self.beaten(ticket)
    }

    /// Finds out what was asked about.
    pub(super) fn resolve(&mut self) {
        while let Some((group, patterns)) = self.to_resolve.pop_front() {
            let topics: Vec<String> =
                self.topics.partitions.borrow().keys().map(|name| name.to_string()).collect();
            let found = patterns.into_iter().map(|text| {
                let pattern = Pattern::new(&text).expect("valid");
                let found = topics.iter().filter(|topic| pattern.matches(topic)).cloned();
                let found = found.collect();
                (text, found)
            });
            let (found, version) = (found.collect(), self.topics.version.get());
            self.shard.resolved(self.now, &group, version, found);
            self.pump();
        }
    }

    fn state(&self) -> &'static str {
        self.shard.describe_consumer("g").expect("there is the group").state
    }

    /// Types of the records written since.
    fn types_since(&self, at: usize) -> Vec<u8> {
        self.log[at..].iter().map(|entry| entry.key[1]).collect()
    }
}

fn with_topic(partitions: i32) -> World {
    let world = World::new();
    world.topics.set("t", partitions);
    world
}

pub(super) fn first(id: &str) -> ConsumerBeat {
    ConsumerBeat {
        group: "g".into(),
        member: id.into(),
        rebalance_timeout_ms: 30_000,
        topics: Some(vec!["t".into()]),
        owned: Some(Vec::new()),
        client_id: "client".into(),
        client_host: "/192.0.2.1".into(),
        ..ConsumerBeat::default()
    }
}

fn first_static(id: &str, instance: &str) -> ConsumerBeat {
    ConsumerBeat { instance: Some(instance.into()), ..first(id) }
}

pub(super) fn next(id: &str, epoch: i32) -> ConsumerBeat {
    ConsumerBeat { epoch, rebalance_timeout_ms: -1, topics: None, owned: None, ..first(id) }
}

fn owning(id: &str, epoch: i32, partitions: &[i32]) -> ConsumerBeat {
    ConsumerBeat { owned: assigned(partitions), ..next(id, epoch) }
}

fn assigned(partitions: &[i32]) -> Option<OwnedPartitions> {
    Some(if partitions.is_empty() { vec![] } else { vec![(Uuid([b't'; 16]), partitions.to_vec())] })
}

#[test]
fn the_first_member_gets_everything_in_epoch_2() {
    let mut world = with_topic(3);
    let told = world.told(first("a")).expect("it may join");
    assert_eq!((told.epoch, told.interval_ms), (2, 5_000));
    assert_eq!(told.assignment, assigned(&[0, 1, 2]));
    assert_eq!(world.types_since(0), [5, 3, 7, 6, 8]);
    assert_eq!(world.state(), "Stable");
    // Nothing is new, so nothing is told or written.
    let told = world.told(next("a", 2)).expect("a member");
    assert_eq!((told.epoch, told.assignment), (2, None));
    assert_eq!(world.types_since(0).len(), 5);
}

#[test]
fn a_partition_moves_when_it_was_given_up() {
    let mut world = with_topic(2);
    world.told(first("a")).expect("it may join");
    let told = world.told(first("b")).expect("it may join");
    assert_eq!((told.epoch, told.assignment), (3, assigned(&[])));
    assert_eq!(world.state(), "Reconciling");
    // The former owner is told to give one up, and stays in its epoch until it has.
    let told = world.told(next("a", 2)).expect("a member");
    assert_eq!((told.epoch, told.assignment), (2, assigned(&[0])));
    assert_eq!(world.told(next("b", 3)).expect("a member").assignment, None);
    assert_eq!(world.told(owning("a", 2, &[0, 1])).expect("a member").epoch, 2);
    assert_eq!(world.told(owning("a", 2, &[0])).expect("a member").epoch, 3);
    assert_eq!(world.told(next("b", 3)).expect("a member").assignment, assigned(&[1]));
    assert_eq!(world.state(), "Stable");
}

#[test]
fn who_does_not_give_up_is_fenced() {
    let mut world = with_topic(2);
    world.told(first("a")).expect("it may join");
    world.told(first("b")).expect("it may join");
    world.told(next("a", 2)).expect("a member");
    for _ in 0..4 {
        world.pass(Duration::from_secs(10));
        let _ = world.told(next("a", 2));
        let _ = world.told(next("b", 3));
    }
    assert_eq!(world.told(next("a", 2)), Err(GroupError::UnknownMember));
    let told = world.told(first("b")).expect("a member");
    assert_eq!((told.epoch, told.assignment), (4, assigned(&[0, 1])));
}

#[test]
fn silence_and_leaving_pass_partitions_on() {
    let mut world = with_topic(2);
    world.told(first("a")).expect("it may join");
    world.told(first("b")).expect("it may join");
    let at = world.log.len();
    let left = world.told(ConsumerBeat { epoch: -1, ..next("a", -1) }).expect("a member");
    assert_eq!((left.epoch, left.assignment), (-1, None));
    assert_eq!(world.types_since(at), [8, 7, 5, 3]);
    assert_eq!(world.told(next("b", 3)).expect("a member").assignment, assigned(&[0, 1]));
    world.pass(Duration::from_secs(50));
    assert_eq!(world.state(), "Empty");
    assert_eq!(world.told(next("b", 4)), Err(GroupError::UnknownMember));
}

#[test]
fn epochs_are_checked() {
    let mut world = with_topic(2);
    assert_eq!(world.told(next("a", 1)), Err(GroupError::NotFound));
    world.told(first("a")).expect("it may join");
    assert_eq!(world.told(next("x", 2)), Err(GroupError::UnknownMember));
    assert_eq!(world.told(next("a", 3)), Err(GroupError::FencedMemberEpoch { said: 3 }));
    assert_eq!(world.told(next("a", 1)), Err(GroupError::FencedMemberEpoch { said: 1 }));
    world.topics.set("t", 3);
    assert_eq!(world.told(next("a", 2)).expect("a member").epoch, 3);
    // The answer may have been lost: what it says it has tells.
    assert_eq!(world.told(owning("a", 2, &[0, 1])).expect("one behind").epoch, 3);
    assert!(world.told(owning("a", 2, &[5])).is_err());
    // It may always begin anew, and keeps its epoch.
    let told = world.told(first("a")).expect("it may join");
    assert_eq!((told.epoch, told.assignment), (3, assigned(&[0, 1, 2])));
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut world = with_topic(2);
    world.told(first_static("a", "i")).expect("it may join");
    assert_eq!(world.told(first_static("b", "i")), Err(GroupError::UnreleasedInstance));
    let pause = ConsumerBeat { instance: Some("i".into()), ..next("a", -2) };
    assert_eq!(world.told(pause.clone()).expect("a member").epoch, -2);
    let at = world.log.len();
    let told = world.told(first_static("b", "i")).expect("it is free");
    assert_eq!(world.types_since(at), [8, 7, 5, 5, 7, 8]);
    assert_eq!((told.epoch, told.assignment), (2, assigned(&[0, 1])));
    assert_eq!(world.told(pause), Err(GroupError::FencedInstance));
    let other = ConsumerBeat { instance: Some("j".into()), ..next("b", 2) };
    assert_eq!(world.told(other), Err(GroupError::UnknownMember));
    // In any order, as compaction may leave them.
    for _ in 0..2 {
        world.crash();
        let told = world.told(ConsumerBeat { instance: Some("i".into()), ..next("b", 2) });
        assert_eq!(told.expect("a member").epoch, 2);
        let of_groups = |entry: &Entry| matches!(entry.key[1], 3 | 6);
        let newest = world.log.len() - 3;
        let old: Vec<_> = world.log.drain(..newest).filter(of_groups).collect();
        world.log.extend(old);
        world.log.reverse();
    }
}

#[test]
fn topics_that_grow_or_go_are_noticed() {
    let mut world = with_topic(1);
    world.told(first("a")).expect("it may join");
    world.topics.set("other", 4);
    assert_eq!(world.told(next("a", 2)).expect("a member").epoch, 2);
    world.topics.set("t", 2);
    let told = world.told(next("a", 2)).expect("a member");
    assert_eq!((told.epoch, told.assignment), (3, assigned(&[0, 1])));
    world.topics.delete("t");
    let told = world.told(owning("a", 3, &[])).expect("a member");
    assert_eq!((told.epoch, told.assignment), (4, assigned(&[])));
}

#[test]
fn expressions_are_resolved_and_renewed() {
    let mut world = with_topic(1);
    let by_pattern = |id: &str, pattern: &str| ConsumerBeat {
        topics: None,
        pattern: Some(pattern.into()),
        ..first(id)
    };
    assert_eq!(world.told(by_pattern("a", "(")), Err(GroupError::InvalidPattern));
    assert!(world.shard.is_empty());
    let told = world.told(by_pattern("a", "[tu]")).expect("it may join");
    assert_eq!((told.epoch, told.assignment), (1, assigned(&[])));
    world.resolve();
    let told = world.told(next("a", 1)).expect("a member");
    assert_eq!((told.epoch, told.assignment), (2, assigned(&[0])));
    world.topics.set("u", 1);
    world.told(next("a", 2)).expect("a member");
    assert!(world.to_resolve.is_empty(), "not so soon again");
    world.pass(Duration::from_secs(11));
    world.told(next("a", 2)).expect("a member");
    world.resolve();
    world.crash();
    let told = world.told(next("a", 2)).expect("a member");
    assert_eq!((told.epoch, told.assignment.map(|it| it.len())), (3, Some(2)));
    let at = world.log.len();
    world.told(next("a", -1)).expect("a member");
    assert_eq!(world.types_since(at), [8, 7, 5, 16, 3]);
}

#[test]
fn what_an_expression_stands_for_is_bounded() {
    let mut world = World::with(GroupSettings { append_bytes_max: 4_096, ..settings() });
    world.topics.set("t0", 1);
    let pattern = Some("t.*".into());
    world.told(ConsumerBeat { topics: None, pattern, ..first("a") }).expect("it may join");
    let before = world.memory.used();
    world.resolve();
    assert!(world.memory.used() > before, "names take memory");
    assert_eq!(world.told(next("a", 1)).expect("a member").epoch, 2);
    // More names than a record holds: those known before stay, and nothing is tried for ever.
    (1..1_000).for_each(|n| world.topics.set(&format!("t{n}"), 1));
    world.pass(Duration::from_secs(11));
    world.told(next("a", 2)).expect("a member");
    world.resolve();
    assert_eq!(world.told(next("a", 2)).expect("a member").epoch, 2);
    let at = world.log.len();
    world.pass(Duration::from_secs(11));
    world.told(next("a", 2)).expect("a member");
    assert!(world.to_resolve.is_empty() && world.log.len() == at);
    world.crash();
    assert!(world.memory.used() > before, "and so they do when loaded");
    world.told(next("a", -1)).expect("a member");
    assert!(world.memory.used() < before, "what is forgotten takes none");
}

#[test]
fn all_that_a_member_says_counts() {
    let mut world = with_topic(1);
    let long = || Some("x".repeat(10_000));
    let told = world.told(ConsumerBeat { instance: long(), rack: long(), ..first("a") });
    told.expect("it may join");
    assert!(world.memory.used() > 20_000);
}

#[test]
fn targets_are_computed_once_in_an_interval() {
    let mut settings = settings();
    settings.consumer.pace.assignment_interval_ms = 1_000;
    let mut world = World::with(settings);
    world.topics.set("t", 2);
    world.told(first("a")).expect("it may join");
    let told = world.told(first("b")).expect("it may join");
    assert_eq!((told.epoch, told.assignment), (2, assigned(&[])));
    assert_eq!(world.state(), "Assigning");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.told(next("b", 2)).expect("a member").epoch, 3);
}

#[test]
fn commits_and_fetches_know_epochs() {
    let mut world = with_topic(2);
    world.told(first("a")).expect("it may join");
    let commit = |world: &mut World, member: &str, generation, partition| {
        let request = CommitRequest {
            group: "g".into(),
            generation,
            member: member.into(),
            knows_epochs: true,
            offsets: vec![NewOffset { topic: "t".into(), partition, ..NewOffset::default() }],
            ..CommitRequest::default()
        };
        let ticket = world.ticket();
        world.shard.commit(world.now, ticket, &request);
        world.pump();
        world.parts(ticket).map(drop)
    };
    assert_eq!(commit(&mut world, "a", 2, 0), Ok(()));
    assert_eq!(commit(&mut world, "", -1, 0), Err(GroupError::UnknownMember));
    let stale = |said| Err(GroupError::StaleMemberEpoch { said });
    assert_eq!(commit(&mut world, "a", 3, 0), stale(3));
    world.topics.set("t", 3);
    world.told(next("a", 2)).expect("a member");
    assert_eq!(commit(&mut world, "a", 2, 0), Ok(()));
    assert_eq!(commit(&mut world, "a", 2, 2), stale(2));
    assert_eq!(world.shard.check_fetch("g", None, -1), Ok(()));
    assert_eq!(world.shard.check_fetch("g", Some("a"), 3), Ok(()));
    assert_eq!(world.shard.check_fetch("g", Some("a"), 2), stale(2));
    assert_eq!(world.shard.check_fetch("g", Some("b"), 3), Err(GroupError::UnknownMember));
}

#[test]
fn groups_with_members_keep_their_kind_where_none_may_change() {
    let consumer = ConsumerSettings { migration: MigrationPolicy::Disabled, ..settings().consumer };
    let mut world = World::with(GroupSettings { consumer, ..settings() });
    world.topics.set("t", 2);
    let classic = world.alone();
    let disabled = GroupError::NotUpgraded("online upgrade is disabled");
    assert_eq!(world.told(first("a")), Err(disabled));
    world.leave(&classic.member, None).expect("a member");
    let at = world.log.len();
    world.told(first("a")).expect("the group is empty");
    assert_eq!(world.types_since(at), [2, 5, 3, 7, 6, 8]);
    let ticket = world.send_join(join("c"));
    assert_eq!(world.joined(ticket).expect_err("in use").0, GroupError::InconsistentProtocol);
    world.told(next("a", -1)).expect("a member");
    let at = world.log.len();
    world.alone();
    assert_eq!(world.types_since(at)[..3], [6, 4, 3]);
    world.crash();
    assert_eq!(world.shard.describe("g").expect("classic").state, "Stable");
    assert_eq!(world.shard.describe_consumer("g"), Err(Absent::NotConsumer));
    assert_eq!(world.shard.describe_consumer("h"), Err(Absent::Unknown));
}

#[test]
fn an_empty_group_is_deleted_with_all_that_was_remembered() {
    let mut world = with_topic(2);
    world.told(first("a")).expect("it may join");
    let delete = |world: &mut World| {
        let ticket = world.ticket();
        world.shard.delete_group(ticket, "g");
        world.pump();
        world.parts(ticket).map(drop)
    };
    assert_eq!(delete(&mut world), Err(GroupError::NotEmpty));
    world.told(next("a", -1)).expect("a member");
    assert_eq!(delete(&mut world), Ok(()));
    assert!(world.shard.is_empty());
    world.crash();
    assert!(world.shard.is_empty());
    assert_eq!(world.memory.used(), 0);
}

#[test]
fn what_could_not_be_written_is_written_again() {
    let mut world = with_topic(2);
    world.writes = false;
    let ticket = world.send_beat(first("a"));
    assert!(world.waits(ticket));
    world.write(Err(GroupError::Unwritten));
    world.pump();
    assert_eq!(world.beaten(ticket), Err(GroupError::Unwritten));
    world.writes = true;
    world.pass(Duration::from_secs(2));
    world.pump();
    assert_eq!(world.types_since(0), [5, 3, 7, 6, 8]);
    world.crash();
    assert_eq!(world.told(first("a")).expect("a member").epoch, 2);
}

#[test]
fn absurd_requests_are_refused_and_leave_nothing() {
    let mut settings = settings();
    (settings.append_bytes_max, settings.consumer.members_max) = (4_096, 1);
    let mut world = World::with(settings);
    world.topics.set("t", 1);
    let many = (0..10_000).map(|n| format!("topic-{n}")).collect();
    let told = world.told(ConsumerBeat { topics: Some(many), ..first("a") });
    assert!(matches!(told, Err(GroupError::TooLarge { .. })), "{told:?}");
    let told = world.told(ConsumerBeat { pattern: Some("a{1000}{1000}".into()), ..first("a") });
    assert_eq!(told, Err(GroupError::InvalidPattern));
    let told = world.told(ConsumerBeat { assignor: Some("mine".into()), ..first("a") });
    assert_eq!(told, Err(GroupError::UnsupportedAssignor));
    for invalid in [
        ConsumerBeat { rebalance_timeout_ms: -1, ..first("a") },
        ConsumerBeat { owned: None, ..first("a") },
        ConsumerBeat { topics: None, ..first("a") },
        first(" "),
        next("a", -2),
        next("a", -3),
    ] {
        assert!(matches!(world.told(invalid), Err(GroupError::InvalidRequest(_))));
    }
    assert!(world.shard.is_empty());
    world.told(first("a")).expect("it may join");
    assert_eq!(world.told(first("b")), Err(GroupError::Full));
    // More than a record can hold: the target stays as it was.
    world.topics.set("t", 100_000);
    assert!(matches!(world.told(next("a", 2)), Err(GroupError::TooLarge { .. })));
    world.topics.set("t", 2);
    assert_eq!(world.told(next("a", 2)).expect("a member").assignment, assigned(&[0, 1]));
}

#[test]
fn a_thousand_members_come_to_rest() {
    let mut settings = settings();
    settings.consumer.pace.assignment_interval_ms = 1_000;
    let mut world = World::with(settings);
    world.topics.set("t", 1_500);
    let mut epochs: Vec<i32> = Vec::new();
    for n in 0..1_000 {
        epochs.push(world.told(first(&format!("m{n}"))).expect("it may join").epoch);
    }
    let mut owned: Vec<Vec<i32>> = vec![Vec::new(); epochs.len()];
    for _ in 0..4 {
        world.pass(Duration::from_secs(5));
        for (n, epoch) in epochs.iter_mut().enumerate() {
            let told = world.told(owning(&format!("m{n}"), *epoch, &owned[n])).expect("a member");
            *epoch = told.epoch;
            if let Some(assignment) = told.assignment {
                owned[n] = assignment.into_iter().flat_map(|(_, ids)| ids).collect();
            }
        }
    }
    assert_eq!(world.state(), "Stable");
    let mut all: Vec<i32> = owned.into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..1_500).collect::<Vec<_>>());
}

#[test]
fn a_group_goes_at_its_own_pace() {
    let mut world = with_topic(1);
    let own = Pace {
        session_timeout: Duration::from_secs(60),
        heartbeat_interval_ms: 7_000,
        assignment_interval_ms: 10_000,
    };
    world.topics.paces.borrow_mut().insert("g".to_owned(), own);
    let told = world.told(first("a")).expect("it may join");
    assert_eq!((told.epoch, told.interval_ms), (2, 7_000));
    // A target was computed just now, so that the second member waits for its share.
    assert_eq!(world.told(first("b")).expect("it may join").epoch, 2);
    assert_eq!(world.state(), "Assigning");
    world.pass(Duration::from_secs(59));
    assert_eq!(world.state(), "Assigning");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.state(), "Empty");
    // What is set later holds from the next heartbeat on.
    let told = world.told(first("a")).expect("it may join");
    assert_eq!(told.interval_ms, 7_000);
    world.topics.paces.borrow_mut().clear();
    assert_eq!(world.told(next("a", told.epoch)).expect("a member").interval_ms, 5_000);
    world.pass(Duration::from_secs(46));
    assert_eq!(world.state(), "Empty");
}
