//! `kafka-configs` on topics, on one broker and on the default of all, on groups and on telemetry
//! subscriptions.

use std::process::Command;

use super::Programs;
use crate::support::broker::binary;
use crate::support::client::{LIMIT, create_topic};
use crate::support::{process, unique};

const CONFIGS: &str = "kafka.admin.ConfigCommand";

#[test]
fn a_topics_configs_change() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-configs");
    create_topic(programs.address(), &topic, 1, &[("retention.ms", "1000000")]);
    let scope = ["--entity-type", "topics", "--entity-name", &topic];
    let run = |arguments: &[&str]| programs.run(CONFIGS, &[&scope, arguments].concat());
    run(&["--alter", "--add-config", "max.message.bytes=5000,segment.bytes=2097152"]);
    let described = run(&["--describe"]);
    assert!(
        described.contains(
            "max.message.bytes=5000 sensitive=false synonyms={\
             DYNAMIC_TOPIC_CONFIG:max.message.bytes=5000, DEFAULT_CONFIG:message.max.bytes=1048588}"
        ),
        "{described}"
    );
    assert!(described.contains("segment.bytes=2097152"), "{described}");
    assert!(described.contains("retention.ms=1000000"), "{described}");

    run(&["--alter", "--delete-config", "max.message.bytes"]);
    assert!(!run(&["--describe"]).contains("max.message.bytes"));
    let all = run(&["--describe", "--all"]);
    assert!(all.contains("max.message.bytes=1048588"), "{all}");

    let wrong = ["--alter", "--add-config", "retention.ms=soon"];
    let refused = programs.refused(CONFIGS, &[&scope[..], &wrong].concat());
    assert!(refused.contains("Invalid value soon for configuration retention.ms"), "{refused}");
}

#[test]
fn broker_configs_change_for_one_and_for_all() {
    let Some(programs) = Programs::start() else { return };
    let scopes: [&[&str]; 2] = [&["--entity-default"], &["--entity-name", "1"]];
    for scope in scopes {
        let run = |arguments: &[&str]| {
            programs.run(CONFIGS, &[&["--entity-type", "brokers"], scope, arguments].concat())
        };
        run(&["--alter", "--add-config", "log.retention.ms=7000000"]);
        let described = run(&["--describe"]);
        assert!(described.contains("log.retention.ms=7000000"), "{described}");
        run(&["--alter", "--delete-config", "log.retention.ms"]);
        assert!(!run(&["--describe"]).contains("log.retention.ms=7000000"));
    }
    let one = ["--entity-type", "brokers", "--entity-name", "1"];
    let all = programs.run(CONFIGS, &[&one[..], &["--describe", "--all"]].concat());
    assert!(all.contains("  advertised.listeners="), "{all}");
    let fixed = ["--alter", "--add-config", "node.id=7"];
    let refused = programs.refused(CONFIGS, &[&one[..], &fixed].concat());
    assert!(refused.contains("Cannot update these configs dynamically"), "{refused}");
}

#[test]
fn a_groups_configs_change_and_hold() {
    let Some(programs) = Programs::start() else { return };
    let group = unique("java-paced");
    let scope = ["--entity-type", "groups", "--entity-name", &group];
    let run = |arguments: &[&str]| programs.run(CONFIGS, &[&scope, arguments].concat());
    run(&["--alter", "--add-config", "consumer.heartbeat.interval.ms=6000"]);
    let described = run(&["--describe"]);
    assert!(
        described.contains(
            "consumer.heartbeat.interval.ms=6000 sensitive=false synonyms={\
             DYNAMIC_GROUP_CONFIG:consumer.heartbeat.interval.ms=6000, \
             DEFAULT_CONFIG:group.consumer.heartbeat.interval.ms=5000}"
        ),
        "{described}"
    );
    let all = run(&["--describe", "--all"]);
    for line in [
        "consumer.session.timeout.ms=45000 sensitive=false synonyms={\
         DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000}",
        "share.auto.offset.reset=latest sensitive=false synonyms={\
         DEFAULT_CONFIG:share.auto.offset.reset=latest}",
        "streams.num.standby.replicas=0 sensitive=false synonyms={\
         DEFAULT_CONFIG:group.streams.num.standby.replicas=0}",
    ] {
        assert!(all.contains(line), "{line} is not in\n{all}");
    }
    // Groups that were never joined are known by their configs.
    let listed = programs.run(CONFIGS, &["--entity-type", "groups", "--describe"]);
    assert!(listed.contains(&group), "{listed}");

    let wrong = ["--alter", "--add-config", "consumer.session.timeout.ms=10"];
    let refused = programs.refused(CONFIGS, &[&scope[..], &wrong].concat());
    let said = "consumer.session.timeout.ms must be greater than or equal to \
                group.consumer.min.session.timeout.ms";
    assert!(refused.contains(said), "{refused}");
    run(&["--alter", "--delete-config", "consumer.heartbeat.interval.ms"]);
    assert!(!run(&["--describe"]).contains("heartbeat"));
}

