//! A shell on simulated cores, without a log or metadata, and a client that speaks bytes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use config::Config;
use config::listener::ListenerSecurity;
use engine::ids::{BrokerId, CoreId};
use engine::rt::sim::{Crash, NodeId, SimOptions, World};
use engine::rt::{Rt, Stream, mesh};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::error_code::ErrorCode;
use wire::header::{RequestHeader, ResponseHeader};
use wire::msg::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use wire::schema::Message;

use crate::admin::Report;
use crate::boot::{self, BootError, Handle, Probe, Ready};
use crate::core::Core;
use crate::loggers::{Loggers, Severity};
use crate::node::{Listening, Node};
use crate::{background, listen};

/// A node that answers ApiVersions and whatever else needs no metadata.
pub(crate) struct Shell {
    pub(crate) world: World,
    pub(crate) cores: Vec<Rc<Core>>,
    pub(crate) addr: SocketAddr,
}

impl Shell {
    /// Starts a node with the settings given as `KEY=VALUE`.
    pub(crate) fn start(seed: u64, cores: usize, settings: &[&str]) -> Self {
        let world = World::new(seed, SimOptions::default());
        let sim_node = world.add_node(cores);
        let builder = settings.iter().fold(Config::builder(), |builder, set| builder.set(set));
        let node = Arc::new(Node {
            id: BrokerId(1),
            cluster_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            config: builder.build().expect("a test sets what is valid"),
            cores,
            listeners: vec![Listening {
                name: "PLAINTEXT".to_owned(),
                security: ListenerSecurity::Plaintext,
                advertised_host: "localhost".to_owned(),
                advertised_port: 9092,
            }],
            loggers: None,
            dirs: Vec::new(),
            metadata_dir: 0,
        });
        let cores: Vec<_> = mesh(cores, 64)
            .into_iter()
            .map(|port| {
                Core::new(world.rt(sim_node, port.core()), Arc::clone(&node), Rc::new(port))
            })
            .collect();
        for core in &cores {
            core.rt.spawn("mesh", crate::mesh::run(Rc::clone(core))).detach();
            core.rt.spawn("sweep", background::sweep(Rc::clone(core))).detach();
        }
        let addr = SocketAddr::new(world.ip(sim_node), 9092);
        let shell = Self { world, cores, addr };
        let core = Rc::clone(&shell.cores[0]);
        let up = Rc::new(Cell::new(false));
        let is_up = Rc::clone(&up);
        shell.world.start_core(sim_node, CoreId(0), move |rt| async move {
            let listener = rt.listen(addr, 16_384).await.expect("the port is free");
            is_up.set(true);
            listen::accept(core, listener, 0).await;
        });
        assert!(shell.world.run_until(Duration::from_secs(1), || up.get()), "it listens");
        shell
    }

    /// Runs a client against it, for at most `limit` of virtual time.
    pub(crate) fn run<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        limit: Duration,
        client: impl FnOnce(Rt, SocketAddr) -> F,
    ) -> T {
        let rt = self.world.client_rt();
        let task = client(rt, self.addr);
        self.world.block_on(limit, task).expect("the client ends in time")
    }

    /// Connections over all cores.
    pub(crate) fn connections(&self) -> usize {
        self.cores.iter().map(|core| core.conns.borrow().len()).sum()
    }

    /// Bytes that requests and answers take over all cores.
    pub(crate) fn frame_bytes(&self) -> usize {
        let of = |core: &Rc<Core>| {
            let memory = &core.memory;
            let budgets = [&memory.filling, &memory.serving, &memory.probing, &memory.large];
            budgets.iter().map(|budget| budget.used()).sum::<usize>() + core.working.used()
        };
        self.cores.iter().map(of).sum()
    }
}

/// A client's end of one connection.
pub(crate) struct Client {
    pub(crate) stream: Stream,
    next_id: i32,
}

