//! The release binary, driven from outside by the clients that people use.
//!
//! One module per behaviour. Each test has a broker of its own, which starts in milliseconds; those
//! that only speak the protocol can be tried on any broker, Apache Kafka first of all:
//!
//! ```sh
//! ODRADEK_TEST_BOOTSTRAP=127.0.0.1:9092 cargo test -p odradek --test e2e librdkafka
//! ```

mod admin_port;
mod commands;
mod compaction;
mod exchange;
mod group_loads;
mod group_readers;
mod hostile;
mod kafka_programs;
mod kcat;
mod kill_nine;
mod lost_disk;
mod other_clients;
mod produce_over_restarts;
mod restart_time;
mod start_up;
mod support;
mod upkeep;
mod walkthrough;

mod librdkafka {
    mod admin;
    mod codecs;
    mod groups;
    mod idempotence;
    mod metadata;
    mod offsets;
    mod records;
}
