//! From what a machine is to how a broker should run on it.

use std::path::Path;

use super::machine::Machine;
use config::cpus;

/// What to set, and what else to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Advice {
    pub(super) settings: Vec<Setting>,
    pub(super) remedies: Vec<Remedy>,
}

/// A configuration key's value, as TOML, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) why: String,
}

/// Something that only the machine's administrator can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remedy {
    pub(super) finding: String,
    /// Each to be typed by root.
    pub(super) commands: Vec<String>,
}

/// How long the disk takes for 4 KiB and a sync of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sync {
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
}

/// The advice for a machine, whose data will lie in `data`.
pub(super) fn advise(machine: &Machine, data: &Path, sync: Option<Sync>) -> Advice {
    let mut advice = Advice::default();
    let data = toml::Value::from(data.display().to_string());
    advice.set("log.dirs", format!("[{data}]"), "Where the data lies.");
    advice.cores(machine);
    advice.memory(machine);
    advice.disk(machine, sync);
    advice.limits(machine);
    advice
}

impl Advice {
    fn set(&mut self, key: &'static str, value: impl Into<String>, why: impl Into<String>) {
        self.settings.push(Setting { key, value: value.into(), why: why.into() });
    }

    fn remedy(&mut self, finding: impl Into<String>, commands: &[&str]) {
        let commands = commands.iter().map(|&command| command.to_owned()).collect();
        self.remedies.push(Remedy { finding: finding.into(), commands });
    }

    fn cores(&mut self, machine: &Machine) {
        let cores = machine.cores();
        if let Some(quota) = machine.cpu_quota.filter(|&quota| quota < cores.len() as f64) {
            let count = (quota.floor() as usize).max(1);
            let why = format!(
                "The control group allows {quota:.1} CPUs; threads are not pinned, since the \
                 scheduler has to stop them in turn."
            );
            self.set("cores.count", count.to_string(), why);
            return;
        }
        if cores.len() < PINNED_FROM {
            let why = "One for each physical core; too few to keep any for one purpose alone.";
            self.set("cores.count", cores.len().max(1).to_string(), why);
            return;
        }
        let busiest = |core: &&Vec<usize>| {
            let count = |cpu| machine.interrupts.get(cpu).copied().unwrap_or(0);
            // The first of equals.
            (core.iter().map(count).sum::<u64>(), std::cmp::Reverse(core[0]))
        };
        let left = cores.iter().max_by_key(busiest).cloned().unwrap_or_default();
        let mut taken: Vec<usize> =
            cores.iter().filter(|core| **core != left).map(|core| core[0]).collect();
        taken.sort_unstable();
        let why = format!(
            "One CPU of each physical core; {} is left to the kernel and takes interrupts.",
            cpus::list(&left)
        );
        self.set("cores.cpus", format!("{:?}", cpus::list(&taken)), why);
        let why =
            "Pinned cores have their CPUs to themselves: they look for work before they sleep.";
        self.set("cores.spin.us", "50", why);
        let why = "Where interrupts are sent at every start, if the broker runs as root.";
        self.set("cores.interrupts.cpus", format!("{:?}", cpus::list(&left)), why);
        self.pinned(machine, &left, &taken);
    }

