//! Keys of a broker that its own code reads.

use super::keys;
use crate::choice::{LogFormat, LogLevel};
use crate::error::Problem;
use crate::listener;
use crate::value::Value;

keys! {
    /// Keys of a broker, in the order of [`Settings`]'s fields.
    table BROKER;

    /// Everything that is configured about one broker, with every default filled in.
    ///
    /// Milliseconds are `i64`, bytes are `u64`, `None` is "no limit" or "not set". Listeners are
    /// better read from [`Config::listeners`](crate::Config::listeners), memory from
    /// [`Config::core_memory`](crate::Config::core_memory).
    struct Settings;

    "Node" {
        "node.id" node_id: Int = 1, min(0), fixed,
            "Number of this node, unique in its cluster.";
        "cluster.id" cluster_id: OptText, checked(cluster_id, CLUSTER_ID), fixed,
            example("MkU3OEVBNTcwNTJENDM2Qg"),
            "Id of the cluster: taken when the data directory is first used, made up where not set; afterwards it must agree with the directory.";
        "process.roles" process_roles: List = "broker,controller",
            one_of(&["broker", "controller"]), fixed,
            default_only("a node is both broker and controller until clusters are built"),
            "What the node does in its cluster.";
        "broker.rack" broker_rack: OptText, fixed, example("rack-1"),
            "Rack or zone that the node stands in.";
        "log.dirs" log_dirs: List = "./data", checked(log_dirs, LOG_DIRS), fixed,
            "Directories that hold the data; partitions are spread over them. The first also holds the cluster's metadata.";
    }

    "Listeners" {
        "listeners" listeners: List = "PLAINTEXT://127.0.0.1:9092",
            checked(listeners, LISTENERS), fixed,
            "Addresses to listen on, as `NAME://HOST:PORT`. An empty host is every address of the machine, port 0 any free port.";
        "advertised.listeners" advertised_listeners: List, checked(listeners, LISTENERS), fixed,
            example("PLAINTEXT://127.0.0.1:9092"),
            "Addresses that clients are told to connect to, by listener name; `listeners` where not set. Port 0 stands for the port that was bound.";
        "listener.security.protocol.map" listener_security_protocol_map: Text = "PLAINTEXT:PLAINTEXT",
            checked(protocol_map, PROTOCOL_MAP), fixed,
            "Security of each listener name, as `NAME:PROTOCOL`. PLAINTEXT is the only protocol yet.";
    }

    "Topics" {
        "num.partitions" num_partitions: Count = 1, min(1), fixed,
            "Partitions of a topic that is created without a count.";
        "default.replication.factor" default_replication_factor: Count = 1, range(1, 32_767), fixed,
            "Replicas of a topic that is created without a count.";
        "auto.create.topics.enable" auto_create_topics_enable: Bool = true, fixed,
            "Whether a topic is created when a client asks for its metadata.";
        "delete.topic.enable" delete_topic_enable: Bool = true, fixed,
            "Whether topics can be deleted.";
        "max.request.partition.size.limit" max_request_partition_size_limit: Count = 2_000, min(1),
            fixed,
            "Most partitions in one answer to DescribeTopicPartitions.";
    }

    "Connections" {
        "socket.request.max.bytes" socket_request_max_bytes: IntBytes = 104_857_600, min(1), fixed,
            "Largest request; a connection that announces more is closed.";
        "socket.listen.backlog.size" socket_listen_backlog_size: Count = 50, min(1), fixed,
            "Connections that the kernel holds until they are accepted; `net.core.somaxconn` caps it.";
        "connections.max.idle.ms" connections_max_idle_ms: LimitMillis = 600_000, fixed,
            "How long a connection may be silent before it is closed; negative for ever.";
        "max.connections" max_connections: Count = 2_147_483_647, min(0), dynamic,
            "Most connections at a time.";
        "max.connections.per.ip" max_connections_per_ip: Count = 2_147_483_647, min(0), dynamic,
            "Most connections at a time from one address.";
        "max.connections.per.ip.overrides" max_connections_per_ip_overrides: Text = "", dynamic,
            default_only("limits for single addresses are not built yet; max.connections.per.ip holds for all"),
            "Most connections from the addresses named, as `HOST:COUNT`.";
        "max.connection.creation.rate" max_connection_creation_rate: Count = 2_147_483_647, min(0),
            dynamic, default_only("a limit on new connections is not built yet; max.connections holds"),
            "Most new connections in a second.";
        "odradek.request.progress.timeout.ms" odradek_request_progress_timeout_ms: Millis = 10_000,
            min(1), fixed,
            "How long a request that has begun to arrive may make no progress before its memory is taken back and its connection closed.";
        "odradek.response.progress.timeout.ms" odradek_response_progress_timeout_ms: Millis = 30_000,
            min(1), fixed,
            "How long a client may take nothing of a response before its connection is closed.";
        "odradek.drain.timeout.ms" odradek_drain_timeout_ms: Millis = 10_000, min(0), fixed,
            "How long a stopping node waits for the requests it has begun.";
    }

    "Fetching and producing" {
        "fetch.max.bytes" fetch_max_bytes: IntBytes = 57_671_680, min(1_024), fixed,
            "Most bytes in one answer to a fetch, whatever the client asks for.";
        "max.incremental.fetch.session.cache.slots" max_incremental_fetch_session_cache_slots: Count = 1_000,
            min(0), fixed,
            "Most fetch sessions held over all cores; without a free one a client fetches in full.";
        "producer.id.expiration.ms" producer_id_expiration_ms: IntMillis = 86_400_000, min(1), dynamic,
            "How long a partition remembers an idempotent producer that no longer writes.";
        "producer.id.expiration.check.interval.ms" producer_id_expiration_check_interval_ms: IntMillis = 600_000,
            min(1), fixed,
            "How often partitions look for producers to forget.";
        "odradek.partition.producers.max" odradek_partition_producers_max: Count = 65_536, min(16),
            dynamic,
            "Most idempotent producers that a partition remembers; the ones heard of longest ago go first.";
        "odradek.journal.bytes" odradek_journal_bytes: Bytes = 134_217_728, min(0), fixed,
            "Size of the commit journal that each core has in each log directory, 2 MiB at least, made when some thousand small appends have come; 0 for none.";
        "odradek.journal.append.max.bytes" odradek_journal_append_max_bytes: Bytes = 65_536,
            range(1, 131_072), fixed,
            "Largest append that is made durable in the journal; it is written twice, and what is larger once.";
        "odradek.journal.partitions.min" odradek_journal_partitions_min: Count = 1, range(1, 1_000_000),
            fixed,
            "Partitions of a core that have to be written to within 100 ms for small appends to be made durable in the journal.";
        "log.retention.check.interval.ms" log_retention_check_interval_ms: Millis = 300_000, min(1),
            fixed,
            "How often partitions look for segments to delete.";
        "log.cleaner.dedupe.buffer.size" log_cleaner_dedupe_buffer_size: Bytes = 134_217_728,
            min(1_048_576), dynamic,
            "Memory over all cores, taken while a log is compacted, for its keys: 32 bytes each. A log with more of them is compacted in several passes.";
        "log.cleaner.io.max.bytes.per.second" log_cleaner_io_max_bytes_per_second: Double = 1.7976931348623157e308,
            dynamic,
            "Most bytes per second that compaction reads and writes, over all cores; whatever it says, compaction takes an eighth of a core's time, and more only for logs of which over half are dirty or that are overdue: up to half.";
        "replica.alter.log.dirs.io.max.bytes.per.second" replica_alter_log_dirs_io_max_bytes_per_second: Bytes = 9_223_372_036_854_775_807,
            min(0), dynamic,
            "Most bytes per second that are copied of partitions on their way from one log directory to another, over all cores; whatever it says, that takes half of a core's time at most.";
        "log.cleaner.backoff.ms" log_cleaner_backoff_ms: Millis = 15_000, min(0), dynamic,
            "How often each core looks for a log to compact when there was none.";
    }

    "Groups" {
        "group.min.session.timeout.ms" group_min_session_timeout_ms: IntMillis = 6_000,
            range(1, 2_147_483_647), fixed,
            "Shortest session that a member of a group may ask for: how long it may be silent before it is taken for dead.";
        "group.max.session.timeout.ms" group_max_session_timeout_ms: IntMillis = 1_800_000,
            range(1, 2_147_483_647), fixed,
            "Longest session that a member of a group may ask for.";
        "group.initial.rebalance.delay.ms" group_initial_rebalance_delay_ms: IntMillis = 3_000,
            min(0), fixed,
            "How long a group without members waits for others when the first one comes; longer with each that does.";
        "group.max.size" group_max_size: Count = 2_147_483_647, min(1), fixed,
            "Most members of a group.";
        "group.consumer.session.timeout.ms" group_consumer_session_timeout_ms: IntMillis = 45_000,
            min(1), fixed,
            "How long a member of a consumer group (KIP-848) may be silent before it is taken for dead.";
        "group.consumer.heartbeat.interval.ms" group_consumer_heartbeat_interval_ms: IntMillis = 5_000,
            min(1), fixed,
            "How often members of consumer groups are asked to send heartbeats.";
        "group.consumer.max.size" group_consumer_max_size: Count = 2_147_483_647, min(1), fixed,
            "Most members of a consumer group.";
        "group.consumer.assignors" group_consumer_assignors: List = "uniform,range",
            one_of(&["uniform", "range"]), fixed,
            "Assignors that members of consumer groups may ask for; the first one where they do not.";
        "group.consumer.assignment.interval.ms" group_consumer_assignment_interval_ms: IntMillis = 1_000,
            range(0, 15_000), fixed,
            "How long a consumer group goes on with an assignment before it is computed again; 0 for no wait.";
        "group.consumer.regex.refresh.interval.ms" group_consumer_regex_refresh_interval_ms: IntMillis = 600_000,
            min(10_000), fixed,
            "How often regular expressions of consumer groups are looked through although no topic has come or gone.";
        "group.consumer.migration.policy" group_consumer_migration_policy: Text = "bidirectional",
            checked(migration_policy, MIGRATION_POLICIES), fixed,
            "Which groups with members may change their protocol while these go on: classic ones to KIP-848's (`upgrade`), back (`downgrade`), both (`bidirectional`) or none (`disabled`).";
        "odradek.group.memory.bytes" odradek_group_memory_bytes: Bytes = 268_435_456, min(1_048_576), fixed,
            "Memory over all cores for groups, their members and offsets; beyond it new ones are refused.";
        "offset.metadata.max.bytes" offset_metadata_max_bytes: Count = 4_096, min(0), fixed,
            "Longest note that a client may attach to an offset, in UTF-16 units as in Kafka.";
        "offsets.commit.timeout.ms" offsets_commit_timeout_ms: IntMillis = 5_000, min(1), fixed,
            "How long a commit may wait until it is durable before its client is told to try again.";
        "offsets.load.buffer.size" offsets_load_buffer_size: Count = 5_242_880, min(1), fixed,
            "Bytes that are read at a time when groups are loaded; one batch always.";
        "offsets.retention.minutes" offsets_retention_minutes: Count = 10_080, min(1), fixed,
            "How long the offsets of a group are kept after its last member has gone, or for topics that it does not read any more.";
        "offsets.retention.check.interval.ms" offsets_retention_check_interval_ms: Millis = 600_000, min(1),
            fixed,
            "How often offsets are looked through for those to forget.";
        "offsets.topic.num.partitions" offsets_topic_num_partitions: Count = 50, min(1), fixed,
            "Partitions of `__consumer_offsets` when it is created; not to be changed later.";
        "offsets.topic.replication.factor" offsets_topic_replication_factor: Short = 3, range(1, 32_767), fixed,
            "Replicas of `__consumer_offsets` when it is created; as many as there are brokers where those are fewer, which Kafka refuses.";
        "offsets.topic.segment.bytes" offsets_topic_segment_bytes: IntBytes = 104_857_600, min(1_048_576), fixed,
            "`segment.bytes` of `__consumer_offsets` when it is created.";
        "offsets.topic.compression.codec" offsets_topic_compression_codec: Count = 0, range(0, 4), fixed,
            "Compression of what groups write: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.";
    }

    "Metadata" {
        "metadata.log.max.record.bytes.between.snapshots" metadata_log_max_record_bytes_between_snapshots: Bytes = 20_971_520,
            min(1), fixed,
            "Bytes of metadata records after which a snapshot is written.";
        "metadata.log.max.snapshot.interval.ms" metadata_log_max_snapshot_interval_ms: Millis = 3_600_000,
            min(0), fixed,
            "Time after which a snapshot is written if there are records since the last; 0 leaves it to the bytes.";
        "metadata.log.segment.bytes" metadata_log_segment_bytes: IntBytes = 1_073_741_824,
            min(8_388_608), fixed,
            "Size at which a segment of the metadata log is closed.";
        "metadata.log.segment.ms" metadata_log_segment_ms: Millis = 604_800_000, min(1), fixed,
            "Age at which a segment of the metadata log is closed.";
        "metadata.max.retention.bytes" metadata_max_retention_bytes: LimitBytes = 104_857_600, fixed,
            "Size of metadata log and snapshots above which old ones go; one snapshot always stays.";
        "metadata.max.retention.ms" metadata_max_retention_ms: LimitMillis = 604_800_000, fixed,
            "Age at which metadata log and snapshots go; one snapshot always stays.";
        "metadata.max.idle.interval.ms" metadata_max_idle_interval_ms: IntMillis = 500, min(0), fixed,
            "How often an idle controller writes an empty record; 0 for never.";
    }

    "Cores and memory" {
        "cores.count" cores_count: Count = 0, range(0, 1_024), fixed,
            "Cores to run on, one thread each; 0 is one for each of `cores.cpus`, or for each CPU that the process may use.";
        "cores.cpus" cores_cpus: Text = "", checked(cpus, CPUS), fixed,
            "CPUs that the cores are pinned to, as `0-3,8`; empty leaves the threads to the scheduler.";
        "cores.numa.node" cores_numa_node: Int = -1, range(-1, 1_023), fixed,
            "NUMA node to stay in: cores are pinned to its CPUs, and their memory is its own; -1 for all. To use several nodes, run a broker on each.";
        "cores.interrupts.cpus" cores_interrupts_cpus: Text = "", checked(cpus, CPUS), fixed,
            "CPUs that the devices' interrupts are sent to when the broker starts, as `0,4`, so that they do not disturb pinned cores; needs root. Empty leaves them where they are.";
        "cores.spin.us" cores_spin_us: Count = 0, range(0, 1_000_000), fixed,
            "Microseconds for which a pinned core that has nothing to do looks for work before it sleeps: shorter waits, more CPU.";
        "cores.memory.bytes" cores_memory_bytes: Bytes = 402_653_184, min(33_554_432), fixed,
            "Memory for cache, requests and responses over all cores; taken as it is needed. The three keys below divide it.";
        "cores.io.memory.bytes" cores_io_memory_bytes: LimitBytes = -1, range(-1, 1_073_741_824), fixed,
            "Memory of each core that the kernel does device I/O in, taken at start and beside `cores.memory.bytes`; -1 is 32 MiB over all cores, and 1 to 16 MiB for one. Rounded down to a power of two.";
        "odradek.cache.bytes" odradek_cache_bytes: LimitBytes = -1, min(-1), fixed,
            "Memory over all cores for the newest records of each partition; -1 is five eighths of `cores.memory.bytes`.";
        "queued.max.request.bytes" queued_max_request_bytes: LimitBytes = -1, min(-1), fixed,
            "Memory over all cores for requests above 64 KiB that are arriving or waiting; -1 is an eighth of `cores.memory.bytes`. A request above a core's share waits until it has the share alone.";
        "odradek.fetch.pinned.bytes" odradek_fetch_pinned_bytes: LimitBytes = -1, min(-1), fixed,
            "Memory over all cores for records in responses that clients have not taken yet; -1 is a quarter of `cores.memory.bytes`.";
        "odradek.fetch.pinned.connection.bytes" odradek_fetch_pinned_connection_bytes: LimitBytes = -1,
            min(-1), fixed,
            "The same for one connection; -1 is half of a core's share.";
    }

    "Logging" {
        "log.format" log_format: LogFormat = "text", one_of(LogFormat::NAMES), fixed,
            "Form of Odradek's own log lines.";
        "log.level" log_level: LogLevel = "info", one_of(LogLevel::NAMES), fixed,
            "Least severe log lines that are written.";
    }

    "Metrics and health" {
        "odradek.admin.listener" odradek_admin_listener: Text = "127.0.0.1:9644",
            checked(admin_listener, ADMIN_LISTENER), fixed,
            "Address for `/metrics`, `/healthz` and `/readyz` over HTTP, as `HOST:PORT`: port 0 takes any free port, empty is none. It is open to whoever reaches it. A broker whose address is taken does not start, but where this key is not set: then it goes without, so that several run on one machine.";
        "odradek.metrics.topics.max" odradek_metrics_topics_max: Count = 500, range(0, 100_000), fixed,
            "Topics that have metrics of their own; those of the rest are added up as `topic=\"other\"`.";
        "odradek.metrics.lags.max" odradek_metrics_lags_max: Count = 1_000, range(0, 100_000), fixed,
            "Pairs of group and topic whose lag is told; of the rest only how many there are.";
    }
}

