//! Members of consumer groups, as applications have them: one connection each, on which one request
//! waits for its answer.
//!
//! ```text
//! join ─▶ (rejoin) ─▶ has partitions ─ heartbeat, commit ─▶ … ─▶ leave ─▶ join
//!   └──────── timed ───────┘
//! ```
//!
//! No two members of a group may have a partition at the same time; where they do, the run fails.

mod classic;
mod consumer;
mod owners;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use wire::cursor::Cursor;
use wire::error_code::ErrorCode;
use wire::header::ResponseHeader;
use wire::msg::Request;
use wire::msg::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use wire::schema;

pub(crate) use self::owners::Owners;
use super::link::Flight;
use super::{Books, Cx, Load};
use crate::control::{TopicView, code_name, encode_frame};
use crate::workload::{Group, Measured, Protocol};

/// Versions of the requests that members send.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemberVersions {
    pub(crate) consumer_heartbeat: i16,
    pub(crate) join: i16,
    pub(crate) sync: i16,
    pub(crate) heartbeat: i16,
    pub(crate) leave: i16,
    pub(crate) commit: i16,
}

/// What is the same for all threads of a load.
#[derive(Debug)]
pub(crate) struct MemberPlan {
    pub(crate) spec: Group,
    pub(crate) versions: MemberVersions,
    pub(crate) topic: TopicView,
    /// By group of the load.
    pub(crate) owners: Vec<Owners>,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    /// Which group, and which of its members.
    group: u32,
    number: u32,
    name: String,
    id: String,
    /// Epoch, or generation.
    epoch: i32,
    partitions: BTreeSet<i32>,
    /// Since when it has been without partitions; none while it has some.
    since: Option<u64>,
    /// The next heartbeat tells what it has.
    tells: bool,
    /// When it leaves.
    leaves: Option<u64>,
    /// Who it is to assign partitions to, if it leads a generation.
    followers: Vec<String>,
    /// It has left for good.
    is_gone: bool,
    /// It commits from time to time.
    commits: bool,
    committed: i64,
}

/// A load's part on one thread; members and links have the same numbers.
pub(crate) struct Members {
    plan: Arc<MemberPlan>,
    members: Vec<Member>,
    /// What is due: time, member, what.
    timers: BTreeSet<(u64, usize, Op)>,
}

/// What a member asks for; the tag of its flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Op {
    Join,
    Sync,
    Heartbeat,
    Commit,
    Leave,
}

impl Op {
    const ALL: [Self; 5] = [Self::Join, Self::Sync, Self::Heartbeat, Self::Commit, Self::Leave];
}

/// What follows from an answer.
enum Next {
    /// The member has what it is to have for now.
    Settled,
    /// It is told the same as before.
    AsBefore,
    /// Again, at once.
    Send(Op),
    /// It has to start again.
    Lost(i16),
}

impl Member {
    pub(crate) fn new(name: String, group: u32, number: u32) -> Self {
        Self {
            group,
            number,
            name,
            id: String::new(),
            epoch: 0,
            partitions: BTreeSet::new(),
            since: None,
            tells: false,
            leaves: None,
            followers: Vec::new(),
            is_gone: false,
            commits: false,
            committed: 0,
        }
    }
}

/// Groups of a run have names of their own.
pub(crate) fn group_name(run: u32, group: u32) -> String {
    format!("perf-{run:08x}-{group}")
}

impl Members {
    pub(crate) fn new(plan: Arc<MemberPlan>, members: Vec<Member>) -> Self {
        Self { plan, members, timers: BTreeSet::new() }
    }

    fn start(&mut self, cx: &mut Cx<'_>, number: usize, now: u64) -> Result<()> {
        let member = &mut self.members[number];
        self.plan.owners[member.group as usize].release(member.number, &member.partitions);
        member.partitions.clear();
        (member.epoch, member.leaves) = (0, None);
        member.since.get_or_insert(now);
        self.send(cx, number, Op::Join, now)
    }

    fn send(&mut self, cx: &mut Cx<'_>, number: usize, op: Op, intended_ns: u64) -> Result<()> {
        let (plan, member) = (&*self.plan, &mut self.members[number]);
        let is_over = intended_ns >= cx.window.end_ns;
        if cx.links[number].buried || member.is_gone || (is_over && op == Op::Commit) {
            return Ok(());
        }
        // Others may wait for a member that would only fall silent.
        let op = if is_over { Op::Leave } else { op };
        member.is_gone = is_over;
        let link = cx.link(number);
        let correlation = link.launch(intended_ns, op as u32, 0);
        let frame = match (plan.spec.protocol, op) {
            (_, Op::Commit) => member.commit(plan, correlation)?,
            (Protocol::Consumer, op) => member.consumer_heartbeat(plan, op, correlation)?,
            (Protocol::Classic, Op::Join) => member.join(plan, correlation)?,
            (Protocol::Classic, Op::Sync) => member.sync(plan, correlation)?,
            (Protocol::Classic, Op::Heartbeat) => member.heartbeat(plan, correlation)?,
            (Protocol::Classic, Op::Leave) => member.leave(plan, correlation)?,
        };
        link.output.push(&frame);
        Ok(())
    }

