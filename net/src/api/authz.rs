//! Who may do what: the place where the authorizer will be asked. Today it allows everything.
//!
//! A handler asks for each resource by itself, and what is denied gets a code of its own; the rest
//! of the request is served.

use replication::image::{ConfigResource, ResourceKind as ConfigKind};
use wire::error_code::ErrorCode;

use super::Cx;
use crate::conn::Principal;

/// What is done to a resource; Kafka's `AclOperation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

/// What something is done to; Kafka's `ResourceType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum ResourceKind {
    Topic = 2,
    Group = 3,
    Cluster = 4,
}

/// The name of the one resource of kind [`ResourceKind::Cluster`].
pub(crate) const CLUSTER: &str = "kafka-cluster";

/// Decides.
#[derive(Debug, Default)]
pub(crate) struct Authorizer;

impl Authorizer {
    /// Whether `principal` may do `operation` to the resource.
    fn allows(
        &self,
        principal: &Principal,
        operation: Operation,
        kind: ResourceKind,
        name: &str,
    ) -> bool {
        let _ = (principal, operation, kind);
        // What tests name so is denied to everybody.
        !cfg!(test) || !name.starts_with("forbidden")
    }
}

impl Cx {
    /// Whether the principal of this request may do `operation` to the resource.
    pub(crate) fn allows(&self, operation: Operation, kind: ResourceKind, name: &str) -> bool {
        let identity = self.conn.identity.borrow();
        self.core.authorizer.allows(&identity.principal, operation, kind, name)
    }

    /// Whether the principal may do to the cluster what the API's row asks for, as a code.
    pub(crate) fn permits_cluster(&self) -> Result<(), ErrorCode> {
        match self.permits(CLUSTER) {
            true => Ok(()),
            false => Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
        }
    }

    /// Whether the principal may do to the topic what the API's row asks for, as a code.
    pub(crate) fn permits_topic(&self, name: &str) -> Result<(), ErrorCode> {
        match self.permits(name) {
            true => Ok(()),
            false => Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        }
    }

    /// Whether the principal may do to the group what the API's row asks for, as a code.
    pub(crate) fn permits_group(&self, name: &str) -> Result<(), ErrorCode> {
        match self.permits(name) {
            true => Ok(()),
            false => Err(ErrorCode::GROUP_AUTHORIZATION_FAILED),
        }
    }

    /// Whether the principal may do `operation` to the configuration of a resource, as a code.
    pub(crate) fn permits_config(
        &self,
        operation: Operation,
        resource: &ConfigResource,
    ) -> Result<(), ErrorCode> {
        let name = &*resource.name;
        let (kind, name, code) = match resource.kind {
            ConfigKind::Topic => (ResourceKind::Topic, name, ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            ConfigKind::Group => (ResourceKind::Group, name, ErrorCode::GROUP_AUTHORIZATION_FAILED),
            _ => (ResourceKind::Cluster, CLUSTER, ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
        };
        if self.allows(operation, kind, name) { Ok(()) } else { Err(code) }
    }

    /// Whether the principal may do to the resource what the API's row asks for.
    pub(crate) fn permits(&self, name: &str) -> bool {
        self.row.permission.is_none_or(|(operation, kind)| self.allows(operation, kind, name))
    }

    /// The operations that the principal may do to a resource, as the bit set of Metadata and
    /// DescribeCluster: bit `n` stands for operation `n`.
    pub(crate) fn allowed_operations(&self, kind: ResourceKind, name: &str) -> i32 {
        let all: &[Operation] = match kind {
            ResourceKind::Topic => &[
                Operation::Read,
                Operation::Write,
                Operation::Create,
                Operation::Delete,
                Operation::Alter,
                Operation::Describe,
                Operation::DescribeConfigs,
                Operation::AlterConfigs,
            ],
            ResourceKind::Group => &[
                Operation::Read,
                Operation::Delete,
                Operation::Describe,
                Operation::DescribeConfigs,
                Operation::AlterConfigs,
            ],
            ResourceKind::Cluster => &[
                Operation::Create,
                Operation::Alter,
                Operation::Describe,
                Operation::ClusterAction,
                Operation::DescribeConfigs,
                Operation::AlterConfigs,
                Operation::IdempotentWrite,
            ],
        };
        let allowed = all.iter().filter(|&&operation| self.allows(operation, kind, name));
        allowed.fold(0, |bits, &operation| bits | 1 << operation as i8)
    }
}

#[cfg(test)]
mod tests;