const CLUSTER_ID: &str = "22 characters of base64url, as `odradek` or kafka-storage make them";
const LOG_DIRS: &str = "a list of directories";
const LISTENERS: &str = "a list of `NAME://HOST:PORT`, IPv6 in brackets";
const PROTOCOL_MAP: &str = "a list of `NAME:PLAINTEXT`";
const ADMIN_LISTENER: &str = "`HOST:PORT`, IPv6 in brackets, or empty";
const MIGRATION_POLICIES: &str =
    "one of (case insensitive): DISABLED, DOWNGRADE, UPGRADE, BIDIRECTIONAL";

fn migration_policy(value: &Value) -> Result<(), Problem> {
    let Value::Text(policy) = value else { return Ok(()) };
    let names = ["disabled", "downgrade", "upgrade", "bidirectional"];
    match names.iter().any(|name| name.eq_ignore_ascii_case(policy)) {
        true => Ok(()),
        false => Err(Problem::Text(format!("String must be {MIGRATION_POLICIES}"))),
    }
}

const CPUS: &str = "a list of CPU numbers and ranges, as `0-3,8`";

/// A UUID in Kafka's text form: 128 bits in 22 characters, so the last one carries 2 bits.
fn cluster_id(value: &Value) -> Result<(), Problem> {
    let Value::Text(id) = value else { return Ok(()) };
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if id.len() == 22 && id.bytes().all(base64url) && id.ends_with(['A', 'Q', 'g', 'w']) {
        return Ok(());
    }
    Err(Problem::Text(format!("Value must be {CLUSTER_ID}")))
}

