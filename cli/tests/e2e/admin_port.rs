//! Metrics and health over HTTP: what is told must be what happened, and nobody who comes by HTTP may
//! hurt who comes by Kafka's protocol.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::broker::{self, Broker, binary, data_of, serve};
use crate::support::client::{Record, assign, consumer, create_topic, produce, take};
use crate::support::eventually;
use crate::support::process::run;
use crate::support::raw::{self, Bytes, answers_unread};

/// Longer than the port lets anybody take.
const LIMIT: Duration = Duration::from_secs(60);

/// An answer: status, head and body. None where the connection was closed without one.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    stream.set_write_timeout(Some(LIMIT)).expect("a socket");
    stream
}

/// Sends these bytes and reads until the port closes.
fn exchange(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = connect(address);
    // The port may close while it is still being sent to.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    // So it may after its answer.
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8(answer).expect("text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

fn get(address: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    exchange(address, request.as_bytes()).expect("an answer")
}

/// The series of a page by name and labels.
fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let answer = get(address, "/metrics");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.to_lowercase().contains("content-type: text/plain; version=0.0.4"));
    let series = answer.body.lines().filter(|line| !line.starts_with('#'));
    let series = series.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("series and value");
        (series.to_owned(), value.parse().expect("a number"))
    });
    series.collect()
}

