//! What the runtime needs of the system, and what to do when it is not there.

use std::{fs, io};

use glommio::{BuilderErrorKind, GlommioError, ReactorErrorKind};
use io_uring::{IoUring, Probe, opcode};

/// Why the cores can't start; the text names the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kernel was told to refuse io_uring.
    #[error(
        "io_uring is switched off on this machine (kernel.io_uring_disabled={0}); \
         run: sysctl -w kernel.io_uring_disabled=0"
    )]
    Disabled(String),
    /// Something between us and the kernel refuses io_uring.
    #[error(
        "io_uring is refused ({0}), most likely by a container's seccomp profile; \
         run the container with --security-opt seccomp=unconfined, or with a profile that allows \
         io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Refused(io::Error),
    /// The kernel lacks io_uring or an operation of it.
    #[error("this kernel ({release}) has no {missing}; Linux 5.8 or newer is needed")]
    Kernel {
        /// What `uname -r` says.
        release: String,
        /// What was looked for.
        missing: &'static str,
    },
    /// The limit on locked memory is too low for the rings.
    #[error(
        "the limit on locked memory is {limit_bytes} bytes, {needed_bytes} are needed; \
         raise it: `ulimit -l unlimited`, LimitMEMLOCK=infinity in a systemd unit, or \
         --ulimit memlock=-1 for a container"
    )]
    MemLock {
        /// The hard limit.
        limit_bytes: u64,
        /// The least that works.
        needed_bytes: u64,
    },
    /// A core is to be pinned to a CPU that is not there for this process.
    #[error("CPU {cpu} is not among those that this process may use: {available}")]
    Cpu {
        /// The CPU asked for.
        cpu: usize,
        /// What the scheduler says, as a list.
        available: String,
    },
    /// Too many open files, processes or the like.
    #[error("the system refused what a core needs: {0}")]
    System(#[from] io::Error),
    /// Anything else, in the runtime's words.
    #[error("a core could not be set up: {0}")]
    Other(String),
}

/// Finds out what would stand in the way before any thread is started; glommio would end the
/// process or only log.
pub(super) fn environment() -> Result<(), StartError> {
    memlock()?;
    let ring = IoUring::new(8).map_err(from_setup)?;
    let mut probe = Probe::new();
    let missing = |what| StartError::Kernel { release: kernel_release(), missing: what };
    ring.submitter().register_probe(&mut probe).map_err(|_| missing("io_uring probe"))?;
    let needed = [
        (opcode::Read::CODE, "io_uring read"),
        (opcode::Write::CODE, "io_uring write"),
        (opcode::Fsync::CODE, "io_uring fsync"),
        (opcode::Fallocate::CODE, "io_uring fallocate"),
        (opcode::Accept::CODE, "io_uring accept"),
        (opcode::Connect::CODE, "io_uring connect"),
        (opcode::LinkTimeout::CODE, "io_uring linked timeouts"),
        (opcode::Statx::CODE, "io_uring statx"),
        (opcode::OpenAt::CODE, "io_uring openat"),
        (opcode::PollAdd::CODE, "io_uring poll"),
    ];
    match needed.into_iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, what)) => Err(missing(what)),
        None => Ok(()),
    }
}

/// An error of a system call while a core was set up.
pub(super) fn from_io(e: io::Error) -> StartError {
    match e.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS) => from_setup(e),
        _ => StartError::System(e),
    }
}

/// glommio's refusal to make an executor.
pub(super) fn from_glommio(e: GlommioError<()>, cpu: Option<usize>) -> StartError {
    match (e, cpu) {
        (GlommioError::ReactorError(ReactorErrorKind::MemLockLimit(limit, needed)), _) => {
            StartError::MemLock { limit_bytes: limit, needed_bytes: needed }
        }
        (
            GlommioError::BuilderError(
                BuilderErrorKind::NonExistentCpus { .. }
                | BuilderErrorKind::InsufficientCpus { .. },
            ),
            Some(cpu),
        ) => StartError::Cpu { cpu, available: allowed_cpus() },
        (GlommioError::IoError(e), Some(cpu)) if e.raw_os_error() == Some(libc::EINVAL) => {
            StartError::Cpu { cpu, available: allowed_cpus() }
        }
        (GlommioError::IoError(e), _) => from_io(e),
        (other, _) => StartError::Other(other.to_string()),
    }
}

/// Raises the soft limit on locked memory as far as need be and allowed.
fn memlock() -> Result<(), StartError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct, which outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        return Err(StartError::System(io::Error::last_os_error()));
    }
    if limit.rlim_cur >= MEMLOCK_BYTES_MIN {
        return Ok(());
    }
    if limit.rlim_max < MEMLOCK_BYTES_MIN {
        let limit_bytes = limit.rlim_max;
        return Err(StartError::MemLock { limit_bytes, needed_bytes: MEMLOCK_BYTES_MIN });
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads the struct, which outlives the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } {
        0 => Ok(()),
        _ => Err(StartError::System(io::Error::last_os_error())),
    }
}

fn from_setup(e: io::Error) -> StartError {
    let switch = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let switch = switch.trim();
    match e.raw_os_error() {
        Some(libc::EPERM) if !["", "0"].contains(&switch) => {
            StartError::Disabled(switch.to_owned())
        }
        Some(libc::EPERM | libc::EACCES) => StartError::Refused(e),
        // Docker's default profile answers ENOSYS for what it does not know; so does a kernel
        // without io_uring.
        Some(libc::ENOSYS) if kernel_at_least(5, 8) => StartError::Refused(e),
        Some(libc::ENOSYS) => StartError::Kernel { release: kernel_release(), missing: "io_uring" },
        Some(libc::ENOMEM) => {
            StartError::MemLock { limit_bytes: 0, needed_bytes: MEMLOCK_BYTES_MIN }
        }
        _ => StartError::System(e),
    }
}

fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = kernel_release();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

fn allowed_cpus() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    line.map_or_else(|| "unknown".to_owned(), |l| l.trim().to_owned())
}

/// What glommio insists on per process.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_its_remedy() {
        let refused = from_setup(io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(refused.contains("seccomp") || refused.contains("sysctl"), "{refused}");
        let blocked = from_setup(io::Error::from_raw_os_error(libc::ENOSYS)).to_string();
        assert!(blocked.contains("seccomp"), "{blocked}");
        let memory = from_setup(io::Error::from_raw_os_error(libc::ENOMEM)).to_string();
        assert!(memory.contains("LimitMEMLOCK"), "{memory}");
        assert!(from_io(io::Error::from_raw_os_error(libc::EMFILE)).to_string().contains("files"));
    }

    #[test]
    fn this_machine_will_do() {
        environment().unwrap();
        assert!(kernel_at_least(5, 8) && !kernel_at_least(99, 0));
    }
}
