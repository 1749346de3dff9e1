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
