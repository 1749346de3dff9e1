//! On which CPUs a node's cores run, and which ones the machine's devices interrupt.
//!
//! Read and written below a root that tests set up as they like.

use std::path::Path;
use std::{fs, io};

use config::Config;
use config::cpus;

/// Why cores cannot be placed as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// There is no such NUMA node.
    #[error("cores.numa.node = {node}: the machine has NUMA nodes {known}")]
    NoNode {
        /// As configured.
        node: i32,
        /// A list, as Linux writes it.
        known: String,
    },
    /// A CPU of another node.
    #[error(
        "cores.cpus: CPU {cpu} is not of NUMA node {node}, which has {own}; leave one of the keys out"
    )]
    Foreign {
        /// As configured.
        cpu: usize,
        /// As configured.
        node: i32,
        /// The node's CPUs.
        own: String,
    },
    /// More cores than the node has CPUs left.
    #[error("cores.count = {count}: NUMA node {node} has CPUs {own} for them; lower it")]
    TooMany {
        /// As configured.
        count: u32,
        /// As configured.
        node: i32,
        /// CPUs of the node that the process may use, but for those that take interrupts.
        own: String,
    },
}

/// The CPU of each core; empty leaves the threads to the scheduler. A pinned core's memory is of its
/// CPU's node, since it is the first to touch it.
pub(crate) fn cpus_of_cores(config: &Config, root: &Path) -> Result<Vec<usize>, PlacementError> {
    let node = config.cores_numa_node;
    let named = config.cpus();
    if node < 0 {
        return Ok(named.to_vec());
    }
    let nodes = root.join("sys/devices/system/node");
    let own = fs::read_to_string(nodes.join(format!("node{node}/cpulist")));
    let Some(own) = own.ok().and_then(|list| cpus::parse(list.trim())) else {
        let known = fs::read_to_string(nodes.join("online")).unwrap_or_default();
        return Err(PlacementError::NoNode { node, known: known.trim().to_owned() });
    };
    if let Some(&cpu) = named.iter().find(|cpu| !own.contains(cpu)) {
        return Err(PlacementError::Foreign { cpu, node, own: cpus::list(&own) });
    }
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let (allowed, interrupted) = (allowed(root), config.interrupt_cpus());
    let mut own: Vec<usize> = own
        .into_iter()
        .filter(|cpu| allowed.as_ref().is_none_or(|allowed| allowed.contains(cpu)))
        .filter(|cpu| !interrupted.contains(cpu))
        .collect();
    let count = config.cores_count as usize;
    if own.is_empty() || count > own.len() {
        let (count, own) = (config.cores_count.max(1), cpus::list(&own));
        return Err(PlacementError::TooMany { count, node, own });
    }
    if count > 0 {
        own.truncate(count);
    }
    Ok(own)
}

/// CPUs that this process may use.
fn allowed(root: &Path) -> Option<Vec<usize>> {
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    cpus::parse(list.trim())
}

/// Sends the devices' interrupts to `cores.interrupts.cpus`, where that is set, as far as the system
/// lets it.
pub(crate) fn send_interrupts(config: &Config, root: &Path) {
    let list = cpus::list(config.interrupt_cpus());
    if list.is_empty() {
        return;
    }
    match send(&list, root) {
        Ok(Sent { moved, refused: 0 }) => {
            tracing::info!(cpus = list, interrupts = moved, "interrupts are sent to their CPUs");
        }
        Ok(Sent { moved, refused }) if moved > 0 => {
            tracing::info!(
                cpus = list,
                interrupts = moved,
                refused,
                "interrupts are sent to their CPUs, but for those that their drivers place"
            );
        }
        outcome => {
            let error = outcome.err().map(|error| error.to_string());
            tracing::warn!(
                cpus = list,
                error,
                "interrupts stay where they are, which disturbs pinned cores: run as root, or once \
                 `for irq in /proc/irq/[0-9]*; do echo {list} > $irq/smp_affinity_list; done`"
            );
        }
    }
}

/// How many interrupts went where they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sent {
    moved: usize,
    refused: usize,
}

fn send(list: &str, root: &Path) -> io::Result<Sent> {
    let mut sent = Sent::default();
    for entry in fs::read_dir(root.join("proc/irq"))? {
        let affinity = entry?.path().join("smp_affinity_list");
        // Not created where there is none: a file there is an interrupt's.
        let written =
            fs::OpenOptions::new().write(true).truncate(true).open(&affinity).and_then(|file| {
                use io::Write as _;
                (&file).write_all(list.as_bytes())
            });
        match written {
            Ok(()) => sent.moved += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(_) => sent.refused += 1,
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of two nodes with four CPUs each, of which the process may not use the last.
    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(path, text).expect("written");
        };
        put("sys/devices/system/node/online", "0-1\n");
        put("sys/devices/system/node/node0/cpulist", "0-3\n");
        put("sys/devices/system/node/node1/cpulist", "4-7\n");
        put("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-6\n");
        put("proc/irq/1/smp_affinity_list", "0-7\n");
        put("proc/irq/24/smp_affinity_list", "0-7\n");
        put("proc/irq/default_smp_affinity", "ff\n");
        root
    }

    fn config(sets: &[&str]) -> Config {
        let builder = sets.iter().fold(Config::builder(), |builder, set| builder.set(set));
        builder.build().expect("valid")
    }

    #[test]
    fn cores_stay_in_their_node() {
        let root = machine();
        let placed = |sets: &[&str]| cpus_of_cores(&config(sets), root.path());
        assert_eq!(placed(&[]), Ok(vec![]));
        assert_eq!(placed(&["cores.cpus=2,1"]), Ok(vec![2, 1]));
        assert_eq!(placed(&["cores.numa.node=0"]), Ok(vec![0, 1, 2, 3]));
        assert_eq!(placed(&["cores.numa.node=1"]), Ok(vec![4, 5, 6]));
        assert_eq!(placed(&["cores.numa.node=1", "cores.count=2"]), Ok(vec![4, 5]));
        assert_eq!(placed(&["cores.numa.node=0", "cores.interrupts.cpus=0,4"]), Ok(vec![1, 2, 3]));
        assert_eq!(placed(&["cores.numa.node=1", "cores.cpus=7,5"]), Ok(vec![7, 5]));
        for (sets, told) in [
            (
                ["cores.numa.node=2", "cores.count=0"],
                "cores.numa.node = 2: the machine has NUMA nodes 0-1",
            ),
            (["cores.numa.node=1", "cores.cpus=4,3"], "CPU 3 is not of NUMA node 1, which has 4-7"),
            (["cores.numa.node=1", "cores.count=4"], "cores.count = 4: NUMA node 1 has CPUs 4-6"),
        ] {
            let error = placed(&sets).expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn interrupts_go_where_they_are_sent() {
        let root = machine();
        let at = |irq: &str| {
            fs::read_to_string(root.path().join(format!("proc/irq/{irq}"))).expect("readable")
        };
        send_interrupts(&config(&[]), root.path());
        assert_eq!(at("24/smp_affinity_list"), "0-7\n");
        assert_eq!(send("0,4", root.path()).expect("readable"), Sent { moved: 2, refused: 0 });
        send_interrupts(&config(&["cores.interrupts.cpus=0-1"]), root.path());
        assert_eq!((&*at("1/smp_affinity_list"), &*at("24/smp_affinity_list")), ("0-1", "0-1"));
        assert_eq!(at("default_smp_affinity"), "ff\n");
    }
}
