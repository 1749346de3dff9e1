//! The classic protocol, eager: who joins again has given up everything before. The same in a group
//! of KIP-848, as a guest.

use std::rc::Rc;
use std::time::Duration;

use wire::error_code::ErrorCode;
use wire::msg::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use wire::msg::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use wire::msg::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use wire::msg::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use wire::primitives::Uuid;

use super::{Member, SHARED, text};
use crate::history::Event;

/// A generation, as JoinGroup tells it.
struct Joined {
    generation: i32,
    leader: String,
    /// For the leader.
    members: Vec<String>,
}

impl Member {
    /// Joins, and asks for what it is to have.
    pub(super) async fn join(&mut self, topic: Uuid, partitions: i32) {
        self.give_up_all();
        self.client.scene.note(Event::Joins { member: self.number });
        let millis = |time: Duration| i32::try_from(time.as_millis()).expect("short");
        let (session, rebalance) = (self.crew.pace.session, self.crew.pace.rebalance);
        let metadata = text::subscription(SHARED);
        let protocol = JoinGroupRequestProtocol { name: PROTOCOL, metadata: &metadata };
        let crew = Rc::clone(&self.crew);
        let id = self.id.clone();
        let request = JoinGroupRequest {
            group_id: &crew.group,
            session_timeout_ms: millis(session),
            rebalance_timeout_ms: millis(rebalance),
            member_id: &id,
            protocol_type: TYPE,
            protocols: vec![protocol].into(),
            ..JoinGroupRequest::default()
        };
        let answer = self.client.ask(9, &request, |cur, version| {
            let response = JoinGroupResponse::decode(cur, version)?;
            let members = response.members.iter().map(|member| member.member_id.to_owned());
            let joined = Joined {
                generation: response.generation_id,
                leader: response.leader.to_owned(),
                members: members.collect(),
            };
            Ok((ErrorCode(response.error_code), response.member_id.to_owned(), joined))
        });
        match answer.await {
            Some((ErrorCode::NONE, id, joined)) => {
                self.id = id;
                self.epoch = joined.generation;
                self.sync(topic, partitions, &joined).await;
            }
            Some((ErrorCode::MEMBER_ID_REQUIRED, id, _)) => self.id = id,
            // Its answer went to another attempt.
            Some((ErrorCode::REBALANCE_IN_PROGRESS, ..)) => self.client.back_off().await,
            Some((ErrorCode::UNKNOWN_MEMBER_ID, ..)) => self.forget(),
            other => self.wait_for_coordinator(other.map(|(code, ..)| code)).await,
        }
    }

    /// Whatever it is not told, it joins again.
    async fn sync(&mut self, topic: Uuid, partitions: i32, joined: &Joined) {
        // Where nobody leads, the node assigns.
        let is_guest = joined.leader.is_empty();
        let shares = match joined.leader == self.id {
            true => self.deal(&joined.members, partitions),
            false => Vec::new(),
        };
        let assignments = shares
            .iter()
            .map(|(member_id, assignment)| SyncGroupRequestAssignment { member_id, assignment });
        let (crew, id) = (Rc::clone(&self.crew), self.id.clone());
        let request = SyncGroupRequest {
            group_id: &crew.group,
            generation_id: joined.generation,
            member_id: &id,
            protocol_type: Some(TYPE),
            protocol_name: Some(PROTOCOL),
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        };
        let asked = self.client.scene.now();
        let answer = self.client.ask(5, &request, |cur, version| {
            let response = SyncGroupResponse::decode(cur, version)?;
            Ok((ErrorCode(response.error_code), text::partitions(response.assignment)?))
        });
        match answer.await {
            Some((ErrorCode::NONE, has)) => self.told(topic, asked, &has, is_guest),
            Some((ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION, _)) => {}
            Some((ErrorCode::UNKNOWN_MEMBER_ID, _)) => self.forget(),
            other => self.wait_for_coordinator(other.map(|(code, _)| code)).await,
        }
    }

    /// What the leader gives to whom: every partition to one.
    fn deal(&mut self, members: &[String], partitions: i32) -> Vec<(String, Vec<u8>)> {
        let shift = self.client.rng.below(members.len() as u64);
        let shift = usize::try_from(shift).expect("an index");
        let shares = members.iter().enumerate().map(|(n, member)| {
            let is_its = |partition: &i32| {
                let turn = usize::try_from(*partition).expect("an index") + shift;
                turn % members.len() == n
            };
            let share: Vec<i32> = (0..partitions).filter(is_its).collect();
            (member.clone(), text::assignment(SHARED, &share))
        });
        shares.collect()
    }

    /// Says that it is alive. Asked to join again, it notes how far it has come first, or not.
    pub(super) async fn beat_classic(&mut self, topic: Uuid) {
        let crew = Rc::clone(&self.crew);
        let id = self.id.clone();
        let request = HeartbeatRequest {
            group_id: &crew.group,
            generation_id: self.epoch,
            member_id: &id,
            ..HeartbeatRequest::default()
        };
        let asked = self.client.scene.now();
        let answer = self.client.ask(4, &request, |cur, version| {
            Ok(ErrorCode(HeartbeatResponse::decode(cur, version)?.error_code))
        });
        let code = answer.await;
        // While the groups are loaded, all is well with any heartbeat.
        if code != Some(ErrorCode::NONE) {
            self.take_for_proof(asked, code);
        }
        match code {
            Some(ErrorCode::NONE) => self.beat_at = self.client.scene.now() + crew.pace.beat,
            Some(ErrorCode::REBALANCE_IN_PROGRESS) => {
                if self.client.rng.one_in(2) {
                    self.commit_some(topic).await;
                }
                self.is_in = false;
            }
            Some(ErrorCode::ILLEGAL_GENERATION) => self.is_in = false,
            Some(ErrorCode::UNKNOWN_MEMBER_ID) => self.forget(),
            other => self.wait_for_coordinator(other).await,
        }
    }

    /// Whether the answer comes or not, it is gone.
    pub(super) async fn leave_classic(&mut self) {
        let member = MemberIdentity { member_id: &self.id, ..MemberIdentity::default() };
        let request = LeaveGroupRequest {
            group_id: &self.crew.group,
            members: vec![member].into(),
            ..LeaveGroupRequest::default()
        };
        let left = self.client.ask(5, &request, |cur, version| {
            Ok(ErrorCode(LeaveGroupResponse::decode(cur, version)?.error_code))
        });
        left.await;
    }
}

/// The type of groups of consumers.
const TYPE: &str = "consumer";
/// What its leaders do: see [`Member::deal`].
const PROTOCOL: &str = "dealt";
