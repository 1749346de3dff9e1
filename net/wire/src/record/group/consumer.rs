//! What is remembered of consumer groups (KIP-848).

use crate::primitives::Uuid;
use crate::schema::wire;

// Keys serve several record types; the number of each is the first of them.
wire! {
    /// Which consumer group.
    record ConsumerGroupKey 3, 0..=0, flexible never {
        group: String,
    }

    /// Which member of a consumer group.
    record ConsumerMemberKey 5, 0..=0, flexible never {
        group: String,
        member: String,
    }

    /// Which regular expression of a consumer group.
    record RegularExpressionKey 16, 0..=0, flexible never {
        group: String,
        pattern: String,
    }

    /// A consumer group.
    record ConsumerGroupMetadataValue 3, 0..=0, flexible 0 {
        /// Goes up whenever the members are to be assigned anew.
        epoch: i32,
        /// Of the topics that the group reads, with their partitions; 0 for unknown.
        metadata_hash: i64 [tag 0, ignorable],
    }

    /// The topics of a consumer group.
    record ConsumerGroupPartitionMetadataValue 4, 0..=0, flexible 0 {
        topics: Vec<TopicMetadata>,
    }

    /// A topic that a consumer group reads.
    struct TopicMetadata {
        topic_id: Uuid,
        topic_name: String,
        num_partitions: i32,
        partition_metadata: Vec<PartitionRacks>,
    }

    /// Where the replicas of a partition are.
    struct PartitionRacks {
        partition: i32,
        racks: Vec<String>,
    }

    /// A member of a consumer group, as it describes itself.
    record ConsumerMemberMetadataValue 5, 0..=0, flexible 0 {
        instance_id: Option<String> = None,
        rack_id: Option<String> = None,
        client_id: String,
        /// The peer's address, `/192.0.2.1`.
        client_host: String,
        subscribed_topic_names: Vec<String>,
        subscribed_topic_regex: Option<String> = None,
        /// How long it may take to give partitions up, milliseconds.
        rebalance_timeout_ms: i32 = -1,
        server_assignor: Option<String> = None,
        /// Of a member that speaks the classic protocol. Kafka takes the field's absence for one
        /// that does, so null has to be said.
        classic_member_metadata: Option<ClassicMemberMetadata> [tag 0]
            = Some(ClassicMemberMetadata::default()),
    }

    /// What a member says in the classic protocol.
    struct ClassicMemberMetadata {
        session_timeout_ms: i32,
        supported_protocols: Vec<ClassicProtocol>,
    }

    /// A way to assign that such a member supports.
    struct ClassicProtocol {
        name: String,
        metadata: Vec<u8>,
    }

    /// What the members of a consumer group are to have.
    record TargetAssignmentMetadataValue 6, 0..=0, flexible 0 {
        /// The group's epoch that it was computed for.
        assignment_epoch: i32,
        /// When it was computed, Unix ms; 0 for unknown.
        assignment_timestamp: i64 [tag 0, ignorable],
    }

    /// What a member is to have.
    record TargetAssignmentMemberValue 7, 0..=0, flexible 0 {
        topic_partitions: Vec<AssignedPartitions>,
    }

    /// Partitions of a topic.
    struct AssignedPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
    }

    /// What a member has.
    record CurrentMemberAssignmentValue 8, 0..=0, flexible 0 {
        member_epoch: i32,
        previous_member_epoch: i32,
        /// 0 stable, 1 gives partitions up, 2 waits for others to.
        state: i8,
        assigned_partitions: Vec<HeldPartitions>,
        /// It has them until it says that it has not.
        partitions_pending_revocation: Vec<HeldPartitions>,
    }

    /// Partitions of a topic that a member has.
    struct HeldPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
        /// Since which epoch of the member it has each; null for unknown.
        assignment_epochs: Option<Vec<i32>> [tag 0, ignorable] = None,
    }

    /// The topics that a regular expression stands for.
    record RegularExpressionValue 16, 0..=0, flexible 0 {
        topics: Vec<String>,
        /// Of the metadata that they were found in: an offset.
        version: i64,
        /// When, Unix ms.
        timestamp: i64,
    }
}
