//! One run: a node, its clients, its faults, and the verdict.
//!
//! ```text
//! start ─ clients at work ─ fault ─ fault ─ … ─ clients done ─ calm ─ audit ─ power loss ─ settle ─ audit
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use engine::ids::CoreId;
use engine::rt::Rt;
use engine::rt::sim::{Crash, LinkOptions, NodeId, Plant, SimOptions, World};

use crate::cluster::{CORES_MAX, Cluster};
use crate::faults::{self, Fault};
use crate::history::{Event, History, Place, Violation};
use crate::invariants;
use crate::rng::Rng;
use crate::workload::member::{Crews, settle};
use crate::workload::{Client, Scene};

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Answered requests before the clients end.
    pub operations: u32,
    /// A bug to plant, to see it found.
    pub plant: Option<Plant>,
    /// Gets a line for everything that happens.
    pub trace: Option<fn(&str)>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed that leads to it.
    pub seed: u64,
    /// Equal for equal histories.
    pub hash: u64,
    /// Requests that were answered.
    pub operations: u32,
    /// What was done to the node, and how often.
    pub faults: BTreeMap<Fault, u32>,
    /// Times that partitions changed their leader epoch while the node served.
    pub role_changes: u32,
    /// Task polls: the simulation's measure of work.
    pub polls: u64,
    /// Virtual time that passed.
    pub virtual_time: Duration,
    /// Empty if all is well.
    pub violations: Vec<Violation>,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, options: Options) -> Outcome {
    Run::new(seed, options).finish()
}

struct Run {
    seed: u64,
    rng: Rng,
    world: Rc<World>,
    cluster: Cluster,
    scene: Rc<Scene>,
    crews: Crews,
    clients: NodeId,
    /// What becomes of a node that ends by itself, before it is started again.
    end: Crash,
    faults: BTreeMap<Fault, u32>,
    role_changes: u32,
}

