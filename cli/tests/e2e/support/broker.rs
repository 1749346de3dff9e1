//! The broker under test: the release binary, in a directory of its own, on a free port.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process;

/// Long enough for a loaded machine that builds beside the tests; a start takes milliseconds.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const READY: &str = "odradek ready on ";
const ADMIN: &str = "odradek admin on ";

/// A running broker; dropping it kills it and removes its directory.
pub(crate) struct Broker {
    /// None: somebody else's broker, named by `ODRADEK_TEST_BOOTSTRAP`.
    child: Option<Child>,
    address: String,
    /// Where its admin port is told, of each start.
    admin: Option<Mutex<Receiver<SocketAddr>>>,
    home: TempDir,
    settings: Vec<String>,
}

impl Broker {
    /// A broker with its defaults, or the one that `ODRADEK_TEST_BOOTSTRAP` names.
    ///
    /// Tests which only speak the protocol use this, so that they can be tried on Apache Kafka.
    pub(crate) fn start() -> Self {
        match std::env::var("ODRADEK_TEST_BOOTSTRAP") {
            Ok(address) => {
                Self { child: None, address, admin: None, home: home(), settings: vec![] }
            }
            Err(_) => Self::own(&[]),
        }
    }

    /// A broker of our own with `KEY=VALUE` settings.
    pub(crate) fn own(settings: &[&str]) -> Self {
        Self::on(home(), settings)
    }

    /// A broker of our own on a prepared home, whose data is in [`data_of`].
    pub(crate) fn on(home: TempDir, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&s| s.to_owned()).collect();
        let address = "127.0.0.1:0".to_owned();
        let mut broker = Self { child: None, address, admin: None, home, settings };
        broker.restart();
        broker
    }

    /// Starts again on the same data and port.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.is_none(), "stop it first");
        let mut command = serve(&self.data(), &self.address);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        let log = File::options().append(true).create(true).open(self.log_path());
        command.stderr(log.expect("the home is writable")).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the release binary");
        match ready_address(&mut child) {
            Ok((address, admin)) => {
                self.address = address.to_string();
                self.admin = Some(Mutex::new(admin));
            }
            Err(why) => {
                let _ = child.kill();
                let status = child.wait();
                panic!("no ready line ({why}, {status:?}); log:\n{}", self.log());
            }
        }
        self.child = Some(child);
    }

    /// `host:port`, the same over restarts.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn socket_address(&self) -> SocketAddr {
        self.address.parse().expect("a bound address")
    }

    /// Where it tells metrics and health; to be asked once a start.
    pub(crate) fn admin(&self) -> SocketAddr {
        let admin = self.admin.as_ref().expect("a broker of our own");
        admin
            .lock()
            .expect("no holder panics")
            .recv_timeout(START_LIMIT)
            .expect("it has said where")
    }

    pub(crate) fn data(&self) -> PathBuf {
        data_of(&self.home)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| c.try_wait().expect("a child of ours").is_none())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("a broker of our own that runs");
        child.kill().expect("a child of ours");
        child.wait().expect("a child of ours");
    }

    pub(crate) fn signal(&self, signal: i32) {
        process::signal(self.child.as_ref().expect("a broker of our own that runs"), signal);
    }

    /// SIGTERM, and the status of a clean end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.ended()
    }

    /// The status with which it ends.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a broker of our own that runs");
        process::wait(&mut child, STOP_LIMIT)
            .unwrap_or_else(|| panic!("not stopped within {STOP_LIMIT:?}; log:\n{}", self.log()))
    }

    /// Stops it and hands over its home, the data in [`data_of`].
    pub(crate) fn stop_for_home(mut self) -> TempDir {
        let status = self.stop();
        assert!(status.success(), "{status}; log:\n{}", self.log());
        std::mem::replace(&mut self.home, home())
    }

    /// The most memory it ever held, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// The memory it holds now, in bytes.
    pub(crate) fn memory_now(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// Processor time used so far, by all its threads.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).expect("it runs");
        // The command's name may hold blanks; the fields after it do not.
        let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).map(|t| t.parse::<u64>().expect("proc(5)")).sum();
        // USER_HZ is 100 on every Linux.
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("broker.log")
    }

    fn status_kib(&self, key: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("proc(5)");
        line.trim().trim_end_matches(" kB").parse().expect("proc(5)")
    }

    fn proc(&self, name: &str) -> String {
        let child = self.child.as_ref().expect("a broker of our own that runs");
        format!("/proc/{}/{name}", child.id())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the broker's log, newest first\n{}", tail.join("\n"));
        }
    }
}

/// A fresh home for a broker; its data directory does not exist yet.
pub(crate) fn home() -> TempDir {
    // Not `/tmp`, which may be memory: the broker writes past the page cache.
    tempfile::Builder::new()
        .prefix("broker-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a writable target directory")
}

/// The data directory inside a home.
pub(crate) fn data_of(home: &TempDir) -> PathBuf {
    home.path().join("data")
}

/// `odradek serve` on this data and address, not yet started.
pub(crate) fn serve(data: &Path, address: &str) -> Command {
    let mut command = Command::new(binary());
    command.arg("serve").arg("--data").arg(data).args(["--listen", address]).stdin(Stdio::null());
    // Many run at once, and none of them may take the default's port from another.
    command.args(["--set", "odradek.admin.listener=127.0.0.1:0"]);
    command
}

/// The release binary: `ODRADEK_BIN`, or built once per run from this tree.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("ODRADEK_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in target");
    let started = Instant::now();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "odradek", "--bin", "odradek", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.is_ok_and(|status| status.success()), "the release build failed");
    println!("the release binary was built in {:?}", started.elapsed());
    target.join("release/odradek")
}

/// Reads standard output up to the ready line, and goes on reading so that it never blocks.
fn ready_address(
    child: &mut Child,
) -> Result<(SocketAddr, Receiver<SocketAddr>), RecvTimeoutError> {
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (sender, receiver) = mpsc::channel();
    let (admin_sender, admin) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            for (prefix, sender) in [(READY, &sender), (ADMIN, &admin_sender)] {
                if let Some(address) = line.strip_prefix(prefix) {
                    let _ = sender.send(address.trim().parse().expect("HOST:PORT"));
                }
            }
        }
    });
    Ok((receiver.recv_timeout(START_LIMIT)?, admin))
}
