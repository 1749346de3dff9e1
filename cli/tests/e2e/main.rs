//! The release binary, driven from outside by the clients that people use.
//!
//! One module per behaviour. Each test has a broker of its own, which starts in milliseconds; those
//! that only speak the protocol can be tried on any broker, Apache Kafka first of all:
//!
//! ```sh
//! ODRADEK_TEST_BOOTSTRAP=127.0.0.1:9092 cargo test -p odradek --test e2e librdkafka
//! ```

mod commands;
mod compaction;
mod exchange;
mod hostile;
mod kafka_programs;
mod kcat;
mod kill_nine;
mod produce_over_restarts;
mod restart_time;
mod start_up;
mod support;
mod upkeep;

mod librdkafka {
    mod admin;
    mod codecs;
    mod groups;
    mod idempotence;
    mod metadata;
    mod offsets;
    mod records;
}
