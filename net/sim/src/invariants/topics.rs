//! Deleted topics stay deleted, created topics stay, under their ids. Judged by who had an answer
//! before asking for the list: what is under way may show either way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Report;
use crate::history::{Event, History};
use wire::primitives::Uuid;

#[derive(Debug, Default)]
struct Known<'a> {
    name: &'a str,
    created: Option<Duration>,
    delete_sent: Option<Duration>,
    deleted: Option<Duration>,
}

pub(super) fn check(history: &History, report: &mut Report) {
    let mut topics: BTreeMap<Uuid, Known<'_>> = BTreeMap::new();
    for (at, event) in &history.events {
        match event {
            Event::Created { name, id } => {
                let known = topics.entry(*id).or_default();
                if known.created.replace(*at).is_some() {
                    report.violated(format!("topic id {id} was given out twice"));
                }
                known.name = name;
            }
            Event::DeleteSent { id } => topics.entry(*id).or_default().delete_sent = Some(*at),
            Event::Deleted { id } => topics.entry(*id).or_default().deleted = Some(*at),
            Event::Listed { sent, topics: listed } => {
                compare(&topics, *sent, listed, report);
            }
            _ => {}
        }
    }
}

fn compare(
    topics: &BTreeMap<Uuid, Known<'_>>,
    sent: Duration,
    listed: &[(String, Uuid)],
    report: &mut Report,
) {
    for (index, (name, id)) in listed.iter().enumerate() {
        if listed[..index].iter().any(|(other, other_id)| other == name || other_id == id) {
            report.violated(format!("{name} ({id}) is listed twice"));
        }
    }
    for (id, known) in topics {
        let shown = listed.iter().find(|(_, other)| other == id);
        let made = known.created.is_some_and(|at| at <= sent) && known.delete_sent.is_none();
        let gone = known.deleted.is_some_and(|at| at <= sent);
        match shown {
            Some((name, _)) if gone => report.violated(format!("{name} ({id}) was deleted")),
            Some((name, _)) if made && name != known.name => {
                report.violated(format!("{id} was created as {}, now it is {name}", known.name));
            }
            None if made => {
                report.violated(format!("{} ({id}) was created and is gone", known.name));
            }
            _ => {}
        }
    }
}
