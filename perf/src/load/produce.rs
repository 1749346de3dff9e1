//! Raw producing: one batch, sent again and again with new stamps.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use wire::cursor::Cursor;
use wire::header::ResponseHeader;
use wire::msg::Request;
use wire::msg::produce::{ProduceRequest, ProduceResponse};
use wire::schema;

use super::arrivals::Arrivals;
use super::link::Flight;
use super::template::{Mold, ProduceTemplate, Sending};
use super::{Books, Cx, Load};
use crate::batch::Identity;
use crate::control::code_name;
use crate::verify::Lanes;
use crate::workload::Produce;

/// What is the same for all threads of a raw load.
#[derive(Debug)]
pub(crate) struct RawPlan {
    pub(crate) spec: Produce,
    pub(crate) version: i16,
    /// Which run of the harness this is.
    pub(crate) run: u32,
    pub(crate) mold: Mold,
    pub(crate) templates: Vec<ProduceTemplate>,
    /// Partitions of the topic: how far apart the lanes of two links lie.
    pub(crate) partitions: u32,
    /// Lane of partition 0 on link 0.
    pub(crate) first_lane: u32,
}

/// A raw load's part on one thread.
pub(crate) struct RawProduce {
    plan: Arc<RawPlan>,
    senders: Vec<Sender>,
    arrivals: Option<Arrivals>,
    start_ns: u64,
    /// Link of the next arrival.
    turn: usize,
    /// Whether arrivals wait because every link has `depth` requests on its way.
    waiting: bool,
    stopped: bool,
    lanes: Lanes,
}

/// One connection's view.
#[derive(Debug)]
pub(crate) struct Sender {
    /// Number of the link in the whole load.
    pub(crate) link: u32,
    /// Templates whose partitions the link's broker leads.
    pub(crate) templates: Arc<[u32]>,
    pub(crate) identity: Option<Identity>,
    /// Which of `templates` is next.
    pub(crate) next: usize,
    /// By template of `templates`: the next sequence number.
    pub(crate) sequences: Vec<u64>,
    /// A prefill: requests still to be sent.
    pub(crate) left: Option<u64>,
}

impl RawProduce {
    /// The part with these links; `share` of the arrivals are its own.
    pub(crate) fn new(plan: Arc<RawPlan>, senders: Vec<Sender>, share: (usize, usize)) -> Self {
        let arrivals = plan.spec.rate.map(|rate| Arrivals::new(rate, plan.spec.arrival, share));
        let lanes = Lanes::default();
        Self {
            plan,
            senders,
            arrivals,
            start_ns: 0,
            turn: 0,
            waiting: false,
            stopped: false,
            lanes,
        }
    }

    /// Sends the link's next request.
    fn send(&mut self, cx: &mut Cx<'_>, number: usize, intended_ns: u64) {
        let plan = &self.plan;
        let sender = &mut self.senders[number];
        let slot = sender.next;
        sender.next = (slot + 1) % sender.templates.len();
        let sequence = sender.sequences[slot];
        sender.sequences[slot] += 1;
        let link = cx.link(number);
        let sending = Sending {
            correlation: link.launch(intended_ns, slot as u32, sequence),
            run: plan.run,
            first_lane: plan.first_lane + sender.link * plan.partitions,
            sequence,
            sent_ns: intended_ns,
            identity: sender.identity,
        };
        let template = &plan.templates[sender.templates[slot] as usize];
        template.send(&plan.mold, &sending, &mut link.output);
    }

    /// One request fewer to go on a link; breaks when there was none.
    fn take_one(&mut self, number: usize) -> ControlFlow<()> {
        match &mut self.senders[number].left {
            None => ControlFlow::Continue(()),
            Some(0) => ControlFlow::Break(()),
            Some(left) => {
                *left -= 1;
                ControlFlow::Continue(())
            }
        }
    }

    /// Sends what has arrived by `now`, as far as depth allows: what does not go out now keeps
    /// its intended time, and goes when an answer makes room.
    fn send_arrived(&mut self, cx: &mut Cx<'_>, now: u64) {
        let depth = self.plan.spec.depth.map_or(usize::MAX, |depth| depth as usize);
        while let Some(arrivals) = &self.arrivals {
            let intended = self.start_ns + arrivals.peek();
            if intended > now || intended >= cx.window.end_ns {
                return;
            }
            let count = self.senders.len();
            let free = (0..count).map(|i| (self.turn + i) % count).find(|&number| {
                cx.links[number].in_flight.len() < depth && !cx.links[number].buried
            });
            self.waiting = free.is_none();
            let Some(number) = free else { return };
            self.turn = (number + 1) % count;
            self.arrivals.as_mut().expect("checked above").advance();
            self.send(cx, number, intended);
        }
    }

