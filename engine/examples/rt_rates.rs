//! Rates of the real runtime on this machine:
//! `cargo run --release -p odradek-engine --example rt_rates -- all [DIR]`
//!
//! `echo`, `stream`, `disk`, `mesh`, `idle` run one part. Numbers, not tests: nothing fails.

use std::{
    cell::Cell,
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use engine::{
    ids::CoreId,
    rt::{
        File, MeshPort, OpenMode, Rt, Stream, mesh,
        real::{CoreSpec, start},
    },
};
use futures_util::{StreamExt, stream::FuturesUnordered};

type Main = Box<dyn FnOnce(Rt) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

fn main() {
    let mut args = env::args().skip(1);
    let part = args.next().unwrap_or_else(|| "all".to_owned());
    let dir = PathBuf::from(args.next().unwrap_or_else(|| ".".to_owned()));
    let all = part == "all";
    if all || part == "idle" {
        idle();
    }
    if all || part == "echo" {
        for (conns, len) in
            [(1, 1 << 10), (10, 1 << 10), (50, 1 << 10), (1, 1 << 20), (50, 64 << 10)]
        {
            echo(conns, len);
        }
    }
    if all || part == "stream" {
        for conns in [1, 50] {
            receive(conns);
        }
    }
    if all || part == "mesh" {
        for spin in [None, Some(Duration::from_micros(200))] {
            for in_flight in [1, 16, 128] {
                cross_core(in_flight, spin);
            }
            one_way(spin);
        }
    }
    if all || part == "disk" {
        one(move |rt| async move { disk(&rt, &dir.join("rt_rates.tmp")).await });
    }
}

/// Runs `f` on one unpinned core.
fn one<Fut: Future<Output = ()> + 'static>(f: impl FnOnce(Rt) -> Fut + Send + 'static) {
    start(vec![(CoreSpec::default(), f)]).expect("a core starts").join().expect("no panic");
}

fn idle() {
    let main = |rt: Rt| async move { rt.sleep(Duration::from_secs(6)).await };
    let began = Instant::now();
    let cores = start(vec![(CoreSpec::default(), main), (CoreSpec::default(), main)]);
    let cores = cores.expect("cores start");
    println!("idle: 2 cores up after {:?}, rss {} KiB", began.elapsed(), rss_kib());
    thread::sleep(Duration::from_secs(1));
    let (cpu, began) = (process_cpu(), Instant::now());
    thread::sleep(Duration::from_secs(4));
    let share = (process_cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("idle: 2 cores use {:.2} % of a CPU", share * 100.0);
    cores.join().expect("no panic");
}

fn echo(conns: usize, len: usize) {
    one(move |rt| async move {
        let listener = rt.listen(any_port(), 1024).await.expect("listens");
        let addr = listener.local_addr();
        let clients = thread::spawn(move || ask(addr, conns, len));
        for _ in 0..conns {
            let (handoff, _) = listener.accept().await.expect("accepts");
            let stream = Stream::adopt(&rt, handoff).expect("adopts");
            drop(rt.spawn("echo", serve(stream, len)));
        }
        rt.sleep(Duration::from_millis(200)).await;
        let cpu = thread_cpu();
        rt.sleep(Duration::from_secs(2)).await;
        let cpu = thread_cpu() - cpu;
        listener.shutdown();
        let (mut rtts, took) =
            rt.blocking(move || clients.join()).await.expect("waits").expect("asks");
        let rate = rtts.len() as f64 / took.as_secs_f64();
        println!(
            "echo {len} B, {conns} conns: {rate:.0}/s, {:.1} us CPU each, p50 {:.0} us p99 {:.0} us",
            cpu.as_secs_f64() * 1e6 / (rate * 2.0),
            percentile(&mut rtts, 50.0),
            percentile(&mut rtts, 99.0)
        );
    });
}

async fn serve(stream: Stream, len: usize) {
    let mut buf = vec![0; len];
    loop {
        let mut got = 0;
        while got < len {
            match stream.recv_hint(&mut buf[got..], len - got).await {
                Ok(0) | Err(_) => return,
                Ok(n) => got += n,
            }
        }
        if stream.send(&[&buf[..4], &buf[4..]]).await.is_err() {
            return;
        }
    }
}

fn ask(addr: SocketAddr, conns: usize, len: usize) -> (Vec<Duration>, Duration) {
    let began = Instant::now();
    let clients: Vec<_> = (0..conns)
        .map(|_| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(addr).expect("connects");
                stream.set_nodelay(true).expect("sets an option");
                let mut buf = vec![1; len];
                let mut rtts = Vec::new();
                while began.elapsed() < Duration::from_millis(2500) {
                    let asked = Instant::now();
                    stream.write_all(&buf).expect("sends");
                    stream.read_exact(&mut buf).expect("receives");
                    rtts.push(asked.elapsed());
                }
                rtts
            })
        })
        .collect();
    let rtts = clients.into_iter().flat_map(|c| c.join().expect("a client ends")).collect();
    (rtts, began.elapsed())
}

