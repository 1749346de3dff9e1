//! Append, acknowledge, read, close, open again.

use config::TopicConfig;

use super::kit::*;
use crate::error::AppendError;
use crate::ids::{LeaderEpoch, Offset, ProducerId};
use crate::partition::*;
use crate::producer::ProducerError;
use crate::rt::sim;

#[test]
fn what_is_acknowledged_is_read_back() {
    sim::run(1, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 4).await;
        let first = produce(&partition, batch(1, 3, 100)).await;
        assert_eq!((first.first, first.last), (Offset(0), Offset(2)));
        let second = produce(&partition, batch(2, 1, 10_000)).await;
        assert_eq!((second.first, second.last), (Offset(3), Offset(3)));
        let offsets = partition.offsets();
        assert_eq!(offsets.high_watermark, Offset(4));
        assert_eq!(offsets.synced, Offset(4));
        let read = partition.read(from(0, 1 << 20)).await.expect("readable");
        let bytes = joined(&read);
        assert_eq!(tags(&bytes), [(0, 2, 1), (3, 3, 2)]);
        assert_eq!(read.bytes, bytes.len());
        let epochs: Vec<_> = crate::batch::header::Batches::new(&bytes)
            .map(|b| b.expect("whole").leader_epoch)
            .collect();
        assert_eq!(epochs, [LeaderEpoch(4); 2]);
    });
}

#[test]
fn what_is_appended_at_once_is_what_would_not_have_waited() {
    sim::run(1, async |rt| {
        let kit = Kit::start(&rt).await;
        let config = TopicConfig { segment_bytes: 100_000, ..TopicConfig::default() };
        let partition = kit.lead(config, 4).await;
        let (mut at_once, mut waited) = (0, 0);
        let mut end = 0;
        for tag in 0..60 {
            let records = batch(tag, 2, 5_000);
            // The file has no room at first, and a segment is full after a few.
            let appended = match partition.append_now(&records, AppendOptions::default()) {
                Some(appended) => {
                    at_once += 1;
                    appended.expect("appends")
                }
                None => {
                    assert_eq!(partition.offsets().log_end, Offset(end), "nothing has happened");
                    waited += 1;
                    produce(&partition, records).await
                }
            };
            assert_eq!((appended.first, appended.last), (Offset(end), Offset(end + 1)));
            end += 2;
        }
        assert!(at_once >= 30 && waited >= 5, "{at_once} at once, {waited} waited");
        let held = partition.log.turn.lock().await;
        assert!(partition.append_now(&batch(60, 1, 10), AppendOptions::default()).is_none());
        drop(held);
        let refused = partition.append_now(&batch(60, 1, 10_000_000), AppendOptions::default());
        assert!(matches!(refused, Some(Err(AppendError::Batch(_)))), "{refused:?}");
        partition.acked(Offset(end - 1)).await.expect("acknowledged");
        let expected: Vec<_> = (0..60).map(|tag| (2 * tag, 2 * tag + 1, tag as u64)).collect();
        assert_eq!(read_all(&partition, 0).await, expected);
    });
}

#[test]
fn a_fetch_from_inside_a_batch_returns_the_batch() {
    sim::run(2, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        produce(&partition, batch(1, 5, 100)).await;
        produce(&partition, batch(2, 5, 100)).await;
        let read = partition.read(from(7, 1)).await.expect("readable");
        assert_eq!(tags(&joined(&read)), [(5, 9, 2)]);
        let read = partition.read(ReadSpec { at_least_one: false, ..from(7, 1) }).await;
        assert_eq!(read.expect("readable").bytes, 0);
        assert_eq!(partition.read(from(10, 1)).await.expect("readable").bytes, 0);
        assert!(partition.read(from(11, 1)).await.is_err());
        assert!(partition.read(from(-1, 1)).await.is_err());
    });
}

#[test]
fn a_closed_log_opens_as_it_was() {
    sim::run(3, async |rt| {
        let sizes = [100, 5_000, 70_000, 1_000_000, 1, 4096 - 61 - 20, 300_000];
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 1).await;
        let mut expected = Vec::new();
        for (tag, size) in sizes.into_iter().enumerate() {
            let appended = produce(&partition, batch(tag as u64, 1, size)).await;
            expected.push((appended.first.0, appended.last.0, tag as u64));
        }
        assert_eq!(read_all(&partition, 0).await, expected);
        let size = partition.size_bytes();
        partition.close().await.expect("closes");
        assert!(partition.read(from(0, 1)).await.is_err());

        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 2).await;
        assert_eq!(partition.size_bytes(), size);
        assert_eq!(partition.offsets().log_end, Offset(sizes.len() as i64));
        assert_eq!(read_all(&partition, 0).await, expected);
        assert_eq!(partition.recovery().cut_bytes, 0);
        produce(&partition, batch(99, 2, 10)).await;
        expected.push((7, 8, 99));
        assert_eq!(read_all(&partition, 0).await, expected);
    });
}

