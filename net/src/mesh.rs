//! What the cores of a node say to each other, and who waits for which answer.
//!
//! ```text
//! caller core                                       serving core
//!   core.call(to, work)  ── Call { ticket, call } ─▶  serve(work): polled once at once,
//!   Answer (a future)    ◀─ Reply { ticket, reply } ─  the rest spawned if it must wait
//! ```
//!
//! The lane between two cores is first in, first out, and a call is polled when it leaves the lane:
//! this is what fixes the order of one partition's appends. A call to the own core is served
//! without the mesh. One request sends one call per core it involves, never one per partition.
//!
//! A full lane never blocks the receiving loop, or two cores could wait for each other: what does
//! not fit is kept in arrival order and sent by a task of its own. It is bounded by the requests in
//! flight, which connections bound.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use engine::ids::CoreId;
use engine::rt::{Map, MeshPort, Rt, TrySendError};
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Either, abortable};
use replication::controller::Refusal;
use replication::controller::configs::{AlterConfigs, AlterOutcome};
use replication::controller::create::{CreateTopics, TopicOutcome};
use replication::controller::delete::DeleteOutcome;
use replication::controller::elect::ElectionOutcome;
use replication::controller::grow::{CreatePartitions, GrowOutcome};
use replication::controller::levels;
use replication::controller::producer_ids::ProducerIdBlock;
use replication::controller::reassign::{AlterReassignments, Ongoing, ReassignOutcome};
use replication::quorum::QuorumDescription;
use slab::Slab;

use crate::api;
use crate::boot::stop;
use crate::conn::Handover;
use crate::core::Core;
use crate::listen::Seat;
use crate::meta::requests::{self, Decided};
use crate::meta::settle;
use crate::node::Node;
use crate::{admin, isolate, positions, publish, session};

/// One message between two cores.
pub(crate) enum Msg {
    /// Work for the receiving core; answered with the same ticket.
    Call { ticket: Ticket, call: Call },
    /// The answer to a call of the receiving core.
    Reply { ticket: Ticket, reply: Reply },
    /// The caller is gone: a call that only waits may stop.
    Cancel { ticket: Ticket },
    /// A connection that the receiving core shall serve from here on.
    Adopt(Box<Handover>),
    /// To core 0: a connection of the sender ended, its place in the limits is free.
    Closed(Seat),
    /// To core 0: a connection of the sender goes on at this core.
    Moved(CoreId),
    /// From core 0, first of all: the node's facts.
    Begin(Arc<Node>),
    /// From core 0, last of all: the core ends.
    End,
}

/// Names one waiting call of the core that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    slot: u32,
    /// Slots are reused; a late reply must not reach the slot's next call.
    generation: u32,
}

/// Why a call has no outcome. Both mean that part of this node is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The serving side panicked; the panic is in its log.
    #[error("the serving core failed at this request")]
    Panicked,
    /// The serving core has stopped.
    #[error("the serving core has stopped")]
    Stopped,
}

/// A kind of work that one core asks of another; `calls!` implements it.
pub(crate) trait Work: Sized + 'static {
    /// What comes back.
    type Outcome: 'static;
    /// Whether the work is dropped when its caller is gone. Only for work that does nothing but wait.
    const CANCELLABLE: bool;

    fn into_call(self) -> Call;
    /// None where the serving side could not answer.
    fn outcome(reply: Reply) -> Option<Self::Outcome>;
    fn serve(core: Rc<Core>, work: Self) -> impl Future<Output = Self::Outcome> + 'static;
}

/// One core's end of the mesh.
pub(crate) struct Mesh {
    port: Rc<MeshPort<Msg>>,
    lanes: RefCell<Vec<Lane>>,
    waiting: RefCell<Slab<Waiting>>,
    generation: Cell<u32>,
    /// Calls being served here that may be cancelled.
    abortable: RefCell<Map<(CoreId, Ticket), AbortHandle>>,
}

/// What did not fit into the lane to one core.
#[derive(Default)]
struct Lane {
    late: VecDeque<Msg>,
    /// A task is moving `late` into the lane; nothing may overtake it.
    flushing: bool,
}

struct Waiting {
    generation: u32,
    /// Who is to answer.
    from: CoreId,
    state: State,
}

enum State {
    Waiting(Option<Waker>),
    Done(Result<Reply, CallError>),
}

