//! Consuming: fetches built beforehand, answers walked batch by batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use wire::cursor::Cursor;
use wire::error_code::ErrorCode;
use wire::header::ResponseHeader;
use wire::msg::Request;
use wire::msg::fetch::{FetchRequest, FetchResponse, PartitionData};
use wire::primitives::Records;
use wire::schema;

use super::link::Flight;
use super::template::FetchTemplate;
use super::{Books, Cx, Load};
use crate::batch::next_batch;
use crate::control::{check, code_name};
use crate::verify::{Checker, Tally};
use crate::workload::Consume;

/// What is the same for all threads of a consuming load.
#[derive(Debug)]
pub(crate) struct FetchPlan {
    pub(crate) spec: Consume,
    pub(crate) version: i16,
    pub(crate) run: u32,
    /// Number among the consuming loads.
    pub(crate) number: usize,
    /// Lanes below this are the prefill's.
    pub(crate) first_lane: u32,
}

/// A place that one link reads.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) partition: u32,
    pub(crate) next: i64,
    /// Where a repeating reader starts again, and where it turns back.
    pub(crate) start: i64,
    pub(crate) end: i64,
    checker: Option<Checker>,
}

/// Places that one request asks for.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) template: FetchTemplate,
    pub(crate) places: Vec<Place>,
}

/// What takes turns in one of a link's fetches in flight.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) link: usize,
    pub(crate) groups: Vec<Group>,
    pub(crate) turn: usize,
}

/// A consuming load's part on one thread.
pub(crate) struct Fetch {
    plan: Arc<FetchPlan>,
    slots: Vec<Slot>,
    /// Slow readers: slots that fetch again at a time, in its order.
    resting: VecDeque<(u64, usize)>,
}

impl Place {
    pub(crate) fn new(partition: u32, start: i64, next: i64, end: i64) -> Self {
        Self { partition, next, start, end, checker: None }
    }
}

impl Fetch {
    pub(crate) fn new(plan: Arc<FetchPlan>, mut slots: Vec<Slot>) -> Self {
        if plan.spec.end_to_end {
            for group in slots.iter_mut().flat_map(|slot| &mut slot.groups) {
                for place in &mut group.places {
                    place.checker = Some(Checker::new(plan.run));
                }
            }
        }
        Self { plan, slots, resting: VecDeque::new() }
    }

    fn send(&mut self, cx: &mut Cx<'_>, number: usize, now: u64) {
        let slot = &mut self.slots[number];
        let Some(group) = slot.groups.get(slot.turn) else { return };
        let link = cx.link(slot.link);
        let correlation = link.launch(now, number as u32, slot.turn as u64);
        let offsets = group.places.iter().map(|place| place.next);
        group.template.send(correlation, offsets, &mut link.output);
        slot.turn = (slot.turn + 1) % slot.groups.len();
    }

    fn is_over(&self, cx: &Cx<'_>, now: u64) -> bool {
        // Fan-out: every connection that reads all gets a copy of its own.
        let copies = if self.plan.spec.each_reads_all { self.plan.spec.connections } else { 1 };
        now >= cx.window.end_ns
            && (!self.plan.spec.end_to_end
                || cx.shared.has_all(self.plan.number, u64::from(copies))
                || now >= cx.window.give_up_ns)
    }

