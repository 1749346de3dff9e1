use std::fs;
use std::path::Path;

use config::Config;

use super::advice::{Advice, Remedy, Sync, advise};
use super::machine::{Cpu, Disk, Machine};

const SSD: &str = "vda";

/// So many physical cores of two CPUs each: siblings are half the CPUs apart.
fn machine(cores: usize) -> Machine {
    let cpu = |number: usize| {
        let governor = Some("performance".to_owned());
        (number, Cpu { core: (0, number % cores), node: 0, governor })
    };
    Machine {
        cpus: (0..cores * 2).map(cpu).collect(),
        memory: 16 << 30,
        kernel: "6.8.0-45-generic".to_owned(),
        open_files_max: Some(1 << 20),
        disk: Disk {
            file_system: "xfs".to_owned(),
            device: Some(SSD.to_owned()),
            scheduler: Some("none".to_owned()),
            rotational: false,
        },
        ..Machine::default()
    }
}

fn advice(machine: &Machine) -> Advice {
    advise(machine, Path::new("/var/lib/odradek"), None)
}

fn setting(advice: &Advice, key: &str) -> Option<String> {
    let found = advice.settings.iter().find(|setting| setting.key == key);
    found.map(|setting| setting.value.clone())
}

/// The only remedy there is.
fn remedy(machine: &Machine, sync: Option<Sync>) -> Remedy {
    let advice = advise(machine, Path::new("/data"), sync);
    assert_eq!(advice.remedies.len(), 1, "{advice:?}");
    advice.remedies[0].clone()
}

#[test]
fn a_large_machine_is_pinned_but_for_the_core_that_takes_interrupts() {
    let mut large = machine(8);
    let quiet = advice(&large);
    assert_eq!(setting(&quiet, "cores.cpus").as_deref(), Some("\"1-7\""));
    assert_eq!(setting(&quiet, "cores.memory.bytes"), Some((8_u64 << 30).to_string()));
    assert!(quiet.remedies.is_empty(), "{quiet:?}");
    // The sibling of CPU 3.
    large.interrupts.insert(11, 1_000);
    let busy = advice(&large);
    assert_eq!(setting(&busy, "cores.cpus").as_deref(), Some("\"0-2,4-7\""));
    assert!(busy.remedies.is_empty());
    large.interrupts.insert(5, 10);
    let command = &remedy(&large, None).commands[1];
    assert!(command.contains("echo 3,11 > $irq/smp_affinity_list"), "{command}");
}

#[test]
fn a_small_machine_floats() {
    let small = advice(&machine(2));
    assert_eq!(setting(&small, "cores.count").as_deref(), Some("2"));
    assert_eq!(setting(&small, "cores.cpus"), None);
}

#[test]
fn a_quota_counts_and_is_not_pinned() {
    let held = Machine { cpu_quota: Some(2.5), ..machine(8) };
    assert_eq!(setting(&advice(&held), "cores.count").as_deref(), Some("2"));
    let little = Machine { cpu_quota: Some(0.5), ..machine(1) };
    assert_eq!(setting(&advice(&little), "cores.count").as_deref(), Some("1"));
    let ample = Machine { cpu_quota: Some(64.0), ..machine(8) };
    assert_eq!(setting(&advice(&ample), "cores.cpus").as_deref(), Some("\"1-7\""));
}

#[test]
fn every_suggestion_is_a_configuration() {
    for memory in [64 << 20, 700 << 20, 1 << 30, 1 << 40] {
        for machine in [machine(1), machine(4), Machine { cpu_quota: Some(0.1), ..machine(8) }] {
            let text = advice(&Machine { memory, ..machine }).to_toml();
            let config = Config::builder().toml(Path::new("tuned.toml"), &text).build();
            let config = config.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            assert_eq!(config.log_dirs(), [Path::new("/var/lib/odradek")]);
            assert!(config.cores_memory_bytes <= memory.max(384 << 20));
        }
    }
}

