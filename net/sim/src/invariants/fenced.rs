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

#[cfg(test)]
mod tests {
    use super::*;
    use wire::primitives::Uuid;

    #[test]
    fn a_commit_to_what_is_anothers_is_seen() {
        let place = Place { topic: Uuid::ZERO, partition: 0 };
        let told = |member: u64, asked: u64| {
            let (group, asked) = ("g".to_owned(), Duration::from_millis(asked));
            let has = vec![(place, member)];
            Event::Told(Told { group, member, asked, generation: 0, alike: false, has })
        };
        let (group, offset, reign) = ("g".to_owned(), 1, 1);
        let sent = Event::CommitSent { group: group.clone(), place, offset, reign };
        let done = Event::Committed { group, place, offset, reign };
        let violations = |events: [&Event; 4]| {
            let events = events.into_iter().cloned();
            let events = (1..).map(|n| Duration::from_millis(10 * n)).zip(events).collect();
            let mut report = Report { invariant: "fenced", found: Vec::new() };
            check(&History { events, ..History::default() }, &mut report);
            report.found.len()
        };
        assert_eq!(violations([&told(1, 5), &told(2, 15), &sent, &done]), 1);
        assert_eq!(violations([&told(1, 5), &told(2, 5), &sent, &done]), 0, "which comes first?");
        assert_eq!(violations([&told(1, 5), &sent, &told(2, 25), &done]), 0, "it was sent before");
        assert_eq!(violations([&told(1, 5), &told(1, 15), &sent, &done]), 0);
    }
}
