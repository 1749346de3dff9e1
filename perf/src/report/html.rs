//! The report as one page: no scripts, nothing loaded, readable on a phone, dark and light.

use std::fmt::Write as _;

use super::svg::{Axis, Bar, Line, bars, escape, lines};
use super::table;
use crate::compare::{Compared, Comparison, Spread};
use crate::figure::{Figure, main_load};
use crate::goals::{self, Verdict};
use crate::limit;
use crate::measure::Second;
use crate::result::RunResult;
use crate::units::{digits, nanos};

/// The page of a comparison, or of a single run as a comparison of one.
pub(crate) fn page(comparison: &Comparison) -> String {
    let title = match comparison.brokers.as_slice() {
        [one] => format!("{one} under load"),
        several => several.join(" against "),
    };
    let mut out = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <title>{0}</title><style>{STYLE}</style><body><main><h1>{0}</h1>",
        escape(&title)
    );
    let _ = write!(
        out,
        "<p>{}<br>{}</p><pre class=command>{}</pre>",
        escape(&comparison.machine.line()),
        date(comparison.at),
        escape(&comparison.command)
    );
    out += &legend(comparison);
    let faults: Vec<String> = comparison.workloads.iter().flat_map(Compared::faults).collect();
    if !faults.is_empty() {
        let items: String = faults.iter().map(|f| format!("<li>{}</li>", escape(f))).collect();
        let _ = write!(out, "<section class=faults><h2>Faults</h2><ul>{items}</ul></section>");
    }
    let verdicts = goals::judge(comparison);
    if !verdicts.is_empty() {
        out += &goal_table(comparison, &verdicts);
    }
    for compared in &comparison.workloads {
        out += &section(comparison, compared);
    }
    if !comparison.limits.is_empty() {
        let (head, rows) = limit::cells(&comparison.limits);
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        let _ =
            write!(out, "<section><h2>Limits of the machine</h2>{}</section>", cells(&head, &rows));
    }
    out + "</main></body></html>\n"
}

fn legend(comparison: &Comparison) -> String {
    let entry = |(number, name): (usize, &String)| {
        format!("<span class=\"key c{number}\"></span>{} ", escape(name))
    };
    let entries: String = comparison.brokers.iter().enumerate().map(entry).collect();
    format!("<p class=legend>{entries}</p>")
}

fn goal_table(comparison: &Comparison, verdicts: &[Verdict]) -> String {
    let met = verdicts.iter().filter(|v| v.met).count();
    let mut out = format!(
        "<section><h2>Goals</h2><p>{met} of {} met. Ratios are the median over rounds, with the \
         smallest and the largest.</p><div class=scroll><table><tr><th>load<th>figure<th>{}<th>{}\
         <th>ratio<th>goal<th></tr>",
        verdicts.len(),
        escape(&comparison.brokers[0]),
        escape(&comparison.brokers[1]),
    );
    let mut last = "";
    for v in verdicts {
        let figure = v.goal.figure;
        let load = if v.goal.workload == last { "" } else { v.goal.workload };
        last = v.goal.workload;
        let _ = write!(
            out,
            "<tr><td>{load}<td>{}<td>{}<td>{}<td>{}<td>{}<td class={}</tr>",
            v.goal.name(),
            figure.show(v.ours.median),
            figure.show(v.theirs.median),
            table::spread(v.ratio),
            v.goal.bound(),
            if v.met { "yes>met" } else { "no>not met" },
        );
    }
    out + "</table></div></section>"
}

fn section(comparison: &Comparison, compared: &Compared) -> String {
    let mut out = format!(
        "<section><h2>{}</h2><p>{}</p><div class=charts>",
        escape(&compared.workload),
        escape(&compared.about)
    );
    for figure in charted(compared) {
        out += &figure_bars(comparison, compared, figure);
    }
    out += &percentile_chart(compared);
    let rate = Axis { title: "requests/s", log: false, name: &digits };
    out += &series_chart(compared, &rate, &|second| Some(second.requests as f64));
    let latency = Axis { title: "p99", log: true, name: &|ns| nanos(ns as u64) };
    out += &series_chart(compared, &latency, &|second| {
        (second.latency.count > 0).then_some(second.latency.p99 as f64)
    });
    out += "</div>";
    out += &figure_table(comparison, compared);
    out + "</section>"
}

