//! The clients: several at once, each with its own connection and its own random choices.
//!
//! One admin makes, deletes and trims topics, so that what exists is known in order. Producers
//! number their records; consumers note all they read. Everyone reconnects and goes on when the
//! node goes away, until the run's operations are done.

pub(crate) mod admin;
pub(crate) mod audit;
mod committer;
pub(crate) mod consumer;
pub(crate) mod idempotent;
pub(crate) mod member;
mod pipelined;
pub(crate) mod plain;
mod produce;
mod reading;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use engine::rt::Rt;
use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::error::DecodeError;
use wire::msg::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use wire::primitives::Uuid;
use wire::schema::Message;

use crate::client::{Connection, Lost};
use crate::history::{Event, History, Place};
use crate::rng::Rng;

/// What the clients of a run share.
pub(crate) struct Scene {
    pub(crate) rt: Rt,
    pub(crate) addr: SocketAddr,
    pub(crate) history: RefCell<History>,
    pub(crate) topics: RefCell<Vec<Topic>>,
    /// Answered requests so far, and when to stop.
    pub(crate) operations: Cell<u32>,
    pub(crate) operations_max: u32,
    attempts: Cell<u32>,
    /// How much longer clients think than they would.
    pub(crate) leisure: Cell<u64>,
    /// Clients that have not ended.
    pub(crate) busy: Cell<usize>,
    offers: RefCell<BTreeSet<ApiKey>>,
    /// Those who have done their operations, as they stand.
    members: RefCell<Vec<member::Member>>,
    /// The last number that was given out.
    numbers: Cell<u64>,
}

/// A topic that was created, as far as the clients know.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) partitions: i32,
    /// Its deletion was asked for.
    pub(crate) doomed: bool,
}

/// One client.
pub(crate) struct Client {
    pub(crate) scene: Rc<Scene>,
    pub(crate) rng: Rng,
    connection: Option<Connection>,
    /// Leader epochs as this client was last told by Metadata: it may be wrong by now.
    pub(crate) epochs: BTreeMap<Place, i32>,
}

impl Scene {
    pub(crate) fn new(rt: Rt, addr: SocketAddr, operations_max: u32, history: History) -> Rc<Self> {
        Rc::new(Self {
            rt,
            addr,
            history: RefCell::new(history),
            topics: RefCell::default(),
            operations: Cell::new(0),
            operations_max,
            attempts: Cell::new(0),
            leisure: Cell::new(1),
            busy: Cell::new(0),
            offers: RefCell::default(),
            members: RefCell::default(),
            numbers: Cell::new(0),
        })
    }

    /// Starts the clients of a run.
    pub(crate) fn populate(self: &Rc<Self>, rng: &mut Rng) {
        self.start(rng, admin::run);
        for _ in 0..rng.between(1, 3) {
            self.start(rng, idempotent::run);
        }
        if rng.one_in(2) {
            self.start(rng, pipelined::run);
        }
        for _ in 0..rng.between(1, 2) {
            self.start(rng, plain::run);
        }
        if rng.one_in(2) {
            self.start(rng, committer::run);
        }
        for _ in 0..rng.between(1, 3) {
            self.start(rng, consumer::run);
        }
    }

