//! When the faults are over: the members of every group, left alone, share all partitions.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Member, Protocol};
use crate::workload::Scene;
use crate::workload::audit::PATIENCE;

/// How a member stands, for all to see.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    group: String,
    is_in: bool,
    epoch: i32,
    has: Vec<i32>,
    gives_up: bool,
}

/// Lets all members of the run go on, without leaving, dying or sleeping, until each group is at rest:
/// its members in one generation, every partition with one of them, and so for some heartbeats. What
/// does not come to pass in time is a violation.
pub(crate) async fn settle(scene: Rc<Scene>) {
    let members = std::mem::take(&mut *scene.members.borrow_mut());
    let board = RefCell::new(vec![None; members.len()]);
    // All end at once: who waits for others must not be missed by them.
    let is_over = Cell::new(false);
    let deadline = scene.now() + PATIENCE;
    let all = members.into_iter().enumerate().map(|(n, mut member)| {
        let (scene, board, is_over) = (&scene, &board, &is_over);
        async move {
            member.calm = true;
            let mut rest = Rest::default();
            while !is_over.get() && scene.now() < deadline {
                member.live().await;
                board.borrow_mut()[n] = Some(member.standing());
                if rest.is_enough(scene, &board.borrow(), &member) {
                    is_over.set(true);
                }
            }
            member
        }
    });
    let members = join_all(all).await;
    if !is_over.get() && !members.is_empty() {
        let standings = board.borrow();
        let standings: Vec<_> = standings.iter().flatten().collect();
        scene.violate("alive", format!("the members do not agree: {standings:?}"));
    }
    *scene.members.borrow_mut() = members;
}

/// Since when all stand as they do.
#[derive(Default)]
struct Rest {
    board: Vec<Option<Standing>>,
    since: Duration,
}

impl Rest {
    fn is_enough(&mut self, scene: &Scene, board: &[Option<Standing>], member: &Member) -> bool {
        if *board != *self.board || !agree(board, member.crew.partitions) {
            self.board = board.to_vec();
            self.since = scene.now();
        }
        // A new assignment may be due.
        let pace = member.crew.pace;
        scene.now() - self.since > pace.assignment + pace.beat * HEARTBEATS
    }
}

/// Whether the members of each group share all partitions, in one generation.
fn agree(board: &[Option<Standing>], partitions: i32) -> bool {
    let mut groups: BTreeMap<&str, (i32, Vec<i32>)> = BTreeMap::new();
    for standing in board {
        let Some(standing) = standing.as_ref().filter(|it| it.is_in && !it.gives_up) else {
            return false;
        };
        let (epoch, all) = groups.entry(&standing.group).or_insert((standing.epoch, Vec::new()));
        if *epoch != standing.epoch {
            return false;
        }
        all.extend(&standing.has);
    }
    groups.into_values().all(|(_, mut all)| {
        all.sort_unstable();
        all.into_iter().eq(0..partitions)
    })
}

impl Member {
    fn standing(&self) -> Standing {
        Standing {
            group: self.crew.group.clone(),
            is_in: self.is_in,
            epoch: self.epoch,
            has: self.has.keys().copied().collect(),
            gives_up: self.protocol == Protocol::Modern && self.is_giving_up(),
        }
    }
}

/// Of everybody, while nothing changes.
const HEARTBEATS: u32 = 3;