impl Mesh {
    /// The end of the mesh that belongs to the core of `rt`.
    pub(crate) fn new(rt: &Rt, port: Rc<MeshPort<Msg>>) -> Self {
        let lanes = (0..port.cores()).map(|_| Lane::default()).collect();
        Self {
            port,
            lanes: RefCell::new(lanes),
            waiting: RefCell::default(),
            generation: Cell::new(0),
            abortable: RefCell::new(Map::with_hasher(rt.hash_state())),
        }
    }

    /// Cores of this node.
    pub(crate) fn cores(&self) -> impl Iterator<Item = CoreId> + use<> {
        let cores = u16::try_from(self.port.cores()).expect("cores are numbered by a u16");
        (0..cores).map(CoreId)
    }

    /// Messages that wait: those for this core that it has not looked at, and those of this core
    /// that did not fit into the lanes.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let late = self.lanes.borrow().iter().map(|lane| lane.late.len()).sum();
        (self.port.queued(), late)
    }

    /// Calls of other cores that wait here for something to happen.
    pub(crate) fn calls_held(&self) -> usize {
        self.abortable.borrow().len()
    }

    /// Calls that wait for an answer from another core.
    pub(crate) fn calls_waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    fn open_ticket(&self, from: CoreId) -> Ticket {
        let generation = self.generation.get();
        self.generation.set(generation.wrapping_add(1));
        let waiting = Waiting { generation, from, state: State::Waiting(None) };
        let slot = self.waiting.borrow_mut().insert(waiting);
        let slot = u32::try_from(slot).expect("requests in flight are bounded far below 2^32");
        Ticket { slot, generation }
    }

    /// The answer of a ticket, or the waker that fetches it later.
    fn poll_ticket(&self, ticket: Ticket, cx: &Context<'_>) -> Poll<Result<Reply, CallError>> {
        let mut waiting = self.waiting.borrow_mut();
        let entry = waiting.get_mut(ticket.slot as usize).expect("an answer owns its ticket");
        match &mut entry.state {
            State::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Done(_) => match waiting.remove(ticket.slot as usize).state {
                State::Done(outcome) => Poll::Ready(outcome),
                State::Waiting(_) => unreachable!("it was done just now"),
            },
        }
    }

    /// A reply has come. One whose caller is gone is dropped.
    fn settle(&self, ticket: Ticket, outcome: Result<Reply, CallError>) {
        let waker = {
            let mut waiting = self.waiting.borrow_mut();
            let Some(entry) = waiting.get_mut(ticket.slot as usize) else { return };
            if entry.generation != ticket.generation {
                return;
            }
            match std::mem::replace(&mut entry.state, State::Done(outcome)) {
                State::Waiting(waker) => waker,
                // Given up as unanswerable before.
                State::Done(_) => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sends in order and without waiting; what the lane can't take yet follows by itself.
    fn send(core: &Rc<Core>, to: CoreId, msg: Msg) {
        let mesh = &core.mesh;
        let closed = {
            let mut lanes = mesh.lanes.borrow_mut();
            let lane = &mut lanes[to.index()];
            if lane.flushing {
                lane.late.push_back(msg);
                return;
            }
            match mesh.port.try_send(to, msg) {
                Ok(()) => return,
                Err(TrySendError::Full(msg)) => {
                    lane.flushing = true;
                    lane.late.push_back(msg);
                    false
                }
                Err(TrySendError::Closed(_)) => true,
            }
        };
        match closed {
            true => mesh.fail_calls_to(to),
            false => drop(core.rt.spawn("mesh-lane", flush(Rc::clone(core), to))),
        }
    }

    /// Core `to` has stopped: nothing that was asked of it will be answered, neither what it has
    /// not taken any more nor what it was at.
    fn fail_calls_to(&self, to: CoreId) {
        let mut woken = Vec::new();
        for (_, entry) in self.waiting.borrow_mut().iter_mut() {
            if entry.from == to
                && let State::Waiting(waker) = &mut entry.state
            {
                woken.extend(waker.take());
                entry.state = State::Done(Err(CallError::Stopped));
            }
        }
        woken.into_iter().for_each(Waker::wake);
    }
}

/// Moves what came late into the lane, in order, until nothing is left.
async fn flush(core: Rc<Core>, to: CoreId) {
    loop {
        let msg = {
            let mut lanes = core.mesh.lanes.borrow_mut();
            let lane = &mut lanes[to.index()];
            match lane.late.pop_front() {
                Some(msg) => msg,
                None => {
                    lane.flushing = false;
                    return;
                }
            }
        };
        if core.mesh.port.send(to, msg).await.is_err() {
            drop(std::mem::take(&mut core.mesh.lanes.borrow_mut()[to.index()]));
            return core.mesh.fail_calls_to(to);
        }
    }
}

/// Asks core `to` for `work`; on the own core it is served in place. The message leaves at once,
/// before the first poll, so calls are served in the order in which they are made.
pub(crate) fn call<W: Work>(
    core: &Rc<Core>,
    to: CoreId,
    work: W,
) -> impl Future<Output = Result<W::Outcome, CallError>> + 'static + use<W> {
    if to == core.id() {
        return Either::Left(W::serve(Rc::clone(core), work).map(Ok));
    }
    let ticket = core.mesh.open_ticket(to);
    Mesh::send(core, to, Msg::Call { ticket, call: work.into_call() });
    Either::Right(Answer {
        core: Rc::clone(core),
        to,
        ticket: Some(ticket),
        work: PhantomData::<W>,
    })
}

/// Sends a message that has no answer.
pub(crate) fn tell(core: &Rc<Core>, to: CoreId, msg: Msg) {
    Mesh::send(core, to, msg);
}

/// The receiving side of a core: runs until the node's mesh is taken down. A panic over one message
/// is a defect that costs that message, not all that are to come.
pub(crate) async fn run(core: Rc<Core>) {
    let take = |from: CoreId, msg| {
        if matches!(msg, Msg::End) {
            return ControlFlow::Break(());
        }
        if catch_unwind(AssertUnwindSafe(|| take(&core, from, msg))).is_err() {
            tracing::error!(from = from.0, "a message of another core could not be taken");
        }
        ControlFlow::Continue(())
    };
    take_all(&core.rt, &core.mesh.port, take).await;
}

async fn take_all<M: Send>(
    rt: &Rt,
    port: &MeshPort<M>,
    mut take: impl FnMut(CoreId, M) -> ControlFlow<()>,
) {
    let mut taken: usize = 0;
    while let Some((from, message)) = port.recv().await {
        if take(from, message).is_break() {
            return;
        }
        taken += 1;
        if taken.is_multiple_of(MESSAGES_A_TURN) {
            rt.turn().await;
        }
    }
}

/// Messages taken before sockets and disks get a look: some hundred microseconds. One alone would
/// let the connections of a busy core, each of which has its turn in a round, starve the other
/// cores' connections, which have all their messages here.
const MESSAGES_A_TURN: usize = 64;

fn take(core: &Rc<Core>, from: CoreId, msg: Msg) {
    match msg {
        Msg::Call { ticket, call } => serve(core, from, ticket, call),
        Msg::Reply { ticket, reply } => {
            let outcome = match reply {
                Reply::Panicked => Err(CallError::Panicked),
                reply => Ok(reply),
            };
            core.mesh.settle(ticket, outcome);
        }
        Msg::Cancel { ticket } => {
            let handle = core.mesh.abortable.borrow_mut().remove(&(from, ticket));
            if let Some(handle) = handle {
                handle.abort();
            }
        }
        Msg::Adopt(handover) => crate::conn::adopt(core, *handover),
        Msg::Closed(seat) => core.seats.free(from, &seat),
        Msg::Moved(to) => core.seats.moved(from, to),
        Msg::Begin(_) => unreachable!("a core begins once"),
        Msg::End => unreachable!("the loop ends there"),
    }
}

/// Starts one call: the first poll happens here, in the order of the lane; only what must wait
/// becomes a task.
fn begin<F>(core: &Rc<Core>, from: CoreId, ticket: Ticket, cancellable: bool, serving: F)
where
    F: Future<Output = Reply> + 'static,
{
    let mut serving = Box::pin(AssertUnwindSafe(serving).catch_unwind());
    if let Some(reply) = (&mut serving).now_or_never() {
        let reply = reply.unwrap_or(Reply::Panicked);
        return Mesh::send(core, from, Msg::Reply { ticket, reply });
    }
    let (serving, handle) = abortable(serving);
    if cancellable {
        core.mesh.abortable.borrow_mut().insert((from, ticket), handle);
    }
    let core_too = Rc::clone(core);
    let rest = async move {
        let core = core_too;
        let outcome = serving.await;
        if cancellable {
            core.mesh.abortable.borrow_mut().remove(&(from, ticket));
        }
        if let Ok(reply) = outcome {
            let reply = reply.unwrap_or(Reply::Panicked);
            Mesh::send(&core, from, Msg::Reply { ticket, reply });
        }
    };
    drop(core.rt.spawn("call", rest));
}

/// The caller's side of a call to another core.
struct Answer<W: Work> {
    core: Rc<Core>,
    to: CoreId,
    /// None once answered.
    ticket: Option<Ticket>,
    work: PhantomData<W>,
}

impl<W: Work> Unpin for Answer<W> {}

impl<W: Work> Future for Answer<W> {
    type Output = Result<W::Outcome, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = self.ticket.expect("an answer is not polled after it came");
        let outcome = ready!(self.core.mesh.poll_ticket(ticket, cx));
        self.ticket = None;
        Poll::Ready(outcome.map(|reply| W::outcome(reply).expect("a call is answered in kind")))
    }
}

