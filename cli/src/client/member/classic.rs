//! A member of a classic group: joins, lets the leader assign, and says every few seconds that it
//! is alive. Assigns by Kafka's `range`, which every client offers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wire::error_code::ErrorCode;
use wire::msg::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use wire::msg::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use wire::msg::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use wire::msg::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};

use super::{Event, Line, MemberOptions, Order, Over, RETRY_PAUSE, Wanted};
use crate::client::cluster::Topic;
use crate::client::conn::{check, code_of};
use crate::client::groups::{Groups, is_coordinators, may_pass};
use crate::client::partitions::TopicPartition;
use crate::client::subscription::{
    decode_assignment, decode_subscription, encode_assignment, encode_subscription,
};

/// Is a member until told to leave.
pub(super) fn run(options: &MemberOptions, line: &Line) -> Result<()> {
    let groups = Groups::of(options.connect()?);
    let mut member = Member { options, line, groups, leads: None };
    loop {
        match member.generation() {
            Ok(Ok(())) => {}
            Ok(Err(Over)) => return member.leave(),
            Err(failure) => match code_of(&failure) {
                // A coordinator that is gone for longer than the attempts took.
                _ if may_pass(&failure) => std::thread::sleep(RETRY_PAUSE),
                ErrorCode::REBALANCE_IN_PROGRESS => {}
                ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                    if line.tell(Event::Lost).is_err() {
                        return Ok(());
                    }
                    line.set_identity("", -1);
                }
                _ => return Err(failure),
            },
        }
    }
}

struct Member<'a> {
    options: &'a MemberOptions,
    line: &'a Line,
    groups: Groups,
    /// The partitions that there were when this member, the leader, assigned them.
    leads: Option<BTreeSet<TopicPartition>>,
}

/// What a member wants, by its id.
type Subscriptions = BTreeMap<String, Vec<String>>;

