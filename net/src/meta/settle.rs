//! Which log directory a partition goes to, or has gone to, as the cores ask and tell.

use std::rc::Rc;

use replication::controller::directories::AssignDirectories;
use replication::cores::PartitionKey;

use crate::core::Core;

/// A partition is in another log directory now.
pub(crate) struct Settled {
    pub(crate) key: PartitionKey,
    /// Its index.
    pub(crate) dir: usize,
}

/// Topic, partition and index of the directory that it is to go to, should it come to this node.
pub(crate) struct Prefer(pub(crate) Vec<(String, i32, usize)>);

/// On core 0: has the controller know; true once it does.
pub(crate) async fn settled(core: Rc<Core>, Settled { key, dir }: Settled) -> bool {
    let Some(meta) = core.meta() else { return false };
    let Some(id) = meta.homes.borrow_mut().moved(key, dir) else { return false };
    let assignments = vec![(key.topic, key.partition, id)];
    let (broker, epoch) = (core.node.id, meta.broker_epoch());
    let request = AssignDirectories { broker, epoch, assignments };
    let assigned = meta.propose_only(move |desk, _| desk.assign_directories(&request)).await;
    let refusal = match assigned {
        Ok(Ok(outcomes)) => match outcomes.into_iter().find_map(|outcome| outcome.result.err()) {
            None => return true,
            Some(refusal) => refusal.to_string(),
        },
        Ok(Err(refusal)) => refusal.to_string(),
        Err(error) => error.to_string(),
    };
    // The next start tells it.
    tracing::warn!("the controller does not know where a partition has moved: {refusal}");
    false
}

/// On core 0: keeps it in mind until the next stop.
pub(crate) async fn prefer(core: Rc<Core>, Prefer(wishes): Prefer) {
    let Some(meta) = core.meta() else { return };
    let mut homes = meta.homes.borrow_mut();
    wishes.into_iter().for_each(|(topic, partition, dir)| homes.prefer(topic, partition, dir));
}
