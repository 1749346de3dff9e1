//! Reads as a member of a group: what the group gives it, from where the group is.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use wire::error_code::ErrorCode;

use super::cluster::Cluster;
use super::conn::{check, code_of};
use super::fetcher::{Fetcher, Reset};
use super::groups::{Groups, may_pass};
use super::member::{Event, Member, MemberOptions};
use super::offsets::all_at;
use super::partitions::TopicPartition;
use crate::format::RecordView;

/// How a member reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadOptions {
    /// Where the group has no offset yet.
    pub(crate) reset: Reset,
    /// None for only what [`GroupReader::commit`] is called for.
    pub(crate) commit_every: Option<Duration>,
    pub(crate) read_committed: bool,
}

/// A member that reads.
pub(crate) struct GroupReader {
    group: String,
    member: Member,
    groups: Groups,
    fetcher: Fetcher,
    options: ReadOptions,
    /// What the coordinator knows.
    committed: BTreeMap<TopicPartition, i64>,
    commit_at: Instant,
    /// Assigned, but where to begin is not known yet.
    fresh: Vec<TopicPartition>,
    /// When something was assigned first, perhaps nothing.
    joined: Option<Instant>,
}

impl GroupReader {
    /// Joins the group.
    pub(crate) fn join(member: MemberOptions, options: ReadOptions) -> Result<Self> {
        let mut fetcher = Fetcher::new(member.connect()?, options.reset);
        fetcher.read_committed(options.read_committed);
        fetcher.wait_for_topics();
        Ok(Self {
            group: member.group.clone(),
            groups: Groups::of(member.connect()?),
            member: Member::join(member),
            fetcher,
            options,
            committed: BTreeMap::new(),
            commit_at: Instant::now(),
            fresh: Vec::new(),
            joined: None,
        })
    }

    /// Whether the group has told what this member reads. Nothing may be all there is for it; or
    /// others have to give something up first, which is waited for.
    pub(crate) fn has_settled(&self) -> bool {
        let waited = self.joined.is_some_and(|joined| joined.elapsed() > SETTLE_LIMIT);
        waited || !self.positions().is_empty()
    }

    /// What it reads, and where it is.
    pub(crate) fn positions(&self) -> &BTreeMap<TopicPartition, i64> {
        self.fetcher.positions()
    }

    /// The cluster that is read from.
    pub(crate) fn cluster(&mut self) -> &mut Cluster {
        self.fetcher.cluster()
    }

    /// Hands over the records of one round of Fetches, or waits for a while. Before that, commits
    /// what was handed over earlier where it is time to.
    pub(crate) fn poll(
        &mut self,
        wait_ms: i32,
        visit: impl FnMut(&RecordView<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        if self.options.commit_every.is_some_and(|_| Instant::now() >= self.commit_at) {
            self.commit()?;
        }
        self.begin()?;
        let idle = self.fetcher.positions().is_empty();
        let wait = if idle {
            Duration::from_millis(wait_ms.unsigned_abs().into())
        } else {
            Duration::ZERO
        };
        if let Some(event) = self.member.next_event(wait)? {
            self.follow(event)?;
            return Ok(ControlFlow::Continue(()));
        }
        match idle {
            true => Ok(ControlFlow::Continue(())),
            false => self.fetcher.poll(wait_ms, visit),
        }
    }

    /// Commits what was handed over.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.commit_at = Instant::now() + self.options.commit_every.unwrap_or(Duration::MAX / 4);
        self.note(self.fetcher.positions().clone())
    }

    /// Commits, if it shall and that is not left to the user, and leaves the group.
    pub(crate) fn leave(mut self, commit: bool) -> Result<()> {
        // Whoever asked for the end does not wait for a broker that is gone.
        self.groups.wait_up_to(LEAVE_LIMIT);
        let committed = match self.options.commit_every {
            Some(_) if commit => self.commit(),
            _ => Ok(()),
        };
        self.member.leave();
        committed
    }