impl Client {
    pub(crate) async fn connect(rt: &Rt, addr: SocketAddr) -> Self {
        Self { stream: rt.connect(addr).await.expect("the node listens"), next_id: 1 }
    }

    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.send(&[bytes]).await
    }

    /// The next frame, without its length; `None` when the node has closed.
    pub(crate) async fn recv_frame(&self) -> Option<Vec<u8>> {
        let mut prefix = [0; 4];
        self.recv_exact(&mut prefix).await?;
        let mut frame = vec![0; i32::from_be_bytes(prefix) as usize];
        self.recv_exact(&mut frame).await?;
        Some(frame)
    }

    /// Whether the node closes the connection without a word.
    pub(crate) async fn is_closed(&self) -> bool {
        self.recv_exact(&mut [0]).await.is_none()
    }

    async fn recv_exact(&self, bytes: &mut [u8]) -> Option<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.stream.recv(&mut bytes[done..]).await {
                Ok(n @ 1..) => done += n,
                _ => return None,
            }
        }
        Some(())
    }

    /// Has a topic made.
    pub(crate) async fn create(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> ErrorCode {
        let configs =
            configs.iter().map(|(name, value)| CreatableTopicConfig { name, value: Some(value) });
        let topic = CreatableTopic {
            name,
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic].into(), ..Default::default() };
        let code = self.ask(ApiKey::CreateTopics, 5, &request, |cur| {
            let response = CreateTopicsResponse::decode(cur, 5).expect("a response");
            ErrorCode(response.topics.first().expect("one topic").error_code)
        });
        code.await.expect("answered")
    }

    /// Sends a request and decodes its answer with `read`; `None` when the node closes.
    pub(crate) async fn ask<'q, T>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &impl Message<'q>,
        read: impl FnOnce(&mut Cursor<'_>) -> T,
    ) -> Option<T> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&frame(api, version, id, request)).await.ok()?;
        let answer = self.recv_frame().await?;
        let mut cur = Cursor::new(&answer);
        let header = ResponseHeader::decode(&mut cur, api, version).expect("a header");
        assert_eq!(header.correlation_id, id);
        Some(read(&mut cur))
    }
}

/// A request as bytes, length prefix included.
pub(crate) fn frame<'q>(
    api: ApiKey,
    api_version: i16,
    correlation_id: i32,
    request: &impl Message<'q>,
) -> Vec<u8> {
    let header = RequestHeader { api, api_version, correlation_id, client_id: Some("test") };
    header.frame(request).expect("a request of this version").into_bytes()
}

/// A whole node on simulated cores and disks.
pub(crate) struct Whole {
    pub(crate) world: World,
    pub(crate) node: NodeId,
    pub(crate) addr: SocketAddr,
    cores: usize,
    settings: Vec<String>,
    outcomes: Rc<RefCell<Vec<Result<(), BootError>>>>,
    handle: Option<Handle>,
    /// Of the last start.
    ready: Arc<Mutex<Option<Ready>>>,
    /// For the next start.
    probe: Option<Probe>,
    /// Lent to the node.
    pub(crate) loggers: Arc<Levels>,
}

/// Levels that nothing is logged by.
#[derive(Debug, Default)]
pub(crate) struct Levels(Mutex<BTreeMap<String, Severity>>);

impl Loggers for Levels {
    fn level(&self, logger: &str) -> Severity {
        let set = self.0.lock().expect("not poisoned");
        set.get(logger).copied().unwrap_or(Severity::Info)
    }

    fn set(&self, changes: &[(&str, Option<Severity>)]) {
        let mut set = self.0.lock().expect("not poisoned");
        for (logger, level) in changes {
            match level {
                Some(level) => drop(set.insert((*logger).to_owned(), *level)),
                None => drop(set.remove(*logger)),
            }
        }
    }
}

impl Whole {
    /// Starts a node on an empty disk, with the settings given as `KEY=VALUE`.
    pub(crate) fn start(seed: u64, cores: usize, settings: &[&str]) -> Self {
        let mut whole = Self::new(seed, cores, settings);
        whole.boot();
        whole
    }

    /// A node with an empty disk that was not started yet.
    pub(crate) fn new(seed: u64, cores: usize, settings: &[&str]) -> Self {
        let world = World::new(seed, SimOptions::default());
        let node = world.add_node(cores);
        let addr = SocketAddr::new(world.ip(node), 9092);
        Self {
            world,
            node,
            addr,
            cores,
            settings: settings.iter().map(|set| (*set).to_owned()).collect(),
            outcomes: Rc::default(),
            handle: None,
            ready: Arc::default(),
            probe: None,
            loggers: Arc::default(),
        }
    }

    /// Changes settings, for the next start.
    pub(crate) fn set(&mut self, settings: &[&str]) {
        self.settings.extend(settings.iter().map(|set| (*set).to_owned()));
    }

    /// Starts the cores and waits until the node serves.
    pub(crate) fn boot(&mut self) {
        assert!(self.try_boot(), "the node did not start: {:?}", self.outcomes.borrow());
    }

    /// Starts the cores; whether the node came to serve.
    pub(crate) fn try_boot(&mut self) -> bool {
        self.boot_for(u64::MAX)
    }

