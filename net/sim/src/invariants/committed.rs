//! A group's committed offset never goes back: who asks is told the last one that was acknowledged
//! before, or one that was sent since. Over kills, power cuts and restarts, and from one member to the
//! next: who is told where the group is goes on from there.
//!
//! A commit that was not answered may take effect later than younger ones: a core that stood still
//! finds it in a connection that its client has long given up. Nothing in such a request tells that
//! it is old, with Apache Kafka either; unless another member has the partition by then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Report;
use crate::history::{Event, History, Place};

#[derive(Default)]
struct Known {
    acknowledged: Vec<Acknowledged>,
    /// The highest.
    sent: i64,
    /// With the reigns that they are of.
    unanswered: BTreeSet<(i64, u64)>,
}

struct Acknowledged {
    at: Duration,
    offset: i64,
    reign: u64,
}

pub(super) fn check(history: &History, report: &mut Report) {
    let mut known: BTreeMap<(&str, Place), Known> = BTreeMap::new();
    let mut deleted = BTreeSet::new();
    for (at, event) in &history.events {
        match event {
            // The offsets go with the topic.
            Event::DeleteSent { id } => drop(deleted.insert(*id)),
            Event::CommitSent { group, place, offset, reign } => {
                let known = known.entry((group, *place)).or_default();
                known.sent = known.sent.max(*offset);
                known.unanswered.insert((*offset, *reign));
            }
            Event::Committed { group, place, offset, reign } => {
                let known = known.entry((group, *place)).or_default();
                let (at, offset, reign) = (*at, *offset, *reign);
                known.acknowledged.push(Acknowledged { at, offset, reign });
                known.unanswered.remove(&(offset, reign));
            }
            Event::OffsetFetched { group, place, sent, offset } => {
                if deleted.contains(&place.topic) {
                    continue;
                }
                let known = known.entry((group, *place)).or_default();
                let most = if known.sent == 0 { -1 } else { known.sent };
                let gone_back = known.went_back(*sent, *at, *offset);
                if gone_back.is_some() || *offset > most {
                    report.violated(format!(
                        "{group} is at {offset} in {place}, after {} was acknowledged and {most} \
                         sent",
                        gone_back.unwrap_or(-1)
                    ));
                }
            }
            _ => {}
        }
    }
}

impl Known {
    /// From where, if it may not have: between when it was asked for and when it was `told`.
    fn went_back(&mut self, asked: Duration, told: Duration, offset: i64) -> Option<i64> {
        let is_before = |it: &&Acknowledged| it.at <= asked && it.offset > offset;
        let before = || self.acknowledged.iter().filter(is_before);
        let highest = before().map(|it| it.offset).max()?;
        let late = self.unanswered.iter().filter(|(late, _)| *late == offset);
        let mut late = late.filter(|(_, reign)| before().all(|it| it.reign == *reign));
        let Some(&(_, reign)) = late.next() else { return Some(highest) };
        // Whoever is told this goes on from here, and nobody from before it.
        self.acknowledged.retain(|it| !is_before(&it));
        self.acknowledged.push(Acknowledged { at: told, offset, reign });
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::primitives::Uuid;

    const PLACE: Place = Place { topic: Uuid::ZERO, partition: 0 };

    fn sent(offset: i64, reign: u64) -> Event {
        Event::CommitSent { group: "g".to_owned(), place: PLACE, offset, reign }
    }

    fn kept(offset: i64, reign: u64) -> Event {
        Event::Committed { group: "g".to_owned(), place: PLACE, offset, reign }
    }

    fn fetched(offset: i64, sent_ms: u64) -> Event {
        let sent = Duration::from_millis(sent_ms);
        Event::OffsetFetched { group: "g".to_owned(), place: PLACE, sent, offset }
    }

    /// An event every 10 ms.
    fn violations(events: Vec<Event>) -> usize {
        let events = (1..).map(|n| Duration::from_millis(10 * n)).zip(events).collect();
        let mut report = Report { invariant: "committed", found: Vec::new() };
        check(&History { events, ..History::default() }, &mut report);
        report.found.len()
    }

    #[test]
    fn what_was_acknowledged_is_told() {
        let two = || vec![sent(1, 1), kept(1, 1), sent(2, 2), kept(2, 2)];
        assert_eq!(violations([two(), vec![fetched(2, 45)]].concat()), 0);
        assert_eq!(violations([two(), vec![fetched(1, 45)]].concat()), 1);
        assert_eq!(violations([two(), vec![fetched(1, 35)]].concat()), 0, "asked before");
        assert_eq!(violations([two(), vec![fetched(3, 45)]].concat()), 1, "never sent");
    }

    #[test]
    fn a_late_commit_counts_in_its_own_reign_alone() {
        let late = |reign| vec![sent(1, 1), sent(2, reign), kept(2, reign), fetched(1, 35)];
        assert_eq!(violations(late(1)), 0);
        assert_eq!(violations(late(2)), 1);
        // Whoever comes next goes on from there.
        let goes_on =
            vec![sent(5, 1), sent(9, 1), kept(9, 1), fetched(5, 35), sent(6, 2), kept(6, 2)];
        assert_eq!(violations([goes_on.clone(), vec![fetched(6, 65)]].concat()), 0);
        assert_eq!(violations([goes_on, vec![fetched(5, 65)]].concat()), 1);
        let back = vec![sent(5, 1), sent(9, 1), kept(9, 1), fetched(5, 35), fetched(-1, 45)];
        assert_eq!(violations(back), 1, "the late one was told");
    }
}
