//! Tables of plain text.

use hdrhistogram::Histogram;

use crate::compare::{Compared, Comparison, Spread};
use crate::figure::{Figure, main_load};
use crate::goals;
use crate::limit;
use crate::measure::Percentiles;
use crate::result::{Direction, LoadResult, RunResult};
use crate::units::{digits, nanos};

/// Columns set out by their widest cell; the first is set left, the others right.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(head[column].chars().count())
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let set = cells.zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let set: Vec<String> = set.collect();
        format!("{}\n", set.join("  ").trim_end())
    };
    let mut out = line(&mut head.iter().copied());
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    out += &line(&mut rule.iter().map(String::as_str));
    for row in rows {
        out += &line(&mut row.iter().map(String::as_str));
    }
    out
}

/// The summary of one run.
pub(crate) fn run(result: &RunResult) -> String {
    let mut out = format!(
        "{} on {}: {}\n{} s measured\n\n",
        result.workload,
        result.broker,
        result.about,
        digits(result.seconds)
    );
    let head =
        ["load", "requests/s", "records/s", "MB/s", "p50", "p90", "p99", "p99.9", "max", "errors"];
    let rows: Vec<_> = result.loads.iter().map(|load| load_row(load, result.seconds)).collect();
    out += &render(&head, &rows);
    out.push('\n');
    out += &costs(result);
    if let Some(stolen) = result.stolen.filter(|stolen| *stolen >= STOLEN_MIN) {
        out += &format!(
            "The host took {} % of the CPUs' time away: the figures are not this machine's best.\n",
            digits(stolen * 100.0)
        );
    }
    if let Some(truth) = &result.truth {
        let whole = if truth.complete { "all of it" } else { "the beginning" };
        out += &format!(
            "truth: {whole} read back, {} checked, {} lost, {} duplicated, {} reordered, {} corrupted\n",
            digits(truth.checked as f64),
            truth.lost,
            truth.duplicated,
            truth.reordered,
            truth.corrupted
        );
    }
    for fault in result.faults() {
        out += &format!("FAULT  {fault}\n");
    }
    out
}

