//! What the runtime needs of the system, and what to do when it is not there.

use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use glommio::{BuilderErrorKind, GlommioError, ReactorErrorKind};

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
    let supported = supported_operations().map_err(from_setup)?;
    let missing = |what| StartError::Kernel { release: kernel_release(), missing: what };
    let supported = supported.ok_or_else(|| missing("io_uring probe"))?;
    match NEEDED.into_iter().find(|(code, _)| !supported[*code]) {
        Some((_, what)) => Err(missing(what)),
        None => Ok(()),
    }
}

/// Asks a small ring which operations the kernel knows, by their codes; `None` if it can't tell.
fn supported_operations() -> io::Result<Option<[bool; OPERATIONS]>> {
    let mut params = [0_u32; PARAMS_BYTES / 4];
    // SAFETY: the kernel fills `params`, which has the size of its `io_uring_params`, in which all
    // zeros asks for nothing special.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, params.as_mut_ptr()) };
    let ring = match i32::try_from(ring) {
        // SAFETY: a descriptor that was just made, and that only we know of.
        Ok(ring @ 0..) => unsafe { OwnedFd::from_raw_fd(ring) },
        _ => return Err(io::Error::last_os_error()),
    };
    // A header of two words, then one word per operation: its code, a spare byte, its flags.
    let mut probe = [0_u64; 2 + OPERATIONS];
    // SAFETY: the kernel fills `probe`, which has room for as many operations as it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            REGISTER_PROBE,
            probe.as_mut_ptr(),
            OPERATIONS,
        )
    };
    if result < 0 {
        return Ok(None);
    }
    let mut supported = [false; OPERATIONS];
    for word in &probe[2..] {
        let [code, _, low, high, ..] = word.to_ne_bytes();
        if u16::from_ne_bytes([low, high]) & OPERATION_SUPPORTED != 0 {
            supported[usize::from(code)] = true;
        }
    }
    Ok(Some(supported))
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

/// Raises the soft limit on open files to the hard one; how many are allowed then.
pub fn raise_open_files() -> u64 {
    // The soft limit is for programs that use `select`, which fails beyond 1024 files.
    raise(libc::RLIMIT_NOFILE, u64::MAX).map_or(0, |limit| limit.rlim_cur)
}

/// Raises the soft limit on locked memory as far as need be and allowed.
fn memlock() -> Result<(), StartError> {
    let limit = raise(libc::RLIMIT_MEMLOCK, MEMLOCK_BYTES_MIN).map_err(StartError::System)?;
    if limit.rlim_cur < MEMLOCK_BYTES_MIN {
        let limit_bytes = limit.rlim_max;
        return Err(StartError::MemLock { limit_bytes, needed_bytes: MEMLOCK_BYTES_MIN });
    }
    Ok(())
}

/// Raises a soft limit to the hard one unless it is at least `wanted`; the limit as it is then.
fn raise(resource: libc::__rlimit_resource_t, wanted: u64) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct, which outlives the call.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= wanted || limit.rlim_cur == limit.rlim_max {
        return Ok(limit);
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads the struct, which outlives the call.
    match unsafe { libc::setrlimit(resource, &raw const limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
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

/// Codes of the operations that glommio uses, from the kernel's `io_uring_op`.
const NEEDED: [(usize, &str); 11] = [
    (3, "io_uring fsync"),
    (4, "io_uring reads into registered buffers"),
    (5, "io_uring writes from registered buffers"),
    (6, "io_uring poll"),
    (13, "io_uring accept"),
    (15, "io_uring linked timeouts"),
    (16, "io_uring connect"),
    (17, "io_uring fallocate"),
    (18, "io_uring openat"),
    (21, "io_uring statx"),
    (23, "io_uring write"),
];

/// A code is one byte.
const OPERATIONS: usize = 256;

/// Bytes of the kernel's `io_uring_params`.
const PARAMS_BYTES: usize = 120;

/// `IORING_REGISTER_PROBE`.
const REGISTER_PROBE: u32 = 8;

/// `IO_URING_OP_SUPPORTED`.
const OPERATION_SUPPORTED: u16 = 1;

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
