//! Charts as SVG text: they scale with the page, and take their colours from its style sheet.

use std::fmt::Write as _;

/// A line of a chart: its name and points, ascending in x.
pub(crate) type Line = (String, Vec<(f64, f64)>);

/// How an axis is divided and named.
pub(crate) struct Axis<'a> {
    pub(crate) title: &'a str,
    /// Whether equal distances are equal factors.
    pub(crate) log: bool,
    pub(crate) name: &'a dyn Fn(f64) -> String,
}

/// Lines over a common x axis; empty when there is nothing to draw.
pub(crate) fn lines(x: &Axis<'_>, y: &Axis<'_>, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points).copied();
    let Some((x_min, x_max)) = extent(points().map(|p| p.0)) else { return String::new() };
    let Some((y_min, y_max)) = extent(points().map(|p| p.1)) else { return String::new() };
    let (y_min, y_max) =
        if y.log { (y_min.max(1.0), y_max.max(2.0)) } else { (0.0, y_max.max(1e-9)) };
    let scale = |v: f64| if y.log { v.max(1.0).ln() } else { v };
    let ticks = if y.log { log_ticks(y_min, y_max) } else { linear_ticks(y_max) };
    let low = scale(ticks.first().copied().unwrap_or(y_min).min(y_min));
    let high = scale(ticks.last().copied().unwrap_or(y_max).max(y_max));
    let to_x = |v: f64| LEFT + (v - x_min) / (x_max - x_min).max(1e-9) * (WIDTH - LEFT - RIGHT);
    let to_y = |v: f64| {
        let share = (scale(v) - low) / (high - low).max(1e-9);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    };
    let mut out = open(y.title);
    for tick in &ticks {
        let at = to_y(*tick);
        let _ = write!(
            out,
            "<line class=grid x1={LEFT} x2={:.1} y1={at:.1} y2={at:.1} />\
             <text class=tick text-anchor=end x={:.1} y={:.1}>{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            escape(&(y.name)(*tick)),
        );
    }
    for tick in x_ticks(x_min, x_max) {
        let _ = write!(
            out,
            "<text class=tick text-anchor=middle x={:.1} y={:.1}>{}</text>",
            to_x(tick),
            HEIGHT - BOTTOM + 16.0,
            escape(&(x.name)(tick)),
        );
    }
    let _ = write!(
        out,
        "<text class=tick text-anchor=end x={:.1} y={:.1}>{}</text>",
        WIDTH - RIGHT,
        HEIGHT - 4.0,
        escape(x.title)
    );
    for (number, (name, points)) in lines.iter().enumerate() {
        let path: Vec<String> =
            points.iter().map(|(x, y)| format!("{:.1},{:.1}", to_x(*x), to_y(*y))).collect();
        let _ = write!(
            out,
            "<polyline class=\"line c{}\" points=\"{}\"><title>{}</title></polyline>",
            number % COLOURS,
            path.join(" "),
            escape(name)
        );
    }
    out + "</svg>"
}

/// One bar for each name, with its value and, thinner, how far rounds lay apart.
pub(crate) fn bars(title: &str, bars: &[Bar]) -> String {
    let Some((_, most)) = extent(bars.iter().map(|bar| bar.max)) else { return String::new() };
    let height = TOP + bars.len() as f64 * BAR + 8.0;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=img aria-label=\"{0}\"><text class=title x=0 y=16>{0}</text>",
        escape(title)
    );
    let to_x = |v: f64| BAR_LEFT + v / most.max(1e-12) * (WIDTH - BAR_LEFT - BAR_RIGHT);
    for (number, bar) in bars.iter().enumerate() {
        let y = TOP + number as f64 * BAR;
        let middle = y + BAR / 2.0 - 2.0;
        let _ = write!(
            out,
            "<text class=name text-anchor=end x={:.1} y={:.1}>{}</text>\
             <rect class=\"bar c{}\" x={BAR_LEFT} y={:.1} width={:.1} height={:.1} rx=2 />\
             <line class=whisker x1={:.1} x2={:.1} y1={middle:.1} y2={middle:.1} />\
             <text class=value x={:.1} y={:.1}>{}</text>",
            BAR_LEFT - 8.0,
            middle + 5.0,
            escape(&bar.name),
            bar.colour % COLOURS,
            y,
            (to_x(bar.value) - BAR_LEFT).max(1.0),
            BAR - 8.0,
            to_x(bar.min),
            to_x(bar.max),
            to_x(bar.max) + 8.0,
            middle + 5.0,
            escape(&bar.text),
        );
    }
    out + "</svg>"
}

/// A bar of a chart.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) colour: usize,
    pub(crate) value: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// What is written behind it.
    pub(crate) text: String,
}

/// Text that can stand in a page.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn open(title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{0}\"><text class=title x=0 y=16>{0}</text>",
        escape(title)
    )
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((min, max)) => Some((f64::min(min, v), f64::max(max, v))),
    })
}

/// Some four round numbers from 0 to above `max`.
fn linear_ticks(max: f64) -> Vec<f64> {
    let rough = max / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough);
    let step = step.unwrap_or(power * 10.0);
    (0..=(max / step).ceil() as usize).map(|i| i as f64 * step).collect()
}

/// Powers of ten around what is shown, with steps between where that is little.
fn log_ticks(min: f64, max: f64) -> Vec<f64> {
    let (first, last) = (min.log10().floor() as i32, max.log10().ceil() as i32);
    let steps: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let all = (first..=last).flat_map(|p| steps.iter().map(move |step| step * 10_f64.powi(p)));
    let all: Vec<f64> = all.collect();
    // From the last one below to the first one above.
    let from = all.iter().rposition(|tick| *tick <= min).unwrap_or(0);
    let to = all.iter().position(|tick| *tick >= max).unwrap_or(all.len() - 1);
    all[from..=to].to_vec()
}

fn x_ticks(min: f64, max: f64) -> Vec<f64> {
    let step = ((max - min) / 6.0).ceil().max(1.0);
    let count = ((max - min) / step).floor() as usize;
    (0..=count).map(|i| min + i as f64 * step).collect()
}

/// How many colours the style sheet has.
pub(crate) const COLOURS: usize = 4;
/// In units of which a pixel is about one where three charts stand side by side.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 36.0;
const BAR: f64 = 28.0;
const BAR_LEFT: f64 = 104.0;
const BAR_RIGHT: f64 = 76.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_around_the_values() {
        assert_eq!(linear_ticks(37.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(log_ticks(30.0, 40_000.0), [10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
        assert_eq!(log_ticks(30.0, 60.0), [20.0, 50.0, 100.0]);
    }

    #[test]
    fn names_cannot_break_the_page() {
        let bar = |name: &str| Bar {
            name: name.to_owned(),
            colour: 0,
            value: 1.0,
            min: 1.0,
            max: 1.0,
            text: String::new(),
        };
        assert!(bars("<b>", &[bar("a<script>")]).find("<script>").is_none());
        assert_eq!(bars("empty", &[]), "");
    }
}