    /// Starts the cores and lets them take at most so many steps; whether the node came to serve.
    pub(crate) fn boot_for(&mut self, polls: u64) -> bool {
        let listeners = format!("listeners=PLAINTEXT://{}", self.addr);
        let builder = Config::builder().set("log.dirs=/data").set(&listeners);
        let builder = self.settings.iter().fold(builder, |builder, set| builder.set(set));
        let config = builder.build().expect("a test sets what is valid");
        self.ready = Arc::default();
        let ready = Arc::clone(&self.ready);
        let tell = move |is: Ready| *ready.lock().expect("one thread") = Some(is);
        let probe = self.probe.take();
        let loggers = Arc::clone(&self.loggers) as Arc<dyn Loggers>;
        let (places, handle) = boot::places_probed(config, self.cores, Some(loggers), tell, probe);
        self.handle = Some(handle);
        self.outcomes.borrow_mut().clear();
        for (core, place) in (0..).map(CoreId).zip(places) {
            let outcomes = Rc::clone(&self.outcomes);
            self.world.start_core(self.node, core, move |rt| async move {
                let outcome = boot::run(rt, place).await;
                outcomes.borrow_mut().push(outcome);
            });
        }
        let most = self.world.polls().saturating_add(polls);
        let (outcomes, cores) = (&self.outcomes, self.cores);
        let ended = || outcomes.borrow().len() == cores;
        let over = || self.ready().is_some() || ended() || self.world.polls() >= most;
        self.world.run_until(Duration::from_secs(60), over);
        self.ready().is_some()
    }

    /// How cores ended that did not end well.
    pub(crate) fn why(&self) -> String {
        let outcomes = self.outcomes.borrow();
        let errors = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        errors.map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Runs something inside the node when it serves next; what comes of it is found there.
    pub(crate) fn probe<T: Send + 'static, F: Future<Output = T> + 'static>(
        &mut self,
        task: impl FnOnce(Rc<Core>) -> F + Send + 'static,
    ) -> Arc<Mutex<Option<T>>> {
        let found = Arc::<Mutex<Option<T>>>::default();
        let sink = Arc::clone(&found);
        self.probe = Some(Box::new(move |core| {
            let rt = core.rt.clone();
            let task = task(core);
            let run = async move { *sink.lock().expect("one thread") = Some(task.await) };
            rt.spawn("probe", run).detach();
        }));
        found
    }

    /// Whether every core has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.outcomes.borrow().len() == self.cores
    }

    /// What the node said of itself when it came to serve, if it did.
    pub(crate) fn ready(&self) -> Option<Ready> {
        self.ready.lock().expect("one thread").clone()
    }

    /// Takes the node down; it can be started again at once.
    pub(crate) fn crash(&self, kind: Crash) {
        self.world.crash(self.node, kind);
        self.world.restart(self.node);
    }

    /// Runs something on the node, which is up, whether it serves or not.
    pub(crate) fn on_node<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        task: impl FnOnce(Rt) -> F,
    ) -> T {
        let task = task(self.world.rt(self.node, CoreId(0)));
        self.world.block_on(Duration::from_secs(600), task).expect("it ends in time")
    }

    /// Stops the node in order and returns how its cores ended.
    pub(crate) fn stop(&mut self) -> Vec<Result<(), BootError>> {
        self.handle.take().expect("it runs").stop();
        let (outcomes, cores) = (Rc::clone(&self.outcomes), self.cores);
        let stopped = || outcomes.borrow().len() == cores;
        assert!(self.world.run_until(Duration::from_secs(60), stopped), "it stops");
        self.outcomes.take()
    }

    /// Asks the node as its admin port does.
    pub(crate) fn ask(&self, counts: bool) -> Option<Report> {
        let report = self.handle.as_ref()?.ask(counts)?;
        self.world.run_until(Duration::from_secs(60), || !report.is_empty());
        report.try_recv().ok()
    }

    /// Runs a client against the node.
    pub(crate) fn run<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        client: impl FnOnce(Rt, SocketAddr) -> F,
    ) -> T {
        let task = client(self.world.client_rt(), self.addr);
        self.world.block_on(Duration::from_secs(600), task).expect("the client ends in time")
    }
}

/// What was logged, as far as it is of interest.
#[derive(Clone)]
pub(crate) struct Lines {
    level: Level,
    /// A line is kept if it holds this.
    holding: &'static str,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Lines {
    /// Lines of any level that hold `text`.
    pub(crate) fn of(text: &'static str) -> Self {
        Self { level: Level::TRACE, holding: text, lines: Arc::default() }
    }

    /// Everything that was logged as an error: a panic is.
    pub(crate) fn of_errors() -> Self {
        Self { level: Level::ERROR, ..Self::of("") }
    }

    /// The lines so far.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("one thread"))
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        if line.0.contains(self.holding) {
            self.lines.lock().expect("one thread").push(line.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}