/// What is worth a bar chart.
fn charted(compared: &Compared) -> impl Iterator<Item = Figure> {
    let usual = [
        Figure::MegabytesPerS,
        Figure::RequestsPerS,
        Figure::P99,
        Figure::CpuPerRequest,
        Figure::StartS,
        Figure::CrashRestartS,
    ];
    usual.into_iter().filter(|figure| compared.figure(0, |run| figure.of(run)).is_some())
}

fn figure_bars(comparison: &Comparison, compared: &Compared, figure: Figure) -> String {
    let bar = |(number, name): (usize, &String)| {
        let Spread { median, min, max } = compared.figure(number, |run| figure.of(run))?;
        let (name, text) = (name.chars().take(14).collect(), figure.show(median));
        Some(Bar { name, colour: number, value: median, min, max, text })
    };
    let drawn: Vec<Bar> = comparison.brokers.iter().enumerate().filter_map(bar).collect();
    let better = if figure.higher_is_better() { "more is better" } else { "less is better" };
    figure_box(&bars(&format!("{} ({better})", figure.name()), &drawn))
}

fn percentile_chart(compared: &Compared) -> String {
    let curve = |run: &RunResult| -> Option<Line> {
        let load = main_load(run).filter(|load| load.curve.len() > 1)?;
        let nines = |percent: f64| -(1.0 - percent / 100.0).max(1e-9).log10();
        let points = load.curve.iter().map(|(percent, ns)| (nines(*percent), *ns as f64));
        Some((run.broker.clone(), points.collect()))
    };
    let percent = |nines: f64| match nines.round() as usize {
        0 => "0".to_owned(),
        1 => "90".to_owned(),
        2 => "99".to_owned(),
        nines => format!("99.{}", "9".repeat(nines - 2)),
    };
    let x = Axis { title: "percentile", log: false, name: &percent };
    let y = Axis { title: "latency", log: true, name: &|ns| nanos(ns as u64) };
    let drawn: Vec<Line> = last_round(compared).filter_map(curve).collect();
    figure_box(&lines(&x, &y, &drawn))
}

fn series_chart(
    compared: &Compared,
    y: &Axis<'_>,
    pick: &dyn Fn(&Second) -> Option<f64>,
) -> String {
    let line = |run: &RunResult| -> Option<Line> {
        let seconds = main_load(run)?.series.iter();
        let points = seconds.filter_map(|second| Some((second.second as f64 + 1.0, pick(second)?)));
        Some((run.broker.clone(), points.collect()))
    };
    let x = Axis { title: "seconds", log: false, name: &|s| format!("{s:.0}") };
    let drawn: Vec<Line> = last_round(compared).filter_map(line).collect();
    figure_box(&lines(&x, y, &drawn))
}

fn figure_table(comparison: &Comparison, compared: &Compared) -> String {
    let (head, rows) = table::figures(comparison, compared);
    cells(&head, &rows)
}

