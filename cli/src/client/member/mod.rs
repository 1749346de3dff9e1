//! A member of a group of consumers, on a thread of its own: it stays alive however slowly its
//! records are read.
//!
//! ```text
//!  reader                                    member's thread
//!    │ ◄── Assigned(partitions) ───────────────  │  JoinGroup, SyncGroup, Heartbeat
//!    │     reads, commits as `identity()`        │  or ConsumerGroupHeartbeat
//!    │ ◄── Revoke(partitions) ─────────────────  │
//!    │     commits, reads them no more           │
//!    │ ──► gave_up() ──────────────────────────► │  joins again, or acknowledges
//!    │ ──► leave() ────────────────────────────► │  leaves
//! ```

mod classic;
mod modern;

use std::hash::{BuildHasher, RandomState};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use wire::primitives::Uuid;

use super::cluster::Cluster;
use super::groups::Committer;
use super::partitions::TopicPartition;

/// How a group agrees on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The members join, and one of them assigns.
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
}

/// What a group member reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Topics(Vec<String>),
    /// Topics whose whole names match.
    Pattern(String),
}

/// How to be a member.
#[derive(Debug, Clone)]
pub(crate) struct MemberOptions {
    pub(crate) bootstrap_server: String,
    pub(crate) client_id: String,
    pub(crate) group: String,
    pub(crate) protocol: Protocol,
    pub(crate) wanted: Wanted,
    /// Name of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    /// Without a sign of life for so long, a classic group takes the member for dead.
    pub(crate) session_timeout: Duration,
    /// How long the group waits for the member to give partitions up.
    pub(crate) rebalance_timeout: Duration,
    /// Between two signs of life in a classic group; the new protocol's broker says.
    pub(crate) heartbeat_interval: Duration,
    /// The assignor to ask the broker for, in the new protocol.
    pub(crate) assignor: Option<String>,
}

impl MemberOptions {
    /// A cluster, known to it by the member's client id.
    pub(crate) fn connect(&self) -> Result<Cluster> {
        Cluster::connect_as(&self.bootstrap_server, &self.client_id)
    }
}

/// What the reader is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// All that the member has from now on.
    Assigned(Vec<TopicPartition>),
    /// To be given up, which [`Member::gave_up`] confirms.
    Revoke(Vec<TopicPartition>),
    /// All is gone already: the group went on without this member, which joins anew.
    Lost,
    /// The membership is over.
    Failed(anyhow::Error),
}

/// The member as the coordinator knows it now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    member_id: String,
    instance_id: Option<String>,
    /// Generation or member epoch.
    epoch: i32,
}

impl Identity {
    /// For a commit.
    pub(crate) fn committer(&self) -> Committer<'_> {
        let instance_id = self.instance_id.as_deref();
        Committer { member_id: &self.member_id, instance_id, epoch: self.epoch }
    }
}

/// A membership, seen from the reader.
#[derive(Debug)]
pub(crate) struct Member {
    events: Receiver<Event>,
    orders: Sender<Order>,
    identity: Arc<Mutex<Identity>>,
    ended: Receiver<()>,
}

/// What the thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    GaveUp,
    Leave,
}

/// The thread's end of a membership.
struct Line {
    events: Sender<Event>,
    orders: Receiver<Order>,
    identity: Arc<Mutex<Identity>>,
}

/// The reader is gone or wants to leave.
struct Over;

impl Member {
    /// Joins the group.
    pub(crate) fn join(options: MemberOptions) -> Self {
        let (events, event_receiver) = mpsc::channel();
        let (order_sender, orders) = mpsc::channel();
        let (end_sender, ended) = mpsc::channel();
        let identity = Arc::new(Mutex::new(Identity {
            instance_id: options.instance_id.clone(),
            epoch: -1,
            ..Identity::default()
        }));
        let line = Line { events: events.clone(), orders, identity: Arc::clone(&identity) };
        thread::spawn(move || {
            let outcome = match options.protocol {
                Protocol::Classic => classic::run(&options, &line),
                Protocol::Consumer => modern::run(&options, &line),
            };
            if let Err(error) = outcome {
                // The reader may be gone.
                let _ = events.send(Event::Failed(error));
            }
            drop(end_sender);
        });
        Self { events: event_receiver, orders: order_sender, identity, ended }
    }

    /// What happened, if anything did within this time.
    pub(crate) fn next_event(&self, wait: Duration) -> Result<Option<Event>> {
        match self.events.recv_timeout(wait) {
            Ok(Event::Failed(error)) => Err(error),
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("the group member has ended")),
        }
    }

    /// Nothing of what was to be revoked is read any more.
    pub(crate) fn gave_up(&self) {
        // A thread that has ended says so by its last event.
        let _ = self.orders.send(Order::GaveUp);
    }

    /// The member as the coordinator knows it now.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves the group; waits a little for that to be known.
    pub(crate) fn leave(self) {
        let _ = self.orders.send(Order::Leave);
        let _ = self.ended.recv_timeout(LEAVE_LIMIT);
    }
}

impl Line {
    /// Tells the reader.
    fn tell(&self, event: Event) -> Result<(), Over> {
        self.events.send(event).map_err(|_| Over)
    }

    fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_identity(&self, member_id: &str, epoch: i32) {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        member_id.clone_into(&mut identity.member_id);
        identity.epoch = epoch;
    }

    /// Waits until then for an order.
    fn order(&self, until: Instant) -> Result<Option<Order>, Over> {
        match self.orders.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Order::Leave) | Err(RecvTimeoutError::Disconnected) => Err(Over),
            Ok(order) => Ok(Some(order)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
        }
    }

    /// Forgets orders that answer what is no longer asked.
    fn drain(&self) -> Result<(), Over> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Leave) | Err(TryRecvError::Disconnected) => return Err(Over),
                Ok(Order::GaveUp) => {}
                Err(TryRecvError::Empty) => return Ok(()),
            }
        }
    }
}

/// A fresh id, of Kafka's form.
pub(crate) fn random_id() -> String {
    let half = || RandomState::new().hash_one(Instant::now()).to_be_bytes();
    let (high, low) = (half(), half());
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high);
    bytes[8..].copy_from_slice(&low);
    Uuid(bytes).to_string()
}

/// How long a command that ends waits for the coordinator to hear of it.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// Between two attempts at what a coordinator can't do at the moment.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
