//! Members of groups, with connections to their coordinators.

use std::sync::Arc;

use anyhow::Result;
use wire::msg::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use wire::msg::heartbeat::HeartbeatRequest;
use wire::msg::join_group::JoinGroupRequest;
use wire::msg::leave_group::LeaveGroupRequest;
use wire::msg::offset_commit::OffsetCommitRequest;
use wire::msg::sync_group::SyncGroupRequest;

use super::{Setup, open};
use crate::control::Versions;
use crate::load::member::{Member, MemberPlan, MemberVersions, Members, Owners, group_name};
use crate::load::share;
use crate::load::worker::Part;
use crate::workload::Protocol;

impl Setup<'_> {
    pub(super) fn members(&mut self, number: usize, threads: &mut [Vec<Part>]) -> Result<()> {
        let workload = self.workload;
        let spec = &workload.group[number];
        // Groups of several loads of a run are different ones.
        let first: u32 = workload.group[..number].iter().map(|other| other.groups).sum();
        let names = (first..first + spec.groups).map(|group| group_name(self.run, group));
        let coordinators =
            names.map(|name| self.control.find_coordinator(&name)).collect::<Result<Vec<_>>>()?;
        let partitions = self.topic.leaders.len();
        let plan = Arc::new(MemberPlan {
            spec: spec.clone(),
            versions: versions(self.control.versions(), spec.protocol)?,
            topic: self.topic.clone(),
            owners: (0..spec.groups).map(|_| Owners::new(partitions)).collect(),
        });
        let count = (spec.groups * spec.members) as usize;
        let parts = self.threads.min(count);
        for (thread, into) in threads.iter_mut().enumerate().take(parts) {
            let (mut members, mut links) = (Vec::new(), Vec::new());
            for nth in share(count, thread, parts) {
                let group = nth as u32 % spec.groups;
                links.push(open(coordinators[group as usize])?);
                let name = group_name(self.run, first + group);
                members.push(Member::new(name, group, nth as u32 / spec.groups));
            }
            let load = Box::new(Members::new(plan.clone(), members));
            let number = workload.produce.len() + workload.consume.len() + number;
            into.push(Part { number, load, links });
        }
        Ok(())
    }
}

fn versions(versions: &Versions, protocol: Protocol) -> Result<MemberVersions> {
    // By topic id from version 10 on, which few brokers serve; names do as well.
    let commit = versions.of::<OffsetCommitRequest<'_>>()?.min(9);
    Ok(match protocol {
        Protocol::Consumer => MemberVersions {
            consumer_heartbeat: versions.of::<ConsumerGroupHeartbeatRequest<'_>>()?,
            commit,
            ..MemberVersions::default()
        },
        Protocol::Classic => MemberVersions {
            join: versions.of::<JoinGroupRequest<'_>>()?,
            sync: versions.of::<SyncGroupRequest<'_>>()?,
            heartbeat: versions.of::<HeartbeatRequest>()?,
            leave: versions.of::<LeaveGroupRequest<'_>>()?,
            commit,
            ..MemberVersions::default()
        },
    })
}
