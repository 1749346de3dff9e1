//! Bytes that no client should send: an error or a closed connection, bounded memory, and nothing
//! that other clients would notice.

mod batches;
mod bodies;
mod crowds;
mod frames;
mod witness;

use crate::support::broker::Broker;

/// What a broker with its defaults may hold at its peak, whatever it is sent.
const MEMORY_MAX: u64 = 512 << 20;

/// A broker of our own, for its memory and log are looked at.
fn broker() -> Broker {
    Broker::own(&[])
}

fn assert_unharmed(broker: &mut Broker) {
    assert!(broker.is_running());
    let peak = broker.memory_peak();
    println!("memory peak: {} MiB", peak >> 20);
    assert!(peak <= MEMORY_MAX, "{} MiB", peak >> 20);
    let log = broker.log();
    assert!(!log.contains("panicked"), "a panic in the log");
    assert!(log.len() < 4 << 20, "the log has {} bytes: there is no rate limit", log.len());
}