impl Member<'_> {
    /// One generation: from joining until the next one begins.
    fn generation(&mut self) -> Result<Result<(), Over>> {
        if let Err(over) = self.line.drain() {
            return Ok(Err(over));
        }
        let topics = self.topics()?;
        let subscriptions = self.join(&topics)?;
        let plan = match subscriptions {
            Some(subscriptions) => self.assign(&subscriptions)?,
            None => BTreeMap::new(),
        };
        let has = self.sync(&plan)?;
        if self.line.tell(Event::Assigned(has.clone())).is_err() {
            return Ok(Err(Over));
        }
        self.stay(has)
    }

    /// What the subscription comes to now.
    fn topics(&mut self) -> Result<Vec<String>> {
        match &self.options.wanted {
            Wanted::Topics(names) => Ok(names.clone()),
            Wanted::Pattern(pattern) => {
                let pattern = crate::client::names::whole(pattern)?;
                let topics = self.groups.cluster().topics()?.into_iter();
                let named = topics.filter(|topic| pattern.is_match(&topic.name));
                Ok(named.map(|topic| topic.name).collect())
            }
        }
    }

    /// Joins; the leader is told what everybody wants.
    fn join(&mut self, topics: &[String]) -> Result<Option<Subscriptions>> {
        let subscription = encode_subscription(topics);
        let protocols = [JoinGroupRequestProtocol { name: ASSIGNOR, metadata: &subscription }];
        loop {
            let (identity, options) = (self.line.identity(), self.options);
            let request = JoinGroupRequest {
                group_id: &options.group,
                session_timeout_ms: millis(options.session_timeout),
                rebalance_timeout_ms: millis(options.rebalance_timeout),
                member_id: &identity.member_id,
                group_instance_id: options.instance_id.as_deref(),
                protocol_type: "consumer",
                protocols: (&protocols).into(),
                reason: None,
            };
            let joined = self.groups.ask(&options.group, |conn, _| {
                let answer: JoinGroupResponse<'_> = conn.call_within(JOIN_LIMIT, &request)?;
                if ErrorCode(answer.error_code) == ErrorCode::MEMBER_ID_REQUIRED {
                    self.line.set_identity(answer.member_id, -1);
                    return Ok(None);
                }
                check(answer.error_code, &format!("group {}", options.group))?;
                self.line.set_identity(answer.member_id, answer.generation_id);
                let leads = answer.leader == answer.member_id && !answer.skip_assignment;
                let members = answer.members.iter().map(|member| {
                    Ok((member.member_id.to_owned(), decode_subscription(member.metadata)?))
                });
                let members = leads.then(|| members.collect::<Result<Subscriptions>>());
                Ok(Some(members.transpose()?))
            })?;
            if let Some(subscriptions) = joined {
                return Ok(subscriptions);
            }
        }
    }

    /// Who gets what, as the leader decides.
    fn assign(
        &mut self,
        subscriptions: &Subscriptions,
    ) -> Result<BTreeMap<String, Vec<TopicPartition>>> {
        let names: BTreeSet<&str> = subscriptions.values().flatten().map(String::as_str).collect();
        let topics = self.groups.cluster().topics_of(names)?;
        self.leads = Some(topics.values().flat_map(Topic::every).collect());
        let counts =
            topics.into_values().map(|topic| (topic.name, topic.partitions.len())).collect();
        Ok(range(subscriptions, &counts))
    }

    /// Hands the assignment out, or only learns what this member gets.
    fn sync(
        &mut self,
        plan: &BTreeMap<String, Vec<TopicPartition>>,
    ) -> Result<Vec<TopicPartition>> {
        let identity = self.line.identity();
        let plan: Vec<_> =
            plan.iter().map(|(member, has)| (member, encode_assignment(has))).collect();
        let assignments: Vec<_> = plan
            .iter()
            .map(|(member_id, assignment)| SyncGroupRequestAssignment { member_id, assignment })
            .collect();
        let request = SyncGroupRequest {
            group_id: &self.options.group,
            generation_id: identity.epoch,
            member_id: &identity.member_id,
            group_instance_id: self.options.instance_id.as_deref(),
            protocol_type: Some("consumer"),
            protocol_name: Some(ASSIGNOR),
            assignments: (&assignments).into(),
        };
        self.groups.ask(&self.options.group, |conn, _| {
            let answer: SyncGroupResponse<'_> = conn.call_within(JOIN_LIMIT, &request)?;
            check(answer.error_code, &format!("group {}", self.options.group))?;
            decode_assignment(answer.assignment)
        })
    }

    /// Says that the member is alive until a rebalance has begun and the reader gave up what it
    /// had.
    fn stay(&mut self, has: Vec<TopicPartition>) -> Result<Result<(), Over>> {
        let mut has = Some(has);
        let mut looked = Instant::now();
        loop {
            let next = Instant::now() + self.options.heartbeat_interval;
            match self.line.order(next) {
                Ok(Some(Order::GaveUp)) if has.is_none() => return Ok(Ok(())),
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(over) => return Ok(Err(over)),
            }
            let mut rebalances = match self.heartbeat()? {
                ErrorCode::NONE => false,
                ErrorCode::REBALANCE_IN_PROGRESS => true,
                code => {
                    check(code.0, &format!("group {}", self.options.group))?;
                    false
                }
            };
            if !rebalances && has.is_some() && looked.elapsed() > LOOK_EVERY {
                looked = Instant::now();
                rebalances = self.partitions_changed()?;
            }
            if rebalances
                && let Some(has) = has.take()
                && let Err(over) = self.line.tell(Event::Revoke(has))
            {
                return Ok(Err(over));
            }
        }
    }

    fn heartbeat(&mut self) -> Result<ErrorCode> {
        let identity = self.line.identity();
        let request = HeartbeatRequest {
            group_id: &self.options.group,
            generation_id: identity.epoch,
            member_id: &identity.member_id,
            group_instance_id: self.options.instance_id.as_deref(),
        };
        self.groups.ask(&self.options.group, |conn, _| {
            let answer: HeartbeatResponse = conn.call(&request)?;
            let code = ErrorCode(answer.error_code);
            if is_coordinators(code) {
                check(answer.error_code, "the coordinator")?;
            }
            Ok(code)
        })
    }

    /// Whether the leader has to assign anew because topics came, went or grew.
    fn partitions_changed(&mut self) -> Result<bool> {
        let Some(then) = self.leads.clone() else { return Ok(false) };
        let mut names: BTreeSet<String> = then.into_iter().map(|at| at.topic).collect();
        names.extend(self.topics()?);
        let topics = self.groups.cluster().topics_of(names.iter().map(String::as_str))?;
        let now: BTreeSet<_> = topics.values().flat_map(Topic::every).collect();
        Ok(self.leads.as_ref() != Some(&now))
    }

    /// A static member stays in the group until its session ends, and may come back.
    fn leave(&mut self) -> Result<()> {
        let identity = self.line.identity();
        if self.options.instance_id.is_some() || identity.member_id.is_empty() {
            return Ok(());
        }
        let members = [MemberIdentity {
            member_id: &identity.member_id,
            group_instance_id: None,
            reason: Some("the consumer is being closed"),
        }];
        self.groups.ask(&self.options.group, |conn, _| {
            let mut request =
                LeaveGroupRequest { group_id: &self.options.group, ..Default::default() };
            // Version 3 takes several.
            match conn.version::<LeaveGroupRequest<'_>>()? {
                3.. => request.members = (&members).into(),
                _ => request.member_id = &identity.member_id,
            }
            let answer: LeaveGroupResponse<'_> = conn.call(&request)?;
            check(answer.error_code, "leaving").context(self.options.group.clone())
        })
    }
}

/// Kafka's range assignor: of each topic, each member in order of the ids gets a run of
/// partitions, the first ones one more where they do not divide evenly.
fn range(
    subscriptions: &Subscriptions,
    counts: &BTreeMap<String, usize>,
) -> BTreeMap<String, Vec<TopicPartition>> {
    let mut plan: BTreeMap<String, Vec<_>> =
        subscriptions.keys().map(|member| (member.clone(), Vec::new())).collect();
    for (topic, &count) in counts {
        let takers = subscriptions.iter().filter(|(_, topics)| topics.contains(topic));
        let takers: Vec<&String> = takers.map(|(member, _)| member).collect();
        let mut next = 0;
        for (index, &member) in takers.iter().enumerate() {
            let share = count / takers.len() + usize::from(index < count % takers.len());
            let run = (next..next + share).map(|id| TopicPartition::new(&**topic, id as i32));
            plan.entry(member.clone()).or_default().extend(run);
            next += share;
        }
    }
    plan
}

fn millis(span: Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
}

const ASSIGNOR: &str = "range";

/// A rebalance waits for the slowest member's timeout; five minutes is the default of Kafka's
/// clients.
const JOIN_LIMIT: Duration = Duration::from_secs(300);

/// How often the leader looks for new partitions.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_kafkas() {
        let both = vec!["a".to_owned(), "b".to_owned()];
        let subscriptions: Subscriptions =
            [("m1".to_owned(), both.clone()), ("m2".to_owned(), both[..1].to_vec())].into();
        let counts = [("a".to_owned(), 3), ("b".to_owned(), 2), ("c".to_owned(), 9)].into();
        let plan = range(&subscriptions, &counts);
        let of = |member: &str| {
            plan[member].iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("m1"), "a-0 a-1 b-0 b-1");
        assert_eq!(of("m2"), "a-2");
    }
}