impl<W: Work> Drop for Answer<W> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let abandoned = self.core.mesh.waiting.borrow_mut().try_remove(ticket.slot as usize);
        let waits = abandoned.is_some_and(|entry| matches!(entry.state, State::Waiting(_)));
        if W::CANCELLABLE && waits {
            Mesh::send(&self.core, self.to, Msg::Cancel { ticket });
        }
    }
}

/// Declares every kind of call between cores: `Name(Work) -> Outcome by function;`, followed by
/// `cancellable` where the work only waits. `function` is `async fn(Rc<Core>, Work) -> Outcome`.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($work:ty) -> $outcome:ty, by $serve:path $(, $cancellable:ident)?;)*) => {
        /// Work asked of another core.
        pub(crate) enum Call {
            $($(#[$doc])* $name($work),)*
        }

        /// What came of a call. Boxed: most lanes carry small messages.
        pub(crate) enum Reply {
            $($name(Box<$outcome>),)*
            /// The serving future panicked.
            Panicked,
        }

        $(impl Work for $work {
            type Outcome = $outcome;
            const CANCELLABLE: bool = calls!(@flag $($cancellable)?);

            fn into_call(self) -> Call {
                Call::$name(self)
            }

            fn outcome(reply: Reply) -> Option<$outcome> {
                match reply {
                    Reply::$name(outcome) => Some(*outcome),
                    _ => None,
                }
            }

            fn serve(core: Rc<Core>, work: Self) -> impl Future<Output = $outcome> + 'static {
                $serve(core, work)
            }
        })*

        fn serve(core: &Rc<Core>, from: CoreId, ticket: Ticket, call: Call) {
            match call {
                $(Call::$name(work) => {
                    let serving = <$work>::serve(Rc::clone(core), work);
                    let serving = serving.map(|outcome| Reply::$name(Box::new(outcome)));
                    begin(core, from, ticket, <$work>::CANCELLABLE, serving);
                })*
            }
        }
    };
    (@flag) => { false };
    (@flag cancellable) => { true };
}