    /// Takes one partition's part of an answer; bytes and records that came.
    fn take(
        plan: &FetchPlan,
        place: &mut Place,
        part: &PartitionData<'_>,
        cx: &mut Cx<'_>,
        now: u64,
    ) -> Result<(u64, u64)> {
        if part.error_code == ErrorCode::OFFSET_OUT_OF_RANGE.0 {
            // Retention was faster than this reader: on with what is left.
            place.next = part.log_start_offset.max(0);
            if let Some(checker) = &mut place.checker {
                checker.forgive_the_past();
            }
            return Ok((0, 0));
        }
        if part.error_code != 0 {
            cx.errors.add(code_name(part.error_code));
            return Ok((0, 0));
        }
        let Some(Records::Inline(mut rest)) = part.records else { return Ok((0, 0)) };
        let bytes = rest.len() as u64;
        let mut records = 0;
        while let Some(batch) = next_batch(&mut rest)? {
            // A fetch from within a batch brings all of it.
            if batch.next_offset() <= place.next {
                continue;
            }
            place.next = batch.next_offset();
            records += u64::from(batch.count().unsigned_abs());
            let Some(checker) = &mut place.checker else { continue };
            let mut received = 0;
            checker.batch(&batch, |stamp, count| {
                if stamp.lane >= plan.first_lane {
                    received += count;
                    cx.recorder.latency(stamp.sent_ns, now, count);
                }
            });
            cx.shared.received[plan.number].fetch_add(received, Ordering::Relaxed);
        }
        if plan.spec.repeat && place.next >= place.end {
            place.next = place.start;
        }
        Ok((bytes, records))
    }
}

impl Load for Fetch {
    fn begin(&mut self, cx: &mut Cx<'_>, now: u64) {
        for number in 0..self.slots.len() {
            self.send(cx, number, now);
        }
    }

    fn due(&self) -> Option<u64> {
        self.resting.front().map(|(at, _)| *at)
    }

    fn tick(&mut self, cx: &mut Cx<'_>, now: u64) {
        while let Some(&(at, number)) = self.resting.front() {
            if at > now {
                return;
            }
            self.resting.pop_front();
            if !self.is_over(cx, now) {
                self.send(cx, number, now);
            }
        }
    }

    fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        _link: usize,
        flight: Flight,
        answer: &[u8],
        now: u64,
    ) -> Result<()> {
        let number = flight.tag as usize;
        let group = &mut self.slots[number].groups[flight.sequence as usize];
        let mut cursor = Cursor::new(answer);
        ResponseHeader::decode(&mut cursor, FetchRequest::API, self.plan.version)?;
        let answer: FetchResponse<'_> =
            schema::decode(&mut cursor, self.plan.version).context("Fetch")?;
        check(answer.error_code, "Fetch")?;
        let (mut bytes, mut records, mut expected) = (0, 0, 0);
        for topic in &answer.responses {
            for part in &topic.partitions {
                let index = part.partition_index.cast_unsigned();
                let count = group.places.len();
                // Answers come in request order, mostly.
                let at = (0..count).map(|i| (expected + i) % count);
                let found = at.into_iter().find(|&at| group.places[at].partition == index);
                let at = found.context("an answer about a partition that was not asked for")?;
                expected = at + 1;
                let (b, r) = Self::take(&self.plan, &mut group.places[at], &part, cx, now)?;
                bytes += b;
                records += r;
            }
        }
        cx.recorder.count(now, 1, records, bytes);
        if !self.plan.spec.end_to_end && records > 0 {
            cx.recorder.latency(flight.intended_ns, now, 1);
        }
        if self.is_over(cx, now) {
            return Ok(());
        }
        match self.plan.spec.throttle.0 {
            0 => self.send(cx, number, now),
            rate => {
                let rest_ns =
                    (bytes as f64 / rate as f64 * self.plan.spec.depth as f64 * 1e9) as u64;
                let at = now + rest_ns;
                let place = self.resting.partition_point(|(other, _)| *other <= at);
                self.resting.insert(place, (at, number));
            }
        }
        Ok(())
    }

    fn is_done(&self, cx: &Cx<'_>, now: u64) -> bool {
        self.is_over(cx, now) || cx.links.iter().all(|link| link.buried)
    }

    fn through(&mut self, _: &Cx<'_>) {}

    fn unanswered(&mut self, _: usize, _: Flight) {}

    fn close(self: Box<Self>) -> Books {
        let mut tally = Tally::default();
        for place in self.slots.into_iter().flat_map(|slot| slot.groups).flat_map(|g| g.places) {
            if let Some(checker) = place.checker {
                tally.add(&checker.tally);
            }
        }
        Books { tally, ..Books::default() }
    }
}
