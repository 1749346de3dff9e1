//! What the behaviours share: the broker under test, and clients that drive it.

pub(crate) mod broker;
pub(crate) mod client;
pub(crate) mod directory;
pub(crate) mod java;
pub(crate) mod kafka;
pub(crate) mod process;
pub(crate) mod raw;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{process as std_process, thread};

/// A topic name that no other test uses, nor another run against the same outside broker.
pub(crate) fn unique(stem: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{stem}-{}-{}", std_process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Asks again until there is an answer; what takes longer than `limit` has failed.
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Says why a test proves nothing here. In CI every program must be there, so this fails.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}, and CI must not skip");
    println!("skipped: {why}");
}
