//! The classic protocol, a member's side; who leads a generation deals the partitions out in turn.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use wire::cursor::Cursor;
use wire::error_code::ErrorCode;
use wire::msg::heartbeat::HeartbeatRequest;
use wire::msg::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use wire::msg::leave_group::{LeaveGroupRequest, MemberIdentity};
use wire::msg::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::{Member, MemberPlan, Next, Op, decode};
use crate::control::encode_frame;

impl Member {
    pub(super) fn join(&mut self, plan: &MemberPlan, correlation: i32) -> Result<Vec<u8>> {
        plan.owners[self.group as usize].release(self.number, &self.partitions);
        self.partitions.clear();
        let metadata = subscription(&plan.topic.name);
        let protocols = [JoinGroupRequestProtocol { name: STRATEGY, metadata: &metadata }];
        let request = JoinGroupRequest {
            group_id: &self.name,
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 60_000,
            member_id: &self.id,
            protocol_type: PROTOCOL,
            protocols: (&protocols).into(),
            ..Default::default()
        };
        Ok(encode_frame(&request, plan.versions.join, correlation)?.head.to_vec())
    }

    pub(super) fn take_join(&mut self, plan: &MemberPlan, answer: &[u8]) -> Result<Next> {
        let answer = decode::<JoinGroupRequest<'_>>(answer, plan.versions.join)?;
        let code = ErrorCode(answer.error_code);
        if code == ErrorCode::MEMBER_ID_REQUIRED {
            answer.member_id.clone_into(&mut self.id);
            return Ok(Next::Send(Op::Join));
        }
        if !code.is_ok() {
            return Ok(self.forgotten(answer.error_code));
        }
        answer.member_id.clone_into(&mut self.id);
        self.epoch = answer.generation_id;
        let members = answer.members.iter().map(|member| member.member_id.to_owned());
        self.followers = if answer.leader == self.id { members.collect() } else { Vec::new() };
        Ok(Next::Send(Op::Sync))
    }

    pub(super) fn sync(&self, plan: &MemberPlan, correlation: i32) -> Result<Vec<u8>> {
        let count = self.followers.len();
        let dealt: Vec<_> = (0..count)
            .map(|nth| assignment(&plan.topic.name, (nth..plan.topic.leaders.len()).step_by(count)))
            .collect();
        let assignments: Vec<_> = self
            .followers
            .iter()
            .zip(&dealt)
            .map(|(member_id, assignment)| SyncGroupRequestAssignment { member_id, assignment })
            .collect();
        let request = SyncGroupRequest {
            group_id: &self.name,
            generation_id: self.epoch,
            member_id: &self.id,
            protocol_type: Some(PROTOCOL),
            protocol_name: Some(STRATEGY),
            assignments: (&assignments).into(),
            ..Default::default()
        };
        Ok(encode_frame(&request, plan.versions.sync, correlation)?.head.to_vec())
    }

    pub(super) fn take_sync(&mut self, plan: &MemberPlan, answer: &[u8]) -> Result<Next> {
        let answer = decode::<SyncGroupRequest<'_>>(answer, plan.versions.sync)?;
        match ErrorCode(answer.error_code) {
            code if code.is_ok() => {}
            ErrorCode::REBALANCE_IN_PROGRESS => return Ok(Next::Send(Op::Join)),
            _ => return Ok(self.forgotten(answer.error_code)),
        }
        self.partitions = assigned(answer.assignment).context("an assignment")?;
        plan.owners[self.group as usize].take(self.number, &self.partitions);
        Ok(Next::Settled)
    }

    pub(super) fn heartbeat(&self, plan: &MemberPlan, correlation: i32) -> Result<Vec<u8>> {
        let request = HeartbeatRequest {
            group_id: &self.name,
            generation_id: self.epoch,
            member_id: &self.id,
            ..Default::default()
        };
        Ok(encode_frame(&request, plan.versions.heartbeat, correlation)?.head.to_vec())
    }

    pub(super) fn take_heartbeat(&mut self, plan: &MemberPlan, answer: &[u8]) -> Result<Next> {
        let answer = decode::<HeartbeatRequest>(answer, plan.versions.heartbeat)?;
        Ok(match ErrorCode(answer.error_code) {
            code if code.is_ok() => Next::AsBefore,
            ErrorCode::REBALANCE_IN_PROGRESS => Next::Send(Op::Join),
            _ => self.forgotten(answer.error_code),
        })
    }

    pub(super) fn leave(&self, plan: &MemberPlan, correlation: i32) -> Result<Vec<u8>> {
        let member = [MemberIdentity { member_id: &self.id, ..Default::default() }];
        let several = plan.versions.leave >= 3;
        let request = LeaveGroupRequest {
            group_id: &self.name,
            member_id: if several { "" } else { &self.id },
            members: if several { (&member).into() } else { Default::default() },
        };
        Ok(encode_frame(&request, plan.versions.leave, correlation)?.head.to_vec())
    }

    pub(super) fn take_leave(&mut self, plan: &MemberPlan, answer: &[u8]) -> Result<Next> {
        let answer = decode::<LeaveGroupRequest<'_>>(answer, plan.versions.leave)?;
        if !ErrorCode(answer.error_code).is_ok() {
            return Ok(self.forgotten(answer.error_code));
        }
        self.id.clear();
        self.leaves = None;
        Ok(Next::Send(Op::Join))
    }

    /// Refused: an id that the coordinator does not know is of no use any more.
    fn forgotten(&mut self, code: i16) -> Next {
        if ErrorCode(code) == ErrorCode::UNKNOWN_MEMBER_ID {
            self.id.clear();
        }
        Next::Lost(code)
    }
}

/// A subscription to one topic, as consumers write it.
fn subscription(topic: &str) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(1_i32.to_be_bytes());
    text(&mut out, topic);
    out.extend((-1_i32).to_be_bytes());
    out
}

/// An assignment of partitions of one topic, as consumers write it.
fn assignment(topic: &str, partitions: impl ExactSizeIterator<Item = usize>) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(1_i32.to_be_bytes());
    text(&mut out, topic);
    out.extend((partitions.len() as i32).to_be_bytes());
    partitions.for_each(|partition| out.extend((partition as i32).to_be_bytes()));
    out.extend((-1_i32).to_be_bytes());
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// The partitions of an [`assignment`].
fn assigned(bytes: &[u8]) -> Result<BTreeSet<i32>> {
    let mut cursor = Cursor::new(bytes);
    let mut partitions = BTreeSet::new();
    cursor.i16()?;
    for _ in 0..cursor.i32()? {
        let len = usize::try_from(cursor.i16()?)?;
        cursor.take(len)?;
        for _ in 0..cursor.i32()? {
            partitions.insert(cursor.i32()?);
        }
    }
    Ok(partitions)
}

/// What the kind of group is called.
const PROTOCOL: &str = "consumer";
/// How partitions are dealt out.
const STRATEGY: &str = "roundrobin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_written() {
        let bytes = assignment("a topic", (1..10).step_by(4));
        assert_eq!(assigned(&bytes).expect("whole"), BTreeSet::from([1, 5, 9]));
        assert!(assigned(&bytes[..bytes.len() - 9]).is_err());
        assert_eq!(subscription("t"), [0, 0, 0, 0, 0, 1, 0, 1, b't', 255, 255, 255, 255]);
    }
}