    /// A member's next turn: what is due now, else when there is something.
    fn go_on(&mut self, cx: &mut Cx<'_>, number: usize, op: Op, now: u64) -> Result<()> {
        let spec = &self.plan.spec;
        let member = &self.members[number];
        // Commits go on beside what else a member does.
        if op != Op::Commit && member.leaves.is_some_and(|at| at <= now) {
            return self.send(cx, number, Op::Leave, now);
        }
        let interval = match op {
            Op::Commit => spec.commit.unwrap_or_default().ns(),
            // Who waits for partitions asks for them often, as the coordinator's answer is to come.
            _ if member.since.is_some() => spec.heartbeat.ns().min(WAITING_NS),
            _ => spec.heartbeat.ns(),
        };
        match interval {
            0 => self.send(cx, number, op, now),
            interval => {
                self.timers.insert((now + interval, number, op));
                Ok(())
            }
        }
    }

    fn settle(&mut self, cx: &mut Cx<'_>, number: usize, now: u64) {
        let (spec, member) = (&self.plan.spec, &mut self.members[number]);
        let Some(since) = member.since.take() else { return };
        if spec.measure == Measured::Join {
            cx.recorder.count(now, 1, 0, 0);
            cx.recorder.latency(since, now, 1);
        }
        if let Some(stay) = spec.stay.filter(|_| member.number == 0) {
            member.leaves = Some(now + stay.ns());
        }
        if spec.commit.is_some() && !std::mem::replace(&mut member.commits, true) {
            self.timers.insert((now, number, Op::Commit));
        }
    }

    fn take(&mut self, number: usize, op: Op, answer: &[u8]) -> Result<Next> {
        let (plan, member) = (&*self.plan, &mut self.members[number]);
        match (plan.spec.protocol, op) {
            (_, Op::Commit) => member.take_commit(plan, answer),
            (Protocol::Consumer, op) => member.take_consumer_heartbeat(plan, op, answer),
            (Protocol::Classic, Op::Join) => member.take_join(plan, answer),
            (Protocol::Classic, Op::Sync) => member.take_sync(plan, answer),
            (Protocol::Classic, Op::Heartbeat) => member.take_heartbeat(plan, answer),
            (Protocol::Classic, Op::Leave) => member.take_leave(plan, answer),
        }
    }

    /// The member starts again: at once where the group has changed, after a moment where the
    /// coordinator has a difficulty.
    fn lost(&mut self, cx: &mut Cx<'_>, number: usize, code: i16, now: u64) -> Result<()> {
        if is_of_change(code) {
            return self.start(cx, number, now);
        }
        // A coordinator that is new may not be at it when the members come.
        if now >= cx.window.start_ns || !ErrorCode(code).is_retriable() {
            cx.errors.add(code_name(code));
        }
        self.members[number].since.get_or_insert(now);
        self.timers.insert((now + AGAIN_NS, number, Op::Join));
        Ok(())
    }
}

impl Member {
    fn commit(&mut self, plan: &MemberPlan, correlation: i32) -> Result<Vec<u8>> {
        self.committed += 1;
        let partitions: Vec<_> = self
            .partitions
            .iter()
            .map(|&partition_index| OffsetCommitRequestPartition {
                partition_index,
                committed_offset: self.committed,
                committed_metadata: Some(""),
                ..Default::default()
            })
            .collect();
        let topics = [OffsetCommitRequestTopic {
            name: &plan.topic.name,
            topic_id: plan.topic.id,
            partitions: (&partitions).into(),
        }];
        let request = OffsetCommitRequest {
            group_id: &self.name,
            generation_id_or_member_epoch: self.epoch,
            member_id: &self.id,
            topics: (&topics).into(),
            ..Default::default()
        };
        Ok(encode_frame(&request, plan.versions.commit, correlation)?.head.to_vec())
    }

