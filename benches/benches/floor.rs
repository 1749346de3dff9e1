//! What the runtime alone costs: servers that take requests of a fixed length and answer them, and do
//! nothing else that a broker does. What a broker's request costs beyond is the broker's.
//!
//! ```text
//! cargo bench -p odradek-benches --bench floor
//! ```
//!
//! The requests come from threads of this process, on the same CPUs; counted is the time of the
//! cores' threads and of the kernel's workers for their files.

use std::cell::{Cell, RefCell};
use std::fs;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use engine::rt::real::{self, CoreSpec};
use engine::rt::{File, OpenMode, Rt, Stream};

/// What one server does with what its clients send.
#[derive(Clone, Copy)]
struct Case {
    what: &'static str,
    request: usize,
    answer: usize,
    connections: usize,
    /// Requests of a connection that are on their way.
    depth: usize,
    /// Whether requests are on the disk before they are answered.
    durable: bool,
}

const CASES: [Case; 5] = [
    Case {
        what: "100 B in, 60 B out",
        request: 100,
        answer: 60,
        connections: 4,
        depth: 32,
        durable: false,
    },
    Case {
        what: "100 B in, durable",
        request: 100,
        answer: 60,
        connections: 4,
        depth: 32,
        durable: true,
    },
    Case {
        what: "4 KiB in, 60 B out",
        request: 4 << 10,
        answer: 60,
        connections: 4,
        depth: 8,
        durable: false,
    },
    Case {
        what: "4 KiB in, durable",
        request: 4 << 10,
        answer: 60,
        connections: 4,
        depth: 8,
        durable: true,
    },
    Case {
        what: "100 B in, 1 MiB out",
        request: 100,
        answer: 1 << 20,
        connections: 2,
        depth: 2,
        durable: false,
    },
];

