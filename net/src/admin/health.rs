//! Whether a node is alive, and whether clients may come.

use super::{Phase, Report};

/// What is missing for the node to be alive: cores that do not answer. Nothing else: whoever asks
/// ends a process that is not.
pub(super) fn missing_for_life(report: &Report) -> Vec<String> {
    let silent = report.cores.iter().enumerate().filter(|(_, shot)| shot.is_none());
    silent.map(|(core, _)| format!("core {core} does not answer")).collect()
}

/// What is missing for the node to be ready, each a line.
pub(super) fn missing(report: &Report) -> Vec<String> {
    let mut missing = missing_for_life(report);
    match report.phase {
        Phase::Starting => missing.push("it is starting: its logs are being recovered".to_owned()),
        Phase::Stopping => missing.push("it is stopping".to_owned()),
        Phase::Serving => match report.image.brokers().get(report.node) {
            None => missing.push("the controller does not know this broker".to_owned()),
            Some(broker) if broker.fenced => {
                missing.push("the controller has fenced this broker".to_owned());
            }
            Some(_) => {}
        },
    }
    let mut failed: Vec<_> =
        report.cores.iter().flatten().flat_map(|shot| shot.failed_dirs.iter()).collect();
    failed.sort_unstable();
    // Each core notices by itself.
    failed.dedup_by(|later, first| later.0 == first.0);
    missing.extend(
        failed.iter().map(|(path, reason)| format!("log directory {path} is offline: {reason}")),
    );
    missing
}