    /// Why a commit was refused is for the heartbeat to say, where the group has changed.
    fn take_commit(&self, plan: &MemberPlan, answer: &[u8]) -> Result<Next> {
        let answer = decode::<OffsetCommitRequest<'_>>(answer, plan.versions.commit)?;
        let partitions = answer.topics.iter().flat_map(|topic| topic.partitions.to_vec());
        let mut failed = partitions.map(|part| part.error_code).filter(|code| *code != 0);
        Ok(match failed.find(|code| !is_of_change(*code)) {
            Some(code) => Next::Lost(code),
            None => Next::AsBefore,
        })
    }
}

impl Load for Members {
    fn begin(&mut self, cx: &mut Cx<'_>, now: u64) {
        for number in 0..self.members.len() {
            self.timers.insert((cx.window.end_ns, number, Op::Leave));
            if let Err(e) = self.start(cx, number, now) {
                cx.errors.add(&format!("{e:#}"));
            }
        }
    }

    fn due(&self) -> Option<u64> {
        self.timers.first().map(|(at, ..)| *at)
    }

    fn tick(&mut self, cx: &mut Cx<'_>, now: u64) {
        while let Some((at, number, op)) = self.timers.first().copied().filter(|it| it.0 <= now) {
            self.timers.pop_first();
            let member = &mut self.members[number];
            if op == Op::Commit && member.since.is_some() {
                member.commits = false;
                continue;
            }
            let sent = match op {
                Op::Join => self.start(cx, number, at),
                // The answer to what is on its way comes first.
                Op::Leave if !cx.links[number].in_flight.is_empty() => Ok(()),
                op => self.send(cx, number, op, at),
            };
            if let Err(e) = sent {
                cx.errors.add(&format!("{e:#}"));
            }
        }
    }

    fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        link: usize,
        flight: Flight,
        answer: &[u8],
        now: u64,
    ) -> Result<()> {
        let op = Op::ALL[flight.tag as usize];
        let had = self.members[link].since.is_none();
        let next = self.take(link, op, answer)?;
        let member = &mut self.members[link];
        if member.is_gone {
            return Ok(());
        }
        let measured = match self.plan.spec.measure {
            Measured::Heartbeat => op == Op::Heartbeat && had,
            Measured::Commit => op == Op::Commit,
            Measured::Join => false,
        };
        if measured && !matches!(next, Next::Lost(_)) {
            let offsets = if op == Op::Commit { member.partitions.len() as u64 } else { 0 };
            cx.recorder.count(now, 1, offsets, 0);
            cx.recorder.latency(flight.intended_ns, now, 1);
        }
        if let Some(partition) = self.plan.owners[member.group as usize].quarrel() {
            cx.errors.add(&format!("two members had partition {partition} at the same time"));
        }
        match next {
            Next::Lost(code) if op == Op::Commit => {
                cx.errors.add(code_name(code));
                self.go_on(cx, link, op, now)
            }
            // It commits again when it has partitions again.
            Next::AsBefore if op == Op::Commit && member.since.is_some() => {
                member.commits = false;
                Ok(())
            }
            Next::AsBefore => self.go_on(cx, link, op, now),
            Next::Settled => {
                self.settle(cx, link, now);
                self.go_on(cx, link, Op::Heartbeat, now)
            }
            Next::Send(op) => {
                if op == Op::Join {
                    member.since.get_or_insert(now);
                }
                self.send(cx, link, op, now)
            }
            Next::Lost(code) => self.lost(cx, link, code, now),
        }
    }

    fn is_done(&self, cx: &Cx<'_>, now: u64) -> bool {
        let mut members = self.members.iter().zip(&*cx.links);
        now >= cx.window.end_ns && members.all(|(member, link)| member.is_gone || link.buried)
    }

    fn through(&mut self, _: &Cx<'_>) {}

    fn unanswered(&mut self, _: usize, _: Flight) {}

    fn close(self: Box<Self>) -> Books {
        Books::default()
    }
}

/// Codes that members meet while their group changes.
fn is_of_change(code: i16) -> bool {
    [
        ErrorCode::REBALANCE_IN_PROGRESS,
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::STALE_MEMBER_EPOCH,
        ErrorCode::FENCED_MEMBER_EPOCH,
        ErrorCode::UNKNOWN_MEMBER_ID,
    ]
    .contains(&ErrorCode(code))
}

fn decode<'a, Q: Request<'a>>(answer: &'a [u8], version: i16) -> Result<Q::Response<'a>> {
    let mut cursor = Cursor::new(answer);
    ResponseHeader::decode(&mut cursor, Q::API, version)?;
    schema::decode(&mut cursor, version).context(Q::NAME)
}

/// How often a member without partitions asks for them.
const WAITING_NS: u64 = 500_000_000;
/// How long a member waits when the coordinator has a difficulty.
const AGAIN_NS: u64 = 100_000_000;
