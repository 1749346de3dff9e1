use std::sync::Arc;

use engine::ids::{LeaderEpoch, Offset};

use super::*;
use crate::session::Want;

fn asked(topic: &str, partition: i32) -> Asked {
    let topic = TopicRef::Name(Arc::from(topic));
    let (epoch, last_epoch) = (LeaderEpoch::NONE, LeaderEpoch::NONE);
    let want = Want { epoch, from: Offset(0), last_epoch, max_bytes: 1 };
    Asked { topic, partition, want }
}

fn said(high_watermark: i64) -> Said {
    Said { high_watermark, log_start: 0, records: false, urgent: false, failed: false }
}

fn of(partitions: i32) -> Opening {
    let parts = (0..partitions).map(|partition| (asked("t", partition), said(0))).collect();
    Opening { of_replica: false, by_id: false, parts }
}

fn request(id: i32, epoch: i32) -> Resuming {
    Resuming { id, epoch, by_id: false, changed: Vec::new(), forgotten: Vec::new() }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// Sessions of core 1 of 3, and a source of ids.
fn sessions(slots_of_node: usize) -> (Sessions, impl FnMut() -> u64) {
    let mut next = 0;
    let random = move || {
        next += 1;
        next
    };
    (Sessions::new(CoreId(1), 3, slots_of_node), random)
}

#[test]
fn an_id_names_its_core() {
    let (mut sessions, mut random) = sessions(30);
    for _ in 0..10 {
        let id = sessions.open(at(0), of(1), &mut random).expect("room");
        assert_eq!(id % 3, 1);
    }
    assert_eq!(sessions.open(at(0), of(1), &mut random), None, "a third of the slots");
    assert_eq!(sessions.len(), 10);
    let largest = sessions.id(u64::MAX);
    assert!(largest > 0);
}

#[test]
fn only_news_is_said_again() {
    let (mut sessions, random) = sessions(3);
    let id = sessions.open(at(0), of(3), random).expect("room");
    let goes = sessions.resume(at(1), request(id, 1));
    assert_eq!(goes, Ok(Resumed::Goes(vec![asked("t", 0), asked("t", 1), asked("t", 2)])));
    let records = Said { records: true, ..said(7) };
    assert_eq!(sessions.settle(id, 1, &[records, said(0), said(5)]), Ok(vec![true, false, true]));
    // What got records is served last.
    let goes = sessions.resume(at(2), request(id, 2));
    assert_eq!(goes, Ok(Resumed::Goes(vec![asked("t", 1), asked("t", 2), asked("t", 0)])));
    assert_eq!(sessions.settle(id, 2, &[said(0), said(5), said(7)]), Ok(vec![false; 3]));
}

#[test]
fn after_an_error_a_partition_is_said_again() {
    let (mut sessions, random) = sessions(3);
    let id = sessions.open(at(0), of(1), random).expect("room");
    let failed = Said { failed: true, urgent: true, ..said(-1) };
    for (epoch, (said, news)) in (1..).zip([(failed, true), (said(0), true), (said(0), false)]) {
        sessions.resume(at(1), request(id, epoch)).expect("goes on");
        assert_eq!(sessions.settle(id, epoch, &[said]), Ok(vec![news]), "epoch {epoch}");
    }
}

#[test]
fn requests_change_what_is_read() {
    let (mut sessions, random) = sessions(3);
    let id = sessions.open(at(0), of(2), random).expect("room");
    let mut moved = asked("t", 1);
    moved.want.from = Offset(9);
    let forgotten = vec![(asked("t", 0).topic, 0)];
    let changed = vec![moved.clone(), asked("u", 5)];
    let resumed = sessions.resume(at(1), Resuming { changed, forgotten, ..request(id, 1) });
    assert_eq!(resumed, Ok(Resumed::Goes(vec![moved, asked("u", 5)])));
    // The new one is said whatever there is to say.
    assert_eq!(sessions.settle(id, 1, &[said(0), said(0)]), Ok(vec![false, true]));
    let forgotten = vec![(asked("t", 0).topic, 1), (asked("u", 0).topic, 5)];
    let resumed = sessions.resume(at(2), Resuming { forgotten, ..request(id, 2) });
    assert_eq!(resumed, Ok(Resumed::Ended));
    assert_eq!(sessions.resume(at(3), request(id, 3)), Err(SessionError::NotFound));
    assert_eq!(sessions.partitions, 0);
}

#[test]
fn requests_out_of_step_are_refused() {
    let (mut sessions, random) = sessions(3);
    let id = sessions.open(at(0), of(1), random).expect("room");
    assert_eq!(sessions.resume(at(1), request(id + 3, 1)), Err(SessionError::NotFound));
    assert_eq!(sessions.resume(at(1), request(id, 2)), Err(SessionError::Epoch { current: 1 }));
    let by_id = Resuming { by_id: true, ..request(id, 1) };
    assert_eq!(sessions.resume(at(1), by_id), Err(SessionError::TopicIds));
    sessions.resume(at(1), request(id, 1)).expect("goes on");
    assert_eq!(sessions.resume(at(1), request(id, 1)), Err(SessionError::Epoch { current: 2 }));
    sessions.close(id);
    assert_eq!(sessions.settle(id, 1, &[said(0)]), Err(SessionError::NotFound));
    assert_eq!(next_epoch(i32::MAX), 1);
}

#[test]
fn idle_sessions_give_way_to_any_other() {
    let (mut sessions, mut random) = sessions(6);
    let idle = sessions.open(at(0), of(9), &mut random).expect("room");
    let busy = sessions.open(at(0), of(9), &mut random).expect("room");
    sessions.resume(at(100), request(busy, 1)).expect("goes on");
    assert_eq!(sessions.open(at(120), of(1), &mut random), None, "not idle for long enough");
    assert!(sessions.open(at(121), of(1), &mut random).is_some());
    assert_eq!(sessions.resume(at(121), request(idle, 1)), Err(SessionError::NotFound));
    assert!(sessions.resume(at(121), request(busy, 2)).is_ok());
}

#[test]
fn small_old_sessions_give_way_to_larger_ones() {
    let (mut sessions, mut random) = sessions(3);
    let small = sessions.open(at(0), of(2), &mut random).expect("room");
    for (epoch, second) in (1..).zip([100, 200]) {
        sessions.resume(at(second), request(small, epoch)).expect("goes on");
    }
    assert_eq!(sessions.open(at(201), of(2), &mut random), None, "not larger");
    assert!(sessions.open(at(201), of(3), &mut random).is_some());
    assert_eq!(sessions.len(), 1);
}

#[test]
fn replicas_push_consumers_out() {
    let (mut sessions, mut random) = sessions(3);
    sessions.open(at(0), of(9), &mut random).expect("room");
    let replica = Opening { of_replica: true, ..of(1) };
    assert!(sessions.open(at(1), replica, &mut random).is_some(), "though it is young and large");
    assert_eq!(sessions.open(at(100), of(99), &mut random), None);
}

#[test]
fn partitions_are_bounded() {
    let (mut sessions, mut random) = sessions(6);
    let most = i32::try_from(PARTITIONS_MAX).expect("fits");
    let id = sessions.open(at(0), of(most), &mut random).expect("room");
    assert_eq!(sessions.open(at(0), of(1), &mut random), None);
    let changed = vec![asked("u", 0)];
    let resumed = sessions.resume(at(1), Resuming { changed, ..request(id, 1) });
    assert_eq!(resumed, Err(SessionError::NotFound), "it goes on without a session");
    assert_eq!(sessions.partitions, 0);
}
