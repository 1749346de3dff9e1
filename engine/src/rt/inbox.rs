//! The inbox: how the node's one ordinary thread talks to a core.

use std::fmt;

/// The core has stopped and takes no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the core behind this inbox has stopped")]
pub struct InboxClosed;

/// The sending end: any thread, any number of clones.
pub struct InboxSender<T>(flume::Sender<T>);

/// The receiving end, on its core.
pub struct Inbox<T>(flume::Receiver<T>);

/// A bounded queue of `capacity` messages from ordinary threads to a core.
#[must_use]
pub fn inbox<T: Send>(capacity: usize) -> (InboxSender<T>, Inbox<T>) {
    let (sender, receiver) = flume::bounded(capacity);
    (InboxSender(sender), Inbox(receiver))
}

impl<T: Send> InboxSender<T> {
    /// Sends, blocking this thread while the inbox is full. Never call it on a core.
    ///
    /// # Errors
    /// When the core has stopped.
    pub fn send(&self, message: T) -> Result<(), InboxClosed> {
        self.0.send(message).map_err(|_| InboxClosed)
    }

    /// Sends if there is room now.
    ///
    /// # Errors
    /// With the message, when the inbox is full or its core has stopped.
    pub fn try_send(&self, message: T) -> Result<(), super::TrySendError<T>> {
        self.0.try_send(message).map_err(|e| match e {
            flume::TrySendError::Full(message) => super::TrySendError::Full(message),
            flume::TrySendError::Disconnected(message) => super::TrySendError::Closed(message),
        })
    }
}

impl<T: Send> Inbox<T> {
    /// The next message; `None` when all senders are gone. Cancel-safe.
    pub async fn recv(&self) -> Option<T> {
        self.0.recv_async().await.ok()
    }
}

impl<T> Clone for InboxSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for InboxSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InboxSender")
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}
