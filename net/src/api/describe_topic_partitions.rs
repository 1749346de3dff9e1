//! DescribeTopicPartitions (75), v0: topics with their partitions, page by page (KIP-966).
//!
//! Topics in order of name, from the cursor on. A page holds at most as many partitions as the
//! client asks for and `max.request.partition.size.limit` allows; its cursor is where the next one
//! begins.

use std::collections::BTreeSet;

use engine::ids::PartitionId;
use replication::controller::names;
use replication::image::{Image, Partition};
use wire::error_code::ErrorCode;
use wire::msg::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use wire::primitives::Uuid;

use super::{Cx, ResourceKind};
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: DescribeTopicPartitionsRequest<'_>) -> Reply {
    let image = cx.image();
    let from = request.cursor.as_ref().map_or("", |cursor| cursor.topic_name);
    let named: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name).collect();
    if let Some(cursor) = &request.cursor
        && (cursor.partition_index < 0 || !(named.is_empty() || named.contains(from)))
    {
        return refuse(cx, &request);
    }
    let limit = cx.core.config().max_request_partition_size_limit as usize;
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let left = asked.min(limit).max(1);
    cx.claim(left + named.len()).await;
    let mut page = Page { cx, image: &image, left, topics: Vec::new(), next: None };
    let first = |name: &str| match &request.cursor {
        Some(cursor) if cursor.topic_name == name => cursor.partition_index,
        _ => 0,
    };
    if named.is_empty() {
        for name in image.topics().names_from(from) {
            if !page.add(name, first(name), Missing::PassOver) {
                break;
            }
        }
    } else {
        for name in named.range(from..) {
            if !page.add(name, first(name), Missing::Say) {
                break;
            }
        }
    }
    let Page { topics, next, .. } = page;
    cx.reply(&DescribeTopicPartitionsResponse {
        throttle_time_ms: cx.throttle_ms(),
        topics: topics.into(),
        next_cursor: next
            .map(|(topic_name, partition_index)| Cursor { topic_name, partition_index }),
    })
}

/// The answer to a cursor that points nowhere.
fn refuse(cx: &Cx, request: &DescribeTopicPartitionsRequest<'_>) -> Reply {
    let topics = request.topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST.into(),
        name: Some(topic.name),
        ..DescribeTopicPartitionsResponseTopic::default()
    });
    cx.reply(&DescribeTopicPartitionsResponse {
        throttle_time_ms: cx.throttle_ms(),
        topics: topics.collect(),
        next_cursor: None,
    })
}

#[derive(Clone, Copy)]
enum Missing {
    /// The topic was deleted while it was listed.
    PassOver,
    /// The client named it.
    Say,
}

/// One page being filled.
struct Page<'a> {
    cx: &'a Cx,
    image: &'a Image,
    /// Partitions that still fit.
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic<'a>>,
    next: Option<(&'a str, i32)>,
}

impl<'a> Page<'a> {
    /// Adds a topic from partition `first` on; whether there is room for more.
    fn add(&mut self, name: &'a str, first: i32, missing: Missing) -> bool {
        if self.left == 0 {
            self.next = Some((name, 0));
            return false;
        }
        let topic_authorized_operations = self.cx.allowed_operations(ResourceKind::Topic, name);
        let blank = DescribeTopicPartitionsResponseTopic {
            name: Some(name),
            is_internal: names::is_internal(name),
            topic_authorized_operations,
            ..DescribeTopicPartitionsResponseTopic::default()
        };
        let Some(topic) = self.image.topics().named(name) else {
            if let Missing::Say = missing {
                self.topics.push(DescribeTopicPartitionsResponseTopic {
                    error_code: match names::refusal(name) {
                        Some(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                        None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    }
                    .into(),
                    topic_id: Uuid::ZERO,
                    ..blank
                });
            }
            return true;
        };
        let mut partitions = topic.partitions().skip_while(|(id, _)| id.0 < first);
        let shown: Vec<_> = partitions.by_ref().take(self.left).collect();
        self.left -= shown.len();
        self.next = partitions.next().map(|(id, _)| (name, id.0));
        let shown = shown.into_iter().map(|(id, partition)| self.partition(id, partition));
        let partitions = shown.collect();
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            topic_id: topic.id.0,
            partitions,
            ..blank
        });
        self.next.is_none()
    }

    fn partition(
        &self,
        id: PartitionId,
        partition: &'a Partition,
    ) -> DescribeTopicPartitionsResponsePartition<'a> {
        let brokers = self.image.brokers();
        let leader = partition.leader.filter(|&leader| brokers.get(leader).is_some());
        let offline = |replica: &&_| !brokers.is_active(**replica);
        DescribeTopicPartitionsResponsePartition {
            error_code: ErrorCode::NONE.into(),
            partition_index: id.0,
            leader_id: leader.map_or(-1, |leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: partition.replicas.iter().map(|id| id.0).collect(),
            isr_nodes: partition.isr.iter().map(|id| id.0).collect(),
            eligible_leader_replicas: Some(partition.elr.iter().map(|id| id.0).collect()),
            last_known_elr: Some(partition.last_known_elr.iter().map(|id| id.0).collect()),
            offline_replicas: partition.replicas.iter().filter(offline).map(|id| id.0).collect(),
        }
    }
}
