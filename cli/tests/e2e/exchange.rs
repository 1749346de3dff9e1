//! Whole directories change hands: Apache Kafka boots on ours, and we on Kafka's.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::broker::{self, Broker, data_of};
use crate::support::client::{self, Record, consume, consumer, create_topic, produce};
use crate::support::java::Java;
use crate::support::kafka::Kafka;
use crate::support::process::{self, Finished};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Fills a broker in ways that leave traces in every kind of file.
fn fill(address: &str) {
    create_topic(address, "moved", 2, &[("segment.bytes", "1048576"), ("retention.ms", "-1")]);
    for codec in CODECS {
        let records: Vec<Record> = (0..300).map(|n| Record::of(value(codec, n)).to(1)).collect();
        let settings = [("compression.type", codec), ("enable.idempotence", "true")];
        produce(address, &settings, "moved", &records);
    }
    create_topic(address, "emptied", 1, &[]);
    let admin = client::admin(address);
    let gone = client::block_on(admin.delete_topics(&["emptied"], &client::options()));
    assert_eq!(gone.expect("an answer"), [Ok("emptied".to_owned())]);
}

fn value(codec: &str, number: usize) -> Vec<u8> {
    format!("{codec} {number} ").repeat(200).into_bytes()
}

/// Everything [`fill`] wrote is there, and the broker takes more.
fn assert_filled(address: &str) {
    let count = CODECS.len() * 300;
    let messages = consume(address, "moved", 1, Offset::Beginning, count);
    for (index, message) in messages.iter().enumerate() {
        let expected = value(CODECS[index / 300], index % 300);
        assert_eq!(message.payload(), Some(expected.as_slice()), "offset {index}");
        assert_eq!(message.offset(), i64::try_from(index).expect("few"));
    }
    let end = i64::try_from(count).expect("few");
    let settings = [("enable.idempotence", "true")];
    let written = produce(address, &settings, "moved", &[Record::of("more").to(1)]);
    assert_eq!(written, [(1, end)]);
    assert_eq!(produce(address, &[], "moved", &[Record::of("more").to(0)]), [(0, 0)]);
    create_topic(address, "new", 1, &[]);
    assert_eq!(produce(address, &[], "new", &[Record::of("more").to(0)]), [(0, 0)]);
}

#[test]
fn kafka_boots_on_our_directory_and_we_on_it_again() {
    let Some(java) = Java::get() else { return };
    let broker = Broker::own(&[]);
    fill(broker.address());
    let home = broker.stop_for_home();
    let kafka = Kafka::boot(java, home.path(), &data_of(&home), &[]);
    assert_filled(kafka.address());
    let described = java.run(
        "org.apache.kafka.tools.TopicCommand",
        &["--bootstrap-server", kafka.address(), "--describe"],
    );
    assert!(described.contains("Topic: moved\t"), "{described}");
    assert!(described.contains("retention.ms=-1"), "{described}");
    assert!(!described.contains("emptied"), "{described}");
    kafka.stop();
    // What Kafka left, with its own additions, is ours again.
    let broker = Broker::on(home, &[]);
    let messages = consume(broker.address(), "moved", 1, Offset::OffsetTail(1), 1);
    assert_eq!(client::payloads(&messages), [b"more"]);
    assert_eq!(produce(broker.address(), &[], "new", &[Record::of("x").to(0)]), [(0, 1)]);
}

#[test]
fn we_boot_on_kafkas_directory() {
    let Some(java) = Java::get() else { return };
    let home = broker::home();
    let kafka = Kafka::boot(java, home.path(), &data_of(&home), &[]);
    fill(kafka.address());
    kafka.stop();
    let broker = Broker::on(home, &[]);
    assert_filled(broker.address());
    let home = broker.stop_for_home();
    // And Kafka on what we made of it.
    let kafka = Kafka::boot(java, home.path(), &data_of(&home), &[]);
    let messages = consume(kafka.address(), "new", 0, Offset::Beginning, 1);
    assert_eq!(client::payloads(&messages), [b"more"]);
}