    fn lane(&self, link: usize, partition: u32) -> u32 {
        self.plan.first_lane + self.senders[link].link * self.plan.partitions + partition
    }

    fn fail(&mut self, link: usize, flight: &Flight) {
        let template = self.senders[link].templates[flight.tag as usize];
        for &partition in &self.plan.templates[template as usize].partitions {
            self.lanes.failed.insert((self.lane(link, partition), flight.sequence));
        }
    }

    fn stop(&mut self, cx: &Cx<'_>) {
        if !std::mem::replace(&mut self.stopped, true) {
            cx.shared.producing.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Load for RawProduce {
    fn begin(&mut self, cx: &mut Cx<'_>, now: u64) {
        self.start_ns = cx.window.begin_ns;
        if self.arrivals.is_some() {
            return;
        }
        for _ in 0..self.plan.spec.depth.unwrap_or(1) {
            for number in 0..self.senders.len() {
                if self.take_one(number).is_continue() {
                    self.send(cx, number, now);
                }
            }
        }
    }

    fn due(&self) -> Option<u64> {
        let arrivals = self.arrivals.as_ref().filter(|_| !self.waiting)?;
        Some(self.start_ns + arrivals.peek())
    }

    fn tick(&mut self, cx: &mut Cx<'_>, now: u64) {
        self.send_arrived(cx, now);
    }

    fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        link: usize,
        flight: Flight,
        answer: &[u8],
        now: u64,
    ) -> Result<()> {
        let slot = self.senders[link].templates[flight.tag as usize] as usize;
        let partitions = self.plan.templates[slot].partitions.len() as u64;
        let mut failed = 0;
        let mut seen = 0;
        read_answer(answer, self.plan.version, |partition, code| {
            seen += 1;
            if code != 0 {
                failed += 1;
                cx.errors.add(code_name(code));
                let lane = self.lane(link, partition);
                self.lanes.failed.insert((lane, flight.sequence));
            }
        })?;
        anyhow::ensure!(
            seen == partitions,
            "{partitions} partitions were written, {seen} answered"
        );
        let records = (partitions - failed) * u64::from(self.plan.mold.records);
        let bytes = (partitions - failed) * self.plan.mold.bytes as u64;
        cx.recorder.count(now, 1, records, bytes);
        cx.recorder.latency(flight.intended_ns, now, 1);
        cx.shared.acked.fetch_add(records, Ordering::Relaxed);
        if self.arrivals.is_some() {
            if self.waiting {
                self.send_arrived(cx, now);
            }
        } else if now < cx.window.end_ns && self.take_one(link).is_continue() {
            self.send(cx, link, now);
        }
        Ok(())
    }

    fn is_done(&self, cx: &Cx<'_>, now: u64) -> bool {
        self.senders.iter().all(|sender| sender.left == Some(0))
            || match &self.arrivals {
                Some(arrivals) => {
                    now >= cx.window.end_ns && self.start_ns + arrivals.peek() >= cx.window.end_ns
                }
                None => now >= cx.window.end_ns,
            }
            || cx.links.iter().all(|link| link.buried)
    }

    fn through(&mut self, cx: &Cx<'_>) {
        self.stop(cx);
    }

    fn unanswered(&mut self, link: usize, flight: Flight) {
        self.fail(link, &flight);
    }

    fn close(mut self: Box<Self>) -> Books {
        for (number, sender) in self.senders.iter().enumerate() {
            for (slot, &template) in sender.templates.iter().enumerate() {
                for &partition in &self.plan.templates[template as usize].partitions {
                    let lane = self.lane(number, partition);
                    self.lanes.sent.push((partition, lane, sender.sequences[slot]));
                }
            }
        }
        Books { lanes: self.lanes, ..Books::default() }
    }
}

/// Reads a Produce answer: partition and error code of each.
pub(crate) fn read_answer(
    answer: &[u8],
    version: i16,
    mut each: impl FnMut(u32, i16),
) -> Result<()> {
    let mut cursor = Cursor::new(answer);
    ResponseHeader::decode(&mut cursor, ProduceRequest::API, version)?;
    let answer: ProduceResponse<'_> = schema::decode(&mut cursor, version).context("Produce")?;
    for topic in &answer.responses {
        for partition in &topic.partition_responses {
            each(partition.index.cast_unsigned(), partition.error_code);
        }
    }
    Ok(())
}
