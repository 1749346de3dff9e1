//! What the shell counts on one core.

engine::metrics! {
    /// Connections and requests of one core.
    NetMetrics {
        connections: Gauge "Connections now",
        connections_accepted: Counter "Connections accepted",
        connections_over_limit: Counter "Connections not accepted because of a limit",
        connections_moved: Counter "Connections handed over to another core",
        connections_closed: Counter "Connections closed, by whomever",
        connections_refused: Counter "Connections closed for what the client sent or failed to take",
        bytes_received: Counter "Bytes of requests",
        bytes_sent: Counter "Bytes of answers",
        frame_bytes: Gauge "Memory that requests hold, arriving or in service",
        working_bytes: Gauge "Memory that requests take beside their frames, and answers until they are sent",
        pinned_bytes: Gauge "Memory of caches that answers keep until they are sent",
        calls_waiting: Gauge "Calls to other cores that wait for their answer",
        requests: Counter "Requests answered",
        request_time: Histogram "From the last byte of a request to its answer's readiness",
    }
}
