//! InitProducerId (22), v0–5: a producer id for an idempotent producer.
//!
//! Ids come in blocks of 1000 from the controller; each core hands out its own. A transactional id
//! is refused until transactions exist. An idempotent producer that asks to go on (v3 and later)
//! gets a new id, as from Kafka.

use std::cell::Cell;

use replication::controller::producer_ids::ProducerIdBlock;
use wire::error_code::ErrorCode;
use wire::msg::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::Cx;
use super::authz::{CLUSTER, Operation, ResourceKind};
use super::errors::Coded;
use crate::conn::reply::Reply;
use crate::meta::requests::AllocateProducerIds;

/// What is left of a core's block of ids.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    next: Cell<i64>,
    end: Cell<i64>,
}

impl ProducerIds {
    fn take(&self) -> Option<i64> {
        let next = self.next.get();
        (next < self.end.get()).then(|| {
            self.next.set(next + 1);
            next
        })
    }

    /// Takes over a new block. What was left of another that came meanwhile is never used.
    fn refill(&self, block: ProducerIdBlock) {
        self.next.set(block.first.0);
        self.end.set(block.first.0 + i64::from(block.len));
    }
}

pub(super) async fn handle(cx: &Cx, request: InitProducerIdRequest<'_>) -> Reply {
    let outcome = match request.transactional_id {
        Some(_) => Err(ErrorCode::UNSUPPORTED_VERSION),
        None => next_id(cx).await,
    };
    let throttle_time_ms = cx.throttle_ms();
    cx.reply(&match outcome {
        Ok(producer_id) => {
            InitProducerIdResponse { throttle_time_ms, producer_id, ..Default::default() }
        }
        Err(code) => InitProducerIdResponse {
            throttle_time_ms,
            error_code: code.into(),
            producer_epoch: -1,
            ..Default::default()
        },
    })
}

async fn next_id(cx: &Cx) -> Result<i64, ErrorCode> {
    let any_topic = cx.allows(Operation::Write, ResourceKind::Topic, "");
    if !cx.permits(CLUSTER) && !any_topic {
        return Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    loop {
        if let Some(id) = cx.core.producer_ids.take() {
            return Ok(id);
        }
        let block = cx.change(AllocateProducerIds).await.map_err(|failure| failure.code)?;
        cx.core.producer_ids.refill(block.map_err(|refusal| refusal.code())?);
    }
}

#[cfg(test)]
mod tests {
    use engine::ids::ProducerId;

    use super::*;

    #[test]
    fn a_block_is_used_up_once() {
        let ids = ProducerIds::default();
        assert_eq!(ids.take(), None);
        ids.refill(ProducerIdBlock { first: ProducerId(7), len: 2 });
        assert_eq!([ids.take(), ids.take(), ids.take()], [Some(7), Some(8), None]);
    }
}