impl Run {
    fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::new(seed);
        let settings = SimOptions {
            plant: options.plant,
            polls_max: u64::from(options.operations) * POLLS_PER_OPERATION_MAX + POLLS_MAX,
            ..SimOptions::default()
        };
        let world = Rc::new(World::new(seed, settings));
        // The first machine of the world.
        let rt = world.client_rt();
        let clients = NodeId(0);
        let mut crews = Crews::draw(seed);
        let mut settings = node_settings(&mut rng);
        settings.extend(crews.settings());
        let cluster = Cluster::new(Rc::clone(&world), settings);
        let history = History { trace: options.trace, ..History::default() };
        let scene = Scene::new(rt, cluster.addr, options.operations, history);
        Self {
            seed,
            rng,
            world,
            cluster,
            scene,
            crews,
            clients,
            end: Crash::Kill,
            faults: BTreeMap::new(),
            role_changes: 0,
        }
    }

    fn finish(mut self) -> Outcome {
        let plan = faults::plan(&mut self.rng, self.scene.operations_max);
        self.start_first();
        let scene = Rc::clone(&self.scene);
        scene.populate(&mut self.rng);
        self.crews.start(&scene);
        for (at, fault) in plan {
            self.drive(|| scene.operations.get() >= at || scene.busy.get() == 0);
            self.inject(fault);
        }
        self.drive(|| scene.busy.get() == 0);
        self.calm();
        self.audit();
        self.crash(Crash::PowerLoss);
        self.start();
        self.come_up();
        self.settle();
        self.audit();
        let panics = self.world.panics();
        let mut history = self.scene.history.borrow_mut();
        let of_node = panics.iter().filter(|(node, _)| *node == self.cluster.node);
        history.panics = of_node.map(|(_, panic)| panic.to_string()).collect();
        Outcome {
            seed: self.seed,
            hash: self.world.trace_hash(),
            operations: self.scene.operations.get(),
            faults: self.faults,
            role_changes: self.role_changes,
            polls: self.world.polls(),
            virtual_time: self.scene.now(),
            violations: invariants::check(&history),
        }
    }

    // The node.

    fn start(&mut self) {
        let cores = self.cores();
        self.scene.say(|| format!("the node starts on {cores} cores"));
        self.cluster.start(cores);
    }

    /// The first start of all, at times cut short: the next one must serve all the same.
    fn start_first(&mut self) {
        while self.rng.one_in(3) {
            self.note(Fault::CrashInFormat);
            let (node, dir) = (self.cluster.node, faults::data_dir());
            let room = if self.rng.one_in(4) { self.rng.below(64) * 4096 } else { ROOM };
            self.world.set_disk(node, dir, |disk| disk.total_bytes = room);
            self.start();
            self.wait_a_little(FIRST_START_MICROS);
            let kind = faults::crash(&mut self.rng);
            self.crash(kind);
            self.world.set_disk(node, dir, |disk| disk.total_bytes = ROOM);
        }
        self.start();
        self.come_up();
    }

    fn cores(&mut self) -> usize {
        usize::try_from(self.rng.between(1, CORES_MAX as u64)).expect("few")
    }

    fn crash(&mut self, kind: Crash) {
        self.scene.say(|| format!("the node goes down: {kind:?}"));
        self.cluster.crash(kind);
    }

    /// Waits until the node, which meets no faults, serves.
    fn come_up(&self) {
        let cluster = &self.cluster;
        self.world.run_until(BOOT_MAX, || cluster.is_ready() || cluster.has_ended());
        if cluster.is_ready() {
            return self.scene.say(|| "the node serves".to_owned());
        }
        let why = cluster.why_ended().unwrap_or_else(|| "it takes too long".to_owned());
        self.scene.violate("alive", format!("the node does not start: {why}"));
    }

    /// Lets time pass until `done`; a node that ends by itself is started again, as a service
    /// manager would.
    fn drive(&mut self, mut done: impl FnMut() -> bool) {
        let limit = self.scene.now() + RUN_MAX;
        loop {
            let cluster = &self.cluster;
            let mut over = false;
            self.world.run_until(RUN_MAX, || {
                over = done();
                over || cluster.has_ended()
            });
            if over {
                return;
            }
            if self.scene.now() >= limit {
                let operations = self.scene.operations.get();
                let message = format!("the clients stand still after {operations} operations");
                return self.scene.violate("alive", message);
            }
            let why = self.cluster.why_ended().unwrap_or_default();
            self.scene.say(|| format!("the node ended: {why}"));
            self.crash(self.end);
            self.wait(SERVICE_DELAY);
            self.start();
        }
    }

    fn wait(&self, time: Duration) {
        self.world.run_for(time);
    }

    // Faults.

    fn inject(&mut self, fault: Fault) {
        self.note(fault);
        match fault {
            Fault::CrashInFormat => unreachable!("it was before"),
            Fault::Kill => self.bounce(Crash::Kill),
            Fault::PowerLoss => self.bounce(Crash::PowerLoss),
            Fault::CrashInRecovery => {
                let (first, second) = (faults::crash(&mut self.rng), faults::crash(&mut self.rng));
                self.bounce(first);
                self.wait_a_little(10_000);
                self.bounce(second);
            }
            Fault::Restart => self.restart(),
            Fault::FailedWrite | Fault::FailedSync | Fault::FailedRead | Fault::FailedMeta => {
                self.fail_disk(fault);
            }
            Fault::FullDisk => {
                let (node, dir) = (self.cluster.node, faults::data_dir());
                self.scene.note(Event::DiskFull);
                self.world.set_disk(node, dir, |disk| disk.total_bytes = 0);
                self.wait_a_little(200_000);
                self.world.set_disk(node, dir, |disk| disk.total_bytes = 1 << 40);
                // Files that could not be made at the time need a new start.
                self.bounce_somehow();
            }
            Fault::NoRoom => self.fill_disk(),
            Fault::Cut => {
                self.world.cut(self.cluster.node, self.clients);
                self.wait_a_little(8_000_000);
                self.world.heal_all();
            }
            Fault::SlowLink => {
                let link = LinkOptions {
                    delay_max: Duration::from_millis(40),
                    piece_bytes_max: 700,
                    tiny_one_in: 3,
                    reset_one_in: 300,
                    ..LinkOptions::default()
                };
                self.world.set_link(self.cluster.node, self.clients, &link);
                self.wait_a_little(400_000);
                let usual = LinkOptions::default();
                self.world.set_link(self.cluster.node, self.clients, &usual);
            }
            Fault::FlippedBit => self.flip_bit(),
            Fault::Reset => self.world.reset_connections(self.cluster.node, self.clients),
            Fault::Pause => self.change_roles(),
        }
    }

    fn note(&mut self, fault: Fault) {
        self.scene.say(|| format!("fault: {fault}"));
        *self.faults.entry(fault).or_default() += 1;
    }

    fn wait_a_little(&mut self, micros_max: u64) {
        let micros = self.rng.below(micros_max);
        self.wait(Duration::from_micros(micros));
    }

    fn bounce(&mut self, kind: Crash) {
        self.crash(kind);
        let down = faults::downtime(&mut self.rng);
        self.wait(down);
        self.start();
    }

    fn bounce_somehow(&mut self) {
        let kind = faults::crash(&mut self.rng);
        self.bounce(kind);
    }

    fn restart(&mut self) {
        self.cluster.stop();
        let cluster = &self.cluster;
        if !self.world.run_until(BOOT_MAX, || cluster.has_ended()) {
            self.scene.violate("alive", "the node does not stop".to_owned());
        }
        let why = self.cluster.why_ended().unwrap_or_else(|| "in order".to_owned());
        self.scene.say(|| format!("the node stopped: {why}"));
        self.bounce(Crash::Kill);
    }

    /// Some operations of a kind fail, and later the node goes down: by then a partition that saw
    /// it has stopped, and its clients wait.
    ///
    /// Where only the process goes down and comes back, the machine follows: what a failed sync
    /// left behind can be read until then, and no later sync of it alone writes it.
    fn fail_disk(&mut self, fault: Fault) {
        let op = fault.disk_op().expect("a fault of the disk");
        for _ in 0..self.rng.between(1, 3) {
            self.world.fail_next(self.cluster.node, faults::data_dir(), op, EIO);
        }
        self.end = faults::crash(&mut self.rng);
        let scene = Rc::clone(&self.scene);
        let until = scene.operations.get() + 30;
        self.drive(|| scene.operations.get() >= until || scene.busy.get() == 0);
        self.world.clear_faults(self.cluster.node);
        self.bounce_somehow();
        self.end = Crash::Kill;
        if fault == Fault::FailedSync {
            let until = scene.operations.get() + u32::try_from(self.rng.below(30)).expect("few");
            self.drive(|| scene.operations.get() >= until || scene.busy.get() == 0);
            self.bounce(Crash::PowerLoss);
        }
    }

    /// The disk fills up, and later there is room again. The node serves all the while: it reads
    /// and deletes what is there, and takes records again without a new start.
    fn fill_disk(&mut self) {
        let Some(epochs) = self.leader_epochs().filter(|_| self.cluster.is_ready()) else { return };
        let places: Vec<Place> = epochs.into_keys().collect();
        let (node, dir) = (self.cluster.node, faults::data_dir());
        let rt = self.world.rt(node, CoreId(0));
        let space = self.world.block_on(BOOT_MAX, async move { rt.space(dir).await });
        let Some(Ok(space)) = space else { return };
        let used = space.total_bytes - space.free_bytes;
        let room = *self.rng.pick(&[0, 4_096, 100_000, 1 << 20]);
        self.scene.note(Event::DiskFull);
        self.world.set_disk(node, dir, |disk| disk.total_bytes = used + self.rng.below(room + 1));
        let starts = self.cluster.starts();
        let scene = Rc::clone(&self.scene);
        let until = scene.operations.get() + 60;
        self.drive(|| scene.operations.get() >= until || scene.busy.get() == 0);
        self.check(&places, |mut client, places| async move { client.check_full(&places).await });
        self.world.set_disk(node, dir, |disk| disk.total_bytes = ROOM);
        self.scene.say(|| "there is room again".to_owned());
        // Also those whose files could not be made at the time.
        let now = self.leader_epochs().map(|epochs| epochs.into_keys().collect());
        let places: Vec<Place> = now.unwrap_or(places);
        self.check(&places, |mut client, places| async move { client.check_room(&places).await });
        if self.cluster.starts() != starts || self.cluster.has_ended() {
            self.scene.violate("alive", "the node ends on a full disk".to_owned());
        }
    }

    /// Has a client look at places, in time.
    fn check<F: Future<Output = ()> + 'static>(
        &mut self,
        places: &[Place],
        with: impl FnOnce(Client, Vec<Place>) -> F,
    ) {
        let client = Client::new(&self.scene, self.rng.fork());
        let done = self.world.block_on(AUDIT_MAX, with(client, places.to_vec()));
        if done.is_none() {
            self.scene.violate("alive", "a client's look does not end".to_owned());
        }
    }

    /// Cores stand still until the controller has taken this broker for gone. Whether it has, or
    /// hears of it in time after all, depends on which task comes first: some tries are needed.
    fn change_roles(&mut self) {
        for _ in 0..ROLE_TRIES {
            let (node, cores) = (self.cluster.node, self.cluster.cores());
            let Some(before) = self.leader_epochs() else { return };
            let longest = self.rng.between(SILENCE_MS, SILENCE_MS + 3_000);
            for core in (0..cores).map(CoreId) {
                // At times others go on meanwhile, or stand still for longer.
                let ms = match (core, self.rng.below(3)) {
                    (CoreId(0), _) | (_, 0) => longest,
                    (_, 1) => self.rng.below(longest + 1_000),
                    _ => 0,
                };
                self.world.pause(node, core, Duration::from_millis(ms));
            }
            self.wait(Duration::from_millis(longest));
            self.wait_a_little(1_500_000);
            let Some(after) = self.leader_epochs() else { return };
            let changed =
                after.iter().any(|(place, epoch)| before.get(place).is_some_and(|b| b < epoch));
            if changed {
                self.scene.say(|| "partitions changed their roles".to_owned());
                self.role_changes += 1;
                return;
            }
        }
    }

    /// The leader epochs as Metadata tells them; `None` if the node has ended.
    fn leader_epochs(&mut self) -> Option<BTreeMap<Place, i32>> {
        let mut client = Client::new(&self.scene, self.rng.fork());
        let epochs = self.world.block_on(BOOT_MAX, async move {
            client.list_topics().await;
            client.epochs
        });
        epochs.filter(|_| !self.cluster.has_ended())
    }

    /// A bit of a closed segment turns on the disk, and later back. Whoever reads it meanwhile gets
    /// an error and never what it says; then the node goes down, for what saw it may have stopped.
    fn flip_bit(&mut self) {
        if !self.cluster.is_ready() {
            return;
        }
        let node = self.cluster.node;
        let listing = closed_segments(self.world.rt(node, CoreId(0)));
        let files = self.world.block_on(BOOT_MAX, listing).unwrap_or_default();
        if files.is_empty() {
            return;
        }
        let (path, len) = self.rng.pick(&files).clone();
        let (at, bit) = (self.rng.below(len), self.rng.below(8) as u8);
        self.scene.say(|| format!("bit {bit} of byte {at} of {} turns", path.display()));
        // The file may go at any time.
        let turn = |world: &World| drop(world.flip_bit(node, &path, at, bit));
        turn(&self.world);
        let scene = Rc::clone(&self.scene);
        let until = scene.operations.get() + 30;
        self.drive(|| scene.operations.get() >= until || scene.busy.get() == 0);
        turn(&self.world);
        self.bounce_somehow();
    }

    // The end.

    fn calm(&mut self) {
        self.world.heal_all();
        if self.cluster.has_ended() {
            self.crash(Crash::Kill);
            self.start();
        }
        self.come_up();
    }

    /// The groups come to rest. A fault of the disk may have stopped their partition: only now it is
    /// sure to be led again.
    fn settle(&self) {
        let done = self.world.block_on(AUDIT_MAX, settle(Rc::clone(&self.scene)));
        if done.is_none() {
            self.scene.violate("alive", "the groups do not come to rest".to_owned());
        }
    }

    fn audit(&mut self) {
        let mut client = Client::new(&self.scene, self.rng.fork());
        let done = self.world.block_on(AUDIT_MAX, async move {
            client.audit().await;
            client.audit_offsets().await;
        });
        if done.is_none() {
            self.scene.violate("alive", "the audit does not end".to_owned());
        }
    }
}

