//! The harness against brokers whose delays and lies are known.

mod commands;
mod fake;
mod honesty;