fn log_dirs(value: &Value) -> Result<(), Problem> {
    let Value::List(dirs) = value else { return Ok(()) };
    if dirs.is_empty() || dirs.iter().any(String::is_empty) {
        let text = "At least one directory must be named, and none may be empty";
        return Err(Problem::Text(text.to_owned()));
    }
    Ok(())
}

fn listeners(value: &Value) -> Result<(), Problem> {
    let Value::List(parts) = value else { return Ok(()) };
    listener::parse_addresses(parts).map(drop).map_err(Problem::Text)
}

fn protocol_map(value: &Value) -> Result<(), Problem> {
    let Value::Text(text) = value else { return Ok(()) };
    listener::parse_protocol_map(text).map(drop).map_err(Problem::Text)
}

fn admin_listener(value: &Value) -> Result<(), Problem> {
    let Value::Text(text) = value else { return Ok(()) };
    if text.is_empty() {
        return Ok(());
    }
    let parsed = listener::parse_host_port(text);
    parsed.map(drop).map_err(|why| Problem::Text(format!("{why}; write {ADMIN_LISTENER}")))
}

fn cpus(value: &Value) -> Result<(), Problem> {
    let Value::Text(text) = value else { return Ok(()) };
    crate::cpus::parse(text).map(drop).ok_or_else(|| Problem::Text(format!("Value must be {CPUS}")))
}
