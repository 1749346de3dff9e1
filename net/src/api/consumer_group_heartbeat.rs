//! ConsumerGroupHeartbeat (68), v0–1: a member of a consumer group says what it reads and has, and is
//! told what it is to have (KIP-848).
//!
//! Runs on the core that owns the group's partition of `__consumer_offsets`: one hop. Answered when
//! what has changed is durable.

use std::rc::Rc;

use engine::group::{Answer, Beaten, ConsumerBeat};
use wire::error_code::ErrorCode;
use wire::msg::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use wire::primitives::Uuid;

use super::authz::{Operation, ResourceKind};
use super::errors::{Coded, Failure};
use super::{Cx, groups};
use crate::conn::reply::Reply;
use crate::core::Core;

/// A member of a group in this partition of `__consumer_offsets`.
pub(crate) struct Work {
    shard: i32,
    /// Boxed, or every message between cores would take its size.
    beat: Box<ConsumerBeat>,
}

/// What it is to have.
pub(crate) type Outcome = Result<Beaten, Failure>;

pub(super) async fn handle(cx: &Cx, request: ConsumerGroupHeartbeatRequest<'_>) -> Reply {
    let throttle_time_ms = cx.throttle_ms();
    let told = match beat(cx, &request).await {
        Ok(told) => told,
        Err(failure) => {
            return cx.reply(&ConsumerGroupHeartbeatResponse {
                throttle_time_ms,
                error_code: failure.code.into(),
                error_message: failure.message.as_deref(),
                ..ConsumerGroupHeartbeatResponse::default()
            });
        }
    };
    cx.claim(told.assignment.iter().flatten().map(|(_, partitions)| 1 + partitions.len()).sum())
        .await;
    let assignment = told.assignment.as_ref().map(|topics| Assignment {
        topic_partitions: topics
            .iter()
            .map(|(topic_id, partitions)| TopicPartitions {
                topic_id: *topic_id,
                partitions: partitions.into(),
            })
            .collect(),
    });
    cx.reply(&ConsumerGroupHeartbeatResponse {
        throttle_time_ms,
        member_id: Some(&told.member),
        member_epoch: told.epoch,
        heartbeat_interval_ms: told.interval_ms,
        assignment,
        ..ConsumerGroupHeartbeatResponse::default()
    })
}

async fn beat(cx: &Cx, request: &ConsumerGroupHeartbeatRequest<'_>) -> Outcome {
    let (shard, core) = groups::home(cx, request.group_id).map_err(Failure::bare)?;
    let hidden = |topic: &str| !cx.allows(Operation::Describe, ResourceKind::Topic, topic);
    if request.subscribed_topic_names.iter().flatten().any(hidden) {
        return Err(Failure::bare(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    }
    let work = Work { shard, beat: Box::new(read(cx, request)) };
    cx.call(core, work).await.unwrap_or(Err(Failure::bare(ErrorCode::COORDINATOR_NOT_AVAILABLE)))
}

fn read(cx: &Cx, request: &ConsumerGroupHeartbeatRequest<'_>) -> ConsumerBeat {
    let peer = cx.conn.identity.borrow().peer.ip();
    let text = |text: Option<&str>| text.map(str::to_owned);
    let member = match request.member_id {
        // Since version 1 members make their ids themselves.
        "" if cx.version == 0 && request.member_epoch == 0 => fresh_id(cx),
        id => id.to_owned(),
    };
    ConsumerBeat {
        group: request.group_id.to_owned(),
        member,
        epoch: request.member_epoch,
        instance: text(request.instance_id),
        rack: text(request.rack_id),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics: request
            .subscribed_topic_names
            .as_ref()
            .map(|topics| topics.iter().map(str::to_owned).collect()),
        pattern: text(request.subscribed_topic_regex),
        assignor: text(request.server_assignor),
        owned: request.topic_partitions.as_ref().map(|topics| {
            let topics = topics.iter();
            topics.map(|topic| (topic.topic_id, topic.partitions.iter().collect())).collect()
        }),
        client_id: cx.client_id.to_string(),
        client_host: format!("/{peer}"),
    }
}

/// A random id of the form that Kafka gives.
fn fresh_id(cx: &Cx) -> String {
    let (high, low) = (cx.core.rt.random_u64(), cx.core.rt.random_u64());
    let (high, low) = ((high & !0xf000) | 0x4000, (low & (u64::MAX >> 2)) | 1 << 63);
    Uuid((u128::from(high) << 64 | u128::from(low)).to_be_bytes()).to_string()
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work { shard, beat }: Work) -> Outcome {
    let unserved = |error: crate::groups::NoHost| Failure::bare(error.code());
    let host = core.groups.host(shard).map_err(unserved)?;
    let group = beat.group.clone();
    let told = host.ask(|shard, now, ticket| shard.consumer_beat(now, ticket, *beat)).await;
    match told.map_err(unserved)? {
        Answer::Beaten(told) => told.map_err(|error| Failure {
            code: error.code(),
            message: Some(error.message(&group).into()),
        }),
        _ => unreachable!("a heartbeat is answered in kind"),
    }
}