/// The partitions' segments that are appended to no more, with their lengths.
async fn closed_segments(rt: Rt) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let root = faults::data_dir();
    for dir in rt.list_dir(root).await.unwrap_or_default().iter().filter(|entry| entry.is_dir) {
        let dir = root.join(&dir.name);
        if dir.to_string_lossy().contains("__cluster_metadata") {
            continue;
        }
        let files = rt.list_dir(&dir).await.unwrap_or_default().into_iter();
        let logs = files.filter(|file| file.name.to_string_lossy().ends_with(".log"));
        let mut logs: Vec<_> = logs.map(|file| (dir.join(&file.name), file.len)).collect();
        logs.sort();
        logs.pop();
        found.extend(logs.into_iter().filter(|(_, len)| *len > 0));
    }
    found.sort();
    found
}

/// Small files, so that all that goes with many and large ones happens.
fn node_settings(rng: &mut Rng) -> Vec<String> {
    let mut settings = vec![
        "auto.create.topics.enable=false".to_owned(),
        "offsets.topic.num.partitions=2".to_owned(),
        // An idle controller's records are not what is looked at.
        "metadata.max.idle.interval.ms=20000".to_owned(),
        format!("log.index.interval.bytes={}", rng.pick(&[0, 100, 4_096])),
    ];
    // Reached by who pipelines large batches.
    settings.push("log.segment.bytes=1048576".to_owned());
    if rng.one_in(2) {
        settings.push(format!("queued.max.request.bytes={}", rng.pick(&[150_000, 600_000])));
    }
    // A journal of the smallest size, in most of the runs.
    settings.push(format!("odradek.journal.bytes={}", rng.pick(&[0, 1, 1])));
    settings.push(format!("odradek.journal.partitions.min={}", rng.pick(&[1, 2, 4])));
    let largest = rng.pick(&[200, 65_536, 131_072]);
    settings.push(format!("odradek.journal.append.max.bytes={largest}"));
    // Many short segments, in half of the runs.
    if rng.one_in(2) {
        settings.push(format!("log.roll.ms={}", rng.pick(&[50, 300, 2_000])));
        // Committed offsets are in a compacted topic.
        settings.push(format!("log.cleaner.backoff.ms={}", rng.pick(&[20, 200, 15_000])));
        settings.push("log.cleaner.min.cleanable.ratio=0".to_owned());
        settings.push(format!("log.cleaner.delete.retention.ms={}", rng.pick(&[0, 86_400_000])));
    }
    settings
}

/// Starting and stopping take milliseconds; with hiccups of the disk, more.
const BOOT_MAX: Duration = Duration::from_secs(60);
/// Clients do their operations in seconds, waiting for faults to pass included.
const RUN_MAX: Duration = Duration::from_secs(900);
const AUDIT_MAX: Duration = Duration::from_secs(300);
/// A service manager starts a service again after this time.
const SERVICE_DELAY: Duration = Duration::from_millis(20);
/// A first start takes most of this.
const FIRST_START_MICROS: u64 = 15_000;
/// Of a disk that is not full.
const ROOM: u64 = 1 << 40;
const EIO: i32 = 5;
/// Past the controller's patience with a broker, 9 s.
const SILENCE_MS: u64 = 9_100;
/// More than enough for one that changes roles.
const ROLE_TRIES: u32 = 6;
/// A run takes some hundreds of polls for each operation, and some 100 000 to start, recover and
/// be audited.
const POLLS_PER_OPERATION_MAX: u64 = 100_000;
/// See [`POLLS_PER_OPERATION_MAX`].
const POLLS_MAX: u64 = 50_000_000;
