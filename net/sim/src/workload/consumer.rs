//! A consumer without a group: reads on where it was, or somewhere else, in every size, and asks
//! for offsets in between.

use std::collections::BTreeMap;

use wire::error_code::ErrorCode;
use wire::msg::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

use super::Client;
use super::reading::Wish;
use crate::history::{Event, Place};

pub(super) async fn run(mut client: Client) {
    let mut positions: BTreeMap<Place, i64> = BTreeMap::new();
    let mut ends: BTreeMap<Place, i64> = BTreeMap::new();
    while !client.scene.is_over() {
        client.think().await;
        if client.rng.one_in(METADATA_ONE_IN) {
            client.list_topics().await;
        }
        let wish = wish(&mut client, &positions, &ends);
        if wish.places.is_empty() {
            client.back_off().await;
            continue;
        }
        if client.rng.one_in(12) {
            let place = wish.places[0].0;
            let now = client.scene.rt.wall_ms();
            let ago = i64::try_from(client.rng.below(3_000)).expect("small");
            let timestamp = *client.rng.pick(&[LATEST, LATEST, NEWEST, EARLIEST, now - ago]);
            let found = client.list_offset(place, timestamp).await;
            if let Some(offset) = found.filter(|offset| *offset >= 0) {
                positions.insert(place, offset);
            }
            continue;
        }
        let version = i16::try_from(client.rng.between(13, 17)).expect("a version");
        for part in client.fetch(version, &wish).await.unwrap_or_default() {
            match part.code {
                ErrorCode::NONE => {
                    positions.insert(part.place, part.next);
                    ends.insert(part.place, part.high_watermark);
                }
                ErrorCode::OFFSET_OUT_OF_RANGE => {
                    let start = client.list_offset(part.place, EARLIEST).await;
                    positions.insert(part.place, start.unwrap_or(0));
                }
                ErrorCode::NOT_LEADER_OR_FOLLOWER
                | ErrorCode::FENCED_LEADER_EPOCH
                | ErrorCode::UNKNOWN_LEADER_EPOCH => {
                    client.list_topics().await;
                    client.back_off().await;
                }
                _ => client.back_off().await,
            }
        }
    }
}

fn wish(
    client: &mut Client,
    positions: &BTreeMap<Place, i64>,
    ends: &BTreeMap<Place, i64>,
) -> Wish {
    let mut places: Vec<(Place, i64)> = Vec::new();
    for _ in 0..client.rng.between(1, 4) {
        let Some(place) = client.scene.some_place(&mut client.rng) else { break };
        if places.iter().any(|(known, _)| *known == place) {
            continue;
        }
        let end = ends.get(&place).copied().unwrap_or(0);
        let from = match client.rng.below(4) {
            0 => i64::try_from(client.rng.below(end.max(0).unsigned_abs() + 2)).unwrap_or(0),
            _ => positions.get(&place).copied().unwrap_or(0),
        };
        places.push((place, from));
    }
    Wish {
        places,
        max_wait_ms: *client.rng.pick(&[0, 0, 2, 20, 200]),
        min_bytes: *client.rng.pick(&[0, 1, 1, 500, 20_000]),
        max_bytes: *client.rng.pick(&[1, 2_000, 1 << 20]),
        partition_max_bytes: *client.rng.pick(&[1, 300, 5_000, 1 << 20]),
        names_epoch: !client.rng.one_in(3),
    }
}

impl Client {
    /// An offset by a special timestamp; `None` when there is none to be had.
    pub(super) async fn list_offset(&mut self, place: Place, timestamp: i64) -> Option<i64> {
        let name = self.scene.name_of(place.topic)?;
        let partition = ListOffsetsPartition {
            partition_index: place.partition,
            timestamp,
            ..ListOffsetsPartition::default()
        };
        let topic = ListOffsetsTopic { name: &name, partitions: vec![partition].into() };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![topic].into(),
            ..ListOffsetsRequest::default()
        };
        let sent = self.scene.now();
        let answer = self.ask(7, &request, |cur, version| {
            let response = ListOffsetsResponse::decode(cur, version)?;
            let topic = response.topics.first();
            let part = topic.and_then(|topic| topic.partitions.first());
            Ok(part.map(|part| (ErrorCode(part.error_code), part.offset)))
        });
        let (code, offset) = answer.await??;
        if !code.is_ok() {
            return None;
        }
        self.scene.note(Event::Found { place, sent, timestamp, offset });
        Some(offset)
    }
}

/// Clients ask for Metadata from time to time, each at another one.
const METADATA_ONE_IN: u64 = 15;
/// ListOffsets' timestamp for the high watermark.
pub(crate) const LATEST: i64 = -1;
/// For the log start.
pub(crate) const EARLIEST: i64 = -2;
/// For the record with the largest timestamp.
pub(crate) const NEWEST: i64 = -3;
