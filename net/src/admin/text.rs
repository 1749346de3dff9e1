//! Prometheus' text format, version 0.0.4, and OpenMetrics 1.0 for who asks for that.

use std::fmt::Write as _;

use engine::meter::{Description, Kind, Metric, Snapshot, Value};

use super::families::type_of;

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Form {
    /// Text 0.0.4.
    #[default]
    Prometheus,
    /// The same with fewer freedoms.
    OpenMetrics,
}

impl Form {
    /// What a client takes that sends this `Accept`.
    pub(super) fn accepted(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Values of a struct's labels, in their order, and the struct.
pub(super) type Row<'a> = (Vec<&'a str>, &'a Snapshot);

/// A page being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    form: Form,
}

impl Page {
    pub(super) fn new(form: Form) -> Self {
        Self { text: String::new(), form }
    }

    /// Writes every metric of a struct of which there is one.
    pub(super) fn one(&mut self, snapshot: &Snapshot) {
        self.table(&[(Vec::new(), snapshot)]);
    }

    /// Writes every metric of structs of one kind: each metric of all of them together, as the
    /// format wants it.
    ///
    /// # Panics
    /// When a row does not have the values of the struct's labels.
    pub(super) fn table(&mut self, rows: &[Row<'_>]) {
        let Some((_, first)) = rows.first() else { return };
        for (at, metric) in first.metrics.iter().enumerate() {
            let name = metric.full_name();
            self.head(&name, &metric.description);
            for (values, snapshot) in rows {
                let labels = metric.description.labels;
                assert_eq!(labels.len(), values.len(), "{name} has the labels {labels:?}");
                self.sample(&name, values, &snapshot.metrics[at]);
            }
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn head(&mut self, name: &str, description: &Description) {
        // OpenMetrics names the family, of which `_total` is the sample.
        let family = match (self.form, description.kind) {
            (Form::OpenMetrics, Kind::Counter | Kind::Time) => {
                name.strip_suffix("_total").unwrap_or(name)
            }
            _ => name,
        };
        let (kind, help) = (type_of(description.kind), escaped(description.help));
        self.line(format_args!("# HELP {family} {help}."));
        self.line(format_args!("# TYPE {family} {kind}"));
    }

    fn sample(&mut self, name: &str, values: &[&str], metric: &Metric) {
        let labels = metric.description.labels.iter().zip(values);
        let labels: Vec<_> =
            labels.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = labels.join(",");
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        match &metric.value {
            Value::Counter(count) => self.line(format_args!("{name}{braced} {count}")),
            Value::Gauge(level) => self.line(format_args!("{name}{braced} {level}")),
            Value::Time(time) => self.line(format_args!("{name}{braced} {}", time.as_secs_f64())),
            Value::Histogram(all) => {
                let comma = if labels.is_empty() { "" } else { "," };
                for (top, events) in all.ladder() {
                    let top = top.as_secs_f64();
                    let bucket =
                        format_args!("{name}_bucket{{{labels}{comma}le=\"{top}\"}} {events}");
                    self.line(bucket);
                }
                let (count, sum) = (all.count(), all.sum().as_secs_f64());
                self.line(format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"));
                self.line(format_args!("{name}_sum{braced} {sum}"));
                self.line(format_args!("{name}_count{braced} {count}"));
            }
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes all");
    }
}

/// As a label's value, or help.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
