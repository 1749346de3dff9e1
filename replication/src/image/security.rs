//! Access control entries, SCRAM credentials and delegation tokens.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use wire::primitives::Uuid;

/// Access control entries by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acls {
    pub(super) by_id: RedBlackTreeMapSync<Uuid, Arc<Acl>>,
}

/// One access control entry; the numbers are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Names the entry when it is removed.
    pub id: Uuid,
    /// 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user.
    pub resource_type: i8,
    /// Name, or prefix.
    pub resource_name: Arc<str>,
    /// 3 literal, 4 prefixed.
    pub pattern_type: i8,
    /// `Type:name`.
    pub principal: Arc<str>,
    /// Address, or `*`.
    pub host: Arc<str>,
    /// 2 all, 3 read, 4 write ...
    pub operation: i8,
    /// 2 deny, 3 allow.
    pub permission_type: i8,
}

impl Acls {
    /// All entries in order of id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Acl>> {
        self.by_id.values()
    }
}

/// SCRAM credentials by mechanism and user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScramCredentials {
    pub(super) by_user: RedBlackTreeMapSync<(i8, Arc<str>), Arc<ScramCredential>>,
}

/// What a server keeps to verify one user's password (RFC 5802). Not printed in logs: with these
/// keys an attacker can test passwords offline.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// Random salt.
    pub salt: Vec<u8>,
    /// H(ClientKey).
    pub stored_key: Vec<u8>,
    /// HMAC of the salted password.
    pub server_key: Vec<u8>,
    /// Rounds of PBKDF2.
    pub iterations: i32,
}

impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramCredential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl ScramCredentials {
    /// A user's credential for one mechanism (1 SHA-256, 2 SHA-512).
    #[must_use]
    pub fn get(&self, mechanism: i8, user: &str) -> Option<&Arc<ScramCredential>> {
        self.by_user.get(&(mechanism, user.into()))
    }

    /// All of them by mechanism and user.
    pub fn iter(&self) -> impl Iterator<Item = (i8, &Arc<str>, &Arc<ScramCredential>)> {
        self.by_user.iter().map(|((mechanism, user), credential)| (*mechanism, user, credential))
    }
}

/// Delegation tokens by id (KIP-48).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DelegationTokens {
    pub(super) by_id: RedBlackTreeMapSync<Arc<str>, Arc<DelegationToken>>,
}

/// One token; its HMAC follows from the id and the cluster's secret and is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationToken {
    /// Random, 22 characters.
    pub id: Arc<str>,
    /// Who the bearer acts as, `User:name`.
    pub owner: Arc<str>,
    /// Who asked for it.
    pub requester: Arc<str>,
    /// Who may prolong it.
    pub renewers: Vec<Arc<str>>,
    /// Unix milliseconds.
    pub issued_ms: i64,
    /// Unix milliseconds beyond which it can't be prolonged.
    pub max_ms: i64,
    /// Unix milliseconds at which it ends unless prolonged.
    pub expires_ms: i64,
}

impl DelegationTokens {
    /// All tokens in order of id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<DelegationToken>> {
        self.by_id.values()
    }
}
