//! What the broker's process and this one cost, from /proc.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A process's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) cpu_s: f64,
    pub(crate) rss: u64,
    pub(crate) rss_peak: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) disk_written: u64,
    pub(crate) disk_read: u64,
    pub(crate) threads: u64,
}

/// The time of all CPUs together at one moment, in the kernel's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuTime {
    all: u64,
    /// Of that, what the host gave to others while something here wanted to run.
    stolen: u64,
}

/// What a process used in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// User and system time of all threads, seconds.
    pub cpu_s: f64,
    /// Share of the window, 1 = one CPU all the time.
    pub cores: f64,
    /// Resident bytes at the end, and the most ever.
    pub rss: u64,
    /// See `rss`.
    pub rss_peak: u64,
    /// Context switches because it waited.
    pub switches_voluntary: u64,
    /// Context switches because others wanted the CPU.
    pub switches_involuntary: u64,
    /// Bytes it had written to block devices (the kernel's `write_bytes`).
    pub disk_written: u64,
    /// Bytes it had read from them.
    pub disk_read: u64,
    /// Threads at the end.
    pub threads: u64,
}

impl Sample {
    /// Reads a process's counters.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).with_context(|| path)
        };
        let stat = read("stat")?;
        // The command's name may hold blanks and brackets; the fields after it do not.
        let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat")?;
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        let mut sample = Self {
            cpu_s: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            ..Self::default()
        };
        let status = read("status")?;
        sample.rss = field(&status, "VmRSS:") * 1024;
        sample.rss_peak = field(&status, "VmHWM:") * 1024;
        sample.threads = field(&status, "Threads:");
        // Switches are by thread; those of threads that ended are not counted any more.
        for entry in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
            sample.voluntary += field(&status, "voluntary_ctxt_switches:");
            sample.involuntary += field(&status, "nonvoluntary_ctxt_switches:");
        }
        // Only the owner or root may read it.
        if let Ok(io) = read("io") {
            sample.disk_written = field(&io, "write_bytes:");
            sample.disk_read = field(&io, "read_bytes:");
        }
        Ok(sample)
    }

    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self, window_s: f64) -> Cost {
        let cpu_s = self.cpu_s - earlier.cpu_s;
        Cost {
            cpu_s,
            cores: cpu_s / window_s,
            rss: self.rss,
            rss_peak: self.rss_peak,
            switches_voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            switches_involuntary: self.involuntary.saturating_sub(earlier.involuntary),
            disk_written: self.disk_written.saturating_sub(earlier.disk_written),
            disk_read: self.disk_read.saturating_sub(earlier.disk_read),
            threads: self.threads,
        }
    }
}

impl CpuTime {
    /// As of now; none where the kernel does not tell.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?;
        // Those behind are in the first ones, too: the time of guests.
        let ticks = fields.split_whitespace().take(8).map(str::parse);
        let ticks: Vec<u64> = ticks.collect::<Result<_, _>>().ok()?;
        Some(Self { all: ticks.iter().sum(), stolen: *ticks.get(7)? })
    }

    /// Share of the time since `earlier` that was stolen; 0 when none has passed.
    pub(crate) fn stolen_since(&self, earlier: &Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all);
        self.stolen.saturating_sub(earlier.stolen) as f64 / all.max(1) as f64
    }
}

/// The process that listens at a local address; none when it is not on this machine, or not ours
/// to see.
pub(crate) fn listener(address: SocketAddr) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, address.port()))?;
    let wanted = format!("socket:[{inode}]");
    let holds = |pid: &u32| {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        links.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|to| to == Path::new(&wanted))
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|p| p.file_name().to_str()?.parse().ok()).find(holds)
}

/// The inode of the socket that listens on a port, from a table like /proc/net/tcp.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let (_, local_port) = local.rsplit_once(':')?;
        let listens = fields.nth(1)? == "0A";
        let same = u16::from_str_radix(local_port, 16).ok()? == port;
        (listens && same).then(|| fields.nth(5)?.parse().ok()).flatten()
    })
}

fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn this_process_is_found_and_measured() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("bound");
        assert_eq!(listener(address), Some(std::process::id()));
        let before = Sample::of(std::process::id()).expect("it runs");
        let mut sum = 0_u64;
        while Sample::of(std::process::id()).expect("it runs").cpu_s < before.cpu_s + 0.05 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        let cost = Sample::of(std::process::id()).expect("it runs").since(&before, 1.0);
        assert!(cost.cpu_s >= 0.05 && cost.rss > 0 && cost.threads >= 1, "{cost:?} {sum}");
        assert!(cost.rss_peak >= cost.rss / 2);
    }

    #[test]
    fn stolen_time_is_a_share_of_all() {
        let parse = |stat: &str| CpuTime::parse(stat);
        let first = parse("cpu  100 0 50 800 10 0 20 20 7 0\ncpu0 1 2\n").expect("a line");
        let last = parse("cpu  160 0 70 860 20 0 30 60 9 0\n").expect("a line");
        assert!((last.stolen_since(&first) - 0.2).abs() < 1e-9, "40 of 200 ticks");
        assert!(last.stolen_since(&last).abs() < 1e-9);
        assert_eq!(parse("cpu  1 2 3 4 5 6 7\n"), None, "a kernel that does not tell");
        assert!(CpuTime::now().is_some());
    }
}
