use std::path::PathBuf;

use super::*;

fn refused(builder: ConfigBuilder) -> String {
    builder.build().expect_err("refused").to_string()
}

#[test]
fn later_layers_win() {
    let file = "num.partitions = 3\nlog.segment.bytes = 2097152\ndelete.topic.enable = false\n";
    let config = Config::builder()
        .toml(Path::new("o.toml"), file)
        .set("num.partitions=4")
        .put("log.dirs", "/x,/y", Origin::Flag("--data"))
        .build()
        .expect("valid");
    assert_eq!(config.num_partitions, 4);
    assert!(!config.delete_topic_enable);
    assert_eq!(config.log_dirs(), [PathBuf::from("/x"), PathBuf::from("/y")]);
    assert_eq!(config.origin("num.partitions"), Some(&Origin::Set));
    assert_eq!(config.origin("log.dirs"), Some(&Origin::Flag("--data")));
    assert_eq!(
        config.origin("delete.topic.enable"),
        Some(&Origin::File { path: "o.toml".into(), line: 3 })
    );
    assert_eq!(config.origin("node.id"), None);
}

#[test]
fn errors_say_where_what_and_what_is_allowed() {
    let file = "node.id = -1\n\nnum.partition = 2\nretention.ms = 5\nlog.cleaner.enable = false\n\"ssl.protocol\" = 'x'\n";
    let builder = Config::builder()
        .toml(Path::new("o.toml"), file)
        .set("auto.create.topics.enable=yes")
        .set("oops")
        .set("cores.count=all")
        .set("compression.type=brotli")
        .set("zzzzzz=1");
    let expected = [
        "o.toml:1: node.id = -1: Value must be at least 0",
        "o.toml:3: num.partition cannot be set: did you mean num.partitions?",
        "o.toml:4: retention.ms is set on topics; its default is log.retention.ms",
        "o.toml:5: log.cleaner.enable = false: compacted topics need it; log.cleaner.io.max.bytes.per.second slows it down",
        "o.toml:6: ssl.protocol cannot be set: TLS is not built yet; PLAINTEXT listeners only",
        "--set: auto.create.topics.enable = yes: Expected value to be either true or false",
        "--set: oops: not of the form KEY=VALUE",
        "--set: cores.count = all: Not a number of type INT (allowed: 0 to 1024)",
        "--set: compression.type = brotli: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        "--set: zzzzzz: no such key; REFERENCE.md and `odradek config reference` list all",
    ];
    assert_eq!(refused(builder), expected.join("\n"));
}

#[test]
fn a_missing_file_is_an_error() {
    let error = refused(Config::builder().file(Path::new("/nonexistent/o.toml")));
    assert!(error.starts_with("--config: cannot read /nonexistent/o.toml: "), "{error}");
}

#[test]
fn a_file_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("o.toml");
    std::fs::write(&path, "[node]\nid = 7\n[cores]\ncount = 3\n").expect("writable");
    let config = Config::builder().file(&path).build().expect("valid");
    assert_eq!((config.node_id, config.core_count(8)), (7, 3));
}

#[test]
fn cores_and_cpus() {
    let cores = |sets: &[&str]| {
        let builder = sets.iter().fold(Config::builder(), |builder, set| builder.set(set));
        builder.build().map(|config| (config.core_count(8), config.cpus().to_vec()))
    };
    assert_eq!(cores(&[]), Ok((8, vec![])));
    assert_eq!(cores(&["cores.cpus=1-3,0"]), Ok((4, vec![1, 2, 3, 0])));
    assert_eq!(cores(&["cores.cpus=1-3,0", "cores.count=2"]), Ok((2, vec![1, 2, 3, 0])));
    let error = cores(&["cores.cpus=1", "cores.count=2"]).expect_err("refused").to_string();
    assert_eq!(
        error,
        "--set: cores.count = 2: cores.cpus names only 1 CPUs; leave one of the keys out"
    );
    for wrong in ["3-1", "a", "1,1", "1,", "0-9999999"] {
        assert!(cores(&[&format!("cores.cpus={wrong}")]).is_err(), "{wrong}");
    }
}

#[test]
fn ids_and_directories() {
    let load = |argument: &str| Config::builder().set(argument).build();
    assert!(load("cluster.id=4L6g3nShT-eMCtK--X86sw").is_ok());
    assert!(load("cluster.id=4L6g3nShT-eMCtK--X86s").is_err());
    assert!(load("cluster.id=4L6g3nShT-eMCtK--X86sx").is_err());
    assert!(load("log.dirs=").is_err());
    assert!(load("log.dirs=/a,,/b").is_err());
    assert!(load("process.roles=broker").is_err());
}