/// Scrapes until a series has a value: what was heard a moment ago may be told again.
fn expect(address: SocketAddr, series: &str, value: f64) {
    let mut last = None;
    for _ in 0..100 {
        last = scrape(address).get(series).copied();
        if last == Some(value) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{series} is {last:?}, not {value}");
}

#[test]
fn metrics_tell_what_was_sent_and_read() {
    let broker = Broker::own(&[]);
    let (address, admin) = (broker.address(), broker.admin());
    create_topic(address, "counted", 2, &[]);
    let records: Vec<_> =
        (0..100).map(|n| Record::of(vec![n; 1000]).to(i32::from(n % 2))).collect();
    produce(address, &[], "counted", &records);
    expect(admin, r#"odradek_topic_records_in_total{topic="counted"}"#, 100.0);
    expect(admin, r#"odradek_topic_log_offsets{topic="counted"}"#, 100.0);
    expect(admin, r#"odradek_topic_partitions{topic="counted"}"#, 2.0);
    let scraped = scrape(admin);
    let of = |name: &str| scraped[&format!("{name}{{topic=\"counted\"}}")];
    // More than the values, and no more than twice that.
    let bytes = of("odradek_topic_bytes_in_total");
    assert!((100_000.0..200_000.0).contains(&bytes), "{bytes}");
    assert_eq!(of("odradek_topic_log_bytes"), bytes);
    let answered = scraped[r#"odradek_api_requests_total{api="Produce"}"#];
    assert!(answered >= 2.0);
    assert_eq!(scraped[r#"odradek_api_request_time_seconds_count{api="Produce"}"#], answered);
    let infinite = r#"odradek_api_request_time_seconds_bucket{api="Produce",le="+Inf"}"#;
    assert_eq!(scraped[infinite], answered);
    assert_eq!(scraped["odradek_controller_active"], 1.0);
    assert_eq!(scraped["odradek_partition_under_min_isr"], 0.0);

    let reader = consumer(address, &[("group.id", "followers")]);
    assign(&reader, "counted", 0, Offset::Beginning);
    take(&reader, 50);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("counted", 0, Offset::Offset(30)).expect("an offset");
    list.add_partition_offset("counted", 1, Offset::Offset(45)).expect("an offset");
    reader.commit(&list, CommitMode::Sync).expect("committed");
    expect(admin, r#"odradek_lag_records{group="followers",topic="counted"}"#, 25.0);
    expect(admin, r#"odradek_coordinator_groups{protocol="classic",state="Empty"}"#, 1.0);
    let read = scrape(admin)[r#"odradek_topic_bytes_out_total{topic="counted"}"#];
    assert!(read >= 50_000.0, "{read}");
}

#[test]
fn errors_are_counted_by_code() {
    let broker = Broker::own(&[]);
    // Metadata version 4, one topic by name, without creating it.
    let asked = Bytes::new().i32(1).string("nowhere").i8(0).request(3, 4, false);
    raw::meet(broker.socket_address(), &asked, raw::LIMIT);
    let series =
        r#"odradek_answer_errors_total{api="Metadata",error="UNKNOWN_TOPIC_OR_PARTITION"}"#;
    expect(broker.admin(), series, 1.0);
}

#[test]
fn health_follows_the_node() {
    let mut broker = Broker::own(&["odradek.drain.timeout.ms=600000"]);
    let admin = broker.admin();
    for path in ["/healthz", "/readyz"] {
        let answer = get(admin, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    assert!(get(admin, "/").body.contains("/metrics"));
    assert_eq!(get(admin, "/nothing").status, 404);
    let stream = answers_unread(&broker, "kept");
    broker.signal(libc::SIGTERM);
    let answer = eventually("it is not ready any more", LIMIT, || {
        let answer = get(admin, "/readyz");
        (answer.status == 503).then_some(answer)
    });
    assert!(answer.body.contains("it is stopping"), "{}", answer.body);
    let alive = get(admin, "/healthz");
    assert_eq!(alive.status, 200, "{}", alive.body);
    drop(stream);
    assert!(broker.ended().success());
    assert!(TcpStream::connect(admin).is_err());
}

#[test]
fn hostile_peers_cost_their_own_connections() {
    let mut broker = Broker::own(&[]);
    let admin = broker.admin();
    create_topic(broker.address(), "safe", 1, &[]);
    let before = broker.memory_now();
    // Whoever begins and does not go on, more of them than there is room for.
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = connect(admin);
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ");
            stream
        })
        .collect();
    assert_eq!(get(admin, "/readyz").status, 200);
    let header = format!("X: {}\r\n", "y".repeat(1000)).repeat(10_000);
    let too_much = format!("GET /metrics HTTP/1.1\r\n{header}\r\n");
    let refused = exchange(admin, too_much.as_bytes());
    assert!(refused.is_none_or(|answer| (400..500).contains(&answer.status)));
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "p".repeat(1 << 20));
    let refused = exchange(admin, long_path.as_bytes());
    assert!(refused.is_none_or(|answer| (400..500).contains(&answer.status)));
    let body = "POST /metrics HTTP/1.1\r\nHost: test\r\nContent-Length: 999999999999\r\n\r\nx";
    assert_eq!(exchange(admin, body.as_bytes()).map(|answer| answer.status), Some(405));
    let chunks =
        "GET /healthz HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n";
    let answered = exchange(admin, chunks.as_bytes());
    assert!(answered.is_none_or(|answer| answer.status == 200 || answer.status == 400));
    for garbage in [&b"\0\xff\x80 \r\n\r\n"[..], b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01"] {
        let mut stream = connect(admin);
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    // Nobody took anything from who speaks Kafka's protocol.
    produce(broker.address(), &[], "safe", &[Record::of("x").to(0)]);
    expect(admin, r#"odradek_topic_records_in_total{topic="safe"}"#, 1.0);
    // The slow ones were sent away, all of them.
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(broker.is_running());
    let grown = broker.memory_now().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

#[test]
fn an_address_that_is_taken_is_refused_only_where_it_was_asked_for() {
    let home = broker::home();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let mut command = serve(&data_of(&home), "127.0.0.1:0");
    command.args(["--set", &format!("odradek.admin.listener={address}")]);
    let said = run(command, b"", Duration::from_secs(30)).expect_failure();
    assert!(said.contains("odradek.admin.listener"), "{said}");
    assert!(!data_of(&home).exists(), "nothing was written");

    // Whoever has the default's port, a broker that was not told about it goes without.
    let _taken = TcpListener::bind("127.0.0.1:9644");
    let mut command = std::process::Command::new(binary());
    command.arg("serve").arg("--data").arg(data_of(&home)).args(["--listen", "127.0.0.1:0"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the release binary");
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
    assert!(line.starts_with("odradek ready on 127.0.0.1:"), "{line}");
    child.kill().expect("a child of ours");
    let output = child.wait_with_output().expect("a child of ours");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("no metrics and health"), "{log}");
}
