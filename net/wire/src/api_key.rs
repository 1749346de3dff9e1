//! Kafka's APIs: key, name, versions. The product's row for an API (permission, budget, listeners)
//! is in `net::api`; this is only what the protocol says.
//!
//! Versions are Kafka 4.3's, stable ones only. Traps that clients depend on:
//!
//! - **Produce** is *advertised* from 0 although 0–2 are refused: [`ApiKey::advertised`]
//!   (KAFKA-18659: librdkafka gives up otherwise).
//! - **ApiVersions** must be answered in any version: an unknown one gets the v0 body with
//!   UNSUPPORTED_VERSION *and* the key list. Its response header is always v0, because a client
//!   that guessed the version wrong must still be able to read it.
//! - **Request header** v2 (flexible requests) keeps the client id a plain nullable string.
//! - **SaslHandshake** and **OffsetDelete** were never made flexible.
//! - **InitProducerId** 6 is unstable in 4.3 and not offered.
//! - Keys 4–7 (LeaderAndIsr, StopReplica, UpdateMetadata, ControlledShutdown) are reserved, gone.

use std::fmt;
use std::ops::RangeInclusive;

macro_rules! api_keys {
    ($($key:literal $name:ident $min:literal ..= $max:literal flexible $flexible:tt;)+) => {
        /// An API of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        #[non_exhaustive]
        pub enum ApiKey {
            $(
                #[doc = concat!(
                    "Key ", $key, ", versions ", $min, "–", $max, ", flexible: ", stringify!($flexible), "."
                )]
                $name = $key,
            )+
        }

        impl ApiKey {
            /// All APIs, by ascending key.
            pub const ALL: &[Self] = &[$( Self::$name ),+];

            /// The API of a key on the wire.
            #[must_use]
            pub const fn from_key(key: i16) -> Option<Self> {
                match key {
                    $( $key => Some(Self::$name), )+
                    _ => None,
                }
            }

            const fn row(self) -> Row {
                match self {
                    $( Self::$name => Row {
                        name: stringify!($name),
                        min: $min,
                        max: $max,
                        flexible_from: api_keys!(@ $flexible),
                    }, )+
                }
            }
        }
    };
    (@ never) => { i16::MAX };
    (@ $flexible:literal) => { $flexible };
}

struct Row {
    name: &'static str,
    min: i16,
    max: i16,
    flexible_from: i16,
}

impl ApiKey {
    /// The number on the wire.
    #[must_use]
    pub const fn key(self) -> i16 {
        self as i16
    }

    /// Kafka's name, such as `Produce`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Lowest version understood.
    #[must_use]
    pub const fn min_version(self) -> i16 {
        self.row().min
    }

    /// Highest version understood.
    #[must_use]
    pub const fn max_version(self) -> i16 {
        self.row().max
    }

    /// Versions understood.
    #[must_use]
    pub const fn versions(self) -> RangeInclusive<i16> {
        self.min_version()..=self.max_version()
    }

    /// Whether the version is understood.
    #[must_use]
    pub const fn supports(self, version: i16) -> bool {
        self.min_version() <= version && version <= self.max_version()
    }

    /// Versions to advertise for what is understood. Only Produce differs: from 0.
    #[must_use]
    pub const fn advertised(self) -> RangeInclusive<i16> {
        match self {
            Self::Produce => 0..=self.max_version(),
            _ => self.versions(),
        }
    }

    /// First flexible version; `i16::MAX` for none.
    #[must_use]
    pub const fn flexible_from(self) -> i16 {
        self.row().flexible_from
    }

    /// Whether the version has compact lengths and tagged fields.
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// Version of the header before a request of this version: 1 or 2.
    #[must_use]
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the header before a response of this version: 0 or 1, for ApiVersions always 0.
    #[must_use]
    pub const fn response_header_version(self, version: i16) -> i16 {
        match self {
            Self::ApiVersions => 0,
            _ if self.is_flexible(version) => 1,
            _ => 0,
        }
    }

