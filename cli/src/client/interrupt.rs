//! SIGINT and SIGTERM as something to ask about, for commands that have to end in order.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

/// What was asked for by a signal. A second signal ends the process at once.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicI32>);

impl Interrupt {
    /// Watches from now on. To be called before other threads are started: they inherit that the
    /// signals are not theirs.
    ///
    /// A closed pipe becomes an error of the write, too, so that its end can be in order as well.
    pub(crate) fn watch() -> Self {
        let asked = Self(Arc::new(AtomicI32::new(0)));
        let told = asked.clone();
        // SAFETY: a zeroed set is a valid value, made empty and filled by the calls that are for it.
        let signals = unsafe {
            let mut signals: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut signals);
            libc::sigaddset(&mut signals, libc::SIGINT);
            libc::sigaddset(&mut signals, libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            signals
        };
        thread::spawn(move || {
            loop {
                let mut signal = 0;
                // SAFETY: both point to values that live through the call.
                if unsafe { libc::sigwait(&signals, &mut signal) } != 0 {
                    return;
                }
                if told.0.swap(signal, Ordering::Relaxed) != 0 {
                    process::exit(128 + signal);
                }
            }
        });
        asked
    }

    /// The signal that asked for the end, if one did.
    pub(crate) fn asked(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }
}
