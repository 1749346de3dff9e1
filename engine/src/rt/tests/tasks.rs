//! Tasks, timers, blocking work, randomness.

use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use futures_util::future::{Either, select};

use super::behaviours;
use crate::rt::{Map, Rt, inbox, mesh};

behaviours! {
    async fn a_task_returns_its_result(rt: Rt, _dir: PathBuf) {
        let task = rt.spawn("adds", async { 1 + 1 });
        assert_eq!(task.await, Ok(2));
    }

    async fn a_panic_stays_in_its_task(rt: Rt, _dir: PathBuf) {
        let failed = rt.spawn("fails", async { assert!(failing(), "as planned") }).await;
        let panicked = failed.unwrap_err();
        assert_eq!((panicked.name, panicked.message.as_str()), ("fails", "as planned"));
        assert_eq!(rt.spawn("goes on", async { 7 }).await, Ok(7));
    }

    async fn a_panic_in_a_drop_stays_in_its_task(rt: Rt, _dir: PathBuf) {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let bomb = Bomb;
        let failed = rt.spawn("drops", async move { let _bomb = &bomb; }).await;
        assert_eq!(failed.unwrap_err().message, "dropped");
    }

    async fn a_dropped_handle_detaches(rt: Rt, _dir: PathBuf) {
        let done = Rc::new(Cell::new(false));
        let flag = Rc::clone(&done);
        let own = rt.clone();
        drop(rt.spawn("detached", async move {
            own.sleep(Duration::from_millis(2)).await;
            flag.set(true);
        }));
        rt.sleep(Duration::from_millis(20)).await;
        assert!(done.get());
    }

    async fn timers_fire_in_order_and_not_early(rt: Rt, _dir: PathBuf) {
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = rt.now();
        let tasks: Vec<_> = [30, 10, 20].into_iter().map(|ms| {
            let (own, order) = (rt.clone(), Rc::clone(&order));
            rt.spawn("sleeps", async move {
                let until = start + Duration::from_millis(ms);
                own.sleep_until(until).await;
                assert!(own.now() >= until);
                order.borrow_mut().push(ms);
            })
        }).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [10, 20, 30]);
        rt.sleep_until(start).await;
    }

    async fn a_timer_loses_a_race_and_is_dropped(rt: Rt, _dir: PathBuf) {
        let quick = rt.sleep(Duration::from_millis(1));
        let slow = rt.sleep(Duration::from_secs(3600));
        assert!(matches!(select(quick, slow).await, Either::Left(_)));
    }

    async fn turn_lets_other_tasks_run(rt: Rt, _dir: PathBuf) {
        let stop = Rc::new(Cell::new(false));
        let (flag, own) = (Rc::clone(&stop), rt.clone());
        let spinner = rt.spawn("spins", async move {
            while !flag.get() {
                own.turn().await;
            }
        });
        rt.sleep(Duration::from_millis(5)).await;
        stop.set(true);
        spinner.await.unwrap();
    }

    async fn blocking_work_returns(rt: Rt, _dir: PathBuf) {
        assert_eq!(rt.blocking(|| 6 * 7).await, Ok(42));
    }

    async fn blocking_panics_are_caught_and_the_pool_lives(rt: Rt, _dir: PathBuf) {
        for _ in 0..5 {
            let failed = rt.blocking(|| assert!(failing(), "in the pool")).await;
            assert_eq!(failed.unwrap_err().message, "in the pool");
        }
        assert_eq!(rt.blocking(|| 1).await, Ok(1));
    }

    async fn random_numbers_differ(rt: Rt, _dir: PathBuf) {
        assert_ne!(rt.random_u64(), rt.random_u64());
        let mut bytes = [0; 37];
        rt.fill_random(&mut bytes);
        assert!(bytes.iter().any(|b| *b != 0));
    }

    async fn maps_of_one_node_hash_alike(rt: Rt, _dir: PathBuf) {
        use std::hash::BuildHasher;
        let mut map = Map::with_hasher(rt.hash_state());
        map.insert("a", 1);
        assert_eq!(map["a"], 1);
        assert_eq!(rt.hash_state().hash_one(5), rt.hash_state().hash_one(5));
    }

    async fn a_core_can_send_to_itself(rt: Rt, _dir: PathBuf) {
        let port = Rc::new(mesh::<u32>(1, 4).remove(0));
        let own = Rc::clone(&port);
        let sender = rt.spawn("sends", async move {
            for i in 0..100 {
                own.send(own.core(), i).await.unwrap();
            }
        });
        for i in 0..100 {
            assert_eq!(port.recv().await, Some((port.core(), i)));
        }
        sender.await.unwrap();
    }

    async fn the_inbox_brings_messages_from_a_thread(rt: Rt, _dir: PathBuf) {
        let (sender, inbox) = inbox(1);
        let thread = std::thread::spawn(move || (0..3).for_each(|i| sender.send(i).unwrap()));
        // A simulated core does not wait for a real thread: poll.
        for i in 0..3 {
            let got = loop {
                match select(Box::pin(inbox.recv()), rt.sleep(Duration::from_millis(1))).await {
                    Either::Left((got, _)) => break got,
                    Either::Right(_) => std::thread::yield_now(),
                }
            };
            assert_eq!(got, Some(i));
        }
        thread.join().unwrap();
        assert_eq!(inbox.recv().await, None);
    }
}

fn failing() -> bool {
    false
}
