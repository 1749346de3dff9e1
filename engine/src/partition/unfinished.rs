//! Changes of a log that must not stay half done.

use crate::log::Log;

/// Held while the log is neither as before nor as it will be. Nothing may be appended to what an
/// interrupted change leaves, and nothing of it acknowledged: dropping this before
/// [`Unfinished::done`], by a panic or because the task that awaited was given up, stops the log.
#[must_use]
pub(super) struct Unfinished<'a> {
    log: &'a Log,
    what: &'static str,
    done: bool,
}

impl<'a> Unfinished<'a> {
    /// Begins `what`.
    pub(super) fn begin(log: &'a Log, what: &'static str) -> Self {
        Self { log, what, done: false }
    }

    /// The log is whole again.
    pub(super) fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.done {
            // Told where the log fails.
            let _ = self.log.fail(&format!("{} was interrupted", self.what));
        }
    }
}