    /// What pinned cores would be disturbed by.
    fn pinned(&mut self, machine: &Machine, left: &[usize], taken: &[usize]) {
        let hit = |cpu: &usize| machine.interrupts.get(cpu).is_some_and(|&count| count > 0);
        let left = cpus::list(left);
        if taken.iter().any(hit) {
            let all = format!(
                "for irq in /proc/irq/[0-9]*; do echo {left} > $irq/smp_affinity_list; done"
            );
            let finding = format!("device interrupts come to pinned CPUs: send them to {left}");
            self.remedy(finding, &["systemctl disable --now irqbalance", &all]);
        }
        let mut nodes: Vec<usize> =
            taken.iter().filter_map(|cpu| machine.cpus.get(cpu)).map(|cpu| cpu.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        if let [first, _, ..] = nodes[..] {
            let finding = format!(
                "the CPUs belong to NUMA nodes {}: each core's memory is its own node's, but \
                 records cross between them; one broker per node avoids that",
                cpus::list(&nodes)
            );
            let bind = format!("odradek serve --set cores.numa.node={first} --set cores.cpus= …");
            self.remedy(finding, &[&bind]);
        }
        let slow = |cpu: &usize| {
            let governor = machine.cpus.get(cpu)?.governor.as_deref()?;
            (governor != "performance").then(|| governor.to_owned())
        };
        if let Some(governor) = taken.iter().find_map(slow) {
            let finding = format!("the frequency governor is {governor}: cores wake up slowly");
            self.remedy(finding, &["cpupower frequency-set --governor performance"]);
        }
    }

    fn memory(&mut self, machine: &Machine) {
        let half = machine.memory / 2 / MEMORY_STEP * MEMORY_STEP;
        if half > MEMORY_DEFAULT {
            let why = "Half of the memory. Files are read and written around the page cache, so what \
                       is not given here serves no record.";
            self.set("cores.memory.bytes", half.to_string(), why);
        } else if machine.memory < MEMORY_DEFAULT * 2 {
            let least = half.max(MEMORY_MIN);
            self.set(
                "cores.memory.bytes",
                least.to_string(),
                "Half of the little memory there is.",
            );
        }
    }

    fn disk(&mut self, machine: &Machine, sync: Option<Sync>) {
        let disk = &machine.disk;
        if !DISK_FILE_SYSTEMS.contains(&disk.file_system.as_str()) {
            let finding = format!(
                "the file system is {}, not one of {}: direct I/O may be slow or refused; mount a \
                 disk for the data",
                if disk.file_system.is_empty() { "unknown" } else { &disk.file_system },
                DISK_FILE_SYSTEMS.join(", ")
            );
            self.remedy(finding, &["mkfs.xfs /dev/DISK && mount -o noatime /dev/DISK DIRECTORY"]);
        }
        if disk.rotational {
            let device = disk.device.as_deref().unwrap_or("DISK");
            let finding = format!(
                "Linux takes {device} for a disk that rotates, where every acknowledgement waits for \
                 the head: use an SSD; or, if it is one or a virtual disk, say so"
            );
            self.remedy(finding, &[&format!("echo 0 > /sys/block/{device}/queue/rotational")]);
        }
        if let (Some(device), Some(scheduler)) = (&disk.device, &disk.scheduler)
            && scheduler != "none"
            && !disk.rotational
        {
            let finding = format!("{device} has the scheduler {scheduler}, which only costs time");
            self.remedy(finding, &[&format!("echo none > /sys/block/{device}/queue/scheduler")]);
        }
        if let Some(sync) = sync.filter(|sync| sync.p50_ns > SLOW_SYNC_NS) {
            let ms = |ns: u64| ns as f64 / 1e6;
            let finding = format!(
                "a sync takes {:.1} ms (p99 {:.1} ms), and acks=all waits for one: use a disk with \
                 power-loss protection; or, for topics that may lose their last moments with the \
                 power, odradek.durability=write-cache",
                ms(sync.p50_ns),
                ms(sync.p99_ns)
            );
            self.remedy(finding, &[]);
        }
    }

    fn limits(&mut self, machine: &Machine) {
        if let Some(files) = machine.open_files_max.filter(|&files| files < OPEN_FILES_WANTED) {
            let finding = format!(
                "{files} open files are allowed; each connection takes one, each partition several"
            );
            self.remedy(finding, &["systemctl edit odradek    # [Service] LimitNOFILE=1048576"]);
        }
        if let Some(bytes) = machine.locked_memory_max.filter(|&bytes| bytes < LOCKED_WANTED) {
            let finding =
                format!("{bytes} bytes of locked memory are allowed; io_uring needs more");
            self.remedy(finding, &["systemctl edit odradek    # [Service] LimitMEMLOCK=infinity"]);
        }
        if release(&machine.kernel).is_some_and(|release| release < KERNEL_MIN) {
            let finding = format!(
                "the kernel is {}; {}.{} is the oldest that a broker runs on",
                machine.kernel, KERNEL_MIN.0, KERNEL_MIN.1
            );
            self.remedy(finding, &[]);
        }
    }

    /// The settings as a configuration file.
    pub(super) fn to_toml(&self) -> String {
        let mut text = String::from(
            "# Made by `odradek tune` for one machine; `odradek config reference` explains every key.\n",
        );
        for setting in &self.settings {
            text += &format!("\n# {}\n{} = {}\n", setting.why, setting.key, setting.value);
        }
        text
    }
}

/// Major and minor number of a kernel release.
fn release(kernel: &str) -> Option<(u32, u32)> {
    let mut parts = kernel.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// With fewer cores, clients and kernel need each of them now and then.
const PINNED_FROM: usize = 4;
/// The default of `cores.memory.bytes`, its least value, and what a suggestion is a multiple of.
const MEMORY_DEFAULT: u64 = 384 << 20;
const MEMORY_MIN: u64 = 32 << 20;
const MEMORY_STEP: u64 = 64 << 20;
/// Those with direct I/O that does not block.
const DISK_FILE_SYSTEMS: [&str; 2] = ["xfs", "ext4"];
/// Disks with a protected cache take a tenth of it.
const SLOW_SYNC_NS: u64 = 2_000_000;
/// 10 000 connections and a few thousand partitions.
const OPEN_FILES_WANTED: u64 = 65_536;
/// Kernels before 5.12 count io_uring's memory.
const LOCKED_WANTED: u64 = 512 << 10;
const KERNEL_MIN: (u32, u32) = (5, 8);
