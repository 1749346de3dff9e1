//! Tools that move leaders and replicas, and look at a partition's producers: on one node there is
//! little to do, and they must say so rather than fail.

use std::fs;

use super::Programs;
use crate::support::client::{Record, create_topic, produce};
use crate::support::unique;

#[test]
fn producers_are_described() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-producers");
    create_topic(programs.address(), &topic, 1, &[]);
    let idempotent = [("enable.idempotence", "true")];
    let records = vec![Record::of("x").to(0); 3];
    produce(programs.address(), &idempotent, &topic, &records);
    let tool = "org.apache.kafka.tools.TransactionsCommand";
    let arguments = ["describe-producers", "--topic", &topic, "--partition", "0"];
    let described = programs.run(tool, &arguments);
    let mut lines = described.lines();
    let head = lines.next().expect("a heading");
    assert!(head.starts_with("ProducerId\tProducerEpoch\tLatestCoordinatorEpoch"), "{described}");
    let fields: Vec<&str> = lines.next().expect("one").split('\t').map(str::trim).collect();
    assert!(fields[0].parse::<i64>().is_ok_and(|id| id >= 0), "{described}");
    assert_eq!((fields[1], fields[2], fields[3], fields[5]), ("0", "-1", "2", "None"));
}

#[test]
fn the_preferred_leader_leads() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-election");
    create_topic(programs.address(), &topic, 1, &[]);
    let tool = "org.apache.kafka.tools.LeaderElectionCommand";
    for kind in ["preferred", "unclean"] {
        let arguments = ["--election-type", kind, "--topic", &topic, "--partition", "0"];
        let said = programs.run(tool, &arguments);
        let expected = format!("Valid replica already elected for partitions {topic}-0");
        assert!(said.contains(&expected), "{said}");
    }
    let nowhere = ["--election-type", "preferred", "--topic", "nowhere", "--partition", "0"];
    programs.refused(tool, &nowhere);
}

#[test]
fn a_move_to_the_same_place_is_done() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-moves");
    create_topic(programs.address(), &topic, 1, &[]);
    let file = programs.home().join("moves.json");
    let part = format!(r#"{{"topic":"{topic}","partition":0,"replicas":[1]}}"#);
    fs::write(&file, format!(r#"{{"version":1,"partitions":[{part}]}}"#)).expect("a home");
    let file = file.display().to_string();
    let tool = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
    let run = |what: &[&str]| programs.run(tool, what);
    let with_file = |what| run(&["--reassignment-json-file", &file, what]);
    let started = with_file("--execute");
    let expected = format!("Successfully started partition reassignment for {topic}-0");
    assert!(started.contains(&expected), "{started}");
    let verified = with_file("--verify");
    assert!(verified.contains(&format!("partition {topic}-0 is completed")), "{verified}");
    assert!(run(&["--list"]).contains("No partition reassignments found."));
    let cancelled = with_file("--cancel");
    assert!(cancelled.contains("None of the specified partition reassignments are active."));
}