#[test]
fn what_hurts_has_a_remedy() {
    let mut slow = machine(8);
    slow.cpus.entry(1).or_default().governor = Some("powersave".to_owned());
    assert!(remedy(&slow, None).commands[0].contains("performance"));
    let mut far = machine(8);
    far.cpus.entry(7).or_default().node = 1;
    assert!(remedy(&far, None).finding.contains("nodes 0-1"));
    let with_disk = |disk| Machine { disk, ..machine(8) };
    let ssd = machine(8).disk;
    let scheduled = Disk { scheduler: Some("mq-deadline".to_owned()), ..ssd.clone() };
    let command = &remedy(&with_disk(scheduled), None).commands[0];
    assert_eq!(command, "echo none > /sys/block/vda/queue/scheduler");
    let foreign = Disk { file_system: "overlay".to_owned(), ..ssd.clone() };
    assert!(remedy(&with_disk(foreign), None).finding.contains("overlay"));
    assert!(remedy(&with_disk(Disk { rotational: true, ..ssd }), None).finding.contains("rotates"));
    let sync = Sync { p50_ns: 8_000_000, p99_ns: 20_000_000 };
    assert!(remedy(&machine(8), Some(sync)).finding.contains("8.0 ms (p99 20.0 ms)"));
    let few = Machine { open_files_max: Some(1024), ..machine(8) };
    assert!(remedy(&few, None).finding.contains("1024 open files"));
    let locked = Machine { locked_memory_max: Some(64 << 10), ..machine(8) };
    assert!(remedy(&locked, None).commands[0].contains("LimitMEMLOCK"));
    let old = Machine { kernel: "5.4.0-1".to_owned(), ..machine(8) };
    assert!(remedy(&old, None).finding.contains("5.4.0-1"));
}

/// A file of `/proc` or `/sys`.
fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
    fs::write(path, text).expect("a file");
}

#[test]
fn a_machine_is_read_from_its_files() {
    let root = tempfile::tempdir().expect("a folder");
    let root = root.path();
    put(root, "proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-1,3\n");
    put(root, "proc/meminfo", "MemTotal:       8388608 kB\nMemFree: 1 kB\n");
    put(root, "proc/sys/kernel/osrelease", "6.1.9\n");
    put(
        root,
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\n\
         Max open files            1024                 524288               files\n\
         Max locked memory         8388608              unlimited            bytes\n",
    );
    put(root, "proc/self/cgroup", "0::/a/b\n");
    put(root, "sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    put(root, "sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put(root, "sys/fs/cgroup/a/b/memory.max", "1073741824\n");
    put(root, "sys/devices/system/cpu/cpu3/topology/core_id", "1\n");
    put(root, "sys/devices/system/cpu/cpu3/node1/cpulist", "3\n");
    put(root, "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave\n");
    put(
        root,
        "proc/interrupts",
        "           CPU0       CPU1       CPU3\n 24:   1  5  0  virtio\n 25:  2  0  7  eth0\n\
         LOC:  9  9  9  timer\n",
    );
    put(
        root,
        "proc/self/mountinfo",
        "22 1 259:1 / / rw - ext4 /dev/x rw\n23 22 259:2 / /data rw,noatime shared:1 - xfs /dev/y rw\n",
    );
    put(root, "sys/dev/block/259:2/partition", "1\n");
    put(root, "sys/dev/block/queue/scheduler", "none [mq-deadline] kyber\n");
    put(root, "sys/dev/block/queue/rotational", "1\n");

    let machine = Machine::inspect(root, Path::new("/data/odradek")).expect("readable");
    assert_eq!(machine.cpus.keys().copied().collect::<Vec<_>>(), [0, 1, 3]);
    assert_eq!(machine.cores(), [vec![0], vec![1, 3]]);
    let governor = Some("powersave".to_owned());
    assert_eq!(machine.cpus[&3], Cpu { core: (0, 1), node: 1, governor });
    assert_eq!((machine.cpu_quota, machine.memory), (Some(1.5), 1 << 30));
    assert_eq!((machine.open_files_max, machine.locked_memory_max), (Some(524_288), None));
    assert_eq!(machine.kernel, "6.1.9");
    assert_eq!(machine.interrupts.into_iter().collect::<Vec<_>>(), [(0, 3), (1, 5), (3, 7)]);
    assert_eq!(
        machine.disk,
        Disk {
            file_system: "xfs".to_owned(),
            device: Some("block".to_owned()),
            scheduler: Some("mq-deadline".to_owned()),
            rotational: true,
        }
    );
    let elsewhere = Machine::inspect(root, Path::new("/home")).expect("readable");
    assert_eq!(elsewhere.disk.file_system, "ext4");
}
