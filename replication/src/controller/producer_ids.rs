//! AllocateProducerIds: blocks of ids for the producers of one broker.

use engine::ids::{BrokerId, ProducerId};
use wire::record::metadata::ProducerIdsRecord;

use super::{Controller, Decision, ErrorKind, Refusal};

/// Ids that nobody else will ever hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// First id.
    pub first: ProducerId,
    /// How many, from `first` on.
    pub len: i32,
}

impl Controller {
    /// Hands out the next block to a registered broker.
    pub fn allocate_producer_ids(
        &mut self,
        broker: BrokerId,
        epoch: i64,
    ) -> Decision<Result<ProducerIdBlock, Refusal>> {
        if let Err(refusal) = self.check_broker_epoch(broker, epoch) {
            return Decision::unchanged(Err(refusal));
        }
        let first = self.image.next_producer_id().unwrap_or(ProducerId(0));
        let Some(next) = first.0.checked_add(i64::from(BLOCK_LEN)) else {
            return Decision::unchanged(Err(Refusal::new(
                ErrorKind::UnknownServerError,
                "Exhausted all producerIds as the next block's end producerId has exceeded the \
                 int64 type limit",
            )));
        };
        let record =
            ProducerIdsRecord { broker_id: broker.0, broker_epoch: epoch, next_producer_id: next };
        self.decide(vec![record.into()], Ok(ProducerIdBlock { first, len: BLOCK_LEN }))
    }
}

/// Ids in a block: Kafka's number, so that both use them up at the same pace.
const BLOCK_LEN: i32 = 1000;
