//! What a node says about its machine when it starts, and what would make it better.

use std::fs;

use config::Config;

/// Logs cores, memory and limits, each limit that may hurt with its remedy.
pub(crate) fn starting(config: &Config, cores: usize, available: usize) {
    let memory = config.core_memory(cores);
    tracing::info!(
        cores,
        cpus = available,
        pinned = !config.cpus().is_empty(),
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
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(files) = limit(&limits, "Max open files")
        && files < FILES_WANTED
    {
        tracing::warn!(
            limit = files,
            wanted = FILES_WANTED,
            "few open files are allowed: each connection takes one, each partition several; raise \
             it with `ulimit -n`, LimitNOFILE= in the systemd unit, or --ulimit nofile="
        );
    }
    for (key, why) in config.inert() {
        tracing::warn!(key = key.name, "set, but it changes nothing here: {why}");
    }
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// The soft limit of a line of `/proc/self/limits`; none where there is no limit.
fn limit(limits: &str, name: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// 10 000 connections and a few thousand partitions.
const FILES_WANTED: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max open files            1024                 524288               files\n\
                    Max locked memory         unlimited            unlimited            bytes\n";
        assert_eq!(limit(text, "Max open files"), Some(1024));
        assert_eq!(limit(text, "Max locked memory"), None);
        assert_eq!(limit(text, "Max msgqueue size"), None);
    }
}