    fn follow(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Assigned(partitions) => {
                self.joined.get_or_insert_with(Instant::now);
                let known = self.fetcher.positions();
                let new = partitions.into_iter().filter(|at| !known.contains_key(at));
                self.fresh = new.collect();
                self.begin()
            }
            Event::Revoke(partitions) => {
                let given_up = self.fetcher.drop_positions(&partitions);
                self.fresh.retain(|at| !partitions.contains(at));
                if self.options.commit_every.is_some() {
                    self.note(given_up)?;
                }
                self.committed.retain(|at, _| !partitions.contains(at));
                self.member.gave_up();
                Ok(())
            }
            Event::Lost => {
                let all: Vec<_> = self.fetcher.positions().keys().cloned().collect();
                self.fetcher.drop_positions(&all);
                self.committed.clear();
                self.fresh.clear();
                Ok(())
            }
            Event::Failed(error) => Err(error),
        }
    }

    /// Reads these from where the group is, or from an end.
    fn begin(&mut self) -> Result<()> {
        let new = std::mem::take(&mut self.fresh);
        if new.is_empty() {
            return Ok(());
        }
        let known = match self.member_offsets() {
            // The next assignment is on its way.
            Err(error) if is_membership(code_of(&error)) => return Ok(()),
            Err(error) if may_pass(&error) => {
                self.fresh = new;
                return Ok(());
            }
            known => known?,
        };
        let fresh: Vec<_> = new.iter().filter(|at| !known.contains_key(at)).cloned().collect();
        let found = all_at(self.groups.cluster(), &fresh, self.options.reset.timestamp());
        let mut starts = match found {
            Err(error) if may_pass(&error) => {
                self.fresh = new;
                // Where that fails, so will the next attempt.
                let _ = self.groups.cluster().reconnect();
                return Ok(());
            }
            // A topic that was deleted meanwhile is taken back soon.
            Err(error) if code_of(&error).is_retriable() => {
                self.fresh = new;
                return Ok(());
            }
            found => found?,
        };
        for at in &new {
            if let Some(&offset) = known.get(at) {
                self.committed.insert(at.clone(), offset);
                starts.insert(at.clone(), offset);
            }
        }
        for (at, offset) in starts {
            self.fetcher.seek(at, offset);
        }
        Ok(())
    }

    fn member_offsets(&mut self) -> Result<BTreeMap<TopicPartition, i64>> {
        // A member epoch may be raised between the question and its answer.
        for _ in 0..ATTEMPTS {
            let identity = self.member.identity();
            match self.groups.offsets_for(&self.group, &identity.committer()) {
                Err(error) if code_of(&error) == ErrorCode::STALE_MEMBER_EPOCH => {}
                found => {
                    let found = found?.into_iter();
                    return Ok(found.map(|(at, committed)| (at, committed.offset)).collect());
                }
            }
        }
        bail!("group {}: the member's epoch does not come to rest", self.group)
    }

    /// Commits what the coordinator does not know yet.
    fn note(&mut self, mut positions: BTreeMap<TopicPartition, i64>) -> Result<()> {
        positions.retain(|at, offset| self.committed.get(at) != Some(offset));
        for _ in 0..ATTEMPTS {
            let identity = self.member.identity();
            let by = identity.committer();
            let outcomes = match self.groups.commit(&self.group, &by, &positions) {
                // Tried again with the next commit.
                Err(error) if may_pass(&error) => return Ok(()),
                outcomes => outcomes?,
            };
            let code = outcomes.values().find(|code| !code.is_ok());
            match code.copied().unwrap_or(ErrorCode::NONE) {
                ErrorCode::STALE_MEMBER_EPOCH => {}
                // What was read by a member that is none any more is read again, by another.
                code if is_membership(code) => return Ok(()),
                // As is the offset of a topic that is gone, in vain.
                code if code.is_retriable() => return Ok(()),
                code => {
                    check(code.0, &format!("offsets of group {}", self.group))?;
                    self.committed.extend(positions);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Whether a code says that the group went on without this member; its thread learns it too.
fn is_membership(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::FENCED_MEMBER_EPOCH
            | ErrorCode::FENCED_INSTANCE_ID
    )
}

/// How often a commit is tried while the member's epoch rises under it.
const ATTEMPTS: u32 = 5;

/// How long the last commit may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// How long a member without partitions may still be given some.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
