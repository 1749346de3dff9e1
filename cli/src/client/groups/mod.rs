//! Groups of consumers as an administrator sees them: listed, described, moved, deleted.

mod describe;
mod offsets;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wire::error_code::ErrorCode;
use wire::msg::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use wire::msg::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use wire::msg::list_groups::{ListGroupsRequest, ListGroupsResponse};

use super::cluster::{Cluster, host_port};
use super::conn::{Conn, check, check_with, code_of, is_broken, refused};
use super::partitions::TopicPartition;

/// A group as ListGroups tells of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) group: String,
    /// `classic`, `consumer` or another.
    pub(crate) kind: String,
    /// Empty for a group that only has offsets.
    pub(crate) protocol_type: String,
    pub(crate) state: String,
}

/// A group of consumers.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) state: String,
    /// How partitions are assigned; empty while that is open.
    pub(crate) assignor: String,
    pub(crate) coordinator: Coordinator,
    /// Of the group and of the assignment that it is on its way to; only by KIP-848.
    pub(crate) epochs: Option<(i32, i32)>,
    pub(crate) members: Vec<Member>,
}

/// The broker that a group is with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coordinator {
    pub(crate) id: i32,
    pub(crate) host_port: String,
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client: String,
    pub(crate) host: String,
    /// In order.
    pub(crate) has: Vec<TopicPartition>,
    /// What else KIP-848 knows of a member.
    pub(crate) modern: Option<Modern>,
}

/// What KIP-848 adds to a member.
#[derive(Debug, Clone)]
pub(crate) struct Modern {
    pub(crate) epoch: i32,
    /// In order.
    pub(crate) target: Vec<TopicPartition>,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    /// −1 for unknown.
    pub(crate) leader_epoch: i32,
}

/// What became of each of several partitions.
pub(crate) type Outcomes = BTreeMap<TopicPartition, ErrorCode>;

/// Who commits: an administrator, or a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committer<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// Generation or member epoch; −1 from whoever is no member.
    pub(crate) epoch: i32,
}

impl Committer<'_> {
    /// Whoever is no member.
    pub(crate) const ADMINISTRATOR: Self = Self { member_id: "", instance_id: None, epoch: -1 };
}

/// The groups of a cluster.
pub(crate) struct Groups {
    cluster: Cluster,
    coordinators: BTreeMap<String, Coordinator>,
    /// How long a coordinator may take to be there and ready.
    patience: Duration,
}

impl Groups {
    /// Those of this cluster.
    pub(crate) fn of(cluster: Cluster) -> Self {
        Self { cluster, coordinators: BTreeMap::new(), patience: PATIENCE }
    }