calls! {
    /// Opens the partitions that a new state of the metadata adds.
    Prepare(publish::Open) -> publish::Opened, by publish::prepare;
    /// Puts it into effect.
    Publish(publish::Work) -> (), by publish::serve;
    /// Has deleted topics removed from the disks.
    Retire(publish::Retire) -> (), by publish::retire;
    /// Gives up a log directory that has failed.
    Isolate(isolate::Isolate) -> (), by isolate::serve;
    /// Moves partitions to other log directories.
    AlterReplicaLogDirs(api::alter_replica_log_dirs::Work) -> api::alter_replica_log_dirs::Outcome, by api::alter_replica_log_dirs::serve;
    /// To core 0: where a partition has moved.
    Settled(settle::Settled) -> bool, by settle::settled;
    /// To core 0: where partitions are to go that are not here yet.
    Prefer(settle::Prefer) -> (), by settle::prefer;
    /// Finishes what the core's connections have begun.
    Drain(stop::Drain) -> usize, by stop::drain;
    /// Closes the core's partitions.
    Close(stop::Close) -> Vec<String>, by stop::close;
    /// Positions of this core's logs, for the files that all cores share.
    Positions(positions::Gather) -> positions::Outcome, by positions::gather;
    /// Appends of one Produce request.
    Produce(api::produce::Work) -> api::produce::Outcome, by api::produce::serve;
    /// Reads of one Fetch request.
    Fetch(api::fetch::Work) -> api::fetch::Outcome, by api::fetch::serve;
    /// Waits until one of a Fetch request's partitions has something new.
    FetchWait(api::fetch::Wait) -> (), by api::fetch::wait, cancellable;
    /// Places in the logs of one ListOffsets request.
    ListOffsets(api::list_offsets::Work) -> api::list_offsets::Outcome, by api::list_offsets::serve;
    // Changes of the metadata; for core 0.
    CreateTopics(CreateTopics) -> Decided<Vec<TopicOutcome>>, by requests::create_topics;
    DeleteTopics(requests::DeleteTopics) -> Decided<Vec<DeleteOutcome>>, by requests::delete_topics;
    CreatePartitions(CreatePartitions) -> Decided<Vec<GrowOutcome>>, by requests::create_partitions;
    AlterConfigs(AlterConfigs) -> Decided<Vec<AlterOutcome>>, by requests::alter_configs;
    UpdateFeatures(levels::UpdateFeatures) -> Decided<Result<(), Refusal>>, by requests::update_features;
    UnregisterBroker(requests::UnregisterBroker) -> Decided<Result<(), Refusal>>, by requests::unregister_broker;
    ElectLeaders(requests::ElectLeaders) -> Decided<Vec<ElectionOutcome>>, by requests::elect_leaders;
    AlterReassignments(AlterReassignments) -> Decided<Vec<ReassignOutcome>>, by requests::alter_reassignments;
    ListReassignments(requests::ListReassignments) -> Decided<Vec<Ongoing>>, by requests::list_reassignments;
    DescribeQuorum(requests::DescribeQuorum) -> Decided<QuorumDescription>, by requests::describe_quorum;
    AllocateProducerIds(requests::AllocateProducerIds) -> Decided<Result<ProducerIdBlock, Refusal>>, by requests::allocate_producer_ids;
    /// Something about a fetch session.
    FetchSession(session::Work) -> session::Outcome, by session::serve;
    /// New first offsets.
    DeleteRecords(api::delete_records::Work) -> api::delete_records::Outcome, by api::delete_records::serve;
    /// Ends of leader epochs.
    EpochEnds(api::offset_for_leader_epoch::Work) -> api::offset_for_leader_epoch::Outcome, by api::offset_for_leader_epoch::serve;
    /// Producers of partitions.
    Producers(api::describe_producers::Work) -> api::describe_producers::Outcome, by api::describe_producers::serve;
    /// Offsets that a group commits.
    OffsetCommit(api::offset_commit::Work) -> api::offset_commit::Outcome, by api::offset_commit::serve;
    /// Offsets that groups have committed.
    OffsetFetch(api::offset_fetch::Work) -> api::offset_fetch::Outcome, by api::offset_fetch::serve;
    /// Offsets that a group is to forget.
    OffsetDelete(api::offset_delete::Work) -> api::offset_delete::Outcome, by api::offset_delete::serve;
    /// A member joins, and waits for the others.
    JoinGroup(api::join_group::Work) -> api::join_group::Outcome, by api::join_group::serve, cancellable;
    /// A member waits for its assignment.
    SyncGroup(api::sync_group::Work) -> api::sync_group::Outcome, by api::sync_group::serve, cancellable;
    /// A member is alive.
    Heartbeat(api::heartbeat::Work) -> api::heartbeat::Outcome, by api::heartbeat::serve;
    /// Members leave.
    LeaveGroup(api::leave_group::Work) -> api::leave_group::Outcome, by api::leave_group::serve;
    /// A member of a consumer group says what it reads and has.
    ConsumerGroupHeartbeat(api::consumer_group_heartbeat::Work) -> api::consumer_group_heartbeat::Outcome, by api::consumer_group_heartbeat::serve;
    /// Consumer groups in full.
    ConsumerGroupDescribe(api::consumer_group_describe::Work) -> api::consumer_group_describe::Outcome, by api::consumer_group_describe::serve;
    /// Groups in full.
    DescribeGroups(api::describe_groups::Work) -> api::describe_groups::Outcome, by api::describe_groups::serve;
    /// The groups there are.
    ListGroups(api::list_groups::Work) -> api::list_groups::Outcome, by api::list_groups::serve;
    /// Groups to forget.
    DeleteGroups(api::delete_groups::Work) -> api::delete_groups::Outcome, by api::delete_groups::serve;
    /// What the core counts, for the admin port.
    Counts(admin::Gather) -> admin::Shot, by admin::gather;
    /// What log directories hold.
    LogDirs(api::describe_log_dirs::Work) -> api::describe_log_dirs::Outcome, by api::describe_log_dirs::serve;
}

#[cfg(test)]
mod tests;