    /// Fails the build when a declared message disagrees with this table.
    pub(crate) const fn check(key: i16, min: i16, max: i16, flexible_from: i16) {
        let api = Self::from_key(key).expect("the API key is in the table");
        assert!(api.min_version() == min && api.max_version() == max, "versions are the table's");
        assert!(api.flexible_from() == flexible_from, "the first flexible version is the table's");
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

api_keys! {
    0 Produce 3..=13 flexible 9;
    1 Fetch 4..=18 flexible 12;
    2 ListOffsets 1..=11 flexible 6;
    3 Metadata 0..=13 flexible 9;
    8 OffsetCommit 2..=10 flexible 8;
    9 OffsetFetch 1..=10 flexible 6;
    10 FindCoordinator 0..=6 flexible 3;
    11 JoinGroup 0..=9 flexible 6;
    12 Heartbeat 0..=4 flexible 4;
    13 LeaveGroup 0..=5 flexible 4;
    14 SyncGroup 0..=5 flexible 4;
    15 DescribeGroups 0..=6 flexible 5;
    16 ListGroups 0..=5 flexible 3;
    17 SaslHandshake 0..=1 flexible never;
    18 ApiVersions 0..=4 flexible 3;
    19 CreateTopics 2..=7 flexible 5;
    20 DeleteTopics 1..=6 flexible 4;
    21 DeleteRecords 0..=2 flexible 2;
    22 InitProducerId 0..=5 flexible 2;
    23 OffsetForLeaderEpoch 2..=4 flexible 4;
    24 AddPartitionsToTxn 0..=5 flexible 3;
    25 AddOffsetsToTxn 0..=4 flexible 3;
    26 EndTxn 0..=5 flexible 3;
    27 WriteTxnMarkers 1..=2 flexible 1;
    28 TxnOffsetCommit 0..=5 flexible 3;
    29 DescribeAcls 1..=3 flexible 2;
    30 CreateAcls 1..=3 flexible 2;
    31 DeleteAcls 1..=3 flexible 2;
    32 DescribeConfigs 1..=4 flexible 4;
    33 AlterConfigs 0..=2 flexible 2;
    34 AlterReplicaLogDirs 1..=2 flexible 2;
    35 DescribeLogDirs 1..=5 flexible 2;
    36 SaslAuthenticate 0..=2 flexible 2;
    37 CreatePartitions 0..=3 flexible 2;
    38 CreateDelegationToken 1..=3 flexible 2;
    39 RenewDelegationToken 1..=2 flexible 2;
    40 ExpireDelegationToken 1..=2 flexible 2;
    41 DescribeDelegationToken 1..=3 flexible 2;
    42 DeleteGroups 0..=2 flexible 2;
    43 ElectLeaders 0..=2 flexible 2;
    44 IncrementalAlterConfigs 0..=1 flexible 1;
    45 AlterPartitionReassignments 0..=1 flexible 0;
    46 ListPartitionReassignments 0..=0 flexible 0;
    47 OffsetDelete 0..=0 flexible never;
    48 DescribeClientQuotas 0..=1 flexible 1;
    49 AlterClientQuotas 0..=1 flexible 1;
    50 DescribeUserScramCredentials 0..=0 flexible 0;
    51 AlterUserScramCredentials 0..=0 flexible 0;
    52 Vote 0..=2 flexible 0;
    53 BeginQuorumEpoch 0..=1 flexible 1;
    54 EndQuorumEpoch 0..=1 flexible 1;
    55 DescribeQuorum 0..=2 flexible 0;
    56 AlterPartition 2..=3 flexible 0;
    57 UpdateFeatures 0..=2 flexible 0;
    58 Envelope 0..=0 flexible 0;
    59 FetchSnapshot 0..=1 flexible 0;
    60 DescribeCluster 0..=2 flexible 0;
    61 DescribeProducers 0..=0 flexible 0;
    62 BrokerRegistration 0..=4 flexible 0;
    63 BrokerHeartbeat 0..=2 flexible 0;
    64 UnregisterBroker 0..=0 flexible 0;
    65 DescribeTransactions 0..=0 flexible 0;
    66 ListTransactions 0..=2 flexible 0;
    67 AllocateProducerIds 0..=0 flexible 0;
    68 ConsumerGroupHeartbeat 0..=1 flexible 0;
    69 ConsumerGroupDescribe 0..=1 flexible 0;
    70 ControllerRegistration 0..=0 flexible 0;
    71 GetTelemetrySubscriptions 0..=0 flexible 0;
    72 PushTelemetry 0..=0 flexible 0;
    73 AssignReplicasToDirs 0..=0 flexible 0;
    74 ListConfigResources 0..=1 flexible 0;
    75 DescribeTopicPartitions 0..=0 flexible 0;
    76 ShareGroupHeartbeat 1..=1 flexible 0;
    77 ShareGroupDescribe 1..=1 flexible 0;
    78 ShareFetch 1..=2 flexible 0;
    79 ShareAcknowledge 1..=2 flexible 0;
    80 AddRaftVoter 0..=1 flexible 0;
    81 RemoveRaftVoter 0..=0 flexible 0;
    82 UpdateRaftVoter 0..=0 flexible 0;
    83 InitializeShareGroupState 0..=0 flexible 0;
    84 ReadShareGroupState 0..=0 flexible 0;
    85 WriteShareGroupState 0..=1 flexible 0;
    86 DeleteShareGroupState 0..=0 flexible 0;
    87 ReadShareGroupStateSummary 0..=1 flexible 0;
    88 StreamsGroupHeartbeat 0..=0 flexible 0;
    89 StreamsGroupDescribe 0..=0 flexible 0;
    90 DescribeShareGroupOffsets 0..=1 flexible 0;
    91 AlterShareGroupOffsets 0..=0 flexible 0;
    92 DeleteShareGroupOffsets 0..=0 flexible 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        assert_eq!(ApiKey::ALL.len(), 89);
        for api in ApiKey::ALL {
            assert_eq!(ApiKey::from_key(api.key()), Some(*api));
            assert!(api.min_version() <= api.max_version(), "{api}");
        }
        for gone in [-1, 4, 5, 6, 7, 93] {
            assert_eq!(ApiKey::from_key(gone), None);
        }
    }

    #[test]
    fn the_traps_hold() {
        assert_eq!(ApiKey::Produce.advertised(), 0..=13);
        assert!(!ApiKey::Produce.supports(2));
        assert_eq!(ApiKey::Fetch.advertised(), 4..=18);
        assert_eq!(ApiKey::ApiVersions.request_header_version(4), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::Metadata.response_header_version(9), 1);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
        assert_eq!(ApiKey::InitProducerId.max_version(), 5);
    }
}
