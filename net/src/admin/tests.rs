//! The page as who scrapes it reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::ids::BrokerId;
use engine::meter::{Kind, Metrics, Snapshot};
use wire::api_key::ApiKey;
use wire::msg::metadata::{MetadataRequest, MetadataRequestTopic};

use super::digest::{self, Limits, Shown};
use super::families::{self, ProcessMetrics};
use super::text::{Form, Page};
use super::{Phase, Report, Shot, health};
use crate::testing::{Client, Whole};

/// Series by name and labels as written, and types by family.
#[derive(Debug, Default)]
struct Scraped {
    series: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Scraped {
    /// Reads a page, and refuses what Prometheus would: a line that is none, a series that comes
    /// twice, a family that is not in one piece or not declared.
    fn read(page: &str) -> Self {
        let mut scraped = Self::default();
        let mut family = String::new();
        for line in page.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').expect("name and type");
                let before = scraped.types.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "{name} is declared twice");
                family = name.to_owned();
                continue;
            }
            if line.starts_with('#') {
                assert!(line.starts_with("# HELP ") || line == "# EOF", "{line}");
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("series and value");
            let name = series.split('{').next().expect("a name");
            assert!(name.starts_with(&family), "{line} after the family {family}");
            let value = value.parse().expect("a number");
            assert!(scraped.series.insert(series.to_owned(), value).is_none(), "twice: {series}");
        }
        scraped
    }

    fn get(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.series))
    }
}

fn process() -> ProcessMetrics {
    digest::process(1)
}

fn page_of(report: &Report, limits: Limits) -> Scraped {
    let mut shown = Shown::default();
    Scraped::read(&digest::page(report, &process(), &mut shown, limits, Form::Prometheus))
}

const WIDE: Limits = Limits { topics: 100, lags: 100 };

engine::metrics! {
    /// For the tests below.
    pub(crate) DoorMetrics by [house, door] {
        opened: Counter "How often it was opened, \"slammed\" included",
        open: Gauge "Whether it is",
        creaking: Time "All in all",
        opening: Histogram "How long it took",
    }
}

fn door(times: u64) -> Snapshot {
    let metrics = DoorMetrics::default();
    metrics.opened.add(times);
    metrics.open.set(-3);
    metrics.creaking.set(Duration::from_millis(2500));
    for _ in 0..times {
        metrics.opening.record(Duration::from_micros(20));
    }
    metrics.opening.record(Duration::from_secs(60));
    metrics.snapshot()
}

