//! The mesh: bounded mailboxes between the cores of one node.
//!
//! Every core has one mailbox that all the others write into. Messages from one core to another
//! arrive in the order they were accepted; messages of different senders interleave. The mesh is
//! the same code on a real and on a simulated node: wakers carry the difference.
//!
//! Two cores that each wait for room in the other's full mailbox stand still, so the task that
//! receives must never wait in [`MeshPort::send`] itself: it hands the work to another task, or
//! uses [`MeshPort::try_send`] and keeps what did not fit.

use std::{cell::RefCell, collections::VecDeque, fmt};

use crate::ids::CoreId;

/// The other core's port is gone: that core has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("core {0} has stopped")]
pub struct MeshClosed(pub CoreId);

/// Why a message was not taken at once; it is handed back.
#[derive(Debug, PartialEq, Eq)]
pub enum TrySendError<M> {
    /// The mailbox is full now.
    Full(M),
    /// The receiver is gone and will not come back.
    Closed(M),
}

/// One core's end of the mesh. Made before the cores start, moved to its core, used only there.
pub struct MeshPort<M> {
    core: CoreId,
    /// By core; our own mailbox is held weakly, so that it closes when the others are gone. A lone
    /// core has no others and keeps it open.
    peers: Vec<Peer<M>>,
    mailbox: flume::Receiver<(CoreId, M)>,
    /// Taken from the mailbox in one go, not yet handed out.
    batch: RefCell<VecDeque<(CoreId, M)>>,
}

enum Peer<M> {
    Other(flume::Sender<(CoreId, M)>),
    Own(flume::WeakSender<(CoreId, M)>),
}

/// Connects `cores` cores all to all; `capacity` messages fit into each core's mailbox.
///
/// # Panics
/// When there are no cores, more than 65 535, or no capacity.
#[must_use]
pub fn mesh<M: Send + 'static>(cores: usize, capacity: usize) -> Vec<MeshPort<M>> {
    assert!(cores > 0 && capacity > 0, "a mesh of {cores} cores and capacity {capacity}");
    let mailboxes: Vec<_> = (0..cores).map(|_| flume::bounded(capacity)).collect();
    let peer = |from: usize, to: usize| match from == to && cores > 1 {
        true => Peer::Own(mailboxes[to].0.downgrade()),
        false => Peer::Other(mailboxes[to].0.clone()),
    };
    (0..cores)
        .map(|core| MeshPort {
            core: CoreId(u16::try_from(core).expect("core ids are 16 bits")),
            peers: (0..cores).map(|to| peer(core, to)).collect(),
            mailbox: mailboxes[core].1.clone(),
            batch: RefCell::default(),
        })
        .collect()
}

impl<M: Send + 'static> MeshPort<M> {
    /// The core this port belongs to.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// How many cores the mesh connects.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.peers.len()
    }

    /// Sends, waiting for room. A core may send to itself while the mesh is open.
    ///
    /// # Errors
    /// When the receiving core has stopped; the message is lost.
    pub async fn send(&self, to: CoreId, message: M) -> Result<(), MeshClosed> {
        let Some(sender) = self.sender(to) else { return Err(MeshClosed(to)) };
        sender.send_async((self.core, message)).await.map_err(|_| MeshClosed(to))
    }

    /// Sends if there is room now.
    ///
    /// # Errors
    /// With the message, when there is none or the core has stopped.
    pub fn try_send(&self, to: CoreId, message: M) -> Result<(), TrySendError<M>> {
        let Some(sender) = self.sender(to) else { return Err(TrySendError::Closed(message)) };
        sender.try_send((self.core, message)).map_err(|e| match e {
            flume::TrySendError::Full((_, message)) => TrySendError::Full(message),
            flume::TrySendError::Disconnected((_, message)) => TrySendError::Closed(message),
        })
    }

    /// The next message and its sender; `None` once the mesh is closed: all other cores have
    /// stopped and the mailbox is empty. Cancel-safe. One task receives.
    pub async fn recv(&self) -> Option<(CoreId, M)> {
        if let Some(next) = self.try_recv() {
            return Some(next);
        }
        self.mailbox.recv_async().await.ok()
    }

    /// The next message if one is there.
    pub fn try_recv(&self) -> Option<(CoreId, M)> {
        let mut batch = self.batch.borrow_mut();
        if batch.is_empty() {
            batch.extend(self.mailbox.drain());
        }
        batch.pop_front()
    }

    fn sender(&self, to: CoreId) -> Option<flume::Sender<(CoreId, M)>> {
        match &self.peers[to.index()] {
            Peer::Other(sender) => Some(sender.clone()),
            Peer::Own(sender) => sender.upgrade(),
        }
    }
}

impl<M> fmt::Debug for MeshPort<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshPort({} of {})", self.core, self.peers.len())
    }
}
