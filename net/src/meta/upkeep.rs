//! What the controller does by the clock: heartbeats of this broker, silent brokers, elections.

use std::rc::Rc;
use std::time::Duration;

use super::Meta;

/// Runs for ever.
pub(super) async fn run(meta: Rc<Meta>) {
    let mut balanced = meta.core.rt.now();
    loop {
        meta.core.rt.sleep(HEARTBEAT).await;
        if meta.core.is_draining() {
            return;
        }
        let beat = meta.heartbeat(false);
        let beaten = meta.propose(move |desk, turn| desk.heartbeat(turn, &beat)).await;
        match beaten {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => tracing::warn!("this broker's heartbeat was refused: {refusal}"),
            // Told where it happened.
            Err(_) => continue,
        }
        while let Ok(Some(silent)) =
            meta.propose(|desk, turn| desk.fence_stale_broker(turn.now)).await
        {
            tracing::warn!(broker = silent.0, "fenced: silent for too long");
        }
        if meta.core.rt.now().since(balanced) >= BALANCE {
            balanced = meta.core.rt.now();
            // Both say whether there is more; the rest has its turn next time.
            let _ = meta.propose(|desk, _| desk.balance_leaders(ELECTIONS_MAX)).await;
            let _ = meta.propose(|desk, _| desk.elect_leaderless(ELECTIONS_MAX)).await;
        }
    }
}

/// `broker.heartbeat.interval.ms` by default.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// `leader.imbalance.check.interval.seconds` by default.
const BALANCE: Duration = Duration::from_secs(300);
/// Elections in one batch, as in Kafka.
const ELECTIONS_MAX: usize = 1000;
