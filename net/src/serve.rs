//! A node on real threads: the only difference from a simulated one.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use config::Config;
use engine::rt::real::{self, CoreSpec, StartError};

use crate::admin::{self, Port};
use crate::adopt::Adoption;
use crate::boot::{self, BootError, ExitCode, Place, Ready};
use crate::loggers::Loggers;
use crate::placement;
pub use crate::placement::PlacementError;
use crate::{report, side};

/// Why a node did not serve, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The machine.
    #[error(transparent)]
    Machine(#[from] StartError),
    /// The CPUs.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The data, the addresses, the cluster.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The admin port.
    #[error("cannot listen: {0}")]
    Admin(String),
    /// The thread for signals could not be started.
    #[error("cannot watch for signals: {0}")]
    Side(std::io::Error),
    /// A core ended that should not have.
    #[error("core {core} failed: {message}")]
    Core {
        /// Which.
        core: u16,
        /// The panic's message.
        message: String,
    },
}

impl ServeError {
    /// The code for the process to end with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Machine(_) => ExitCode::Machine,
            Self::Placement(_) => ExitCode::Usage,
            Self::Boot(error) => error.exit_code(),
            Self::Admin(_) => ExitCode::Bind,
            Self::Side(_) | Self::Core { .. } => ExitCode::Failed,
        }
    }
}

/// Runs a node until a signal stops it. `ready` is called once, from core 0, when it serves; what
/// `loggers` holds is for administrators to change.
///
/// # Errors
/// What stood in the way, with the remedy.
pub fn serve(
    config: &Config,
    loggers: Arc<dyn Loggers>,
    ready: impl FnOnce(Ready) + Send + 'static,
) -> Result<(), ServeError> {
    let available = thread::available_parallelism().map_or(1, usize::from);
    let cpus = placement::cpus_of_cores(config, Path::new("/"))?;
    let cores = if cpus.is_empty() { config.core_count(available) } else { pinned(config, &cpus) };
    report::starting(config, cores, &cpus, available);
    // Before anything is written, as Kafka's listeners.
    let admin = admin::bind(config).map_err(ServeError::Admin)?;
    placement::send_interrupts(config, Path::new("/"));
    let address = admin.as_ref().and_then(Port::address);
    let ready = move |node| ready(Ready { admin: address, ..node });
    let (places, handle) = boot::places_with(config.clone(), cores, Some(loggers), ready);
    side::start(handle, admin).map_err(ServeError::Side)?;
    run_cores(config, places, &cpus)
}

/// How many cores run on CPUs of their own.
fn pinned(config: &Config, cpus: &[usize]) -> usize {
    match config.cores_count as usize {
        0 => cpus.len(),
        count => count.min(cpus.len()),
    }
}

/// Starts a node to take partitions in, until that is done.
pub(crate) fn run_errand(config: &Config, adoption: Adoption) -> Result<(), ServeError> {
    let available = thread::available_parallelism().map_or(1, usize::from);
    let cores = config.core_count(available);
    run_cores(config, boot::places_to_adopt(config.clone(), cores, adoption), config.cpus())
}

fn run_cores(config: &Config, places: Vec<Place>, cpus: &[usize]) -> Result<(), ServeError> {
    let cores = places.len();
    let (outcome, outcomes) = mpsc::channel();
    let mains = places.into_iter().enumerate().map(|(index, place)| {
        let outcome = outcome.clone();
        let main = move |rt| async move {
            // The receiver lives until every core has ended.
            drop(outcome.send(boot::run(rt, place).await));
        };
        (spec(config, cores, cpus.get(index).copied()), main)
    });
    let running = real::start(mains.collect())?;
    drop(outcome);
    while let Some(exit) = running.next_exit() {
        if let Err(message) = exit.result {
            // The others wait for this core for ever: what they have acknowledged is on disk.
            return Err(ServeError::Core { core: exit.core.0, message });
        }
    }
    if let Err(exits) = running.join()
        && let Some((core, message)) =
            exits.into_iter().find_map(|exit| Some((exit.core.0, exit.result.err()?)))
    {
        return Err(ServeError::Core { core, message });
    }
    outcomes.into_iter().collect::<Result<(), _>>().map_err(ServeError::from)
}

fn spec(config: &Config, cores: usize, cpu: Option<usize>) -> CoreSpec {
    let spin = config.cores_spin_us;
    CoreSpec {
        cpu,
        dma_idle_bytes_max: usize::try_from(config.core_memory(cores).io).unwrap_or(usize::MAX),
        spin: (spin > 0 && cpu.is_some()).then(|| Duration::from_micros(u64::from(spin))),
    }
}