    /// Waits so long for a coordinator to be there and ready.
    pub(crate) fn wait_up_to(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The cluster.
    pub(crate) fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// As [`list`].
    pub(crate) fn list(&mut self, states: &[&str], kinds: &[&str]) -> Result<Vec<Listed>> {
        list(&mut self.cluster, states, kinds)
    }

    /// State and members, of either protocol. A group that is not there is refused with
    /// GROUP_ID_NOT_FOUND, or by old brokers described as dead.
    pub(crate) fn describe(&mut self, group: &str) -> Result<Group> {
        let found = self.ask(group, |conn, coordinator| {
            match describe::consumer(conn, coordinator, group)? {
                Some(found) => Ok(found),
                None => describe::classic(conn, coordinator, group),
            }
        });
        found.with_context(|| format!("group {group}"))
    }

    /// How far a group has come.
    pub(crate) fn offsets(&mut self, group: &str) -> Result<BTreeMap<TopicPartition, Committed>> {
        let found = self.ask(group, |conn, _| offsets::fetch(conn, group, None));
        found.with_context(|| format!("group {group}"))
    }

    /// As [`Groups::offsets`], asked by a member: what is not settled yet is waited for.
    pub(crate) fn offsets_for(
        &mut self,
        group: &str,
        member: &Committer<'_>,
    ) -> Result<BTreeMap<TopicPartition, Committed>> {
        let found = self.ask(group, |conn, _| offsets::fetch(conn, group, Some(member)));
        found.with_context(|| format!("group {group}"))
    }

    /// Notes how far a group has come.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        by: &Committer<'_>,
        wanted: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Outcomes> {
        if wanted.is_empty() {
            return Ok(Outcomes::new());
        }
        self.ask(group, |conn, _| offsets::commit(conn, group, by, wanted))
    }

    /// Forgets how far a group has come in some partitions.
    pub(crate) fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Outcomes> {
        self.ask(group, |conn, _| offsets::delete(conn, group, partitions))
    }

    /// Deletes a group without members, and its offsets.
    pub(crate) fn delete(&mut self, group: &str) -> Result<()> {
        let deleted = self.ask(group, |conn, _| {
            let names = [group];
            let request = DeleteGroupsRequest { groups_names: (&names).into() };
            let answer: DeleteGroupsResponse<'_> = conn.call(&request)?;
            let found = answer.results.first().context(SILENCE)?;
            Ok(refused(found.error_code, None)?)
        });
        deleted.with_context(|| format!("group {group}"))
    }

    /// Asks a group's coordinator, again for a while where that moves or is not ready.
    pub(crate) fn ask<T>(
        &mut self,
        group: &str,
        mut request: impl FnMut(&mut Conn, &Coordinator) -> Result<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + self.patience;
        loop {
            let outcome = self.coordinator(group).and_then(|coordinator| {
                let conn = self.cluster.broker_at(coordinator.id, &coordinator.host_port)?;
                request(conn, &coordinator)
            });
            match outcome {
                Err(failure) if may_pass(&failure) && Instant::now() < deadline => {
                    thread::sleep(RETRY_PAUSE);
                    self.coordinators.remove(group);
                    if is_broken(&failure) {
                        // Where that fails, so will the next attempt.
                        let _ = self.cluster.reconnect();
                    }
                }
                outcome => return outcome,
            }
        }
    }

    fn coordinator(&mut self, group: &str) -> Result<Coordinator> {
        if let Some(known) = self.coordinators.get(group) {
            return Ok(known.clone());
        }
        let any = self.cluster.any();
        let keys = [group];
        let request = match any.version::<FindCoordinatorRequest<'_>>()? {
            4.. => {
                FindCoordinatorRequest { coordinator_keys: (&keys).into(), ..Default::default() }
            }
            _ => FindCoordinatorRequest { key: group, ..Default::default() },
        };
        let answer: FindCoordinatorResponse<'_> = any.call(&request)?;
        let what = format!("coordinator of group {group}");
        let found = match answer.coordinators.first() {
            Some(found) => {
                check_with(found.error_code, found.error_message, &what)?;
                Coordinator { id: found.node_id, host_port: host_port(found.host, found.port) }
            }
            None => {
                check_with(answer.error_code, answer.error_message, &what)?;
                Coordinator { id: answer.node_id, host_port: host_port(answer.host, answer.port) }
            }
        };
        self.coordinators.insert(group.to_owned(), found.clone());
        Ok(found)
    }
}

/// All groups of a cluster, or only those of some states and of some kinds, in order.
pub(crate) fn list(cluster: &mut Cluster, states: &[&str], kinds: &[&str]) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for broker in cluster.brokers()? {
        let request = ListGroupsRequest {
            states_filter: states.to_vec().into(),
            types_filter: kinds.to_vec().into(),
        };
        let answer: ListGroupsResponse<'_> = cluster.broker(broker)?.call(&request)?;
        check(answer.error_code, &format!("groups of broker {broker}"))?;
        listed.extend(answer.groups.iter().map(|group| Listed {
            group: group.group_id.to_owned(),
            // Brokers that do not say know no other.
            kind: if group.group_type.is_empty() { "classic" } else { group.group_type }.to_owned(),
            protocol_type: group.protocol_type.to_owned(),
            state: group.group_state.to_owned(),
        }));
    }
    listed.sort();
    Ok(listed)
}

/// Whether the coordinator was not there or not ready, which is worth another attempt.
pub(in crate::client) fn may_pass(failure: &anyhow::Error) -> bool {
    is_broken(failure) || is_coordinators(code_of(failure))
}

/// Whether a code says that the coordinator is elsewhere, or not ready yet.
pub(in crate::client) fn is_coordinators(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::NOT_COORDINATOR
    )
}

const SILENCE: &str = "the broker said nothing of the group";

const PATIENCE: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
