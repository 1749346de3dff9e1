//! No partition is owned twice in one generation of a group. Generations, and the epochs of KIP-848's
//! members, only go up.
//!
//! Who owns a partition is what the group has told: a member owns it from the answer that says so until
//! the member gives it up, or the group takes the member for none. A member does not see that at once.
//! Hence two that own a partition are a violation only if the group has answered the first one as its
//! member after the second one was told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Report;
use crate::history::{Event, History, Place, Told};

#[derive(Default)]
struct Known<'a> {
    /// Since when members have what they have.
    owners: BTreeMap<(&'a str, Place), BTreeMap<u64, Duration>>,
    /// What each member had when somebody else was told to have it, and when that was.
    robbed: BTreeMap<u64, Vec<(Duration, u64, Place)>>,
    /// Who had what in a generation.
    by_generation: BTreeMap<(&'a str, i32, Place), u64>,
    /// By group, and by member.
    generations: BTreeMap<&'a str, Vec<(Duration, i32)>>,
    epochs: BTreeMap<u64, i32>,
}

pub(super) fn check(history: &History, report: &mut Report) {
    let mut known = Known::default();
    for (at, event) in &history.events {
        match event {
            Event::Told(told) => {
                known.look_back(*at, told, report);
                known.look_around(*at, told, report);
            }
            Event::GaveUp { member, places } => {
                for ((_, place), owners) in &mut known.owners {
                    if places.contains(place) {
                        owners.remove(member);
                    }
                }
            }
            Event::Joins { member } => {
                known.robbed.remove(member);
                known.epochs.remove(member);
            }
            Event::Vouched { member, asked } => known.vouched(*member, *asked, report),
            _ => {}
        }
    }
}

impl<'a> Known<'a> {
    /// Generations go up.
    fn look_back(&mut self, at: Duration, told: &'a Told, report: &mut Report) {
        let Told { group, member, asked, generation, .. } = told;
        let is_new = !self.epochs.contains_key(member);
        let former = self.epochs.insert(*member, *generation);
        if let Some(former) = former.filter(|former| former > generation) {
            report.violated(format!(
                "member {member} of {group} was told generation {generation} after {former}"
            ));
        }
        // A group that was empty in between begins anew in the other protocol.
        if !told.alike {
            return;
        }
        let all = self.generations.entry(group).or_default();
        let before = all.iter().filter(|(told, _)| told < asked).map(|(_, generation)| *generation);
        // Members of KIP-848 follow their group, each in its time.
        if let Some(former) = before.max().filter(|former| is_new && former > generation) {
            report.violated(format!(
                "member {member} came to {group} in generation {generation}, after {former}"
            ));
        }
        all.push((at, *generation));
    }

    /// Nobody else has what somebody is told to have.
    fn look_around(&mut self, at: Duration, told: &'a Told, report: &mut Report) {
        let Told { group, member, asked, generation, .. } = told;
        for (place, _) in &told.has {
            if told.alike {
                let owner = self.by_generation.entry((group, *generation, *place));
                let owner = *owner.or_insert(*member);
                if owner != *member {
                    report.violated(format!(
                        "{place} is with members {owner} and {member} of {group} in generation \
                         {generation}"
                    ));
                }
            }
            let owners = self.owners.entry((group, *place)).or_default();
            for (other, since) in &*owners {
                if other != member && since < asked {
                    self.robbed.entry(*other).or_default().push((at, *member, *place));
                }
            }
            owners.entry(*member).or_insert(at);
        }
    }

    /// The member was one when it asked, or later: so it had what it had.
    fn vouched(&mut self, member: u64, asked: Duration, report: &mut Report) {
        let Some(robbed) = self.robbed.get_mut(&member) else { return };
        robbed.retain(|(at, other, place)| {
            let was_member = *at < asked;
            if was_member {
                report.violated(format!(
                    "{place} was member {member}'s when member {other} was told at {at:?} that it \
                     has it"
                ));
            }
            !was_member
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::primitives::Uuid;

    const PLACE: Place = Place { topic: Uuid::ZERO, partition: 0 };

    fn told(member: u64, asked_ms: u64, generation: i32, alike: bool) -> Event {
        let (group, asked) = ("g".to_owned(), Duration::from_millis(asked_ms));
        let has = vec![(PLACE, member)];
        Event::Told(Told { group, member, asked, generation, alike, has })
    }

    fn vouched(member: u64, asked_ms: u64) -> Event {
        Event::Vouched { member, asked: Duration::from_millis(asked_ms) }
    }

    /// An event every 10 ms.
    fn violations(events: Vec<Event>) -> usize {
        let events = (1..).map(|n| Duration::from_millis(10 * n)).zip(events).collect();
        let mut report = Report { invariant: "owned", found: Vec::new() };
        check(&History { events, ..History::default() }, &mut report);
        report.found.len()
    }

    #[test]
    fn a_partition_of_a_member_is_not_anothers() {
        let both = vec![told(1, 5, 1, false), told(2, 15, 2, false)];
        assert_eq!(violations(both.clone()), 0, "the first one may be none by then");
        assert_eq!(violations([both.clone(), vec![vouched(1, 19)]].concat()), 0, "it was one then");
        assert_eq!(violations([both.clone(), vec![vouched(1, 25)]].concat()), 1);
        let given_up = Event::GaveUp { member: 1, places: vec![PLACE] };
        let between = [&both[..1], &[given_up], &both[1..], &[vouched(1, 35)]].concat();
        assert_eq!(violations(between), 0);
        // The second one's answer may be older than the first one's.
        let crossed = vec![told(1, 5, 1, false), told(2, 9, 2, false), vouched(1, 25)];
        assert_eq!(violations(crossed), 0);
    }

    #[test]
    fn a_generation_has_one_owner_and_none_comes_again() {
        assert_eq!(violations(vec![told(1, 5, 3, true), told(2, 5, 3, true)]), 1);
        assert_eq!(violations(vec![told(1, 5, 3, false), told(1, 15, 2, false)]), 1);
        assert_eq!(violations(vec![told(1, 5, 3, true), told(2, 15, 2, true)]), 1);
        assert_eq!(violations(vec![told(1, 5, 3, true), told(2, 9, 2, true)]), 0);
        assert_eq!(violations(vec![told(1, 5, 3, false), told(2, 15, 2, false)]), 0);
    }
}
