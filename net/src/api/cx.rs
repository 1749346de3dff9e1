//! What a handler knows about its request, and how it answers.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use engine::ids::{CoreId, PartitionId, TopicId};
use engine::rt::Instant;
use replication::cores::PartitionKey;
use replication::image::Image;
use wire::error::EncodeError;
use wire::error_code::ErrorCode;
use wire::header::ResponseHeader;
use wire::primitives::Uuid;
use wire::schema::{self, Message};
use wire::writer::Writer;

use super::Row;
use super::errors::Failure;
use crate::conn::Conn;
use crate::conn::budget::Ticket;
use crate::conn::reply::{Records, Refusal, Reply, Response};
use crate::core::Core;
use crate::groups::{CONSUMER_OFFSETS, partition_of};
use crate::mesh::{self, CallError, Work};
use crate::meta::requests::Decided;
use crate::node::Listening;
use crate::partitions::Home;

/// One request in service.
pub(crate) struct Cx {
    /// The core that serves the connection.
    pub(crate) core: Rc<Core>,
    /// The connection: peer, principal, listener.
    pub(crate) conn: Rc<Conn>,
    /// The API's row in the table.
    pub(crate) row: &'static Row,
    /// Version of the request, and of its answer.
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// Empty where the client sent none.
    pub(crate) client_id: Rc<str>,
    /// When the request was read.
    pub(crate) started: Instant,
    /// What it takes of the core's memory beside its frame; its answer takes it over.
    pub(crate) claimed: Cell<Option<Ticket>>,
}

impl Cx {
    /// The metadata as this core sees it now. Hold it for the whole request, not for longer.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.core.image()
    }

    /// The id of a topic that the request names, or from version `by_id` on gives by id.
    pub(crate) fn topic_id(&self, name: &str, id: Uuid, by_id: i16) -> Result<TopicId, ErrorCode> {
        let image = self.image();
        let (known, unknown) = match self.version >= by_id {
            true => (image.topics().get(TopicId(id)), ErrorCode::UNKNOWN_TOPIC_ID),
            false => (image.topics().named(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        };
        // Whoever may not see a topic does not learn whether it exists.
        self.permits_topic(known.map_or(name, |topic| &topic.name))?;
        known.map(|topic| topic.id).ok_or(unknown)
    }

    /// Where a partition lives on this node. One that lives elsewhere is NOT_LEADER_OR_FOLLOWER:
    /// the client's metadata is old.
    pub(crate) fn home(
        &self,
        topic: TopicId,
        partition: i32,
    ) -> Result<(PartitionKey, Home), ErrorCode> {
        let key = PartitionKey { topic, partition: PartitionId(partition) };
        match self.core.partitions.home(key) {
            Some(home) => Ok((key, home)),
            None => Err(match self.image().topics().partition(topic, key.partition) {
                Some(_) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            }),
        }
    }

    /// Which partition of `__consumer_offsets` a group is in, and the core that owns it.
    pub(crate) fn group_home(&self, group: &str) -> Result<(i32, CoreId), ErrorCode> {
        let image = self.image();
        let topic = image.topics().named(CONSUMER_OFFSETS).ok_or(ErrorCode::NOT_COORDINATOR)?;
        let partition = partition_of(group, topic.partition_count());
        let key = PartitionKey { topic: topic.id, partition: PartitionId(partition) };
        let home = self.core.partitions.home(key).ok_or(ErrorCode::NOT_COORDINATOR)?;
        Ok((partition, home.core))
    }

    /// How long the client is asked to hold back. Quotas will say.
    pub(crate) fn throttle_ms(&self) -> i32 {
        0
    }

    /// The listener that the client came in by.
    pub(crate) fn listener(&self) -> &Listening {
        &self.core.node.listeners[self.conn.identity.borrow().listener]
    }

    /// Asks core `to` for `work`; see [`mesh::call`].
    pub(crate) fn call<W: Work>(
        &self,
        to: CoreId,
        work: W,
    ) -> impl Future<Output = Result<W::Outcome, CallError>> + use<W> {
        mesh::call(&self.core, to, work)
    }

    /// Asks the controller, on core 0, for a change of the metadata; answers when it is committed
    /// and every core has it.
    pub(crate) async fn change<W, T>(&self, request: W) -> Result<T, Failure>
    where
        W: Work<Outcome = Decided<T>>,
    {
        match self.call(CoreId(0), request).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => Err(Failure::told(&error)),
            Err(error) => Err(Failure::told(&error)),
        }
    }

    /// Whether waiting on the client's behalf has lost its point: it has gone, or the node stops
    /// and wants to answer now.
    pub(crate) fn is_lost(&self) -> bool {
        self.conn.watch.is_gone() || self.core.is_draining()
    }

    /// Whether a long poll shall end with what there is: [`Cx::is_lost`], or others wait for it.
    pub(crate) fn is_hurried(&self) -> bool {
        self.is_lost() || self.conn.watch.is_hurried()
    }

    /// Resolves when [`Cx::is_lost`].
    pub(crate) async fn lost(&self) {
        self.when(Self::is_lost).await;
    }

    /// Resolves when [`Cx::is_hurried`].
    pub(crate) async fn hurried(&self) {
        self.when(Self::is_hurried).await;
    }

    async fn when(&self, so: impl Fn(&Self) -> bool) {
        // Polled whenever the connection's task is, which all these events wake.
        poll_fn(|_| if so(self) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Answers with `message`.
    pub(crate) fn reply<'m>(&self, message: &impl Message<'m>) -> Reply {
        self.reply_with(message, Records::default(), None)
    }

    /// Answers with `message`, whose `Records::Spliced` tokens are runs of `records`. `pinned` is
    /// what they keep of the caches until the answer is sent.
    pub(crate) fn reply_with<'m>(
        &self,
        message: &impl Message<'m>,
        records: Records,
        pinned: Option<Ticket>,
    ) -> Reply {
        self.answer(self.version, message, records, pinned)
    }

    /// Answers in another version than the request's: ApiVersions alone does.
    pub(super) fn reply_in<'m>(&self, version: i16, message: &impl Message<'m>) -> Reply {
        self.answer(version, message, Records::default(), None)
    }

    fn answer<'m>(
        &self,
        version: i16,
        message: &impl Message<'m>,
        records: Records,
        pinned: Option<Ticket>,
    ) -> Reply {
        let mut writer = self.core.writers.take();
        match self.encode(&mut writer, version, message) {
            Ok(()) => {
                self.core.requests.failed(self.row, writer.errors());
                let response = Response::new(writer.finish(), records);
                Reply::Send(response.charged(self.claimed.take(), pinned))
            }
            Err(error) => {
                if let Some(unsaid) = self.core.quiet.answers.pass(self.core.rt.now()) {
                    let api = self.row.key.name();
                    tracing::error!(api, version, unsaid, "no answer possible: {error}");
                }
                Reply::Close(Refusal::Unanswerable(error))
            }
        }
    }

    fn encode<'m>(
        &self,
        writer: &mut Writer,
        version: i16,
        message: &impl Message<'m>,
    ) -> Result<(), EncodeError> {
        let frame = writer.begin_frame();
        let header = ResponseHeader { correlation_id: self.correlation_id };
        header.encode(writer, self.row.key, version);
        schema::encode(message, writer, version)?;
        writer.end_frame(frame)?;
        Ok(())
    }
}

impl std::fmt::Debug for Cx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (api, client) = (self.row.key.name(), &self.client_id);
        write!(f, "{api} v{} #{} of {client:?}", self.version, self.correlation_id)
    }
}
