//! What Linux says of the machine, below a root that tests set up as they like.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, Result};

use config::cpus;

/// A machine, as far as a broker is concerned.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    /// CPUs that this process may use, by number.
    pub(super) cpus: BTreeMap<usize, Cpu>,
    /// CPUs' worth of time that a control group allows.
    pub(super) cpu_quota: Option<f64>,
    /// Bytes of memory that this process may use.
    pub(super) memory: u64,
    /// Release of the kernel.
    pub(super) kernel: String,
    /// Hard limit on locked memory in bytes; none for no limit.
    pub(super) locked_memory_max: Option<u64>,
    /// Hard limit on open files; none for no limit.
    pub(super) open_files_max: Option<u64>,
    /// What the data would lie on.
    pub(super) disk: Disk,
    /// Device interrupts that came so far, by CPU.
    pub(super) interrupts: BTreeMap<usize, u64>,
}

/// One logical CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    /// Package and core in it: the same for SMT siblings.
    pub(super) core: (usize, usize),
    /// NUMA node.
    pub(super) node: usize,
    /// How its frequency is chosen, where Linux chooses.
    pub(super) governor: Option<String>,
}

/// A mounted file system and the device below it; empty where there is none to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Disk {
    /// Type of file system.
    pub(super) file_system: String,
    /// Name of the device's request queue in `/sys/block`.
    pub(super) device: Option<String>,
    /// Scheduler in use.
    pub(super) scheduler: Option<String>,
    /// It has to move a head.
    pub(super) rotational: bool,
}

impl Machine {
    /// This machine, read below `root`; the data lies in or below the directory `data`.
    pub(super) fn inspect(root: &Path, data: &Path) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let status = read("proc/self/status").context("/proc/self/status cannot be read")?;
        let allowed =
            value(&status, "Cpus_allowed_list:").and_then(cpus::parse).unwrap_or_default();
        let total = read("proc/meminfo")
            .and_then(|text| value(&text, "MemTotal:")?.split(' ').next()?.parse::<u64>().ok());
        let memory = total.map_or(0, |kib| kib * 1024);
        let limits = read("proc/self/limits").unwrap_or_default();
        let groups = groups(root);
        Ok(Self {
            cpus: allowed.into_iter().map(|cpu| (cpu, inspect_cpu(root, cpu))).collect(),
            cpu_quota: groups.iter().filter_map(|group| cpu_quota(group)).reduce(f64::min),
            memory: groups
                .iter()
                .filter_map(|group| number(&group.join("memory.max")))
                .fold(memory, u64::min),
            kernel: read("proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            locked_memory_max: hard_limit(&limits, "Max locked memory"),
            open_files_max: hard_limit(&limits, "Max open files"),
            disk: inspect_disk(root, data),
            interrupts: interrupts(&read("proc/interrupts").unwrap_or_default()),
        })
    }

    /// The CPUs of each physical core, by their numbers.
    pub(super) fn cores(&self) -> Vec<Vec<usize>> {
        let mut cores: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for (&number, cpu) in &self.cpus {
            cores.entry(cpu.core).or_default().push(number);
        }
        let mut cores: Vec<_> = cores.into_values().collect();
        cores.sort();
        cores
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<usize> = self.cpus.keys().copied().collect();
        writeln!(f, "CPUs         {} on {} cores", cpus::list(&numbers), self.cores().len())?;
        if let Some(quota) = self.cpu_quota {
            writeln!(f, "CPU quota    {quota:.1}")?;
        }
        writeln!(f, "memory       {} MiB", self.memory >> 20)?;
        writeln!(f, "kernel       {}", self.kernel)?;
        let (device, scheduler) = (&self.disk.device, &self.disk.scheduler);
        write!(f, "file system  {}", self.disk.file_system)?;
        if let Some(device) = device {
            write!(f, " on {device}")?;
        }
        if let Some(scheduler) = scheduler {
            write!(f, ", scheduler {scheduler}")?;
        }
        writeln!(f)
    }
}

