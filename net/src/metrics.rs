//! What the shell counts on one core.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use engine::meter::{Metrics, Snapshot};

use crate::api::{self, Row, TABLE};

engine::metrics! {
    /// Connections and requests of one core.
    NetMetrics {
        connections: Gauge "Connections now",
        connections_accepted: Counter "Connections accepted",
        connections_over_limit: Counter "Connections not accepted because of a limit",
        connections_moved: Counter "Connections handed over to another core",
        connections_closed: Counter "Connections closed, by whomever",
        connections_refused: Counter "Connections closed for what the client sent or failed to take",
        bytes_received: Counter "Bytes of requests",
        bytes_sent: Counter "Bytes of answers",
        frame_bytes: Gauge "Memory that requests hold, arriving or in service",
        working_bytes: Gauge "Memory that requests take beside their frames, and answers until they are sent",
        pinned_bytes: Gauge "Memory of caches that answers keep until they are sent",
        calls_waiting: Gauge "Calls to other cores that wait for their answer",
    }
}

engine::metrics! {
    /// Requests of one API.
    pub(crate) ApiMetrics by [api] {
        requests: Counter "Requests answered",
        request_time: Histogram "From the last byte of a request to its answer's readiness; what a Fetch waits for new records is in it",
    }
}

engine::metrics! {
    /// One error in the answers of one API.
    pub(crate) AnswerMetrics by [api, error] {
        errors: Counter "Error codes in answers, one for each topic, partition or group that has one",
    }
}

/// What comes of the requests of one core. Its size is fixed by the table of APIs, and by the number
/// of Kafka's error codes.
#[derive(Debug)]
pub(crate) struct Requests {
    /// By place in the table.
    by_api: Box<[ApiMetrics]>,
    /// By place in the table and code.
    errors: RefCell<BTreeMap<(usize, i16), AnswerMetrics>>,
}

impl Requests {
    /// None yet.
    pub(crate) fn new() -> Self {
        let by_api = TABLE.iter().map(|_| ApiMetrics::default()).collect();
        Self { by_api, errors: RefCell::default() }
    }

    /// A request of this API was answered.
    #[inline]
    pub(crate) fn answered(&self, row: &'static Row, took: Duration) {
        let metrics = &self.by_api[api::place(row)];
        metrics.requests.inc();
        metrics.request_time.record(took);
    }

    /// Its answer holds these error codes, so often each.
    #[inline]
    pub(crate) fn failed(&self, row: &'static Row, errors: &[(i16, u32)]) {
        if !errors.is_empty() {
            self.count_errors(row, errors);
        }
    }

    #[cold]
    fn count_errors(&self, row: &'static Row, errors: &[(i16, u32)]) {
        let mut known = self.errors.borrow_mut();
        for (code, times) in errors {
            let metrics = known.entry((api::place(row), *code)).or_default();
            metrics.errors.add(u64::from(*times));
        }
    }

    /// Requests answered, whatever they asked.
    pub(crate) fn count(&self) -> u64 {
        self.by_api.iter().map(|api| api.requests.get()).sum()
    }

    /// What was counted of each API, in the order of the table; those nobody has asked are left out.
    pub(crate) fn snapshots(&self) -> Vec<(&'static str, Snapshot)> {
        let asked = TABLE.iter().zip(&self.by_api).filter(|(_, api)| api.requests.get() > 0);
        asked.map(|(row, api)| (row.key.name(), api.snapshot())).collect()
    }

    /// What was counted of each error, by API and Kafka's name of the error.
    pub(crate) fn error_snapshots(&self) -> Vec<((&'static str, &'static str), Snapshot)> {
        let errors = self.errors.borrow();
        let named = errors.iter().map(|((place, code), metrics)| {
            ((TABLE[*place].key.name(), api::errors::name_of(*code)), metrics.snapshot())
        });
        named.collect()
    }
}
