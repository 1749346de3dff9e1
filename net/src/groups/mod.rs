//! Group coordination on one core: a [`Host`] for each partition of `__consumer_offsets` that the core
//! owns and this node leads.
//!
//! ```text
//!             lead                 log read to its end            lost, failed, deleted, stopped
//! partition ───────▶ Host: loading ──────────────────▶ serving ─────────────────────────────▶ gone
//! ```
//!
//! The groups themselves are the engine's [`Shard`](engine::group::Shard)s; a host gives one its
//! clock, its log, and those who wait for its answers.

mod host;
mod load;
mod topic;
mod topics;
mod write;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use config::Config;
use engine::group::{
    Assignor, ConsumerSettings, GroupMemory, GroupSettings, MigrationPolicy, Shard,
};
use engine::partition::Partition;
use engine::rt::Rt;
use engine::rt::sim::Plant;
use wire::primitives::Uuid;

pub(crate) use self::host::Host;
pub(crate) use self::topic::{CONSUMER_OFFSETS, is_hosted, new_topic, partition_of};
use self::topics::Topics;
use crate::core::Core;
use crate::node::Published;

/// Why groups are not served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoHost {
    /// They will be in a moment.
    #[error("the groups are being loaded")]
    Loading,
    /// Another core or node has them, or nobody.
    #[error("the groups are not here")]
    Elsewhere,
}

/// The groups of one core.
pub(crate) struct Groups {
    memory: Rc<GroupMemory>,
    topics: Rc<Topics>,
    hosts: RefCell<BTreeMap<i32, Rc<Host>>>,
}

impl Groups {
    /// None yet.
    pub(crate) fn new(config: &Config, cores: usize) -> Self {
        let bytes = usize::try_from(config.odradek_group_memory_bytes).unwrap_or(usize::MAX);
        let memory = GroupMemory::new(bytes / cores);
        Self { memory, topics: Rc::default(), hosts: RefCell::default() }
    }

    /// The metadata has changed.
    pub(crate) fn set_published(&self, published: &Published) {
        self.topics.set(published);
    }

    /// The host of a partition of `__consumer_offsets`, if it serves.
    pub(crate) fn host(&self, partition: i32) -> Result<Rc<Host>, NoHost> {
        let host = self.hosts.borrow().get(&partition).cloned();
        let host = host.ok_or(NoHost::Elsewhere)?;
        host.check_serving().map(|()| host)
    }

    /// All hosts of this core, in order of partition.
    pub(crate) fn all(&self) -> Vec<Rc<Host>> {
        self.hosts.borrow().values().cloned().collect()
    }

    /// A partition has taken a role, perhaps the one that it had.
    pub(crate) fn follow(&self, core: &Core, partition: &Rc<Partition>) {
        if partition.topic() != CONSUMER_OFFSETS {
            return;
        }
        let id = partition.partition().0;
        let former = self.hosts.borrow().get(&id).cloned();
        let leads = partition.is_leader();
        if let Some(former) = former {
            if leads && former.is_of(partition) {
                return;
            }
            self.drop_host(id);
        }
        if leads {
            let shard = Shard::new(
                settings(&core.config(), partition, planted(&core.rt)),
                &self.memory,
                Rc::clone(&self.topics) as Rc<_>,
            );
            let topics = Rc::clone(&self.topics);
            let host = Host::start(&core.rt, &core.node.config, partition, shard, topics);
            self.hosts.borrow_mut().insert(id, host);
        }
    }

    /// A topic is deleted: groups that are in it go, and what groups know of it.
    pub(crate) fn topic_deleted(&self, name: &str, id: Uuid) {
        for host in self.all() {
            match name == CONSUMER_OFFSETS && host.is_in(id) {
                true => self.drop_host(host.id()),
                false => host.with(|shard, _| shard.topic_deleted(name, id)),
            }
        }
    }

    /// Sends everybody away, before the partitions are closed.
    pub(crate) fn close(&self) {
        let ids: Vec<_> = self.hosts.borrow().keys().copied().collect();
        ids.into_iter().for_each(|id| self.drop_host(id));
    }

    fn drop_host(&self, id: i32) {
        let host = self.hosts.borrow_mut().remove(&id);
        if let Some(host) = host {
            host.end();
        }
    }
}

/// The bug that a simulation has planted in groups.
fn planted(rt: &Rt) -> Option<Plant> {
    let all = [Plant::StaleCommits, Plant::EarlyHandover, Plant::ForgottenGenerations];
    all.into_iter().find(|plant| rt.planted(*plant))
}

fn settings(config: &Config, partition: &Partition, plant: Option<Plant>) -> Rc<GroupSettings> {
    let timeout = |ms: i64| i32::try_from(ms).unwrap_or(i32::MAX);
    let millis = |ms: i64| std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let assignors = config.group_consumer_assignors.iter();
    Rc::new(GroupSettings {
        session_timeout_ms_min: timeout(config.group_min_session_timeout_ms),
        session_timeout_ms_max: timeout(config.group_max_session_timeout_ms),
        initial_delay: millis(config.group_initial_rebalance_delay_ms),
        members_max: config.group_max_size as usize,
        metadata_len_max: config.offset_metadata_max_bytes as usize,
        retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        append_bytes_max: write::bytes_max(partition),
        consumer: ConsumerSettings {
            pace: topics::pace(
                config.group_consumer_session_timeout_ms,
                config.group_consumer_heartbeat_interval_ms,
                config.group_consumer_assignment_interval_ms,
            ),
            members_max: config.group_consumer_max_size as usize,
            assignors: assignors.filter_map(|name| Assignor::named(name)).collect(),
            pattern_refresh_ms: config.group_consumer_regex_refresh_interval_ms,
            migration: MigrationPolicy::named(&config.group_consumer_migration_policy)
                .expect("the key allows no other"),
        },
        plant,
    })
}
