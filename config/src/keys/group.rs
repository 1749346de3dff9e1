//! Keys that are set on a group of consumers, and on a telemetry subscription (KIP-714).

use super::keys;
use crate::error::Problem;
use crate::table::Synonym;
use crate::value::Value;

keys! {
    /// Keys of a group that have an effect, in the order of [`GroupConfig`]'s fields.
    table CONSUMER;

    /// Everything that is configured about one consumer group (KIP-848), with every default filled
    /// in. Times are milliseconds.
    struct GroupConfig;

    "Consumer groups" {
        "consumer.session.timeout.ms" session_timeout_ms: IntMillis = 45_000, min(1), of_group,
            from(&[Synonym::same("group.consumer.session.timeout.ms")]),
            "How long a member of the group may be silent before it is taken for dead.";
        "consumer.heartbeat.interval.ms" heartbeat_interval_ms: IntMillis = 5_000, min(1), of_group,
            from(&[Synonym::same("group.consumer.heartbeat.interval.ms")]),
            "How often members of the group are asked to send heartbeats.";
        "consumer.assignment.interval.ms" assignment_interval_ms: IntMillis = 1_000, min(0), of_group,
            from(&[Synonym::same("group.consumer.assignment.interval.ms")]),
            "How long the group goes on with an assignment before it is computed again; 0 for no wait.";
    }
}

keys! {
    /// Keys of groups that Odradek does not have yet: checked and kept as Kafka does.
    table OTHER;

    "Share groups" {
        "share.session.timeout.ms": IntMillis = 45_000, min(1),
            of_share_group("group.share.session.timeout.ms"),
            "How long a member of a share group may be silent before it is taken for dead.";
        "share.heartbeat.interval.ms": IntMillis = 5_000, min(1),
            of_share_group("group.share.heartbeat.interval.ms"),
            "How often members of a share group are asked to send heartbeats.";
        "share.assignment.interval.ms": IntMillis = 1_000, min(0),
            of_share_group("group.share.assignment.interval.ms"),
            "How long a share group goes on with an assignment before it is computed again.";
        "share.record.lock.duration.ms": IntMillis = 30_000, min(1_000),
            of_share_group("group.share.record.lock.duration.ms"),
            "How long a record that a member of a share group was given is its alone.";
        "share.delivery.count.limit": Int = 5, min(2),
            of_share_group("group.share.delivery.count.limit"),
            "How often a record is given to members of a share group before it is given up.";
        "share.partition.max.record.locks": Int = 2_000, min(100),
            of_share_group("group.share.partition.max.record.locks"),
            "Most records of a partition that members of a share group have at a time.";
        "share.auto.offset.reset": Text = "latest", checked(reset, RESET),
            of_share_group("share.auto.offset.reset"),
            "Where a share group begins to read a partition.";
        "share.isolation.level": Text = "read_uncommitted",
            one_of(&["read_committed", "read_uncommitted"]),
            of_share_group("share.isolation.level"),
            "Whether a share group is given records of transactions that are not committed.";
        "share.renew.acknowledge.enable": Bool = true,
            of_share_group("share.renew.acknowledge.enable"),
            "Whether members of a share group may keep a record for longer.";
    }

    "Streams groups" {
        "streams.session.timeout.ms": IntMillis = 45_000, min(1),
            of_streams_group("group.streams.session.timeout.ms"),
            "How long a member of a streams group may be silent before it is taken for dead.";
        "streams.heartbeat.interval.ms": IntMillis = 5_000, min(1),
            of_streams_group("group.streams.heartbeat.interval.ms"),
            "How often members of a streams group are asked to send heartbeats.";
        "streams.assignment.interval.ms": IntMillis = 1_000, min(0),
            of_streams_group("group.streams.assignment.interval.ms"),
            "How long a streams group goes on with an assignment before it is computed again.";
        "streams.initial.rebalance.delay.ms": IntMillis = 3_000, min(0),
            of_streams_group("group.streams.initial.rebalance.delay.ms"),
            "How long a new streams group waits for members before the first assignment.";
        "streams.num.standby.replicas": Int = 0, min(0),
            of_streams_group("group.streams.num.standby.replicas"),
            "Standby replicas of each task of a streams group.";
    }
}

keys! {
    /// Keys of a telemetry subscription.
    table SUBSCRIPTION;

    "Telemetry subscriptions" {
        "interval.ms": IntMillis = 300_000, of_subscription, inert(NO_TELEMETRY),
            "How often clients are asked to send their metrics: 100 to 3600000.";
        "metrics": List = "", of_subscription, inert(NO_TELEMETRY),
            "Beginnings of the names of the metrics to send; `*` for all.";
        "match": List = "", of_subscription, inert(NO_TELEMETRY),
            "Which clients are asked, as `client_id=REGEX` and the like; empty for all.";
    }
}

const NO_TELEMETRY: &str = "clients are not asked for metrics yet";
const RESET: &str = "earliest, latest or by_duration:<PnDTnHnMn.nS>";

fn reset(value: &Value) -> Result<(), Problem> {
    let Value::Text(text) = value else { return Ok(()) };
    let by_duration = || text.strip_prefix("by_duration:").is_some_and(is_duration);
    if text == "earliest" || text == "latest" || by_duration() {
        return Ok(());
    }
    Err(Problem::Text(format!(
        "Invalid value `{text}` for configuration share.auto.offset.reset. The value must be either \
         'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
    )))
}

/// Whether the text is a duration of ISO 8601 that is not negative: `P1DT2H3M4.5S`, any part of it,
/// one at least.
fn is_duration(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let Some(rest) = upper.strip_prefix('P') else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return false,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !days.is_empty() && !days.strip_suffix('D').is_some_and(whole) {
        return false;
    }
    let mut time = time;
    for unit in ['H', 'M'] {
        if let Some((number, later)) = time.split_once(unit) {
            if !whole(number) {
                return false;
            }
            time = later;
        }
    }
    let seconds = |text: &str| match text.split_once('.') {
        Some((before, after)) => whole(before) && (after.is_empty() || whole(after)),
        None => whole(text),
    };
    (time.is_empty() || time.strip_suffix('S').is_some_and(seconds)) && !rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_javas() {
        for text in ["PT1H", "P1D", "P1DT2H3M4.5S", "pt5s", "PT0.5S", "P2DT1M"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "P", "PT", "1H", "PT1", "P1H", "PT1D", "PT-1S", "-PT1S", "PT1S1M", "P1DT"]
        {
            assert!(!is_duration(text), "{text}");
        }
    }
}
