//! Changes of the metadata as calls to core 0: one for each operation of the controller.
//!
//! A handler asks with [`Cx::change`](crate::api::Cx::change); the answer comes when the change is
//! committed and every core has it.

use std::rc::Rc;

use engine::ids::{BrokerId, PartitionId};
use replication::controller::Refusal;
use replication::controller::configs::{AlterConfigs, AlterOutcome};
use replication::controller::create::{CreateTopics, TopicOutcome};
use replication::controller::delete::{DeleteOutcome, TopicRef};
use replication::controller::elect::{ElectionKind, ElectionOutcome};
use replication::controller::grow::{CreatePartitions, GrowOutcome};
use replication::controller::levels::UpdateFeatures;
use replication::controller::producer_ids::ProducerIdBlock;
use replication::controller::reassign::{AlterReassignments, Ongoing, ReassignOutcome};
use replication::quorum::QuorumDescription;

use super::ProposeError;
use crate::core::Core;

/// What a change led to.
pub(crate) type Decided<T> = Result<T, ProposeError>;

/// Topics to delete.
pub(crate) struct DeleteTopics(pub(crate) Vec<TopicRef>);

/// Leaders to elect: of the partitions given, or of all that need one.
pub(crate) struct ElectLeaders {
    pub(crate) kind: ElectionKind,
    pub(crate) partitions: Option<Vec<(String, PartitionId)>>,
}

/// Reassignments to list: of the partitions given, or all.
pub(crate) struct ListReassignments(pub(crate) Option<Vec<(String, PartitionId)>>);

/// The state of the metadata quorum.
pub(crate) struct DescribeQuorum;

/// A broker to forget.
pub(crate) struct UnregisterBroker(pub(crate) BrokerId);

/// A block of producer ids for this broker.
pub(crate) struct AllocateProducerIds;

/// Declares the serving functions: `name(Request) -> Outcome = |controller, turn, request| decision`.
macro_rules! decided {
    ($($name:ident($request:ty) -> $outcome:ty = |$desk:ident, $turn:ident, $ask:ident| $decide:expr;)*) => {
        $(pub(crate) async fn $name(core: Rc<Core>, $ask: $request) -> Decided<$outcome> {
            let meta = core.meta().ok_or(ProposeError::NotController)?;
            meta.propose(move |$desk, $turn| $decide).await
        })*
    };
}

decided! {
    create_topics(CreateTopics) -> Vec<TopicOutcome> =
        |desk, turn, request| desk.create_topics(turn, &request);
    delete_topics(DeleteTopics) -> Vec<DeleteOutcome> =
        |desk, _turn, request| desk.delete_topics(&request.0);
    create_partitions(CreatePartitions) -> Vec<GrowOutcome> =
        |desk, turn, request| desk.create_partitions(turn, &request);
    alter_configs(AlterConfigs) -> Vec<AlterOutcome> =
        |desk, _turn, request| desk.alter_configs(&request);
    update_features(UpdateFeatures) -> Result<(), Refusal> =
        |desk, _turn, request| desk.update_features(&request);
    unregister_broker(UnregisterBroker) -> Result<(), Refusal> =
        |desk, _turn, request| desk.unregister_broker(request.0);
    elect_leaders(ElectLeaders) -> Vec<ElectionOutcome> =
        |desk, _turn, request| desk.elect_leaders(request.kind, request.partitions.as_deref());
    alter_reassignments(AlterReassignments) -> Vec<ReassignOutcome> =
        |desk, _turn, request| desk.alter_reassignments(&request);
}

/// Reads need no record, but see everything that was asked for before.
pub(crate) async fn list_reassignments(
    core: Rc<Core>,
    ListReassignments(partitions): ListReassignments,
) -> Decided<Vec<Ongoing>> {
    let meta = core.meta().ok_or(ProposeError::NotController)?;
    meta.read(|desk| desk.list_reassignments(partitions.as_deref()))
}

/// Tells who leads the metadata log, and how far everybody is.
pub(crate) async fn describe_quorum(
    core: Rc<Core>,
    DescribeQuorum: DescribeQuorum,
) -> Decided<QuorumDescription> {
    core.meta().ok_or(ProposeError::NotController)?.describe_quorum()
}

/// Hands out the next block.
pub(crate) async fn allocate_producer_ids(
    core: Rc<Core>,
    AllocateProducerIds: AllocateProducerIds,
) -> Decided<Result<ProducerIdBlock, Refusal>> {
    let meta = core.meta().ok_or(ProposeError::NotController)?;
    let (broker, epoch) = (core.node.id, meta.broker_epoch());
    meta.propose_only(move |desk, _| desk.allocate_producer_ids(broker, epoch)).await
}
