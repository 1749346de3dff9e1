//! What the cluster tells Kafka's tools of itself.

use super::Programs;
use crate::support::client::{Record, create_topic, produce};
use crate::support::unique;

#[test]
fn api_versions_are_read() {
    let Some(programs) = Programs::start() else { return };
    let listed = programs.run("org.apache.kafka.tools.BrokerApiVersionsCommand", &[]);
    assert!(listed.contains(" (id: 1 rack: null isFenced: false) -> ("), "{listed}");
    for row in [
        "Produce(0): 0 to 13 [usable: 13]",
        "Fetch(1): 4 to 18 [usable: 18]",
        "ListOffsets(2): 1 to 11 [usable: 11]",
        "Metadata(3): 0 to 13 [usable: 13]",
        "ApiVersions(18): 0 to 4 [usable: 4]",
        "CreateTopics(19): 2 to 7 [usable: 7]",
        "DeleteTopics(20): 1 to 6 [usable: 6]",
        "DeleteRecords(21): 0 to 2 [usable: 2]",
        "InitProducerId(22): 0 to 5 [usable: 5]",
        "OffsetForLeaderEpoch(23): 2 to 4 [usable: 4]",
        "DescribeConfigs(32): 1 to 4 [usable: 4]",
        "AlterConfigs(33): 0 to 2 [usable: 2]",
        "AlterReplicaLogDirs(34): 1 to 2 [usable: 2]",
        "DescribeLogDirs(35): 1 to 5 [usable: 5]",
        "CreatePartitions(37): 0 to 3 [usable: 3]",
        "ElectLeaders(43): 0 to 2 [usable: 2]",
        "IncrementalAlterConfigs(44): 0 to 1 [usable: 1]",
        "AlterPartitionReassignments(45): 0 to 1 [usable: 1]",
        "ListPartitionReassignments(46): 0 [usable: 0]",
        "DescribeQuorum(55): 0 to 2 [usable: 2]",
        "UpdateFeatures(57): 0 to 2 [usable: 2]",
        "DescribeCluster(60): 0 to 2 [usable: 2]",
        "DescribeProducers(61): 0 [usable: 0]",
        "UnregisterBroker(64): 0 [usable: 0]",
        "ListConfigResources(74): 0 to 1 [usable: 1]",
        "DescribeTopicPartitions(75): 0 [usable: 0]",
    ] {
        assert!(listed.contains(row), "{row} is not in\n{listed}");
    }
}

#[test]
fn the_quorum_is_this_node() {
    let Some(programs) = Programs::start() else { return };
    let quorum = "org.apache.kafka.tools.MetadataQuorumCommand";
    let status = programs.run(quorum, &["describe", "--status"]);
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} is not in\n{status}")).trim().to_owned()
    };
    assert_eq!(field("ClusterId:").len(), 22, "{status}");
    assert_eq!(field("LeaderId:"), "1");
    assert_eq!(field("MaxFollowerLag:"), "0");
    assert!(field("HighWatermark:").parse::<i64>().is_ok_and(|offset| offset > 0), "{status}");
    assert!(field("CurrentVoters:").contains("\"id\": 1"), "{status}");
    let replication = programs.run(quorum, &["describe", "--replication"]);
    assert!(replication.lines().any(|l| l.trim_end().ends_with("Leader")), "{replication}");

    // This one wants its subcommand first.
    let arguments = ["cluster-id", "--bootstrap-server", programs.address()];
    let id = programs.java.run("org.apache.kafka.tools.ClusterTool", &arguments);
    assert_eq!(id.trim(), format!("Cluster ID: {}", field("ClusterId:")));
    let features = programs.run("org.apache.kafka.tools.FeatureCommand", &["describe"]);
    assert!(features.contains("FinalizedVersionLevel: 4.3-IV0"), "{features}");
}

#[test]
fn log_directories_show_their_partitions() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-log-dirs");
    create_topic(programs.address(), &topic, 2, &[]);
    produce(programs.address(), &[], &topic, &[Record::of(vec![7; 1000]).to(1)]);
    let arguments = ["--describe", "--topic-list", &topic];
    let described = programs.run("org.apache.kafka.tools.LogDirsCommand", &arguments);
    let json = described.lines().find(|line| line.starts_with('{')).expect("a line of JSON");
    let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let directory = &json["brokers"][0]["logDirs"][0];
    assert!(directory["error"].is_null(), "{json}");
    let size = |partition: i32| {
        let name = format!("{topic}-{partition}");
        let partitions = directory["partitions"].as_array().expect("a list");
        let found = partitions.iter().find(|p| p["partition"] == name.as_str()).expect("listed");
        assert_eq!((&found["offsetLag"], &found["isFuture"]), (&0.into(), &false.into()));
        found["size"].as_i64().expect("a number")
    };
    assert_eq!(size(0), 0);
    assert!((1000..1200).contains(&size(1)), "{json}");
}

#[test]
fn feature_levels_go_down_and_up() {
    let Some(programs) = Programs::own() else { return };
    let tool = "org.apache.kafka.tools.FeatureCommand";
    let level = |name: &str| {
        let described = programs.run(tool, &["describe"]);
        let row = described.lines().find(|line| line.starts_with(&format!("Feature: {name}")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in\n{described}"));
        let (_, rest) = row.split_once("FinalizedVersionLevel: ").expect("a level");
        rest.split_whitespace().next().expect("a level").to_owned()
    };
    let transactions = ["--feature", "transaction.version=1"];
    let dry = programs.run(tool, &[&["downgrade"], &transactions[..], &["--dry-run"]].concat());
    assert!(dry.contains("transaction.version can be downgraded to 1."), "{dry}");
    assert_eq!(level("transaction.version"), "2");
    let said = programs.run(tool, &[&["downgrade"], &transactions[..]].concat());
    assert!(said.contains("transaction.version was downgraded to 1."), "{said}");
    assert_eq!(level("transaction.version"), "1");
    let said = programs.run(tool, &["disable", "--feature", "streams.version"]);
    assert!(said.contains("streams.version was disabled."), "{said}");
    assert_eq!(level("streams.version"), "0");
    let refused = programs.refused(tool, &["upgrade", "--feature", "foo=1"]);
    let why = "Invalid update version 1 for feature foo. Local controller 1 does not support this \
               feature.";
    assert!(refused.contains(why), "{refused}");
    let refused = programs.refused(tool, &["downgrade", "--release-version", "4.2"]);
    assert!(refused.contains("it might delete metadata information"), "{refused}");
    programs.run(tool, &["upgrade", "--release-version", "4.3"]);
    assert_eq!(level("transaction.version"), "2");
    assert_eq!(level("streams.version"), "1");
}

#[test]
fn brokers_are_unregistered_but_not_this_one() {
    let Some(programs) = Programs::start() else { return };
    let unregister = |id: &str| {
        // This tool wants its subcommand first.
        let arguments = ["unregister", "--bootstrap-server", programs.address(), "--id", id];
        programs.java.finish("org.apache.kafka.tools.ClusterTool", &arguments, b"").expect_failure()
    };
    let refused = unregister("7");
    assert!(refused.contains("Broker ID 7 is not currently registered"), "{refused}");
    let refused = unregister("1");
    assert!(refused.contains("cannot be removed"), "{refused}");
}
