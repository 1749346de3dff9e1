//! What a node says about its machine when it starts, and what would make it better.

use std::fs;

use config::Config;

/// Logs cores, memory and limits, each limit that may hurt with its remedy.
pub(crate) fn starting(config: &Config, cores: usize, cpus: &[usize], available: usize) {
    let memory = config.core_memory(cores);
    tracing::info!(
        cores,
        cpus = available,
        pinned_to = config::cpus::list(cpus),
        cache_bytes_per_core = memory.cache,
        request_bytes_per_core = memory.requests,
        kernel = kernel(),
        "starting"
    );
    if cores > available {
        tracing::warn!(
            cores,
            cpus = available,
            "more cores than CPUs: they will take turns; lower cores.count"
        );
    }
    let files = engine::rt::real::raise_open_files();
    if files < FILES_WANTED {
        tracing::warn!(
            limit = files,
            wanted = FILES_WANTED,
            "few open files are allowed: each connection takes one, each partition several; raise \
             the hard limit with `ulimit -Hn`, LimitNOFILE= in the systemd unit, or --ulimit nofile="
        );
    }
    for (key, why) in config.inert() {
        tracing::warn!(key = key.name, "set, but it changes nothing here: {why}");
    }
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// 10 000 connections and a few thousand partitions.
const FILES_WANTED: u64 = 65_536;
