//! `kafka-topics`: create, list, describe, alter, delete.

use super::Programs;
use crate::support::unique;

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

#[test]
fn a_topic_lives_and_dies() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-topics");
    let on = ["--topic", topic.as_str()];
    let create = [&["--create", "--partitions", "2", "--config", "retention.ms=1000000"], &on[..]];
    let created = programs.run(TOPICS, &create.concat());
    assert!(created.contains(&format!("Created topic {topic}.")), "{created}");

    let again = programs.refused(TOPICS, &[&["--create"], &on[..]].concat());
    assert!(again.contains(&format!("Topic '{topic}' already exists.")), "{again}");

    let listed = programs.run(TOPICS, &["--list"]);
    assert!(listed.lines().any(|line| line == topic), "{listed}");

    let described = programs.run(TOPICS, &[&["--describe"], &on[..]].concat());
    let head = described.lines().next().expect("a line");
    assert!(head.contains("PartitionCount: 2\tReplicationFactor: 1"), "{head}");
    assert!(head.contains("retention.ms=1000000"), "{head}");
    for (partition, line) in described.lines().skip(1).enumerate() {
        let expected = format!("Partition: {partition}\tLeader: 1\tReplicas: 1\tIsr: 1");
        assert!(line.contains(&expected), "{line}");
    }

    programs.run(TOPICS, &[&["--alter", "--partitions", "5"], &on[..]].concat());
    let described = programs.run(TOPICS, &[&["--describe"], &on[..]].concat());
    assert!(described.contains("PartitionCount: 5"), "{described}");
    let shrunk = programs.refused(TOPICS, &[&["--alter", "--partitions", "1"], &on[..]].concat());
    assert!(shrunk.contains("The topic") && shrunk.contains("currently has 5"), "{shrunk}");

    programs.run(TOPICS, &[&["--delete"], &on[..]].concat());
    let gone = programs.refused(TOPICS, &[&["--describe"], &on[..]].concat());
    assert!(gone.contains(&format!("Topic '{topic}' does not exist as expected")), "{gone}");
}

#[test]
fn refusals_carry_kafkas_words() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-refused");
    let refusal = |arguments: &[&str]| {
        let arguments = [&["--create", "--topic", &topic], arguments].concat();
        programs.refused(TOPICS, &arguments)
    };
    let replicas = refusal(&["--replication-factor", "3"]);
    assert!(replicas.contains("Unable to replicate the partition 3 time(s)"), "{replicas}");
    let value = refusal(&["--config", "retention.ms=soon"]);
    assert!(value.contains("Invalid value soon for configuration retention.ms"), "{value}");
    let partitions = refusal(&["--partitions", "0"]);
    assert!(partitions.contains("must be greater than 0"), "{partitions}");
}