#[test]
fn kafkas_partitions_are_taken_in() {
    let Some(java) = Java::get() else { return };
    let source = broker::home();
    let kafka = Kafka::boot(java, source.path(), &data_of(&source), &[]);
    fill(kafka.address());
    create_topic(kafka.address(), "transfers", 1, &[]);
    transact(kafka.address(), "undone", false);
    transact(kafka.address(), "done", true);
    create_topic(kafka.address(), "shortened", 1, &[]);
    produce(kafka.address(), &[], "shortened", &vec![Record::of("x").to(0); 20]);
    delete_below(kafka.address(), "shortened", 7);
    let target = broker::home();
    let said = adopt(&target, &[&data_of(&source)]).expect_failure();
    assert!(said.contains("locked") && said.contains("stop the broker"), "{said}");
    kafka.stop();

    let configs = ["--topic-config", "retention.ms=-1"];
    let paths = [data_of(&source).join("moved-0"), data_of(&source).join("moved-1")];
    let alone = adopt_with(&target, &[&paths[1]], &configs).expect_failure();
    assert!(alone.contains("partition 0 is missing"), "{alone}");
    let starts = data_of(&source).join("log-start-offset-checkpoint");
    let noted = fs::read(&starts).expect("Kafka notes starts");
    fs::write(&starts, "0\n1\nshortened 0\n").expect("written");
    let garbled = adopt_with(&target, &[&data_of(&source)], &configs).expect_failure();
    assert!(garbled.contains("log-start-offset-checkpoint"), "{garbled}");
    fs::write(&starts, noted).expect("written");
    let said = adopt_with(&target, &[&data_of(&source)], &configs).expect_success();
    assert!(said.contains("moved: 2 partitions taken in"), "{said}");
    let again = adopt_with(&target, &[&paths[0], &paths[1]], &configs).expect_failure();
    assert!(again.contains("already exists"), "{again}");
    for partition in ["moved-0", "moved-1", "transfers-0"] {
        let id = |home| {
            let file = data_of(home).join(partition).join("partition.metadata");
            fs::read_to_string(file).expect("an id")
        };
        assert_eq!(id(&source), id(&target), "{partition}");
    }

    let broker = Broker::on(target, &[]);
    assert_filled(broker.address());
    let consumer = consumer(broker.address(), &[("isolation.level", "read_committed")]);
    let watermarks = consumer.fetch_watermarks("shortened", 0, LIMIT);
    assert_eq!(watermarks.expect("an answer"), (7, 20));
    client::assign(&consumer, "transfers", 0, Offset::Beginning);
    assert_eq!(client::payloads(&client::take(&consumer, 1)), [b"done"]);
    client::assert_drained(&consumer);
    let data = broker.data();
    let mut command = Command::new(broker::binary());
    command.args(["log", "adopt", "--data"]).arg(&data).arg(&paths[0]).arg(&paths[1]);
    let running = process::run(command, b"", LIMIT).expect_failure();
    assert!(running.contains(&data.display().to_string()), "{running}");
}

#[test]
fn kafka_and_we_keep_out_of_each_others_directories() {
    let Some(java) = Java::get() else { return };
    let home = broker::home();
    let kafka = Kafka::boot(java, home.path(), &data_of(&home), &[]);
    let command = broker::serve(&data_of(&home), "127.0.0.1:0");
    let said = process::run(command, b"", LIMIT).expect_failure();
    assert!(said.contains("lock"), "{said}");
    kafka.stop();
    let broker = Broker::on(home, &[]);
    let properties = broker.data().with_file_name("server.properties").display().to_string();
    java.finish("kafka.Kafka", &[&properties], b"").expect_failure();
    produce(broker.address(), &[], "kept", &[Record::of("still served").to(0)]);
}

fn adopt(target: &tempfile::TempDir, sources: &[&Path]) -> Finished {
    adopt_with(target, sources, &[])
}

fn adopt_with(target: &tempfile::TempDir, sources: &[&Path], options: &[&str]) -> Finished {
    let mut command = Command::new(broker::binary());
    command.args(["log", "adopt", "--data"]).arg(data_of(target)).args(options).args(sources);
    process::run(command, b"", LIMIT)
}

fn delete_below(address: &str, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("an offset");
    let deleted = client::admin(address);
    let deleted = client::block_on(deleted.delete_records(&list, &client::options()));
    assert_eq!(deleted.expect("an answer").elements()[0].error(), Ok(()));
}

/// One record in one transaction.
fn transact(address: &str, value: &str, commit: bool) {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", address).set("transactional.id", value);
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(LIMIT).expect("a coordinator");
    producer.begin_transaction().expect("a transaction");
    producer.send(BaseRecord::<(), str>::to("transfers").payload(value)).expect("queued");
    producer.flush(LIMIT).expect("sent");
    match commit {
        true => producer.commit_transaction(LIMIT).expect("committed"),
        false => producer.abort_transaction(LIMIT).expect("aborted"),
    }
}

const LIMIT: Duration = Duration::from_secs(60);
