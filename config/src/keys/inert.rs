//! Kafka's broker keys that are often set and mean nothing here: taken, and logged with the reason.

use super::keys;

keys! {
    /// Keys of a broker that change nothing.
    table INERT;

    "Kafka's keys that change nothing here" {
        "num.network.threads": Count = 3, min(1), dynamic, inert(NO_POOLS),
            "Threads for connections.";
        "num.io.threads": Count = 8, min(1), dynamic, inert(NO_POOLS),
            "Threads for requests.";
        "background.threads": Count = 10, min(1), dynamic, inert(NO_POOLS),
            "Threads for background work.";
        "num.recovery.threads.per.data.dir": Count = 2, min(1),
            dynamic, inert(NO_POOLS),
            "Threads that recover a directory.";
        "log.cleaner.enable": Bool = true, fixed,
            default_only("compacted topics need it; log.cleaner.io.max.bytes.per.second slows it down"),
            "Whether compacted topics are compacted.";
        "log.cleaner.threads": Count = 1, min(1), dynamic, inert(NO_POOLS),
            "Threads that compact.";
        "log.cleaner.io.buffer.size": IntBytes = 524_288, min(0), dynamic,
            inert("compaction reads and writes 256 KiB at a time"),
            "Memory for what compaction reads and writes.";
        "log.cleaner.io.buffer.load.factor": Double = 0.9, dynamic,
            inert("compaction fills three quarters of its buffer"),
            "How full the buffer for keys may become.";
        "queued.max.requests": Count = 500, min(1), fixed,
            inert("queues are bounded in bytes, by queued.max.request.bytes"),
            "Requests that wait before connections are no longer read.";
        "socket.send.buffer.bytes": Int = 102_400, fixed, inert(KERNEL_BUFFERS),
            "Send buffer of a connection.";
        "socket.receive.buffer.bytes": Int = 102_400, fixed,
            inert(KERNEL_BUFFERS),
            "Receive buffer of a connection.";
    }
}

const NO_POOLS: &str = "there are no thread pools: each of cores.count cores does all of its work";
const KERNEL_BUFFERS: &str = "the kernel sizes socket buffers itself, better than a fixed number";
