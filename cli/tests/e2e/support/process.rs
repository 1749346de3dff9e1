//! Running programs with a time limit, and signalling them.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program left behind.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    /// The standard output of a program that must have succeeded.
    pub(crate) fn expect_success(self) -> String {
        let Self { status, out, err } = self;
        assert!(status.success(), "{status}\n--- stdout\n{out}\n--- stderr\n{err}");
        out
    }

    /// Both outputs of a program that must have failed.
    pub(crate) fn expect_failure(self) -> String {
        let Self { status, out, err } = self;
        assert!(!status.success(), "succeeded\n--- stdout\n{out}\n--- stderr\n{err}");
        out + &err
    }
}

/// Runs a program to its end with `input` on its standard input.
///
/// # Panics
/// When it can't be started or takes longer than `limit`; it is killed then.
pub(crate) fn run(mut command: Command, input: &[u8], limit: Duration) -> Finished {
    let file = || tempfile::tempfile().expect("a temporary file");
    let (mut out, mut err) = (file(), file());
    let clone = |file: &File| Stdio::from(file.try_clone().expect("a second handle"));
    command.stdin(Stdio::piped()).stdout(clone(&out)).stderr(clone(&err));
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    let writer = thread::spawn(move || {
        // A program may stop before it has read everything.
        let _ = stdin.write_all(&input);
    });
    let status = wait(&mut child, limit);
    let text = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().expect("a regular file");
        file.read_to_end(&mut bytes).expect("a regular file");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (out, err) = (text(&mut out), text(&mut err));
    let status =
        status.unwrap_or_else(|| panic!("{command:?}: over {limit:?}\n--- out\n{out}\n{err}"));
    writer.join().expect("the writer does not panic");
    Finished { status, out, err }
}

/// Waits for the end; kills and answers `None` when it takes longer than `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        if Instant::now() > deadline {
            child.kill().expect("a child of ours");
            child.wait().expect("a child of ours");
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a child that has not been waited for.
pub(crate) fn signal(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).expect("Linux process ids fit");
    // SAFETY: `kill` has no memory effects here, and an unwaited child's id is not reused.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "kill({pid}, {signal})");
}

/// Whether a program is on the PATH and answers to `argument`.
pub(crate) fn available(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
