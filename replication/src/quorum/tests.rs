use super::*;

fn config() -> QuorumConfig {
    QuorumConfig {
        node: BrokerId(1),
        directory: Uuid([5; 16]),
        endpoints: vec![VoterEndpoint {
            name: "CONTROLLER".into(),
            host: "localhost".into(),
            port: 9093,
        }],
    }
}

/// A directory as formatted: the 0-0 checkpoint, no log.
fn formatted() -> Recovered {
    let mut recovered = Recovered::default();
    let set = format::own_voter_set(&config());
    let level = ControlRecord::KRaftVersion(KRaftVersionRecord { k_raft_version: 1 });
    recovered.observe(format::BEFORE_LOG, &level);
    recovered.observe(format::BEFORE_LOG, &ControlRecord::KRaftVoters(voters_record(&set)));
    recovered
}

fn start(recovered: Recovered) -> (Quorum, Vec<Effect>) {
    Quorum::start(Duration::ZERO, config(), recovered).expect("the only voter")
}

fn names(records: &[ControlRecord]) -> Vec<i16> {
    records.iter().map(ControlRecord::control_type).collect()
}

#[test]
fn the_first_start_writes_the_voters_into_the_log() {
    let (mut quorum, effects) = start(formatted());
    let [Effect::Persist { state, version }, Effect::Append { at, epoch, records }] = &*effects
    else {
        panic!("persist, then append: {effects:?}");
    };
    assert_eq!((state.epoch, state.leader, *version), (1, Some(BrokerId(1)), DataVersion::V1));
    assert_eq!((*at, *epoch), (Offset(0), LeaderEpoch(1)));
    assert_eq!(names(records), [2, 5, 6]);
    assert_eq!(quorum.high_watermark(), None);

    let effects = quorum.handle(Duration::ZERO, Event::Durable { end: Offset(3) });
    assert_eq!(
        effects,
        [
            Effect::CommitAdvanced { high_watermark: Offset(3) },
            Effect::BecameLeader { epoch: LeaderEpoch(1), next: Offset(3) },
        ]
    );
    let effects = quorum.handle(Duration::ZERO, Event::Durable { end: Offset(9) });
    assert_eq!(effects, [Effect::CommitAdvanced { high_watermark: Offset(9) }]);
    assert_eq!(quorum.handle(Duration::ZERO, Event::Durable { end: Offset(9) }), []);
    let described = quorum.describe(77).expect("leads");
    assert_eq!(described.high_watermark, Some(Offset(9)));
    assert_eq!(described.voters[0].log_end, Some(Offset(9)));
    assert_eq!(described.voters[0].last_caught_up_ms, Some(77));
}

#[test]
fn every_start_is_a_new_epoch() {
    let mut recovered = formatted();
    let set = format::own_voter_set(&config());
    recovered.observe(Offset(2), &ControlRecord::KRaftVoters(voters_record(&set)));
    recovered.log_end = Offset(40);
    recovered.last_epoch = 7;
    // The log is ahead of quorum-state: the file was lost, or its write was.
    recovered.election =
        Some(ElectionState { epoch: 5, leader: Some(BrokerId(1)), voted: None, voters: vec![] });
    let (quorum, effects) = start(recovered);
    let Some(Effect::Append { at, epoch, records }) = effects.last() else { panic!("{effects:?}") };
    assert_eq!((*at, *epoch), (Offset(40), LeaderEpoch(8)));
    assert_eq!(names(records), [2], "the voters are in the log already");
    assert_eq!(quorum.leader(), Some(BrokerId(1)));
}

#[test]
fn a_moved_listener_is_told() {
    let mut recovered = formatted();
    let mut set = format::own_voter_set(&config());
    set.voters.get_mut(&BrokerId(1)).expect("own").endpoints[0].port = 1;
    recovered.observe(Offset(2), &ControlRecord::KRaftVoters(voters_record(&set)));
    let (quorum, effects) = start(recovered);
    let Some(Effect::Append { records, .. }) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(names(records), [2, 5, 6]);
    assert_eq!(*quorum.voters(), format::own_voter_set(&config()));
}

#[test]
fn a_static_lone_voter_of_kafka_goes_on_at_level_0() {
    let election = ElectionState { epoch: 3, leader: None, voted: None, voters: vec![BrokerId(1)] };
    let log_end = Offset(20);
    let (quorum, effects) = start(Recovered {
        election: Some(election),
        log_end,
        last_epoch: 3,
        ..Recovered::default()
    });
    let [Effect::Persist { state, version: DataVersion::V0 }, Effect::Append { records, .. }] =
        &*effects
    else {
        panic!("{effects:?}");
    };
    assert_eq!(state.voters, [BrokerId(1)]);
    assert_eq!(names(records), [2]);
    assert_eq!(quorum.snapshot_voters(Offset(20)), None);
}

