//! Every API that is served has its schema, its handler, and a test in which a real client calls it.
//!
//! Hostile bodies need no list: `hostile::bodies` of the end-to-end tests walks through what the
//! broker advertises. Round trips need none either: the wire crate's walk through all its schemas,
//! so that an API is in their list is all to check.

use super::Finding;
use super::source::{Source, Tree};

/// By handler module: an end-to-end test in which somebody else's client makes this call.
const REAL_CLIENTS: &[(&str, &str)] = &[
    ("alter_configs", "librdkafka::admin::configs_are_described_and_altered"),
    (
        "alter_partition_reassignments",
        "kafka_programs::partitions::a_move_to_the_same_place_is_done",
    ),
    (
        "alter_replica_log_dirs",
        "kafka_programs::log_dirs::a_partition_moves_under_load_and_over_a_kill",
    ),
    ("api_versions", "kafka_programs::cluster::api_versions_are_read"),
    (
        "consumer_group_describe",
        "kafka_programs::groups::a_consumer_group_is_read_described_and_deleted",
    ),
    (
        "consumer_group_heartbeat",
        "librdkafka::groups::members_of_a_consumer_group_share_and_take_over",
    ),
    ("create_partitions", "librdkafka::admin::a_topic_grows_and_does_not_shrink"),
    ("create_topics", "librdkafka::admin::topics_that_cannot_be_are_refused"),
    ("delete_groups", "kafka_programs::groups::a_group_is_read_described_reset_and_deleted"),
    ("delete_records", "librdkafka::admin::records_are_deleted_up_to_an_offset"),
    ("delete_topics", "librdkafka::admin::a_deleted_topic_is_gone_and_its_name_is_free"),
    ("describe_cluster", "kafka_programs::cluster::the_quorum_is_this_node"),
    ("describe_configs", "kafka_programs::configs::a_topics_configs_change"),
    ("describe_groups", "kafka_programs::groups::a_group_in_use_is_not_deleted"),
    ("describe_log_dirs", "kafka_programs::cluster::log_directories_show_their_partitions"),
    ("describe_producers", "kafka_programs::partitions::producers_are_described"),
    ("describe_quorum", "kafka_programs::cluster::the_quorum_is_this_node"),
    ("describe_topic_partitions", "kafka_programs::topics::a_topic_lives_and_dies"),
    ("elect_leaders", "kafka_programs::partitions::the_preferred_leader_leads"),
    ("fetch", "librdkafka::offsets::a_fetch_may_start_inside_a_batch"),
    ("find_coordinator", "librdkafka::groups::two_members_share_a_group"),
    ("heartbeat", "librdkafka::groups::two_members_share_a_group"),
    ("incremental_alter_configs", "kafka_programs::configs::a_topics_configs_change"),
    ("init_producer_id", "librdkafka::idempotence::records_keep_their_order_over_partitions"),
    ("join_group", "librdkafka::groups::two_members_share_a_group"),
    ("leave_group", "librdkafka::groups::two_members_share_a_group"),
    ("list_config_resources", "kafka_programs::configs::client_metrics_are_listed_and_kept"),
    ("list_groups", "kafka_programs::groups::a_group_is_read_described_reset_and_deleted"),
    ("list_offsets", "librdkafka::offsets::offsets_are_found_by_time"),
    (
        "list_partition_reassignments",
        "kafka_programs::partitions::a_move_to_the_same_place_is_done",
    ),
    ("metadata", "librdkafka::metadata::a_topic_shows_its_partitions"),
    ("offset_commit", "librdkafka::groups::a_member_goes_on_where_the_group_has_come"),
    ("offset_delete", "kafka_programs::groups::a_group_is_read_described_reset_and_deleted"),
    ("offset_fetch", "librdkafka::groups::a_member_goes_on_where_the_group_has_come"),
    ("offset_for_leader_epoch", "librdkafka::offsets::a_consumer_outlives_a_restart"),
    ("produce", "librdkafka::codecs::five_codecs_share_a_partition"),
    ("sync_group", "librdkafka::groups::two_members_share_a_group"),
    ("unregister_broker", "kafka_programs::cluster::brokers_are_unregistered_but_not_this_one"),
    ("update_features", "kafka_programs::cluster::feature_levels_go_down_and_up"),
];

