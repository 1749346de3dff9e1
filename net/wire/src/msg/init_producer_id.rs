//! InitProducerId (22), v0–5: get a producer id, or a new epoch for one.
//!
//! v2 flexible · v3 producer id and epoch to go on with (KIP-360) · v4 PRODUCER_FENCED · v5
//! TRANSACTION_ABORTABLE (KIP-890)
//!
//! v1 changes only when throttling happens. v6 (two-phase commit, KIP-939) is unstable in Kafka 4.3
//! and not here.

use crate::schema::wire;

wire! {
    /// Who asks.
    request InitProducerIdRequest<'a> 22, 0..=5, flexible 2 {
        /// Null for a producer that is only idempotent.
        transactional_id: Option<&'a str>,
        /// After which an open transaction is aborted, milliseconds.
        transaction_timeout_ms: i32,
        /// The present one, to bump its epoch; −1 for a new one.
        producer_id: i64 [3..] = -1,
        /// The present one; −1 for none.
        producer_epoch: i16 [3..] = -1,
    }

    /// The id and epoch to produce with.
    response InitProducerIdResponse 22, 0..=5, flexible 2 {
        throttle_time_ms: i32,
        error_code: i16,
        producer_id: i64 = -1,
        producer_epoch: i16,
    }
}
