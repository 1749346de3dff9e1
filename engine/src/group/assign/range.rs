//! `range`: of each topic, the members that read it get runs of neighbouring partitions, in order of
//! their names. Members that read the same topics get the same numbers of each, so that topics with
//! equal keys are read together.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use wire::primitives::Uuid;

use super::{Claim, Partitions};

pub(super) fn assign(members: &[Claim<'_>], topics: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| by_name(&members[*a], &members[*b]));
    let mut dealt = vec![Partitions::new(); members.len()];
    let mut readers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for at in order {
        for topic in members[at].topics.iter() {
            readers.entry(*topic).or_default().push(at);
        }
    }
    for (topic, readers) in readers {
        let Some(count) = topics.get(&topic).copied().filter(|count| *count > 0) else { continue };
        let among = i32::try_from(readers.len()).unwrap_or(i32::MAX);
        let (each, mut over) = (count / among, count % among);
        let mut next = 0;
        for at in readers {
            let more = i32::from(over > 0);
            over -= more;
            let until = next + each + more;
            if until > next {
                dealt[at].insert(topic, (next..until).collect());
            }
            next = until;
        }
    }
    dealt
}

/// Static members by their names, before the others by their ids.
fn by_name(a: &Claim<'_>, b: &Claim<'_>) -> Ordering {
    match (a.instance, b.instance) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.id.cmp(b.id),
    }
}
