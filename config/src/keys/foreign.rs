//! Kafka's keys that Odradek does not have, so that a refusal can say why.
//!
//! A rule is a whole name or, ending in a dot, a prefix. When a key's feature is built, the key
//! gets its row and its rule goes.

/// Why `name` cannot be set, if it is a key of Kafka's.
#[must_use]
pub fn why(name: &str) -> Option<&'static str> {
    let covers = |rule: &&str| match rule.ends_with('.') {
        true => name.starts_with(*rule),
        false => name == *rule,
    };
    RULES.iter().find(|(_, rules)| rules.iter().any(covers)).map(|(why, _)| *why)
}

/// Reason, and the names and prefixes that it holds for.
pub(crate) const RULES: &[(&str, &[&str])] = &[
    ("use node.id", &["broker.id"]),
    ("use log.dirs", &["log.dir"]),
    (
        "removed in Kafka 4.0",
        &["message.downconversion.enable", "log.message.downconversion.enable"],
    ),
    ("dead letter queues are not built yet", &["errors."]),
    ("TLS is not built yet; PLAINTEXT listeners only", &["ssl.", "security."]),
    (
        "SASL is not built yet; PLAINTEXT listeners only",
        &[
            "sasl.",
            "delegation.",
            "connection.failed.authentication.delay.ms",
            "connections.max.reauth.ms",
        ],
    ),
    (
        "authorization is not built yet",
        &[
            "authorizer.",
            "super.users",
            "allow.everyone.if.no.acl.found",
            "principal.builder.class",
        ],
    ),
    ("keys for one listener are not built yet; set the key for all of them", &["listener.name."]),
    ("both group protocols are always served", &["group.coordinator.rebalance.protocols"]),
    (
        "groups live on the cores; they have no threads or buffers of their own",
        &["group.coordinator."],
    ),
    ("share groups are not built yet", &["share.", "group.share."]),
    ("streams groups are not built yet", &["streams.", "group.streams."]),
    (
        "transactions are not built yet",
        &["transaction.", "transactional.id.expiration.ms", "add.partitions.to.txn."],
    ),
    (
        "quotas are not built yet",
        &[
            "quota.",
            "controller.quota.",
            "replication.quota.",
            "alter.log.dirs.replication.quota.",
            "client.quota.callback.class",
        ],
    ),
    (
        "tiered storage is not built yet",
        &["remote.", "rsm.", "rlmm.", "follower.fetch.last.tiered.offset.enable"],
    ),
    (
        "clusters of several nodes are not built yet",
        &[
            "auto.leader.rebalance.enable",
            "broker.heartbeat.interval.ms",
            "broker.session.timeout.ms",
            "controlled.shutdown.enable",
            "controller.",
            "cordoned.log.dirs",
            "early.start.listeners",
            "initial.broker.registration.timeout.ms",
            "inter.broker.listener.name",
            "leader.imbalance.",
            "log.dir.failure.timeout.ms",
            "num.replica.",
            "replica.",
            "request.timeout.ms",
            "socket.connection.",
            "unclean.leader.election.interval.ms",
        ],
    ),
    (
        "metrics and telemetry are not configurable yet",
        &["kafka.metrics.", "metric.", "metrics.", "auto.include.jmx.reporter", "telemetry."],
    ),
    (
        "Java classes cannot be loaded",
        &["alter.config.policy.class.name", "create.topic.policy.class.name", "config.providers"],
    ),
    ("the first of log.dirs holds the metadata log", &["metadata.log.dir"]),
    (
        "there is no such queue or checkpoint to tune",
        &[
            "delete.records.purgatory.purge.interval.requests",
            "fetch.purgatory.purge.interval.requests",
            "producer.purgatory.purge.interval.requests",
            "log.flush.offset.checkpoint.interval.ms",
            "log.flush.start.offset.checkpoint.interval.ms",
        ],
    ),
    (
        "a key for Kafka's own tests",
        &["internal.", "log.initial.task.delay.ms", "server.max.startup.time.ms", "unstable."],
    ),
];