#[test]
fn who_may_not_lead_alone_is_told_why() {
    let refused = |recovered| {
        Quorum::start(Duration::ZERO, config(), recovered).map(|_| ()).expect_err("refused")
    };
    assert_eq!(refused(Recovered::default()), StartError::NoVoters);

    let mut two = formatted();
    let mut set = format::own_voter_set(&config());
    let other = set.voters[&BrokerId(1)].clone();
    set.voters.insert(BrokerId(2), other);
    two.observe(Offset(9), &ControlRecord::KRaftVoters(voters_record(&set)));
    assert_eq!(refused(two), StartError::OtherVoters { voters: vec![BrokerId(1), BrokerId(2)] });

    let mut replaced = formatted();
    let mut set = format::own_voter_set(&config());
    set.voters.get_mut(&BrokerId(1)).expect("own").directory = Uuid([6; 16]);
    replaced.observe(Offset(9), &ControlRecord::KRaftVoters(voters_record(&set)));
    assert!(matches!(refused(replaced), StartError::NotAVoter { .. }));

    let mut newer = formatted();
    let level = ControlRecord::KRaftVersion(KRaftVersionRecord { k_raft_version: 2 });
    newer.observe(Offset(9), &level);
    assert_eq!(refused(newer), StartError::KraftVersion(2));
}

#[test]
fn a_stopped_leader_commits_nothing_more() {
    let (mut quorum, _) = start(formatted());
    quorum.handle(Duration::ZERO, Event::Durable { end: Offset(3) });
    let effects = quorum.handle(Duration::ZERO, Event::Shutdown);
    assert_eq!(effects, [Effect::LostLeadership { epoch: LeaderEpoch(1) }]);
    assert_eq!(quorum.handle(Duration::ZERO, Event::Durable { end: Offset(5) }), []);
    assert_eq!(quorum.leader(), None);
}

#[test]
fn snapshots_name_the_voters_of_their_time() {
    let (mut quorum, _) = start(formatted());
    let mut set = format::own_voter_set(&config());
    set.voters.get_mut(&BrokerId(1)).expect("own").endpoints[0].port = 1;
    quorum.observe(Offset(30), &ControlRecord::KRaftVoters(voters_record(&set)));
    let port = |end| {
        let (level, set) = quorum.snapshot_voters(Offset(end)).expect("level 1");
        assert_eq!(level, 1);
        set.voters[&BrokerId(1)].endpoints[0].port
    };
    assert_eq!((port(30), port(31)), (9093, 1));
}

#[test]
fn snapshots_are_due_by_bytes_or_age() {
    let policy = SnapshotPolicy { bytes_max: 100, interval: Some(Duration::from_secs(10)) };
    let mut since = SinceSnapshot::default();
    let at = Duration::from_secs;
    assert!(!since.is_due(at(1000), policy), "nothing to write");
    since.applied(at(5), 60);
    assert!(!since.is_due(at(14), policy));
    assert!(since.is_due(at(15), policy));
    since.applied(at(6), 60);
    assert!(since.is_due(at(6), policy));
    since.taken();
    assert!(!since.is_due(at(1000), policy));
}

#[test]
fn snapshot_names_are_kafkas() {
    let id = SnapshotId { end: Offset(72), epoch: 2 };
    assert_eq!(id.to_string(), "00000000000000000072-0000000002.checkpoint");
    assert_eq!(SnapshotId::parse(&id.to_string()), Some(id));
    for other in [
        "00000000000000000072-0000000002.checkpoint.part",
        "00000000000000000072-0000000002.checkpoint.deleted",
        "bootstrap.checkpoint",
        "72-2.checkpoint",
        "99999999999999999999-0000000002.checkpoint",
    ] {
        assert_eq!(SnapshotId::parse(other), None, "{other}");
    }
}

#[test]
fn a_snapshot_cut_anywhere_is_refused() {
    let id = SnapshotId { end: Offset(5), epoch: 1 };
    let records = format::bootstrap_levels();
    let place = snapshot::Place { epoch: 1, now_ms: 9 };
    let version = crate::features::MetadataVersion::LATEST;
    let bytes = snapshot::file(place, 8, None, &records, version).expect("valid");
    assert_eq!(snapshot::decode(id, &bytes).expect("whole").image.provenance().timestamp_ms, 8);
    for cut in 0..bytes.len() {
        assert!(snapshot::decode(id, &bytes[..cut]).is_err(), "cut after {cut} bytes");
    }
}