fn receive(conns: usize) {
    one(move |rt| async move {
        let listener = rt.listen(any_port(), 1024).await.expect("listens");
        let addr = listener.local_addr();
        let total = Rc::new(Cell::new(0_u64));
        let stop = Instant::now() + Duration::from_secs(2);
        for _ in 0..conns {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(addr).expect("connects");
                let data = vec![7; 1 << 20];
                while Instant::now() < stop && stream.write_all(&data).is_ok() {}
            });
            let (handoff, _) = listener.accept().await.expect("accepts");
            let stream = Stream::adopt(&rt, handoff).expect("adopts");
            let total = Rc::clone(&total);
            drop(rt.spawn("receives", async move {
                let mut buf = vec![0; 1 << 20];
                while let Ok(n @ 1..) = stream.recv_hint(&mut buf, 1 << 20).await {
                    total.set(total.get() + n as u64);
                }
            }));
        }
        let (cpu, began) = (thread_cpu(), Instant::now());
        rt.sleep(Duration::from_millis(1500)).await;
        let gb = total.get() as f64 / 1e9;
        println!(
            "receive, {conns} conns: {:.1} GB/s, {:.2} CPU s/GB",
            gb / began.elapsed().as_secs_f64(),
            (thread_cpu() - cpu).as_secs_f64() / gb
        );
    });
}

fn cross_core(in_flight: usize, spin: Option<Duration>) {
    let mut ports = mesh::<Instant>(2, 1024);
    let (answering, asking) = (ports.pop().expect("two"), ports.pop().expect("two"));
    let mains: Vec<(CoreSpec, Main)> = vec![
        (spec(0, spin), Box::new(move |_| Box::pin(ask_across(asking, in_flight, spin)))),
        (spec(1, spin), Box::new(move |_| Box::pin(answer(answering)))),
    ];
    start(mains).expect("cores start").join().expect("no panic");
}

async fn ask_across(port: MeshPort<Instant>, in_flight: usize, spin: Option<Duration>) {
    let mut rtts = Vec::new();
    let (began, cpu) = (Instant::now(), process_cpu());
    for _ in 0..in_flight {
        port.send(CoreId(1), Instant::now()).await.expect("sends");
    }
    let mut under_way = in_flight;
    while under_way > 0 {
        let (_, asked) = port.recv().await.expect("receives");
        rtts.push(asked.elapsed());
        under_way -= 1;
        if began.elapsed() < Duration::from_secs(2) {
            port.send(CoreId(1), Instant::now()).await.expect("sends");
            under_way += 1;
        }
    }
    let (took, cpu) = (began.elapsed(), process_cpu() - cpu);
    println!(
        "mesh, {in_flight} in flight, spin {spin:?}: {:.0}/s, p50 {:.1} us p99 {:.0} us, {:.1} us CPU each",
        rtts.len() as f64 / took.as_secs_f64(),
        percentile(&mut rtts, 50.0),
        percentile(&mut rtts, 99.0),
        cpu.as_secs_f64() * 1e6 / rtts.len() as f64
    );
}

async fn answer(port: MeshPort<Instant>) {
    while let Some((from, asked)) = port.recv().await {
        port.send(from, asked).await.expect("sends");
    }
}

fn one_way(spin: Option<Duration>) {
    const MESSAGES: u64 = 2_000_000;
    let mut ports = mesh::<[u64; 4]>(2, 1024);
    let (to, from) = (ports.pop().expect("two"), ports.pop().expect("two"));
    let mains: Vec<(CoreSpec, Main)> = vec![
        (
            spec(0, spin),
            Box::new(move |_| {
                Box::pin(async move {
                    for i in 0..MESSAGES {
                        from.send(CoreId(1), [i; 4]).await.expect("sends");
                    }
                })
            }),
        ),
        (
            spec(1, spin),
            Box::new(move |_| {
                Box::pin(async move {
                    let began = Instant::now();
                    for _ in 0..MESSAGES {
                        to.recv().await.expect("receives");
                    }
                    println!(
                        "mesh one way: {:.2} M/s",
                        MESSAGES as f64 / began.elapsed().as_secs_f64() / 1e6
                    );
                })
            }),
        ),
    ];
    start(mains).expect("cores start").join().expect("no panic");
}

