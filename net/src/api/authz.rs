//! Who may do what: the place where the authorizer will be asked. Today it allows everything.

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
        let _ = (principal, operation, kind, name);
        true
    }
}

impl Cx {
    /// Whether the principal of this request may do `operation` to the resource.
    pub(crate) fn allows(&self, operation: Operation, kind: ResourceKind, name: &str) -> bool {
        let identity = self.conn.identity.borrow();
        self.core.authorizer.allows(&identity.principal, operation, kind, name)
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
