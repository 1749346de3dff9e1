//! A group's committed offset never goes back: who asks is told the last one that was acknowledged
//! before, or one that was sent since. Over kills, power cuts and restarts.
//!
//! A commit that was not answered may take effect later than younger ones: a core that stood still
//! finds it in a connection that its client has long given up. Nothing in such a request tells that
//! it is old, with Apache Kafka either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Report;
use crate::history::{Event, History, Place};

#[derive(Default)]
struct Known {
    /// Ascending, as one client commits one after the other.
    acknowledged: Vec<(Duration, i64)>,
    sent: i64,
    unanswered: BTreeSet<i64>,
}

pub(super) fn check(history: &History, report: &mut Report) {
    let mut known: BTreeMap<(&str, Place), Known> = BTreeMap::new();
    let mut deleted = BTreeSet::new();
    for (at, event) in &history.events {
        match event {
            // The offsets go with the topic.
            Event::DeleteSent { id } => drop(deleted.insert(*id)),
            Event::CommitSent { group, place, offset } => {
                let known = known.entry((group, *place)).or_default();
                known.sent = *offset;
                known.unanswered.insert(*offset);
            }
            Event::Committed { group, place, offset } => {
                let known = known.entry((group, *place)).or_default();
                known.acknowledged.push((*at, *offset));
                known.unanswered.remove(offset);
            }
            Event::OffsetFetched { group, place, sent, offset } => {
                if deleted.contains(&place.topic) {
                    continue;
                }
                let known = known.entry((group, *place)).or_default();
                let before = known.acknowledged.partition_point(|(at, _)| at <= sent);
                let least = before.checked_sub(1).map_or(-1, |last| known.acknowledged[last].1);
                let most = if known.sent == 0 { -1 } else { known.sent };
                let went_back = *offset < least && !known.unanswered.contains(offset);
                if went_back || *offset > most {
                    report.violated(format!(
                        "{group} is at {offset} in {place}, after {least} was acknowledged and \
                         {most} sent"
                    ));
                }
            }
            _ => {}
        }
    }
}
