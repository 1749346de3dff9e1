//! When the faults are over: the node must serve, and everything it holds is read.

use std::collections::BTreeMap;
use std::time::Duration;

use wire::error_code::ErrorCode;

use super::Client;
use super::consumer::EARLIEST;
use super::produce::{PRODUCE_VERSION, Size, answers, note_sent, note_told, prepare, request};
use super::reading::Wish;
use crate::history::{Audit, Place};

impl Client {
    /// Appends a record to every partition that exists, and reads all of them from start to end.
    /// What does not come to pass in time is a violation.
    pub(crate) async fn audit(&mut self) {
        let deadline = self.scene.now() + PATIENCE;
        let listed = loop {
            if let Some(listed) = self.list_topics().await {
                break listed;
            }
            if self.scene.now() > deadline {
                return self.scene.violate("alive", "no answer to Metadata".to_owned());
            }
        };
        let mut places = Vec::new();
        for topic in self.scene.topics.borrow().iter() {
            if listed.iter().any(|(_, id)| *id == topic.id) {
                let of = |partition| Place { topic: topic.id, partition };
                places.extend((0..topic.partitions).map(of));
            }
        }
        for place in places {
            if !self.append(place).await || !self.read_all(place).await {
                return;
            }
        }
    }

    /// The disk is full: what is there can be read, and deleted.
    pub(crate) async fn check_full(&mut self, places: &[Place]) {
        let deadline = self.scene.now() + PATIENCE;
        let mut left = places.to_vec();
        loop {
            for place in std::mem::take(&mut left) {
                let known = self.list_offset(place, EARLIEST).await;
                let is_there = match known {
                    Some(start) => {
                        let parts = self.fetch(16, &whole(place, start)).await;
                        let read = parts.and_then(|parts| parts.first().map(|part| part.code));
                        let deleted = self.delete_records(place, start).await;
                        read == Some(ErrorCode::NONE) && deleted == Some(ErrorCode::NONE)
                    }
                    None => false,
                };
                if !is_there && !self.scene.is_doomed(place.topic) {
                    left.push(place);
                }
            }
            let Some(place) = left.first() else { return };
            if self.scene.now() > deadline {
                let message = format!("{place} cannot be read and trimmed on a full disk");
                return self.scene.violate("alive", message);
            }
            self.back_off().await;
        }
    }

    /// There is room again: every partition takes records.
    pub(crate) async fn check_room(&mut self, places: &[Place]) {
        for place in places {
            if !self.append(*place).await {
                return;
            }
        }
    }

    async fn append(&mut self, place: Place) -> bool {
        let deadline = self.scene.now() + PATIENCE;
        loop {
            let batch = prepare(&self.scene, &mut self.rng, place, -1, None, Size::Any);
            let one = [&batch];
            note_sent(&self.scene, &one);
            let told = self.ask(PRODUCE_VERSION, &request(-1, &one), answers).await;
            let code = match told.as_deref() {
                Some([told, ..]) => {
                    note_told(&self.scene, &batch, *told);
                    Some(told.code)
                }
                _ => None,
            };
            if code == Some(ErrorCode::NONE) || self.scene.is_doomed(place.topic) {
                return true;
            }
            if self.scene.now() > deadline {
                let message = format!("{place} takes no records: {code:?}");
                self.scene.violate("alive", message);
                return false;
            }
            self.back_off().await;
        }
    }

    async fn read_all(&mut self, place: Place) -> bool {
        let deadline = self.scene.now() + PATIENCE;
        let mut from = 0;
        let mut audit =
            Audit { place, log_start: -1, high_watermark: -1, records: BTreeMap::new() };
        loop {
            let noted = self.scene.history.borrow().reads.len();
            let parts = self.fetch(16, &whole(place, from)).await.unwrap_or_default();
            let code = parts.first().map(|part| part.code);
            if code == Some(ErrorCode::OFFSET_OUT_OF_RANGE)
                && let Some(start) = self.list_offset(place, EARLIEST).await
                && start > from
            {
                from = start;
                continue;
            }
            if let Some(part) = parts.first().filter(|part| part.code.is_ok()) {
                audit.log_start = part.log_start;
                audit.high_watermark = part.high_watermark;
                let mut history = self.scene.history.borrow_mut();
                let read: Vec<_> = history.reads[noted..].iter().flat_map(|r| &r.batches).collect();
                for batch in read {
                    audit.records.extend((batch.base..).zip(batch.records.iter().copied()));
                }
                if part.next >= part.high_watermark {
                    history.audits.push(audit);
                    return true;
                }
                if part.next > from {
                    from = part.next;
                    continue;
                }
            }
            // Perhaps the leader epoch has changed.
            self.list_topics().await;
            if self.scene.now() > deadline {
                let message = format!("{place} cannot be read from {from}: {code:?}");
                self.scene.violate("alive", message);
                return false;
            }
            self.back_off().await;
        }
    }
}

/// All that one answer may hold.
fn whole(place: Place, from: i64) -> Wish {
    Wish {
        places: vec![(place, from)],
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1 << 20,
        partition_max_bytes: 1 << 20,
        names_epoch: true,
    }
}

/// A healthy node answers in milliseconds; what recovery takes is far below.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
