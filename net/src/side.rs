//! The one ordinary thread of the node: signals and the admin port today, object storage later. It
//! talks to core 0 through its inboxes and touches nothing else.

use std::io;
use std::thread;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::Port;
use crate::boot::Handle;

/// Starts the thread. The first SIGTERM or SIGINT stops the node in order, the second ends the
/// process at once with 128 plus the signal's number, as a shell would show a killed process.
pub(crate) fn start(handle: Handle, admin: Option<Port>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let watch = move || {
        if let Some(port) = admin {
            runtime.spawn(port.serve(handle.clone()));
        }
        runtime.block_on(watch(handle, signals));
    };
    thread::Builder::new().name("side".to_owned()).spawn(watch).map(drop)
}

async fn watch(handle: Handle, (mut terminate, mut interrupt): (Signal, Signal)) {
    let first = either(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = first.name(), "stopping; a second signal stops at once");
    handle.stop();
    let second = either(&mut terminate, &mut interrupt).await;
    tracing::warn!(signal = second.name(), "stopped at once; the next start recovers");
    std::process::exit(128 + second.number());
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> Asked {
    tokio::select! {
        _ = terminate.recv() => Asked::Terminate,
        _ = interrupt.recv() => Asked::Interrupt,
    }
}

#[derive(Clone, Copy)]
enum Asked {
    Terminate,
    Interrupt,
}

impl Asked {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    fn number(self) -> i32 {
        match self {
            Self::Terminate => SignalKind::terminate().as_raw_value(),
            Self::Interrupt => SignalKind::interrupt().as_raw_value(),
        }
    }
}