/// A core's file, to which all that waits is written at once.
struct Journal {
    file: File,
    rt: Rt,
    /// Waits to be written.
    bytes: RefCell<Vec<u8>>,
    /// Rounds of writing that were begun, and that ended.
    begun: Cell<u64>,
    ended: Cell<u64>,
    writing: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Journal {
    async fn commit(&self, bytes: &[u8]) {
        self.bytes.borrow_mut().extend_from_slice(bytes);
        let round = self.begun.get() + 1;
        while self.ended.get() < round {
            if self.writing.replace(true) {
                let (ended, writing) = (self.ended.get(), &self.writing);
                poll_fn(|cx| {
                    if self.ended.get() > ended || !writing.get() {
                        return Poll::Ready(());
                    }
                    self.waiting.borrow_mut().push(cx.waker().clone());
                    Poll::Pending
                })
                .await;
                continue;
            }
            self.write().await;
        }
    }

    async fn write(&self) {
        let taken = std::mem::take(&mut *self.bytes.borrow_mut());
        self.begun.set(self.begun.get() + 1);
        let len = taken.len().next_multiple_of(4096);
        let mut buf = self.rt.alloc(len);
        buf[..taken.len()].copy_from_slice(&taken);
        let at = self.begun.get() % 64 * ROUND_MAX;
        self.file.write_at(Rc::new(buf), len, at).await.expect("a file that can be written");
        self.ended.set(self.begun.get());
        self.writing.set(false);
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

async fn serve(stream: Stream, case: Case, journal: Option<Rc<Journal>>) {
    let mut buf = vec![0; case.request * case.depth + case.request];
    let answers = vec![7; case.answer * case.depth];
    let mut have = 0;
    loop {
        match stream.recv(&mut buf[have..]).await {
            Ok(received) if received > 0 => have += received,
            _ => return,
        }
        let whole = have / case.request;
        if whole == 0 {
            continue;
        }
        if let Some(journal) = &journal {
            journal.commit(&buf[..whole * case.request]).await;
        }
        if stream.send(&[&answers[..whole * case.answer]]).await.is_err() {
            return;
        }
        buf.copy_within(whole * case.request..have, 0);
        have -= whole * case.request;
    }
}

/// One core: accepts for itself until the process ends.
async fn core(rt: Rt, case: Case, dir: Arc<std::path::PathBuf>, up: mpsc::Sender<SocketAddr>) {
    let journal = match case.durable {
        true => {
            let path = dir.join(format!("journal-{:?}", rt.core()));
            let zeros = rt.open(&path, OpenMode::Create).await.expect("a directory");
            zeros.allocate(64 * ROUND_MAX).await.expect("room");
            for at in 0..64 {
                let buf = Rc::new(rt.alloc(ROUND_MAX as usize));
                zeros.write_at(buf, ROUND_MAX as usize, at * ROUND_MAX).await.expect("room");
            }
            zeros.sync().await.expect("a disk");
            let file = rt.open(&path, OpenMode::WriteThrough).await.expect("the same file");
            Some(Rc::new(Journal {
                file,
                rt: rt.clone(),
                bytes: RefCell::default(),
                begun: Cell::new(0),
                ended: Cell::new(0),
                writing: Cell::new(false),
                waiting: RefCell::default(),
            }))
        }
        false => None,
    };
    let listener = rt.listen("127.0.0.1:0".parse().expect("an address"), 64).await.expect("a port");
    up.send(listener.local_addr()).expect("somebody waits");
    while let Ok((handoff, _)) = listener.accept().await {
        let stream = Stream::adopt(&rt, handoff).expect("a socket");
        rt.spawn("connection", serve(stream, case, journal.clone())).detach();
    }
}

fn client(address: SocketAddr, case: Case, stop: &AtomicBool, answered: &AtomicU64) {
    let mut stream = TcpStream::connect(address).expect("a server");
    stream.set_nodelay(true).expect("a socket");
    let requests = vec![1; case.request * case.depth];
    let mut answers = vec![0; case.answer * case.depth];
    stream.write_all(&requests).expect("a server");
    let mut have = 0;
    while !stop.load(Ordering::Relaxed) {
        have += stream.read(&mut answers).expect("a server");
        let whole = have / case.answer;
        have -= whole * case.answer;
        answered.fetch_add(whole as u64, Ordering::Relaxed);
        // What comes while the server works is sent at once, as a pipelining client does.
        stream.write_all(&requests[..whole * case.request]).expect("a server");
    }
}

/// Nanoseconds on a CPU, of the cores' threads and of those that the kernel runs for them.
fn cpu_ns() -> u64 {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").expect("procfs").flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.starts_with("core-") || name.starts_with("iou-") {
            let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum += stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let dir = tempfile::tempdir_in(".").expect("a directory that can be written");
    let dir = Arc::new(dir.keep());
    println!("{:<22} {:>12} {:>10} {:>18}", "", "requests/s", "MB/s", "CPU us a request");
    for case in CASES {
        let (up, addresses) = mpsc::channel();
        let mains = (0..CORES).map(|_| {
            let (dir, up) = (dir.clone(), up.clone());
            (CoreSpec::default(), move |rt| core(rt, case, dir, up))
        });
        // They serve until the process ends; those of earlier cases sleep.
        std::mem::forget(real::start(mains.collect()).expect("a machine for it"));
        let addresses: Vec<_> = addresses.iter().take(CORES).collect();
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        for nth in 0..case.connections {
            let (stop, answered) = (stop.clone(), answered.clone());
            let address = addresses[nth % CORES];
            thread::spawn(move || client(address, case, &stop, &answered));
        }
        thread::sleep(WARM_UP);
        let (began, cpu, before) = (Instant::now(), cpu_ns(), answered.load(Ordering::Relaxed));
        thread::sleep(MEASURED);
        let requests = (answered.load(Ordering::Relaxed) - before) as f64;
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), (cpu_ns() - cpu) as f64);
        stop.store(true, Ordering::Relaxed);
        let mb_s = requests * (case.request + case.answer) as f64 / seconds / 1e6;
        println!(
            "{:<22} {:>12.0} {mb_s:>10.0} {:>18.2}",
            case.what,
            requests / seconds,
            cpu / requests / 1e3
        );
    }
    fs::remove_dir_all(&*dir).expect("our own");
    std::process::exit(0);
}

const CORES: usize = 2;
const ROUND_MAX: u64 = 256 << 10;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);
