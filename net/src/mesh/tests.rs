//! Calls between cores when something goes wrong.

use std::cell::Cell;
use std::time::Duration;

use engine::rt::mesh;
use futures_util::future::join_all;

use super::*;
use crate::boot::stop::Close;
use crate::testing::Shell;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn calls_to_a_core_that_has_stopped_fail() {
    let shell = Shell::start(1, 1, &[]);
    let (rt, node) = (shell.cores[0].rt.clone(), Arc::clone(&shell.cores[0].node));
    // The other core takes no message any more, and its lane is full before it is gone.
    let [own, other] = <[_; 2]>::try_from(mesh(2, 64)).expect("two cores");
    let caller = Core::new(rt, node, Rc::new(own));
    let calls: Vec<_> = (0..500).map(|_| call(&caller, CoreId(1), Close)).collect();
    let answered = Rc::new(Cell::new(0));
    let count = Rc::clone(&answered);
    let asking = async move {
        for outcome in join_all(calls).await {
            assert_eq!(outcome, Err(CallError::Stopped));
            count.set(count.get() + 1);
        }
    };
    caller.rt.spawn("asking", asking).detach();
    shell.world.run_for(Duration::from_secs(1));
    assert_eq!(answered.get(), 0, "nobody says anything");
    drop(other);
    assert!(shell.world.run_until(MINUTE, || answered.get() == 500));
    assert_eq!(caller.mesh.calls_waiting(), 0);
}

#[test]
fn a_panic_over_one_message_costs_that_message() {
    let shell = Shell::start(2, 2, &[]);
    let caller = Rc::clone(&shell.cores[0]);
    tell(&caller, CoreId(1), Msg::Begin(Arc::clone(&caller.node)));
    let answered = Rc::new(Cell::new(false));
    let told = Rc::clone(&answered);
    let closing = call(&caller, CoreId(1), Close);
    caller.rt.spawn("asking", async move { told.set(closing.await == Ok(Vec::new())) }).detach();
    assert!(shell.world.run_until(MINUTE, || answered.get()));
}

#[test]
fn a_busy_cores_own_work_does_not_hold_other_cores_up() {
    let shell = Shell::start(3, 1, &[]);
    let rt = shell.cores[0].rt.clone();
    let [own, other] = <[_; 2]>::try_from(mesh(2, 1024)).expect("two cores");
    for message in 0..640 {
        assert!(other.try_send(CoreId(0), message).is_ok());
    }
    let (turns, taken) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (count, beside) = (Rc::clone(&turns), rt.clone());
    rt.spawn("busy", async move {
        loop {
            count.set(count.get() + 1);
            beside.turn().await;
        }
    })
    .detach();
    let (count, taking) = (Rc::clone(&taken), rt.clone());
    rt.spawn("taking", async move {
        let take = |_, _: i32| {
            count.set(count.get() + 1);
            if count.get() < 640 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        take_all(&taking, &own, take).await;
    })
    .detach();
    assert!(shell.world.run_until(MINUTE, || taken.get() == 640));
    assert!(turns.get() < 320, "{} turns of others", turns.get());
}
