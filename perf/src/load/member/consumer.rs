//! The protocol of KIP-848, a member's side.

use std::collections::BTreeSet;

use anyhow::Result;
use wire::error_code::ErrorCode;
use wire::msg::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, TopicPartitions};

use super::{Member, MemberPlan, Next, Op, decode};
use crate::control::encode_frame;

impl Member {
    pub(super) fn consumer_heartbeat(
        &mut self,
        plan: &MemberPlan,
        op: Op,
        correlation: i32,
    ) -> Result<Vec<u8>> {
        if self.id.is_empty() {
            self.id = format!("{}-{}", self.name, self.number);
        }
        let topics = [plan.topic.name.as_str()];
        let partitions: Vec<_> = self.partitions.iter().copied().collect();
        let owned = [TopicPartitions { topic_id: plan.topic.id, partitions: (&partitions).into() }];
        let owned = if partitions.is_empty() { &owned[..0] } else { &owned[..] };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: &self.name,
            member_id: &self.id,
            member_epoch: match op {
                Op::Join => 0,
                Op::Leave => -1,
                _ => self.epoch,
            },
            rebalance_timeout_ms: if op == Op::Join { 60_000 } else { -1 },
            subscribed_topic_names: (op == Op::Join).then(|| (&topics).into()),
            topic_partitions: (op == Op::Join || self.tells).then(|| owned.into()),
            ..Default::default()
        };
        self.tells = false;
        Ok(encode_frame(&request, plan.versions.consumer_heartbeat, correlation)?.head.to_vec())
    }

    pub(super) fn take_consumer_heartbeat(
        &mut self,
        plan: &MemberPlan,
        op: Op,
        answer: &[u8],
    ) -> Result<Next> {
        let version = plan.versions.consumer_heartbeat;
        let answer = decode::<ConsumerGroupHeartbeatRequest<'_>>(answer, version)?;
        if !ErrorCode(answer.error_code).is_ok() {
            return Ok(Next::Lost(answer.error_code));
        }
        let owners = &plan.owners[self.group as usize];
        if op == Op::Leave {
            owners.release(self.number, &self.partitions);
            self.partitions.clear();
            self.leaves = None;
            return Ok(Next::Send(Op::Join));
        }
        self.epoch = answer.member_epoch;
        let Some(assignment) = answer.assignment else { return Ok(Next::AsBefore) };
        let topics = assignment.topic_partitions.iter();
        let now: BTreeSet<i32> = topics.flat_map(|topic| topic.partitions.to_vec()).collect();
        if now == self.partitions {
            return Ok(if now.is_empty() { Next::AsBefore } else { Next::Settled });
        }
        owners.release(self.number, &self.partitions.difference(&now).copied().collect());
        owners.take(self.number, &now);
        self.partitions = now;
        // Others wait for what it has given up, so it says so at once.
        self.tells = true;
        Ok(match self.partitions.is_empty() {
            true => Next::Send(Op::Heartbeat),
            false => Next::Settled,
        })
    }
}