fn cells(head: &[String], rows: &[Vec<String>]) -> String {
    let head: String = head.iter().map(|cell| format!("<th>{}", escape(cell))).collect();
    let row = |row: &Vec<String>| {
        let cells: String = row.iter().map(|cell| format!("<td>{}", escape(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<div class=scroll><table><tr>{head}</tr>{rows}</table></div>")
}

fn last_round(compared: &Compared) -> impl Iterator<Item = &RunResult> {
    compared.rounds.last().into_iter().flatten()
}

fn figure_box(svg: &str) -> String {
    if svg.is_empty() { String::new() } else { format!("<figure>{svg}</figure>") }
}

/// The day of a Unix time, and the minute, in UTC.
fn date(unix: u64) -> String {
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    // Days since 0000-03-01, so that the leap day is the last of its year.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60)
}

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1c1e;--soft:#62686e;--grid:#e2e5e8;--card:#f6f7f8;\
--c0:#0b6bcb;--c1:#d9680d;--c2:#2c8f47;--c3:#8a4bd1;--yes:#1f7a3a;--no:#b3261e}\
@media(prefers-color-scheme:dark){:root{--bg:#15171a;--fg:#e6e8ea;--soft:#9aa1a8;--grid:#2d3136;\
--card:#1d2024;--c0:#5aa9ff;--c1:#ffa04d;--c2:#5fd07f;--c3:#c39bff;--yes:#6fd48b;--no:#ff8a80}}\
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);\
font:16px/1.5 system-ui,sans-serif}main{max-width:1100px;margin:0 auto;padding:16px}\
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.2rem;margin:2rem 0 .3rem}p{margin:.3rem 0}\
.command{background:var(--card);padding:8px 12px;border-radius:6px;overflow-x:auto;font-size:.85rem}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:12px}\
figure{margin:0;background:var(--card);border-radius:8px;padding:10px}svg{display:block;width:100%;\
height:auto}svg text{fill:var(--fg);font:13px system-ui,sans-serif}svg .tick{fill:var(--soft);\
font-size:12px}svg .title{font-weight:600;font-size:14px}.grid{stroke:var(--grid)}\
.line{fill:none;stroke-width:2.5;stroke-linejoin:round}.whisker{stroke:var(--fg);stroke-width:1.5}\
.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}\
.bar.c0{fill:var(--c0)}.bar.c1{fill:var(--c1)}.bar.c2{fill:var(--c2)}.bar.c3{fill:var(--c3)}\
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .4em 0 .8em}\
.key.c0{background:var(--c0)}.key.c1{background:var(--c1)}.key.c2{background:var(--c2)}\
.key.c3{background:var(--c3)}.legend{position:sticky;top:0;background:var(--bg);padding:6px 0}\
.scroll{overflow-x:auto;margin-top:10px}table{border-collapse:collapse;font-size:.9rem;\
font-variant-numeric:tabular-nums}th,td{padding:3px 10px;text-align:right;white-space:nowrap;\
border-bottom:1px solid var(--grid)}th{color:var(--soft);font-weight:600}\
th:first-child,td:first-child{text-align:left;padding-left:0}.yes{color:var(--yes)}\
.no,.faults{color:var(--no)}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Percentiles;
    use crate::result::LoadResult;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(1_709_210_096), "2024-02-29 12:34 UTC");
        assert_eq!(date(1_798_761_599), "2026-12-31 23:59 UTC");
    }

    #[test]
    fn a_page_holds_all_it_needs() {
        let latency = Percentiles { count: 1, p99: 5000, ..Percentiles::default() };
        let run = |broker: &str, scale: u64| RunResult {
            workload: "produce-1m".to_owned(),
            broker: broker.to_owned(),
            seconds: 2.0,
            loads: vec![LoadResult {
                requests: 10 * scale,
                records: 10 * scale,
                bytes: 1000 * scale,
                curve: vec![(0.0, 100), (90.0, 1000 / scale), (99.0, 5000)],
                series: vec![
                    Second { second: 0, requests: 5, latency, ..Second::default() },
                    Second { second: 1, requests: 7, latency, ..Second::default() },
                ],
                ..LoadResult::default()
            }],
            ..RunResult::default()
        };
        let comparison = Comparison {
            command: "perf compare <x>".to_owned(),
            brokers: vec!["odradek".to_owned(), "kafka".to_owned()],
            workloads: vec![Compared {
                workload: "produce-1m".to_owned(),
                rounds: vec![vec![run("odradek", 5), run("kafka", 1)]],
                ..Compared::default()
            }],
            ..Comparison::default()
        };
        let page = page(&comparison);
        assert!(page.contains("perf compare &lt;x&gt;") && page.contains("≥ 4"), "{page}");
        assert_eq!(page.matches("<polyline").count(), 6);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        for foreign in ["http://", "https://", "<script", "src=", "href="] {
            assert!(!page.contains(foreign), "the page needs {foreign}");
        }
    }
}
