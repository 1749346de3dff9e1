//! What happens by the clock: heartbeats of this broker, and the controller's watch over brokers
//! that are silent, and its elections.

use std::rc::Rc;
use std::time::Duration;

use replication::controller::Controller;

use super::{Meta, monotonic};

/// Runs for ever.
pub(super) async fn run(meta: Rc<Meta>) {
    let mut balanced = meta.core.rt.now();
    loop {
        meta.core.rt.sleep(HEARTBEAT).await;
        if meta.core.is_draining() {
            return;
        }
        let beat = meta.heartbeat(false);
        let beaten = meta.propose_only(move |desk, turn| desk.heartbeat(turn, &beat)).await;
        match beaten {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => tracing::warn!("this broker's heartbeat was refused: {refusal}"),
            // Told where it happened.
            Err(_) => continue,
        }
        if meta.core.rt.now().since(balanced) >= BALANCE {
            balanced = meta.core.rt.now();
            if let Err(error) = meta.log.partition().housekeep(meta.core.rt.wall_ms()).await {
                tracing::warn!("upkeep of the metadata log: {error}");
            }
            // Both say whether there is more; the rest has its turn next time.
            let _ = meta.propose_only(|desk, _| desk.balance_leaders(ELECTIONS_MAX)).await;
            let _ = meta.propose_only(|desk, _| desk.elect_leaderless(ELECTIONS_MAX)).await;
        }
    }
}

/// Fences brokers that have been silent for too long, for ever. Apart from the heartbeats of this
/// broker, which is one of them: who is silent is found out in time, however long these take.
pub(super) async fn watch(meta: Rc<Meta>) {
    loop {
        // None while there is no controller, or nobody to watch.
        let deadline = meta.read(Controller::next_session_deadline).ok().flatten();
        let left = deadline.map(|at| at.saturating_sub(monotonic(&meta.core)));
        meta.core.rt.sleep(left.unwrap_or(HEARTBEAT) + PAST_DEADLINE).await;
        if meta.core.is_draining() {
            return;
        }
        if deadline.is_none() || meta.read(Controller::next_session_deadline) != Ok(deadline) {
            continue;
        }
        while let Ok(Some(silent)) =
            meta.propose_only(|desk, turn| desk.fence_stale_broker(turn.now)).await
        {
            tracing::warn!(broker = silent.0, "fenced: silent for too long");
        }
    }
}

/// Has the log move on also when nothing changes, for ever: Kafka's brokers and tools judge by it
/// who is up to date. Where something was written meanwhile, that does.
pub(super) async fn move_on(meta: Rc<Meta>) {
    let interval = meta.core.node.config.metadata_max_idle_interval_ms;
    let interval = match u64::try_from(interval) {
        Ok(interval @ 1..) => Duration::from_millis(interval),
        _ => return,
    };
    let mut seen = meta.log.end();
    loop {
        meta.core.rt.sleep(interval).await;
        if meta.core.is_draining() {
            return;
        }
        if meta.log.end() == seen {
            // A failure is told where it happened.
            let _ = meta.propose_only(|desk, _| desk.no_op()).await;
        }
        seen = meta.log.end();
    }
}

/// `broker.heartbeat.interval.ms` by default.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// At its deadline to the nanosecond a session is still alive.
const PAST_DEADLINE: Duration = Duration::from_millis(1);
/// `leader.imbalance.check.interval.seconds` by default.
const BALANCE: Duration = Duration::from_secs(300);
/// Elections in one batch, as in Kafka.
const ELECTIONS_MAX: usize = 1000;
