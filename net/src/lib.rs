//! The shell: sockets, cores and Kafka APIs around the engine.
