//! Nobody commits to what is another's: once a member was told that it has a partition, a commit of
//! the one who had it before is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Report;
use crate::history::{Event, History, Place, Told};

pub(super) fn check(history: &History, report: &mut Report) {
    // When members were told last that they have it, by reign; and all that were told of a partition.
    let mut reigns: BTreeMap<u64, (Duration, u64)> = BTreeMap::new();
    let mut owners: BTreeMap<(&str, Place), Vec<(Duration, &Told)>> = BTreeMap::new();
    let mut sent: BTreeMap<(u64, i64), Duration> = BTreeMap::new();
    for (at, event) in &history.events {
        match event {
            Event::Told(told) => {
                for (place, reign) in &told.has {
                    reigns.insert(*reign, (*at, told.member));
                    owners.entry((&told.group, *place)).or_default().push((*at, told));
                }
            }
            Event::CommitSent { reign, offset, .. } => {
                sent.insert((*reign, *offset), *at);
            }
            Event::Committed { group, place, offset, reign } => {
                let Some((had, member)) = reigns.get(reign) else { continue };
                let Some(asked) = sent.get(&(*reign, *offset)) else { continue };
                let owners = owners.get(&(group.as_str(), *place)).into_iter().flatten();
                // Asked for when the committer had been told, so that it comes after that.
                let mut later = owners.filter(|(told, owner)| {
                    owner.member != *member && owner.asked > *had && told < asked
                });
                if let Some((told, owner)) = later.next() {
                    report.violated(format!(
                        "{offset} of member {member} of {group} was taken at {asked:?} for {place}, \
                         which member {} had since {told:?}",
                        owner.member
                    ));
                }
            }
            _ => {}
        }
    }
}