    fn start<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        rng: &mut Rng,
        program: impl FnOnce(Client) -> F,
    ) {
        self.busy.set(self.busy.get() + 1);
        let client = Client::new(self, rng.fork());
        let (scene, program) = (Rc::clone(self), program(client));
        let task = self.rt.spawn("client", program);
        let watch = async move {
            if let Err(panicked) = task.await {
                scene.violate("alive", panicked.to_string());
            }
            scene.busy.set(scene.busy.get() - 1);
        };
        self.rt.spawn("client end", watch).detach();
    }

    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.rt.now().as_nanos())
    }

    /// Whether the clients have done what they are for.
    pub(crate) fn is_over(&self) -> bool {
        self.operations.get() >= self.operations_max
            || self.attempts.get() >= self.operations_max.saturating_mul(ATTEMPTS_PER_OPERATION)
    }

    pub(crate) fn note(&self, event: Event) {
        self.history.borrow_mut().note(self.now(), event);
    }

    pub(crate) fn violate(&self, invariant: &'static str, message: String) {
        self.history.borrow_mut().violate(self.now(), invariant, message);
    }

    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        self.history.borrow().say(self.now(), line);
    }

    /// Whether the node serves an API; known once someone was connected.
    pub(crate) fn offers(&self, api: ApiKey) -> bool {
        self.offers.borrow().contains(&api)
    }

    /// A partition of a topic that is not known to be going.
    pub(crate) fn some_place(&self, rng: &mut Rng) -> Option<Place> {
        let topics = self.topics.borrow();
        let live: Vec<&Topic> = topics.iter().filter(|topic| !topic.doomed).collect();
        if live.is_empty() {
            return None;
        }
        let topic = rng.pick(&live);
        let partition = rng.below(u64::try_from(topic.partitions).unwrap_or(1));
        Some(Place { topic: topic.id, partition: i32::try_from(partition).expect("few") })
    }

    /// The name of a topic that is known.
    pub(crate) fn name_of(&self, topic: Uuid) -> Option<String> {
        let topics = self.topics.borrow();
        topics.iter().find(|known| known.id == topic).map(|known| known.name.clone())
    }

    /// Whether the topic's deletion was asked for.
    pub(crate) fn is_doomed(&self, topic: Uuid) -> bool {
        self.topics.borrow().iter().any(|known| known.id == topic && known.doomed)
    }

    /// A number that nothing else in the run has; never 0.
    fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    fn count(&self) {
        self.operations.set(self.operations.get() + 1);
    }
}

impl Client {
    pub(crate) fn new(scene: &Rc<Scene>, rng: Rng) -> Self {
        Self { scene: Rc::clone(scene), rng, connection: None, epochs: BTreeMap::new() }
    }

    /// Waits a little, as clients do between requests.
    pub(crate) async fn think(&mut self) {
        let most = *self.rng.pick(&[50, 500, 500, 3_000, 10_000]);
        let micros = self.rng.below(most) * self.scene.leisure.get();
        self.scene.rt.sleep(Duration::from_micros(micros)).await;
    }

    /// Waits as long as a client does before it tries again.
    pub(crate) async fn back_off(&mut self) {
        let millis = self.rng.between(5, 60);
        self.scene.rt.sleep(Duration::from_millis(millis)).await;
    }

    /// The connection, made now if there is none.
    pub(crate) async fn connection(&mut self) -> Result<&mut Connection, Lost> {
        if self.connection.is_none() {
            self.scene.attempts.set(self.scene.attempts.get() + 1);
            let mut new = Connection::open(&self.scene.rt, self.scene.addr).await?;
            let hello =
                ApiVersionsRequest { client_software_name: "sim", client_software_version: "1" };
            let offers = new.ask(3, &hello, |cur, version| {
                let response = ApiVersionsResponse::decode(cur, version)?;
                let keys = response.api_keys.iter().filter_map(|row| ApiKey::from_key(row.api_key));
                Ok(keys.collect::<BTreeSet<_>>())
            });
            *self.scene.offers.borrow_mut() = offers.await?;
            self.scene.count();
            self.connection = Some(new);
        }
        Ok(self.connection.as_mut().expect("made above"))
    }

    /// Notes that an answer came.
    pub(crate) fn answered(&self) {
        self.scene.attempts.set(self.scene.attempts.get() + 1);
        self.scene.count();
    }

    /// Gives the connection up, for this reason, and waits a little.
    pub(crate) async fn lost(&mut self, why: Lost) {
        self.connection = None;
        self.scene.say(|| format!("connection lost: {why}"));
        if let Lost::Nonsense(what) = why {
            self.scene.violate("alive", what);
        }
        self.scene.attempts.set(self.scene.attempts.get() + 1);
        self.back_off().await;
    }

    /// Asks; `None` when the connection was lost.
    pub(crate) async fn ask<'q, Q: Message<'q>, T>(
        &mut self,
        version: i16,
        request: &Q,
        read: impl FnOnce(&mut Cursor<'_>, i16) -> Result<T, DecodeError>,
    ) -> Option<T> {
        let answer = match self.connection().await {
            Ok(connection) => connection.ask(version, request, read).await,
            Err(why) => Err(why),
        };
        match answer {
            Ok(answer) => {
                self.answered();
                Some(answer)
            }
            Err(why) => {
                self.lost(why).await;
                None
            }
        }
    }
}

/// A run whose node stays away ends all the same.
const ATTEMPTS_PER_OPERATION: u32 = 20;