#[test]
fn client_metrics_are_listed_and_kept() {
    let Some(programs) = Programs::own() else { return };
    let tool = "org.apache.kafka.tools.ClientMetricsCommand";
    let given = ["--interval", "30000", "--metrics", "org.apache.kafka.producer."];
    let matching = ["--match", "client_software_name=Java.*"];
    let alter = ["--alter", "--name", "basic"];
    programs.run(tool, &[&alter[..], &given, &matching].concat());
    assert_eq!(programs.run(tool, &["--list"]).trim(), "basic");
    let described = programs.run(tool, &["--describe", "--name", "basic"]);
    for line in [
        "interval.ms=30000",
        "match=client_software_name=Java.*",
        "metrics=org.apache.kafka.producer.",
    ] {
        assert!(described.contains(line), "{line} is not in\n{described}");
    }
    let wrong = ["--alter", "--name", "basic", "--match", "a=b"];
    let refused = programs.refused(tool, &wrong);
    assert!(refused.contains("Illegal client matching pattern: a=b"), "{refused}");
    programs.run(tool, &["--delete", "--name", "basic"]);
    assert_eq!(programs.run(tool, &["--list"]).trim(), "");
}

/// Whatever there is to describe, ours and Kafka's program say the same of it.
#[test]
fn our_program_says_what_kafkas_does() {
    let Some(programs) = Programs::own() else { return };
    let topic = unique("java-described");
    create_topic(programs.address(), &topic, 1, &[("retention.ms", "1000000")]);
    for (kind, name, config) in [
        ("groups", "paced", "consumer.heartbeat.interval.ms=6000"),
        ("client-metrics", "basic", "interval.ms=30000"),
        ("brokers", "1", "log.retention.ms=7000000"),
    ] {
        let what = ["--entity-type", kind, "--entity-name", name];
        programs.run(CONFIGS, &[&what[..], &["--alter", "--add-config", config]].concat());
    }
    let ours = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["kafka-configs", "--bootstrap-server", programs.address()]).args(arguments);
        process::run(command, b"", LIMIT)
    };
    for (kind, names) in [
        ("topics", &[&*topic, "nope"][..]),
        ("groups", &["paced", "nope"]),
        ("client-metrics", &["basic", "nope"]),
        ("brokers", &["1", "9"]),
        ("broker-loggers", &["1"]),
    ] {
        let mut whats: Vec<Vec<&str>> =
            names.iter().map(|name| vec!["--entity-type", kind, "--entity-name", name]).collect();
        whats.extend((kind != "broker-loggers").then(|| vec!["--entity-type", kind]));
        for what in whats {
            let arguments = [&["--describe"], &what[..]].concat();
            let theirs = programs.run(CONFIGS, &arguments);
            assert_eq!(ours(&arguments).expect_success(), theirs, "{arguments:?}");
        }
    }
    for kind in ["users", "clients", "ips"] {
        let arguments = ["--describe", "--entity-type", kind];
        let said = "UnsupportedVersionException: The node does not support DESCRIBE_CLIENT_QUOTAS";
        for refused in [programs.refused(CONFIGS, &arguments), ours(&arguments).expect_failure()] {
            assert!(refused.contains(said), "{refused}");
        }
        assert!(ours(&arguments).expect_failure().contains("not built yet"));
    }
}

#[test]
fn levels_of_loggers_change_what_is_logged() {
    let Some(programs) = Programs::own() else { return };
    let scope = ["--entity-type", "broker-loggers", "--entity-name", "1"];
    let run = |arguments: &[&str]| programs.run(CONFIGS, &[&scope, arguments].concat());
    let described = run(&["--describe"]);
    assert!(described.contains("root=INFO") && described.contains("net.meta=INFO"), "{described}");
    run(&["--alter", "--add-config", "net.meta=TRACE,net=ERROR"]);
    let described = run(&["--describe"]);
    for line in ["net.meta=TRACE", "net.api=ERROR", "root=INFO"] {
        assert!(described.contains(line), "{line} is not in\n{described}");
    }
    run(&["--alter", "--delete-config", "net.meta"]);
    assert!(run(&["--describe"]).contains("net.meta=ERROR"));
    let wrong = ["--alter", "--add-config", "nope=DEBUG"];
    let refused = programs.refused(CONFIGS, &[&scope[..], &wrong].concat());
    assert!(refused.contains("Invalid broker logger(s): nope"), "{refused}");
}