/// Where the table of served APIs is.
const TABLE: &str = "net/src/api/mod.rs";
/// Where the wire crate lists the schemas that its tests walk through.
const SCHEMAS: &str = "net/wire/src/msg.rs";

pub(super) fn apis(tree: &Tree) -> Vec<Finding> {
    let file = |path: &str| tree.rust.iter().find(|source| source.path == path);
    let Some(table) = file(TABLE) else { return vec![] };
    let mut findings = Vec::new();
    for row in rows(table) {
        let mut miss = |what: String| {
            findings.push(Finding { path: TABLE.to_owned(), line: row.line, what });
        };
        let module = &row.module;
        // A handler that has outgrown one file is a folder of its name.
        let folder = format!("net/src/api/{module}/mod.rs");
        for path in [format!("net/wire/src/msg/{module}.rs"), format!("net/src/api/{module}.rs")] {
            if file(&path).is_none() && (path.contains("/msg/") || file(&folder).is_none()) {
                miss(format!("{}: no {path}", row.key));
            }
        }
        if file(SCHEMAS).is_none_or(|schemas| schemas.hits(&[&row.key]).next().is_none()) {
            miss(format!("{}: not in the list of {SCHEMAS}, so no round trip", row.key));
        }
        match REAL_CLIENTS.iter().find(|(name, _)| name == module) {
            Some((_, test)) if !exists(tree, test) => miss(format!("{}: no test {test}", row.key)),
            Some(_) => {}
            None => miss(format!("{}: no real client's test is named for it", row.key)),
        }
    }
    findings
}

/// A row of the table: `Key: module(Input) ordered|pipelined, ..`.
struct Row {
    key: String,
    module: String,
    line: usize,
}

fn rows(table: &Source) -> Vec<Row> {
    let rows = table.tokens.windows(7).filter_map(|window| {
        let text = |at: usize| window[at].text.as_str();
        let is_row = text(1) == ":"
            && text(3) == "("
            && text(5) == ")"
            && matches!(text(6), "ordered" | "pipelined");
        is_row.then(|| Row {
            key: text(0).to_owned(),
            module: text(2).to_owned(),
            line: window[0].line,
        })
    });
    rows.collect()
}

/// Whether `module::path::function` is a function of the end-to-end tests.
fn exists(tree: &Tree, test: &str) -> bool {
    let (modules, function) = test.rsplit_once("::").expect("a path");
    let path = format!("cli/tests/e2e/{}.rs", modules.replace("::", "/"));
    let file = tree.rust.iter().find(|source| source.path == path);
    file.is_some_and(|file| file.functions.iter().any(|found| found.name == function))
}

mod tests {
    use super::{SCHEMAS, TABLE, Tree, apis};

    const ROW: &str = "apis! { Fetch: fetch(FetchRequest) pipelined, budget(8 KiB); }";
    const WHOLE: [(&str, &str); 5] = [
        (TABLE, ROW),
        (SCHEMAS, "schemas! { Fetch }"),
        ("net/wire/src/msg/fetch.rs", ""),
        ("net/src/api/fetch.rs", ""),
        ("cli/tests/e2e/librdkafka/offsets.rs", "fn a_fetch_may_start_inside_a_batch() {}"),
    ];

    #[test]
    fn every_missing_piece_is_found() {
        assert!(apis(&Tree::of(&WHOLE)).is_empty());
        for (missing, (path, _)) in WHOLE.iter().enumerate().skip(1) {
            let mut files = WHOLE.to_vec();
            files.remove(missing);
            assert_eq!(apis(&Tree::of(&files)).len(), 1, "without {path}");
        }
    }

    #[test]
    fn an_api_without_a_real_client_is_found() {
        let mut files = WHOLE.to_vec();
        files[0].1 = "apis! { Vote: vote(VoteRequest) ordered, budget(8 KiB); }";
        files[1].1 = "schemas! { Vote }";
        files[2].0 = "net/wire/src/msg/vote.rs";
        files[3].0 = "net/src/api/vote.rs";
        let findings = apis(&Tree::of(&files));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("no real client"), "{}", findings[0]);
    }
}