async fn disk(rt: &Rt, path: &Path) {
    let file = rt.open(path, OpenMode::Create).await.expect("opens");
    for len in [4 << 10, 64 << 10, 1 << 20] {
        durable(rt, &file, len, "new extents").await;
        durable(rt, &file, len, "written before").await;
    }
    for (len, depth) in [(64 << 10, 4), (256 << 10, 4), (1 << 20, 4)] {
        rate(rt, &file, len, depth, None).await;
        rate(rt, &file, len, depth, Some(1 << 20)).await;
    }
    for (len, depth) in [(64 << 10, 1), (256 << 10, 4), (1 << 20, 4)] {
        read_rate(rt, &file, len, depth).await;
    }
    let began = Instant::now();
    for _ in 0..1000 {
        file.sync().await.expect("syncs");
    }
    println!("sync of a clean file: {:.1} us", began.elapsed().as_secs_f64() * 1e3);
    file.close().await.expect("closes");
    rt.remove_file(path).await.expect("removes");
}

async fn durable(rt: &Rt, file: &File, len: usize, what: &str) {
    const COUNT: u64 = 300;
    if what == "new extents" {
        file.truncate(0).await.expect("truncates");
        file.allocate(COUNT * len as u64).await.expect("allocates");
    }
    let mut buf = rt.alloc(len);
    buf.fill(3);
    let buf = Rc::new(buf);
    let (mut took, cpu) = (Vec::new(), process_cpu());
    for i in 0..COUNT {
        let began = Instant::now();
        file.write_at(Rc::clone(&buf), len, i * len as u64).await.expect("writes");
        file.sync().await.expect("syncs");
        took.push(began.elapsed());
    }
    let cpu = (process_cpu() - cpu).as_secs_f64() * 1e6 / COUNT as f64;
    println!(
        "write+sync {len} B, {what}: p50 {:.0} us p99 {:.0} us, {cpu:.0} us CPU",
        percentile(&mut took, 50.0),
        percentile(&mut took, 99.0)
    );
}

async fn rate(rt: &Rt, file: &File, len: usize, depth: usize, sync_every: Option<u64>) {
    file.truncate(0).await.expect("truncates");
    file.allocate(FILE_BYTES).await.expect("allocates");
    let source = vec![9; len];
    let (began, cpu) = (Instant::now(), process_cpu());
    let (mut pos, mut unsynced) = (0, 0);
    let mut writes = FuturesUnordered::new();
    while pos < FILE_BYTES {
        if writes.len() == depth {
            writes.next().await;
        }
        let mut buf = rt.alloc(len);
        buf.copy_from_slice(&source);
        let own = file.clone();
        writes.push(async move { own.write_at(Rc::new(buf), len, pos).await.expect("writes") });
        pos += len as u64;
        unsynced += len as u64;
        if sync_every.is_some_and(|every| unsynced >= every) {
            while writes.next().await.is_some() {}
            file.sync().await.expect("syncs");
            unsynced = 0;
        }
    }
    while writes.next().await.is_some() {}
    report(&format!("write {len} B x {depth}, sync every {sync_every:?}"), began, cpu);
}

async fn read_rate(rt: &Rt, file: &File, len: usize, depth: usize) {
    let (began, cpu) = (Instant::now(), process_cpu());
    let mut pos = 0;
    let mut reads = FuturesUnordered::new();
    while pos < FILE_BYTES || !reads.is_empty() {
        while pos < FILE_BYTES && reads.len() < depth {
            let own = file.clone();
            reads.push(async move { own.read_at(pos, len).await.expect("reads").len() });
            pos += len as u64;
        }
        assert_eq!(reads.next().await, Some(len));
        rt.turn().await;
    }
    report(&format!("read {len} B x {depth}"), began, cpu);
}

fn report(what: &str, began: Instant, cpu: Duration) {
    let gb = FILE_BYTES as f64 / 1e9;
    println!(
        "{what}: {:.2} GB/s, {:.3} CPU s/GB",
        gb / began.elapsed().as_secs_f64(),
        (process_cpu() - cpu).as_secs_f64() / gb
    );
}

fn spec(cpu: usize, spin: Option<Duration>) -> CoreSpec {
    CoreSpec { cpu: Some(cpu), spin, ..CoreSpec::default() }
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

fn percentile(of: &mut [Duration], p: f64) -> f64 {
    of.sort_unstable();
    let at = (of.len() as f64 * p / 100.0) as usize;
    of.get(at.min(of.len().saturating_sub(1))).map_or(0.0, Duration::as_secs_f64) * 1e6
}

fn process_cpu() -> Duration {
    cpu_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn thread_cpu() -> Duration {
    cpu_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn cpu_clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct, which outlives the call.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

const FILE_BYTES: u64 = 1 << 30;