#[test]
fn labels_are_escaped_and_families_in_one_piece() {
    let (front, back) = (door(2), door(1));
    let mut page = Page::new(Form::Prometheus);
    page.table(&[(vec!["a \"b\" \\ c\nd", "front"], &front), (vec!["e", "back"], &back)]);
    let text = page.finish();
    let scraped = Scraped::read(&text);
    assert_eq!(
        scraped.get(r#"odradek_door_opened_total{house="a \"b\" \\ c\nd",door="front"}"#),
        2.0
    );
    assert_eq!(scraped.get(r#"odradek_door_open{house="e",door="back"}"#), -3.0);
    let creaking = r#"odradek_door_creaking_seconds_total{house="e",door="back"}"#;
    assert_eq!(scraped.get(creaking), 2.5);
    assert_eq!(scraped.types["odradek_door_opening_seconds"], "histogram");
    assert_eq!(scraped.types["odradek_door_creaking_seconds_total"], "counter");
}

#[test]
fn buckets_add_up_to_the_count() {
    let mut page = Page::new(Form::Prometheus);
    page.table(&[(vec!["h", "d"], &door(5))]);
    let text = page.finish();
    let scraped = Scraped::read(&text);
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("odradek_door_opening_seconds_bucket{"))
        .map(|line| {
            let (labels, events) = line.rsplit_once("} ").expect("labels and value");
            let top = labels.rsplit_once("le=\"").expect("a bucket").1.trim_end_matches('"');
            (top.parse().expect("a number"), events.parse().expect("a number"))
        })
        .collect();
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert_eq!(buckets[0], (0.000_016_384, 0.0));
    assert_eq!(buckets[1], (0.000_032_768, 5.0));
    // A minute is past the last of them.
    assert_eq!(buckets[buckets.len() - 2].1, 5.0);
    assert_eq!(*buckets.last().expect("some"), (f64::INFINITY, 6.0));
    let of = r#"{house="h",door="d"}"#;
    assert_eq!(scraped.get(&format!("odradek_door_opening_seconds_count{of}")), 6.0);
    assert_eq!(scraped.get(&format!("odradek_door_opening_seconds_sum{of}")), 60.0001);
}

#[test]
fn openmetrics_names_families_without_their_suffix_and_ends() {
    assert_eq!(Form::accepted("text/plain"), Form::Prometheus);
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    assert_eq!(Form::accepted(accept), Form::OpenMetrics);
    let mut page = Page::new(Form::OpenMetrics);
    page.table(&[(vec!["h", "d"], &door(1))]);
    let text = page.finish();
    assert!(text.ends_with("\n# EOF\n"));
    assert!(text.contains("# TYPE odradek_door_opened counter\nodradek_door_opened_total{"));
    assert!(text.contains("# TYPE odradek_door_creaking_seconds counter\n"));
    Scraped::read(&text);
}

/// Asks a simulated node for all it counts.
fn report(whole: &Whole) -> Report {
    whole.ask(true).expect("the node answers")
}

async fn ask_for_a_stranger(client: &mut Client) {
    let topic = MetadataRequestTopic { name: Some("stranger"), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![topic].into()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    client.ask(ApiKey::Metadata, 9, &request, |_| ()).await.expect("answered");
}

#[test]
fn a_node_tells_what_its_cores_count() {
    let whole = Whole::start(31, 2, &["log.retention.check.interval.ms=600000"]);
    whole.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        client.create("t", 3, &[]).await;
        ask_for_a_stranger(&mut client).await;
        for partition in [0, 1, 2, 2] {
            crate::tests::produce(&mut client, "t", partition, &["one", "two"]).await;
        }
    });
    let scraped = page_of(&report(&whole), WIDE);
    assert_eq!(scraped.get(r#"odradek_api_requests_total{api="Produce"}"#), 4.0);
    assert_eq!(scraped.get(r#"odradek_api_request_time_seconds_count{api="Produce"}"#), 4.0);
    let stranger =
        r#"odradek_answer_errors_total{api="Metadata",error="UNKNOWN_TOPIC_OR_PARTITION"}"#;
    assert_eq!(scraped.get(stranger), 1.0);
    assert_eq!(scraped.get(r#"odradek_topic_records_in_total{topic="t"}"#), 8.0);
    assert_eq!(scraped.get(r#"odradek_topic_log_offsets{topic="t"}"#), 8.0);
    let bytes = scraped.get(r#"odradek_topic_bytes_in_total{topic="t"}"#);
    assert!(bytes > 0.0);
    assert_eq!(scraped.get(r#"odradek_topic_log_bytes{topic="t"}"#), bytes);
    assert_eq!(scraped.get("odradek_partition_open"), 3.0);
    assert_eq!(scraped.get("odradek_partition_led"), 3.0);
    assert_eq!(scraped.get("odradek_partition_under_min_isr"), 0.0);
    assert_eq!(scraped.get("odradek_controller_active"), 1.0);
    assert_eq!(scraped.get("odradek_controller_brokers"), 1.0);
    assert_eq!(scraped.get("odradek_controller_partitions_offline"), 0.0);
    // Every core has its own load, and the sum is what was asked.
    let asked: f64 = (0..2)
        .map(|core| scraped.get(&format!("odradek_core_requests_total{{core=\"{core}\"}}")))
        .sum();
    assert_eq!(asked, 6.0);
    // Whatever is told is in the reference, as that type.
    let known: BTreeMap<_, _> = families::all()
        .map(|metric| (metric.full_name(), families::type_of(metric.kind)))
        .collect();
    for (family, kind) in &scraped.types {
        assert_eq!(known.get(family), Some(&kind.as_str()), "{family}");
    }
}

#[test]
fn topics_beyond_the_limit_are_added_up_and_those_shown_stay() {
    let whole = Whole::start(32, 1, &[]);
    let report_with = |topics: &'static [&'static str]| {
        whole.run(move |rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            for topic in topics {
                client.create(topic, 1, &[]).await;
                crate::tests::produce(&mut client, topic, 0, &["x"]).await;
            }
        });
        report(&whole)
    };
    let mut shown = Shown::default();
    let limits = Limits { topics: 2, lags: 0 };
    let mut scrape = |report: &Report| {
        Scraped::read(&digest::page(report, &process(), &mut shown, limits, Form::Prometheus))
    };
    let records = |topic: &str| format!("odradek_topic_records_in_total{{topic=\"{topic}\"}}");
    let scraped = scrape(&report_with(&["m", "n"]));
    assert!(!scraped.series.contains_key(&records("other")));
    // Topics whose names come first take no place from those.
    let scraped = scrape(&report_with(&["a", "b", "c"]));
    assert_eq!(scraped.get(&records("m")), 1.0);
    assert_eq!(scraped.get(&records("n")), 1.0);
    assert_eq!(scraped.get(&records("other")), 3.0);
    assert_eq!(scraped.series.keys().filter(|key| key.contains("records_in")).count(), 3);
}

fn bare(phase: Phase, shots: Vec<Option<Shot>>) -> Report {
    Report { phase, cores: shots, image: Arc::default(), quorum: None, node: BrokerId(1) }
}

fn well() -> Option<Shot> {
    Some(Shot { failed_dirs: Vec::new(), counts: None })
}

#[test]
fn what_is_missing_is_named() {
    let starting = bare(Phase::Starting, vec![well(), well()]);
    assert!(health::missing_for_life(&starting).is_empty());
    let missing = health::missing(&starting);
    assert!(missing.len() == 1 && missing[0].contains("starting"), "{missing:?}");
    let silent = bare(Phase::Stopping, vec![well(), None]);
    assert_eq!(health::missing_for_life(&silent), ["core 1 does not answer"]);
    assert_eq!(health::missing(&silent), ["core 1 does not answer", "it is stopping"]);
    let failed = Some(Shot {
        failed_dirs: vec![("/data".to_owned(), Arc::from("it smokes"))],
        counts: None,
    });
    let unknown = bare(Phase::Serving, vec![failed.clone(), failed]);
    let words =
        ["the controller does not know this broker", "log directory /data is offline: it smokes"];
    assert_eq!(health::missing(&unknown), words);
}

#[test]
fn a_node_is_ready_while_it_serves() {
    let mut whole = Whole::start(33, 3, &[]);
    let report = whole.ask(false).expect("the node answers");
    assert_eq!(report.phase, Phase::Serving);
    assert_eq!(health::missing(&report), Vec::<String>::new());
    assert!(report.cores.iter().all(|shot| shot.as_ref().is_some_and(|s| s.counts.is_none())));
    assert!(whole.stop().iter().all(Result::is_ok));
}

#[test]
fn a_node_that_starts_says_so() {
    let mut whole = Whole::new(34, 2, &[]);
    assert!(!whole.boot_for(1));
    let report = whole.ask(false).expect("the node answers before it serves");
    assert_eq!(report.phase, Phase::Starting);
    assert!(health::missing_for_life(&report).is_empty());
    assert_eq!(health::missing(&report), ["it is starting: its logs are being recovered"]);
}

fn of_config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name)
}

#[test]
fn the_reference_is_up_to_date() {
    let (path, rendered) = (of_config("METRICS.md"), families::reference());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &rendered).expect("writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == rendered,
        "config/METRICS.md is out of date; run UPDATE_DOCS=1 cargo test -p odradek-net reference"
    );
}

#[test]
fn names_are_unlike_and_say_their_unit() {
    let mut names = BTreeSet::new();
    for metric in families::all() {
        let name = metric.full_name();
        assert!(names.insert(name.clone()), "{name} comes twice");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        assert!(!metric.help.ends_with('.'), "{name}: the full stop is added");
        let reserved = ["_bucket", "_sum", "_count"];
        assert!(!reserved.iter().any(|suffix| name.ends_with(suffix)), "{name}");
        if metric.kind == Kind::Gauge {
            assert!(!name.ends_with("_total"), "{name}");
        }
    }
}

/// Every string at `key`, however deep.
fn strings<'a>(json: &'a serde_json::Value, key: &str, found: &mut Vec<&'a str>) {
    match json {
        serde_json::Value::Object(fields) => {
            found.extend(fields.get(key).and_then(|value| value.as_str()));
            fields.values().for_each(|value| strings(value, key, found));
        }
        serde_json::Value::Array(parts) => parts.iter().for_each(|part| strings(part, key, found)),
        _ => {}
    }
}

/// The metrics that a text names.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |b: char| b.is_ascii_alphanumeric() || b == '_';
    text.split(move |b| !is_part(b)).filter(|word| word.starts_with("odradek_"))
}

/// Checks that a metric exists, and as what it is used.
fn check_named(name: &str, query: &str) -> &'static [&'static str] {
    let metric = families::all().find(|metric| {
        let full = metric.full_name();
        match metric.kind {
            Kind::Histogram => {
                ["_bucket", "_sum", "_count"].iter().any(|part| name == format!("{full}{part}"))
            }
            _ => name == full,
        }
    });
    let metric = metric.unwrap_or_else(|| panic!("there is no {name}, of the query {query}"));
    let counts = matches!(metric.kind, Kind::Counter | Kind::Time | Kind::Histogram);
    let is_rated =
        query.contains(&format!("rate({name}")) || query.contains(&format!("increase({name}"));
    assert_eq!(counts, is_rated, "a counter is rated, a gauge is not: {query}");
    metric.labels
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let text = std::fs::read_to_string(of_config("grafana/odradek.json")).expect("it is there");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let mut queries = Vec::new();
    strings(&dashboard["panels"], "expr", &mut queries);
    assert!(queries.len() > 40, "only {} queries were found", queries.len());
    for query in queries {
        let labels: Vec<_> = named(query).flat_map(|name| check_named(name, query)).collect();
        assert!(named(query).next().is_some(), "a query without a metric: {query}");
        for group in query.split("by (").skip(1) {
            let by = group.split(')').next().unwrap_or_default().split(", ");
            for label in by.filter(|label| *label != "le") {
                assert!(labels.contains(&&label), "{label} is no label in {query}");
            }
        }
    }
    let mut variables = Vec::new();
    strings(&dashboard["templating"], "definition", &mut variables);
    for query in variables {
        assert!(named(query).all(|name| families::all().any(|metric| metric.full_name() == name)));
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let text = std::fs::read_to_string(of_config("grafana/odradek.json")).expect("it is there");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36));
    assert!(dashboard["uid"].is_string() && dashboard["title"].is_string());
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id comes twice");
        assert!(["row", "stat", "timeseries"].contains(&panel["type"].as_str().expect("a type")));
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(at("x") + at("w") <= 24, "{title} is too wide");
        for (x, y) in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "{title} lies on another");
        }
        let mut letters = BTreeSet::new();
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert!(letters.insert(target["refId"].as_str().expect("a letter")), "{title}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
        assert_eq!(panel["type"] == "row", letters.is_empty(), "{title}");
    }
}

#[test]
fn the_sample_alerts_ask_for_what_there_is() {
    let text = std::fs::read_to_string(of_config("prometheus.yml")).expect("it is there");
    let queries = text.lines().filter_map(|line| line.split_once("expr: "));
    let queries: Vec<_> = queries.map(|(_, query)| query).collect();
    assert_eq!(queries.len(), 4);
    for query in queries {
        named(query).for_each(|name| _ = check_named(name, query));
    }
}
