//! Newtypes for the numbers that must never be mixed up.
//!
//! The wire crate speaks raw integers, as the protocol does; from the shell inward every offset,
//! epoch and id wears its type.

use std::fmt;

use wire::primitives::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                Self(raw)
            }
        }
    };
}

id! {
    /// Position of a record in a partition's log; the first record ever has offset 0.
    Offset(i64)
}
id! {
    /// Generation of a partition's leadership (KIP-101); −1 is "unknown" on the wire.
    LeaderEpoch(i32)
}
id! {
    /// Identity of an idempotent or transactional producer (KIP-98); −1 is "none".
    ProducerId(i64)
}
id! {
    /// Fencing generation of a producer id; −1 is "none".
    ProducerEpoch(i16)
}
id! {
    /// `node.id` of a broker or controller.
    BrokerId(i32)
}
id! {
    /// Index of a partition within its topic, from 0.
    PartitionId(i32)
}
id! {
    /// Index of a core (one executor) within this process, from 0.
    CoreId(u16)
}
id! {
    /// A topic's unique id (KIP-516); never reused, unlike its name.
    TopicId(Uuid)
}

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);

    /// The offset `delta` records further on.
    ///
    /// # Panics
    /// On overflow, which no validated batch can cause: base and delta are checked on entry.
    #[must_use]
    pub fn plus(self, delta: i64) -> Self {
        Self(self.0.checked_add(delta).expect("validated offsets stay inside i64"))
    }
}

impl LeaderEpoch {
    /// "No epoch known", as the protocol writes it.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// "Not an idempotent producer", as the protocol writes it.
    pub const NONE: Self = Self(-1);
}

impl CoreId {
    /// The core as an index into per-core tables.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