#[test]
fn segments_roll_and_reads_cross_them() {
    sim::run(4, async |rt| {
        let config = || TopicConfig { segment_bytes: 100_000, ..TopicConfig::default() };
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(config(), 0).await;
        let mut expected = Vec::new();
        for tag in 0..40 {
            let appended = produce(&partition, batch(tag, 2, 6_000)).await;
            expected.push((appended.first.0, appended.last.0, tag));
        }
        let files = rt.list_dir(&partition_dir()).await.expect("listable");
        let logs = files.iter().filter(|f| f.name.to_string_lossy().ends_with(".log")).count();
        assert_eq!(logs, 5);
        assert_eq!(read_all(&partition, 0).await, expected);
        assert_eq!(read_all(&partition, 35).await, expected[17..]);
        partition.close().await.expect("closes");
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(config(), 1).await;
        assert_eq!(read_all(&partition, 0).await, expected);
    });
}

#[test]
fn readers_wait_until_something_is_acknowledged() {
    sim::run(5, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        let waiting = partition.readable(Offset(0), ReadBound::HighWatermark);
        let reader = std::rc::Rc::clone(&partition);
        let task = rt.spawn("reader", async move {
            waiting.await;
            reader.read(from(0, 100)).await.expect("readable").bytes
        });
        assert_eq!(partition.available(Offset(0), ReadBound::HighWatermark), Ok(0));
        produce(&partition, batch(1, 1, 200)).await;
        assert!(task.await.expect("no panic") > 200);
        let (all, one) = (
            partition.available(Offset(0), ReadBound::HighWatermark).expect("in range"),
            batch(1, 1, 200).len(),
        );
        assert_eq!(all, one);
        let waiting = partition.readable(Offset(1), ReadBound::LogEnd);
        partition.become_follower(FollowerSpec { epoch: LeaderEpoch(1) });
        waiting.await;
    });
}

#[test]
fn too_few_in_sync_replicas_are_refused_and_bounded_by_the_replica_count() {
    sim::run(6, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.open(TopicConfig::default()).await.expect("opens");
        let all = AppendOptions::default();
        let refused = partition.append_as_leader(batch(1, 1, 1), all).await;
        assert!(matches!(refused, Err(crate::error::AppendError::NotLeader)));
        let spec = LeaderSpec { epoch: LeaderEpoch(0), replica_count: 3, isr_count: 1, min_isr: 2 };
        partition.become_leader(spec);
        let refused = partition.append_as_leader(batch(1, 1, 1), all).await;
        let few =
            matches!(refused, Err(crate::error::AppendError::NotEnoughReplicas { isr: 1, min: 2 }));
        assert!(few, "{refused:?}");
        let one = AppendOptions { acks: Acks::Leader, ..all };
        let appended = partition.append_as_leader(batch(1, 1, 1), one).await.expect("acks=1");
        rt.sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(partition.offsets().synced, appended.last.plus(1));
        assert_eq!(partition.offsets().high_watermark, Offset(0), "frozen below min.insync");
        partition.become_leader(LeaderSpec { replica_count: 1, ..spec });
        assert_eq!(partition.offsets().high_watermark, Offset(1));
        produce(&partition, batch(2, 1, 1)).await;
    });
}

#[test]
fn a_new_producer_begins_with_what_was_turned_away() {
    sim::run(11, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.open(TopicConfig::default()).await.expect("opens");
        let of = |sequence| batch_at(1, 1, 1, 1_000, Some((7, 0, sequence)));
        let append = async |sequence| {
            partition.append_as_leader(of(sequence), AppendOptions::default()).await
        };
        // Two are under way; the partition has no leader when the first comes.
        let refused = append(0).await;
        assert!(matches!(refused, Err(AppendError::NotLeader)), "{refused:?}");
        partition.become_leader(alone(0));
        let late = append(1).await;
        let out_of_order = ProducerError::OutOfOrderSequence {
            producer_id: ProducerId(7),
            offset: Offset(0),
            sequence: 1,
            last: -1,
        };
        assert!(matches!(&late, Err(AppendError::Producer(e)) if *e == out_of_order), "{late:?}");
        // Both come again, in order.
        assert_eq!(append(0).await.expect("the first").first, Offset(0));
        assert_eq!(append(1).await.expect("the second").first, Offset(1));
        // Whoever was not turned away may begin anywhere: what came before may be deleted.
        let other = batch_at(1, 1, 1, 1_000, Some((8, 0, 5)));
        produce(&partition, other).await;
    });
}
