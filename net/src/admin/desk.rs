//! Asks the node for whoever comes by HTTP.
//!
//! One question at a time, and not one more of its kind until the last answer is no longer [fresh]:
//! however many ask, and however often, the cores copy their counters once a second at most.
//!
//! [fresh]: PAGE_FRESH

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use config::Config;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::digest::{self, Limits, Shown};
use super::gather::{ANSWER_LIMIT, Shot};
use super::text::Form;
use super::{Report, health};
use crate::boot::Handle;

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    handle: Handle,
    limits: Limits,
    started_seconds: i64,
    heard: Mutex<Heard>,
}

/// What was heard last.
#[derive(Debug, Default)]
struct Heard {
    /// The node has answered at least once.
    ever: bool,
    health: Option<(Instant, Option<Arc<Report>>)>,
    /// By form.
    pages: [Option<(Instant, Option<Bytes>)>; 2],
    shown: Shown,
    /// What each core said last.
    shots: Vec<Option<Shot>>,
}

impl Heard {
    /// Takes for a core that does not answer what it said before: without it the sums over all
    /// cores would fall, and seem to begin anew when it answers again.
    fn fill_in(&mut self, report: &mut Report) {
        for (core, shot) in report.cores.iter_mut().enumerate().filter(|(_, shot)| shot.is_none()) {
            *shot = self.shots.get_mut(core).and_then(Option::take);
        }
    }
}

/// Whether something is as it should be, and in words.
pub(super) type Verdict = Result<String, String>;

impl Desk {
    pub(super) fn new(handle: Handle, config: &Config) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            handle,
            limits: Limits {
                topics: config.odradek_metrics_topics_max as usize,
                lags: config.odradek_metrics_lags_max as usize,
            },
            started_seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            heard: Mutex::default(),
        }
    }

    /// The page of metrics; none where the node does not answer.
    pub(super) async fn page(&self, form: Form) -> Option<Bytes> {
        let mut heard = self.heard.lock().await;
        if let Some((at, page)) = &heard.pages[form as usize]
            && at.elapsed() < PAGE_FRESH
        {
            return page.clone();
        }
        let page = self.ask(true).await.map(|mut report| {
            heard.ever = true;
            heard.fill_in(&mut report);
            let process = digest::process(self.started_seconds);
            let page = digest::page(&report, &process, &mut heard.shown, self.limits, form);
            heard.shots = report.cores;
            Bytes::from(page)
        });
        heard.pages[form as usize] = Some((Instant::now(), page.clone()));
        page
    }

    /// Whether every core answers. A node that has not come that far as to answer at all is alive.
    pub(super) async fn alive(&self) -> Verdict {
        let (report, ever) = self.health().await;
        match report {
            None if ever => Err(told("dead", &[SILENT.to_owned()])),
            None => Ok("alive: starting\n".to_owned()),
            Some(report) => match &*health::missing_for_life(&report) {
                [] => Ok("alive\n".to_owned()),
                missing => Err(told("dead", missing)),
            },
        }
    }

    /// Whether clients may come.
    pub(super) async fn ready(&self) -> Verdict {
        let (report, ever) = self.health().await;
        let missing = match report {
            None if ever => vec![SILENT.to_owned()],
            None => vec!["it is starting: its directories are being looked at".to_owned()],
            Some(report) => health::missing(&report),
        };
        match missing.is_empty() {
            true => Ok("ready\n".to_owned()),
            false => Err(told("not ready", &missing)),
        }
    }

    async fn health(&self) -> (Option<Arc<Report>>, bool) {
        let mut heard = self.heard.lock().await;
        if let Some((at, report)) = &heard.health
            && at.elapsed() < HEALTH_FRESH
        {
            return (report.clone(), heard.ever);
        }
        let report = self.ask(false).await.map(Arc::new);
        heard.ever |= report.is_some();
        heard.health = Some((Instant::now(), report.clone()));
        (report, heard.ever)
    }

    async fn ask(&self, counts: bool) -> Option<Report> {
        let report = self.handle.ask(counts)?;
        timeout(PATIENCE, report.recv_async()).await.ok()?.ok()
    }
}

fn told(what: &str, missing: &[String]) -> String {
    format!("{what}:\n{}\n", missing.join("\n"))
}

const SILENT: &str = "core 0 does not answer";
/// Counters that were copied so recently are told again: the cost grows with the partitions.
const PAGE_FRESH: Duration = Duration::from_secs(1);
/// The same for how the node is, which costs a message to each core.
const HEALTH_FRESH: Duration = Duration::from_millis(250);
/// Core 0 itself gives the others up before.
const PATIENCE: Duration = ANSWER_LIMIT.saturating_add(Duration::from_secs(1));

#[cfg(test)]
mod tests {
    use super::super::Phase;
    use super::*;

    #[test]
    fn a_silent_core_counts_with_what_it_said_last() {
        let shot = |dir: &str| {
            Some(Shot { failed_dirs: vec![(dir.to_owned(), "full".into())], counts: None })
        };
        let report = |cores| Report {
            phase: Phase::Serving,
            cores,
            image: Arc::default(),
            quorum: None,
            node: engine::ids::BrokerId(1),
        };
        let mut heard = Heard::default();
        let mut first = report(vec![shot("a"), None]);
        heard.fill_in(&mut first);
        assert!(first.cores[1].is_none(), "it has never said anything");
        heard.shots = vec![shot("a"), shot("b")];
        let mut next = report(vec![shot("c"), None]);
        heard.fill_in(&mut next);
        let dirs: Vec<_> =
            next.cores.iter().flatten().map(|shot| shot.failed_dirs[0].0.as_str()).collect();
        assert_eq!(dirs, ["c", "b"]);
    }
}
