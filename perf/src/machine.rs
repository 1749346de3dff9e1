//! What machine the figures are of.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A machine, in the words of its kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Logical CPUs this process may use.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Kernel release.
    pub kernel: String,
    /// File system below the brokers' data.
    pub file_system: String,
}

impl Machine {
    /// This one; brokers keep their data below `data`.
    #[must_use]
    pub fn here(data: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_once(':').map_or("", |(_, value)| value.trim()).to_owned()
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let mut cpu = value(&read("/proc/cpuinfo"), "model name");
        if cpu.is_empty() {
            std::env::consts::ARCH.clone_into(&mut cpu);
        }
        Self {
            cpu,
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory: kib * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(data).unwrap_or_default(),
        }
    }

    /// One line.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{} × {}, {} GB, Linux {}, {}",
            self.cpus,
            self.cpu,
            self.memory / 1_000_000_000,
            self.kernel,
            self.file_system
        )
    }
}

/// The type of the file system that holds a path.
fn file_system(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let holding = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        path.starts_with(at).then_some((at.len(), kind))
    });
    holding.max_by_key(|(len, _)| *len).map(|(_, kind)| kind.to_owned())
}
