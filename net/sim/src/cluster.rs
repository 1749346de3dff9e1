//! The node under test: the real one, on simulated cores, over disks that outlive it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::Config;
use engine::ids::CoreId;
use engine::rt::sim::{Crash, NodeId, World};
use net::boot::{self, BootError, Handle};

/// One node with its present incarnation.
pub(crate) struct Cluster {
    pub(crate) world: Rc<World>,
    pub(crate) node: NodeId,
    pub(crate) addr: SocketAddr,
    settings: Vec<String>,
    life: Option<Life>,
    cores: u16,
    starts: u32,
}

/// An incarnation.
struct Life {
    handle: Handle,
    ready: Arc<AtomicBool>,
    /// How core 0 ended.
    outcome: Rc<RefCell<Option<Result<(), BootError>>>>,
}

impl Cluster {
    /// A node that was never started; `settings` are `KEY=VALUE`.
    pub(crate) fn new(world: Rc<World>, settings: Vec<String>) -> Self {
        let node = world.add_node(CORES_MAX);
        let addr = SocketAddr::new(world.ip(node), 9092);
        Self { world, node, addr, settings, life: None, cores: 0, starts: 0 }
    }

    /// Starts the node, which is down, on so many cores.
    pub(crate) fn start(&mut self, cores: usize) {
        self.starts += 1;
        self.cores = u16::try_from(cores).expect("few");
        if !self.world.is_up(self.node) {
            self.world.restart(self.node);
        }
        let listeners = format!("listeners=PLAINTEXT://{}", self.addr);
        let builder = Config::builder().set("log.dirs=/data").set(&listeners);
        let builder = self.settings.iter().fold(builder, |builder, set| builder.set(set));
        let config = builder.build().expect("the simulation's settings are valid");
        let ready = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&ready);
        let (places, handle) =
            boot::places(config, cores, move |_| tell.store(true, Ordering::Relaxed));
        let outcome = Rc::new(RefCell::new(None));
        for (core, place) in (0..).map(CoreId).zip(places) {
            let outcome = Rc::clone(&outcome);
            self.world.start_core(self.node, core, move |rt| async move {
                let ended = boot::run(rt, place).await;
                if core == CoreId(0) {
                    *outcome.borrow_mut() = Some(ended);
                }
            });
        }
        self.life = Some(Life { handle, ready, outcome });
    }

    /// How often it was started.
    pub(crate) fn starts(&self) -> u32 {
        self.starts
    }

    /// Cores that it was started on last.
    pub(crate) fn cores(&self) -> u16 {
        self.cores
    }

    /// Whether the node serves.
    pub(crate) fn is_ready(&self) -> bool {
        let ready = |life: &Life| life.ready.load(Ordering::Relaxed) && !life.has_ended();
        self.life.as_ref().is_some_and(ready)
    }

    /// Whether the node has ended by itself; why, if that is known.
    pub(crate) fn has_ended(&self) -> bool {
        self.life.as_ref().is_none_or(Life::has_ended)
    }

    /// Why it ended, if it did and not in order.
    pub(crate) fn why_ended(&self) -> Option<String> {
        let outcome = self.life.as_ref()?.outcome.borrow();
        outcome.as_ref()?.as_ref().err().map(ToString::to_string)
    }

    /// Asks the node to stop in order.
    pub(crate) fn stop(&self) {
        if let Some(life) = &self.life {
            life.handle.stop();
        }
    }

    /// Ends the node at once, whatever it does.
    pub(crate) fn crash(&mut self, kind: Crash) {
        self.life = None;
        self.world.crash(self.node, kind);
    }
}

impl Life {
    fn has_ended(&self) -> bool {
        self.outcome.borrow().is_some()
    }
}

/// Cores that a node may have.
pub(crate) const CORES_MAX: usize = 3;
