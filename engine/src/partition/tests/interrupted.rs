//! Changes that end half way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use config::TopicConfig;
use futures_util::FutureExt;

use super::kit::*;
use crate::buf::Slice;
use crate::error::{AppendError, LogError};
use crate::ids::{LeaderEpoch, Offset};
use crate::partition::*;
use crate::producer::{AppendPlan, PlanRules};
use crate::rt::sim;

#[test]
fn a_panic_half_way_through_an_append_stops_the_partition() {
    sim::run(1, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        produce(&partition, batch(1, 1, 100)).await;
        let (first, second) = (batch(2, 1, 100), batch(3, 1, 100));
        let both = Slice::from_vec([&first[..], &second[..]].concat());
        let origin = Origin::Coordinator;
        let validated = partition.validate(&both, LeaderEpoch(0), origin).expect("valid");
        let placed = partition.place(&validated, LeaderEpoch(0), origin).expect("placed");
        let load =
            crate::log::Load { bytes: both.len() as u64, max_timestamp_ms: 0, last_offset: 2 };
        partition.log.prepare(load).await.expect("room");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            // The second batch is not there.
            let plan = AppendPlan::new(PlanRules::trusting(origin));
            partition.write(&first, &validated, &placed, origin, plan);
        }));
        assert!(panicked.is_err());
        let refused = partition.append_as_leader(batch(4, 1, 1), AppendOptions::default()).await;
        let failed = matches!(refused, Err(AppendError::Log(LogError::Failed { .. })));
        assert!(failed, "{refused:?}");
        assert!(partition.failure().expect("failed").to_string().contains("was interrupted"));
        assert!(partition.read(from(0, 1)).await.is_err());
        rt.sleep(Duration::from_secs(1)).await;

        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 1).await;
        assert_eq!(read_all(&partition, 0).await, [(0, 0, 1)]);
        assert_eq!(produce(&partition, batch(4, 1, 1)).await.first, Offset(1));
    });
}

#[test]
fn a_truncation_that_is_given_up_half_way_stops_the_partition() {
    sim::run(2, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        for tag in 0..3 {
            produce(&partition, batch(tag, 1, 100)).await;
        }
        partition.become_follower(FollowerSpec { epoch: LeaderEpoch(1) });
        let mut truncation = Box::pin(partition.truncate_to(Offset(1)));
        assert!(truncation.as_mut().now_or_never().is_none(), "it waits for the disk");
        drop(truncation);
        assert!(partition.failure().expect("failed").to_string().contains("was interrupted"));
    });
}
