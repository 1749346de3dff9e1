//! `kafka-configs` on topics, on one broker and on the default of all.

use super::Programs;
use crate::support::client::create_topic;
use crate::support::unique;

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
