//! What only the real form promises: threads, pinning, and saying what went wrong.

use std::{
    pin::Pin,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::*;
use crate::{ids::CoreId, rt::Rt};

type Main = Box<dyn FnOnce(Rt) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

fn main<Fut: Future<Output = ()> + 'static>(f: impl FnOnce(Rt) -> Fut + Send + 'static) -> Main {
    Box::new(move |rt| Box::pin(f(rt)))
}

fn unpinned(main: Main) -> (CoreSpec, Main) {
    (CoreSpec::default(), main)
}

#[test]
fn a_core_that_panics_is_reported_and_the_others_run_on() {
    let (done, told) = mpsc::channel();
    let (seen, exit_seen) = mpsc::channel();
    let cores = start(vec![
        unpinned(main(|_| async { assert!(false_(), "as planned") })),
        // Printing the panic may take long.
        unpinned(main(move |rt| async move {
            while exit_seen.try_recv().is_err() {
                rt.sleep(Duration::from_millis(1)).await;
            }
            done.send(rt.core()).unwrap();
        })),
    ])
    .unwrap();
    let exit = cores.next_exit().unwrap();
    assert_eq!((exit.core, exit.result), (CoreId(0), Err("as planned".to_owned())));
    seen.send(()).unwrap();
    assert_eq!(told.recv().unwrap(), CoreId(1));
    let exit = cores.next_exit().unwrap();
    assert_eq!((exit.core, exit.result), (CoreId(1), Ok(())));
    assert!(cores.next_exit().is_none());
    cores.join().unwrap();
}

#[test]
fn a_function_that_panics_before_its_future_is_a_failed_core() {
    let cores = start(vec![unpinned(Box::new(|_| panic!("no future")))]).unwrap();
    let failed = cores.join().unwrap_err();
    assert_eq!(failed[0].result, Err("no future".to_owned()));
}

#[test]
fn a_cpu_that_is_not_there_is_named() {
    let spec = CoreSpec { cpu: Some(9999), ..CoreSpec::default() };
    let refused = start(vec![(spec, main(|_| async {}))]).map(drop).unwrap_err();
    assert!(matches!(refused, StartError::Cpu { cpu: 9999, .. }), "{refused}");
    assert!(refused.to_string().contains("9999"));
}

#[test]
fn a_pinned_core_runs_on_its_cpu() {
    let spec = CoreSpec { cpu: Some(0), ..CoreSpec::default() };
    let on_cpu = main(|rt| async move {
        rt.sleep(Duration::from_millis(1)).await;
        // SAFETY: no pointers are involved.
        assert_eq!(unsafe { libc::sched_getcpu() }, 0);
    });
    start(vec![(spec, on_cpu)]).unwrap().join().unwrap();
}

/// A task that computes without end, but takes its turns, must not keep sockets and timers from
/// being seen.
#[test]
fn turns_keep_a_busy_core_responsive() {
    let busy = main(|rt| async move {
        let stop = std::rc::Rc::new(std::cell::Cell::new(false));
        for _ in 0..4 {
            let (own, stop) = (rt.clone(), std::rc::Rc::clone(&stop));
            rt.spawn("computes", async move {
                while !stop.get() {
                    let began = Instant::now();
                    while began.elapsed() < Duration::from_micros(50) {}
                    own.turn().await;
                }
            })
            .detach();
        }
        let mut late = Vec::new();
        for _ in 0..50 {
            let due = Instant::now() + Duration::from_millis(1);
            rt.sleep(Duration::from_millis(1)).await;
            late.push(due.elapsed());
        }
        stop.set(true);
        late.sort_unstable();
        // About a millisecond; generous for a machine that is busy itself.
        assert!(late[25] < Duration::from_millis(9), "{late:?}");
    });
    start(vec![unpinned(busy)]).unwrap().join().unwrap();
}

fn false_() -> bool {
    false
}

#[test]
fn a_core_knows_the_processor_time_it_used() {
    let (done, told) = mpsc::channel();
    let cores = start(vec![unpinned(main(move |rt| async move {
        let began = Instant::now();
        let before = rt.busy();
        // However little of a processor this thread is given, some of it is its own.
        while rt.busy() < before + Duration::from_millis(5) {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", rt.busy());
        }
        // Two clocks, which may not agree to the last microsecond.
        let used = rt.busy() - before;
        done.send(used <= began.elapsed() + Duration::from_millis(5)).unwrap();
    }))])
    .unwrap();
    assert!(told.recv().unwrap(), "more than there was");
    assert!(cores.join().is_ok());
}