/// The rest of the line that starts with `key`.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn inspect_cpu(root: &Path, cpu: usize) -> Cpu {
    let dir = root.join(format!("sys/devices/system/cpu/cpu{cpu}"));
    let id = |name: &str| number(&dir.join("topology").join(name));
    let id = |name: &str| id(name).and_then(|id| usize::try_from(id).ok());
    let node =
        fs::read_dir(&dir).into_iter().flatten().flatten().find_map(|entry| {
            entry.file_name().to_str()?.strip_prefix("node")?.parse::<usize>().ok()
        });
    let governor = fs::read_to_string(dir.join("cpufreq/scaling_governor")).ok();
    Cpu {
        // Without a topology every CPU is a core.
        core: (id("physical_package_id").unwrap_or(0), id("core_id").unwrap_or(cpu)),
        node: node.unwrap_or(0),
        governor: governor.map(|governor| governor.trim().to_owned()),
    }
}

/// This process's control group and those around it (version 2).
fn groups(root: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let Some(path) = value(&text, "0::/") else { return Vec::new() };
    let top = root.join("sys/fs/cgroup");
    let own = top.join(path);
    own.ancestors().take_while(|dir| dir.starts_with(&top)).map(Path::to_owned).collect()
}

/// Quota by period.
fn cpu_quota(group: &Path) -> Option<f64> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

/// The second number of a line of `/proc/self/limits`.
fn hard_limit(limits: &str, name: &str) -> Option<u64> {
    value(limits, name)?.split_whitespace().nth(1)?.parse().ok()
}

fn inspect_disk(root: &Path, data: &Path) -> Disk {
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let mount = mounts.lines().filter_map(mount).filter(|mount| data.starts_with(mount.point));
    // Of two on one place, the later one is on top.
    let Some(mount) = mount.max_by_key(|mount| mount.point.len()) else { return Disk::default() };
    let mut disk = Disk { file_system: mount.file_system.to_owned(), ..Disk::default() };
    let device = root.join("sys/dev/block").join(mount.device);
    // A partition's queue is that of its whole disk.
    let whole = match device.join("partition").exists() {
        true => device.join(".."),
        false => device,
    };
    let Ok(whole) = whole.canonicalize() else { return disk };
    let queue = whole.join("queue");
    let schedulers = fs::read_to_string(queue.join("scheduler")).unwrap_or_default();
    let in_use =
        schedulers.split_whitespace().find_map(|name| name.strip_prefix('[')?.strip_suffix(']'));
    disk.scheduler = in_use.map(str::to_owned);
    disk.rotational = number(&queue.join("rotational")) == Some(1);
    disk.device = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    disk
}

struct Mount<'t> {
    device: &'t str,
    point: &'t str,
    file_system: &'t str,
}

/// A line of `/proc/self/mountinfo` (proc(5)).
fn mount(line: &str) -> Option<Mount<'_>> {
    let (place, what) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(2);
    let (device, point) = (place.next()?, place.nth(1)?);
    Some(Mount { device, point, file_system: what.split(' ').next()? })
}

/// Counts of numbered interrupts, which are the devices'.
fn interrupts(text: &str) -> BTreeMap<usize, u64> {
    let mut lines = text.lines();
    let heads = lines.next().unwrap_or_default().split_whitespace();
    let cpus: Vec<usize> =
        heads.filter_map(|head| head.strip_prefix("CPU")?.parse().ok()).collect();
    let mut counts = BTreeMap::new();
    for line in lines {
        let Some((number, rest)) = line.split_once(':') else { continue };
        if number.trim().parse::<u32>().is_ok() {
            for (cpu, count) in cpus.iter().zip(rest.split_whitespace()) {
                *counts.entry(*cpu).or_default() += count.parse::<u64>().unwrap_or(0);
            }
        }
    }
    counts
}