fn load_row(load: &LoadResult, seconds: f64) -> Vec<String> {
    let (requests, records, mb) = load.rates(seconds);
    let latency = &load.latency;
    let name = match (load.direction, load.end_to_end) {
        (Direction::Consume, true) => format!("{} (end to end)", load.name),
        _ => load.name.clone(),
    };
    let errors = load.errors.values().sum::<u64>() + load.unanswered;
    let mut row = vec![name, digits(requests), digits(records), digits(mb)];
    row.extend([latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(|ns| {
        match latency.count {
            0 => "-".to_owned(),
            _ => nanos(ns),
        }
    }));
    row.push(errors.to_string());
    row
}

/// The figures of a workload on all brokers: head and rows.
pub(crate) fn figures(
    comparison: &Comparison,
    compared: &Compared,
) -> (Vec<String>, Vec<Vec<String>>) {
    let mut head = vec!["figure".to_owned()];
    head.extend(comparison.brokers.iter().cloned());
    let others = 1..comparison.brokers.len();
    let first = comparison.brokers.first().map_or("", String::as_str);
    head.extend(others.clone().map(|other| format!("{first} / {}", comparison.brokers[other])));
    let row = |figure: &Figure| {
        let of = |run: &RunResult| figure.of(run);
        let mut row = vec![figure.name().to_owned()];
        let values: Vec<_> =
            (0..comparison.brokers.len()).map(|number| compared.figure(number, of)).collect();
        values.iter().any(Option::is_some).then(|| {
            let show =
                |value: &Option<Spread>| value.map_or("-".to_owned(), |v| figure.show(v.median));
            row.extend(values.iter().map(show));
            let ratio = |other| compared.ratio((0, other), of).map_or("-".to_owned(), spread);
            row.extend(others.clone().map(ratio));
            row
        })
    };
    let figures = Figure::USUAL.iter().chain(Figure::OF_LIFE);
    let mut rows: Vec<_> = figures.filter_map(row).collect();
    rows.extend(share_of_limit(comparison, compared));
    rows.extend(stolen(comparison, compared));
    (head, rows)
}

/// How much of what the machine can do each broker did.
fn share_of_limit(comparison: &Comparison, compared: &Compared) -> Option<Vec<String>> {
    let main = compared.rounds.first()?.first().and_then(main_load)?;
    let (name, limit) = limit::bound(&comparison.limits, main.direction)?;
    let share = |number| {
        let value = compared.figure(number, |run| Figure::MegabytesPerS.of(run));
        value.map_or("-".to_owned(), |v| format!("{} %", digits(v.median / limit * 100.0)))
    };
    let mut row = vec![name.to_owned()];
    row.extend((0..comparison.brokers.len()).map(share));
    row.extend((1..comparison.brokers.len()).map(|_| String::new()));
    Some(row)
}

/// How much of the CPUs' time the host took away, if it took any: figures of such runs tell less.
fn stolen(comparison: &Comparison, compared: &Compared) -> Option<Vec<String>> {
    let shares: Vec<_> = (0..comparison.brokers.len())
        .map(|number| compared.figure(number, |run| run.stolen).map(|share| share.max))
        .collect();
    shares.iter().flatten().any(|share| *share >= STOLEN_MIN).then(|| {
        let mut row = vec!["stolen CPU, at most".to_owned()];
        let show = |share: f64| format!("{} %", digits(share * 100.0));
        row.extend(shares.iter().map(|share| share.map_or("-".to_owned(), show)));
        row.extend((1..comparison.brokers.len()).map(|_| String::new()));
        row
    })
}

/// Share of stolen time below which nothing is said of it.
const STOLEN_MIN: f64 = 0.01;

/// One workload of a comparison.
pub(crate) fn compared(comparison: &Comparison, compared: &Compared) -> String {
    let (head, rows) = figures(comparison, compared);
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let rounds = compared.rounds.len();
    let mut out = format!("{}: {} ({rounds} rounds)\n\n", compared.workload, compared.about);
    out += &render(&head, &rows);
    for fault in compared.faults() {
        out += &format!("FAULT  {fault}\n");
    }
    out
}

/// All goals that were measured.
pub(crate) fn goals(comparison: &Comparison) -> String {
    let verdicts = goals::judge(comparison);
    let mut last = "";
    let rows: Vec<_> = verdicts
        .iter()
        .map(|v| {
            let load = if v.goal.workload == last { "" } else { v.goal.workload };
            last = v.goal.workload;
            vec![
                load.to_owned(),
                v.goal.name(),
                v.goal.figure.show(v.ours.median),
                v.goal.figure.show(v.theirs.median),
                spread(v.ratio),
                v.goal.bound(),
                if v.met { "met" } else { "-" }.to_owned(),
            ]
        })
        .collect();
    let (ours, theirs) = match comparison.brokers.as_slice() {
        [ours, theirs, ..] => (ours.as_str(), theirs.as_str()),
        _ => ("ours", "theirs"),
    };
    let met = verdicts.iter().filter(|v| v.met).count();
    let table = render(&["load", "figure", ours, theirs, "ratio", "goal", ""], &rows);
    format!("{table}\n{met} of {} goals met\n", verdicts.len())
}

/// A ratio and how far rounds lay apart.
pub(crate) fn spread(ratio: Spread) -> String {
    let show = |value: f64| match value {
        value if value < 0.1 => format!("{value:.3}"),
        value => digits(value),
    };
    if ratio.min == ratio.max {
        return show(ratio.median);
    }
    format!("{} ({}–{})", show(ratio.median), show(ratio.min), show(ratio.max))
}

/// The columns of [`latency_row`].
pub(crate) const LATENCY_HEAD: &[&str] =
    &["load", "count", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// A histogram of nanoseconds.
pub(crate) fn latency_row(name: &str, histogram: &Histogram<u64>) -> Vec<String> {
    let of = Percentiles::of(histogram);
    let mut row = vec![name.to_owned(), digits(of.count as f64), nanos(of.mean as u64)];
    row.extend([of.p50, of.p90, of.p99, of.p999, of.p9999, of.max].map(nanos));
    row
}

fn costs(result: &RunResult) -> String {
    let head = [
        "process",
        "cores",
        "s/GB",
        "us/request",
        "us/record",
        "RSS MB",
        "peak MB",
        "switches/s",
        "disk B/B",
    ];
    let mut rows = Vec::new();
    if let (Some(cost), Some(cpu)) = (&result.broker_cost, result.cpu()) {
        let switches = (cost.switches_voluntary + cost.switches_involuntary) as f64;
        rows.push(vec![
            "broker".to_owned(),
            digits(cost.cores),
            digits(cpu.s_per_gb),
            digits(cpu.us_per_request),
            digits(cpu.us_per_record),
            digits(cost.rss as f64 / 1e6),
            digits(cost.rss_peak as f64 / 1e6),
            digits(switches / result.seconds),
            digits(cpu.disk_per_byte),
        ]);
    }
    let load = &result.load_cost;
    let requests = result.loads.iter().map(|load| load.requests).sum::<u64>();
    let bytes = result.loads.iter().map(|load| load.bytes).sum::<u64>();
    rows.push(vec![
        "load".to_owned(),
        digits(load.cores),
        if bytes == 0 { String::new() } else { digits(load.cpu_s * 1e9 / bytes as f64) },
        digits(load.cpu_s * 1e6 / (requests.max(1)) as f64),
        String::new(),
        digits(load.rss as f64 / 1e6),
        digits(load.rss_peak as f64 / 1e6),
        String::new(),
        String::new(),
    ]);
    format!("{}\n", render(&head, &rows))
}
