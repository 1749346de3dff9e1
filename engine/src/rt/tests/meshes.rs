//! The mesh between the cores of one node, in both forms.

use std::{
    cell::Cell,
    collections::BTreeMap,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    ids::CoreId,
    rt::{
        MeshClosed, MeshPort, Rt, TrySendError, mesh,
        real::{CoreSpec, start},
        sim::{SimOptions, World},
    },
};

type Main<M> = fn(Rt, MeshPort<M>, Shared) -> Pin<Box<dyn Future<Output = ()>>>;

/// What the cores of a test tell the test.
type Shared = Arc<Mutex<BTreeMap<usize, Vec<u64>>>>;

/// Runs `main` on every core of a node, really and in simulation; what the cores told.
fn on_cores<M: Send + 'static>(
    cores: usize,
    capacity: usize,
    main: Main<M>,
) -> Vec<BTreeMap<usize, Vec<u64>>> {
    let mut told = Vec::new();
    for seed in 0..30 {
        let world = World::new(seed, SimOptions::default());
        let node = world.add_node(cores);
        let shared = Shared::default();
        for port in mesh(cores, capacity) {
            let shared = Arc::clone(&shared);
            world.start_core(node, port.core(), move |rt| main(rt, port, shared));
        }
        world.run_for(Duration::from_secs(600));
        assert_eq!((world.tasks(), world.panics()), (0, Vec::new()), "seed {seed}");
        told.push(std::mem::take(&mut *shared.lock().unwrap()));
    }
    let shared = Shared::default();
    let mains = mesh(cores, capacity).into_iter().map(|port| {
        let shared = Arc::clone(&shared);
        (CoreSpec::default(), move |rt| main(rt, port, shared))
    });
    start(mains.collect()).unwrap().join().unwrap();
    told.push(std::mem::take(&mut *shared.lock().unwrap()));
    told
}

#[test]
fn messages_of_one_sender_arrive_in_order_through_a_small_mailbox() {
    const EACH: u64 = 500;
    for told in on_cores(4, 2, |rt, port, shared| {
        Box::pin(async move {
            let port = Rc::new(port);
            let others = (0..port.cores() as u16).filter(|to| CoreId(*to) != port.core());
            let senders: Vec<_> = others
                .map(|to| {
                    let port = Rc::clone(&port);
                    rt.spawn("sends", async move {
                        for i in 0..EACH {
                            port.send(CoreId(to), i).await.unwrap();
                        }
                    })
                })
                .collect();
            let mut next = vec![0; port.cores()];
            for _ in 0..EACH * (port.cores() as u64 - 1) {
                let (from, i) = port.recv().await.unwrap();
                assert_eq!(i, next[from.index()]);
                next[from.index()] += 1;
            }
            for sender in senders {
                sender.await.unwrap();
            }
            next.remove(port.core().index());
            shared.lock().unwrap().insert(port.core().index(), next);
        })
    }) {
        assert!(told.len() == 4 && told.values().all(|n| *n == [EACH; 3]), "{told:?}");
    }
}

#[test]
fn a_closed_core_is_an_error_to_its_senders_and_an_end_to_its_receivers() {
    for told in on_cores(2, 1, |rt, port, shared| {
        Box::pin(async move {
            if port.core() == CoreId(0) {
                // Fill the other's mailbox, block on it, and be told that it is gone.
                let mut sent = 0;
                let failed = loop {
                    match port.send(CoreId(1), sent).await {
                        Ok(()) => sent += 1,
                        Err(closed) => break closed,
                    }
                };
                assert_eq!(failed, MeshClosed(CoreId(1)));
                assert_eq!(port.try_send(CoreId(1), 7), Err(TrySendError::Closed(7)));
                assert_eq!(port.recv().await, None, "nobody is left to send");
                shared.lock().unwrap().insert(0, vec![sent]);
            } else {
                assert_eq!(port.recv().await, Some((CoreId(0), 0)));
                rt.sleep(Duration::from_millis(5)).await;
            }
        })
    }) {
        assert!(told[&0][0] >= 1, "{told:?}");
    }
}

#[test]
fn waiting_tasks_get_room_in_turn_and_a_dropped_send_sends_nothing() {
    on_cores(2, 1, |rt, port, _| {
        Box::pin(async move {
            if port.core() == CoreId(1) {
                rt.sleep(Duration::from_millis(20)).await;
                let mut got = Vec::new();
                while let Some((_, i)) = port.recv().await {
                    got.push(i);
                }
                assert_eq!(got, [0, 1, 2, 4, 5]);
                return;
            }
            let port = Rc::new(port);
            port.send(CoreId(1), 0_u64).await.unwrap();
            let started = Rc::new(Cell::new(1));
            let tasks: Vec<_> = (1..=5)
                .map(|i| {
                    let (own, port, started) = (rt.clone(), Rc::clone(&port), Rc::clone(&started));
                    rt.spawn("waits", async move {
                        while started.get() != i {
                            own.sleep(Duration::from_micros(100)).await;
                        }
                        started.set(i + 1);
                        let send = Box::pin(port.send(CoreId(1), i));
                        if i == 3 {
                            let limit = own.sleep(Duration::from_millis(2));
                            drop(futures_util::future::select(send, limit).await);
                        } else {
                            send.await.unwrap();
                        }
                    })
                })
                .collect();
            while started.get() < 6 {
                rt.sleep(Duration::from_micros(100)).await;
            }
            assert_eq!(port.try_send(CoreId(1), 9), Err(TrySendError::Full(9)));
            for task in tasks {
                task.await.unwrap();
            }
        })
    });
}

#[test]
fn undelivered_messages_are_dropped_with_their_core() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut ports = mesh(2, 8);
    let (second, first) = (ports.pop().unwrap(), ports.pop().unwrap());
    for _ in 0..5 {
        assert!(first.try_send(CoreId(1), Counted(Arc::clone(&dropped))).is_ok());
    }
    drop(second.try_recv());
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    drop(second);
    assert_eq!(dropped.load(Ordering::Relaxed), 5);
}
