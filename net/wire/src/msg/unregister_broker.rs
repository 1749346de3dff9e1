//! UnregisterBroker (64), v0: forgets a broker.

use crate::schema::wire;

wire! {
    /// Which.
    request UnregisterBrokerRequest 64, 0..=0, flexible 0 {
        broker_id: i32,
    }

    /// Whether it is forgotten.
    response UnregisterBrokerResponse<'a> 64, 0..=0, flexible 0 {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<&'a str>,
    }
}
