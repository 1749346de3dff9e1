//! An idempotent producer as Kafka's clients are: acks=all, several batches of a partition in
//! flight, and after a failure all that is not acknowledged again, in order, with its sequences.
//! What it gives up on is never sent under the same producer id again.

use std::collections::BTreeMap;

use wire::error_code::ErrorCode;
use wire::msg::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::Client;
use super::produce::{
    PRODUCE_VERSION, Prepared, Size, Told, answers, note_sent, note_told, prepare, request,
};
use crate::client::Lost;
use crate::history::Place;

/// A producer id, and the next sequence of each partition.
pub(super) struct Identity {
    id: i64,
    epoch: i16,
    next: BTreeMap<Place, i32>,
}

impl Identity {
    /// What the next batch of a partition says of its producer.
    pub(super) fn next(&self, place: Place) -> (i64, i16, i32) {
        (self.id, self.epoch, self.next.get(&place).copied().unwrap_or(0))
    }

    /// The batch has its sequences.
    pub(super) fn passed(&mut self, batch: &Prepared) {
        *self.next.entry(batch.place).or_insert(0) += batch.count;
    }
}

pub(super) async fn run(mut client: Client) {
    let mut identity: Option<Identity> = None;
    while !client.scene.is_over() {
        client.think().await;
        let Some(me) = &mut identity else {
            identity = introduce(&mut client).await;
            continue;
        };
        let Some(place) = client.scene.some_place(&mut client.rng) else {
            client.back_off().await;
            continue;
        };
        let mut batches = Vec::new();
        for _ in 0..client.rng.between(1, IN_FLIGHT_MAX) {
            let producer = Some(me.next(place));
            let batch = prepare(&client.scene, &mut client.rng, place, -1, producer, Size::Any);
            me.passed(&batch);
            batches.push(batch);
        }
        if !deliver(&mut client, batches).await || client.rng.one_in(40) {
            identity = None;
        }
    }
}

pub(super) async fn introduce(client: &mut Client) -> Option<Identity> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    let answer = client.ask(4, &request, |cur, version| {
        let response = InitProducerIdResponse::decode(cur, version)?;
        let code = ErrorCode(response.error_code);
        Ok((code, response.producer_id, response.producer_epoch))
    });
    let (code, id, epoch) = answer.await?;
    if !code.is_ok() {
        client.back_off().await;
        return None;
    }
    let taken = client.scene.history.borrow().batches.iter().any(|batch| {
        batch.producer.is_some_and(|(known, known_epoch, _)| (known, known_epoch) == (id, epoch))
    });
    if taken {
        let message = format!("producer id {id}, epoch {epoch} was given out twice");
        client.scene.violate("exactly_once", message);
    }
    Some(Identity { id, epoch, next: BTreeMap::new() })
}

/// Sends batches of one partition until all are acknowledged; false when it gives up.
async fn deliver(client: &mut Client, mut left: Vec<Prepared>) -> bool {
    let mut refusals = 0;
    while !left.is_empty() {
        match round(client, &mut left).await {
            Ok(None) => {}
            Ok(Some(code)) => {
                refusals += 1;
                if code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
                    || code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER
                {
                    let batch = left.first().map_or(0, |batch| batch.number);
                    let message = format!("batch {batch} is the next of its producer, but: {code}");
                    client.scene.violate("exactly_once", message);
                }
                if !code.is_retriable() || refusals > REFUSALS_MAX {
                    return false;
                }
                client.back_off().await;
            }
            Err(why) => client.lost(why).await,
        }
        let doomed = left.first().is_some_and(|batch| client.scene.is_doomed(batch.place.topic));
        if client.scene.is_over() || (doomed && !left.is_empty()) {
            return left.is_empty();
        }
    }
    true
}

/// Sends all that is left at once and takes in the answers; `Some` is the error of the first
/// batch that was refused.
async fn round(client: &mut Client, left: &mut Vec<Prepared>) -> Result<Option<ErrorCode>, Lost> {
    let mut pending = Vec::new();
    client.connection().await?;
    for batch in left.iter() {
        let one = [batch];
        note_sent(&client.scene, &one);
        let request = request(-1, &one);
        pending.push(client.connection().await?.send(PRODUCE_VERSION, &request).await?);
    }
    let mut refused = None;
    let mut done = Vec::new();
    for (index, pending) in pending.into_iter().enumerate() {
        let told = client.connection().await?.answer(pending, answers).await;
        let told = match told {
            Ok(told) => told,
            Err(why) => {
                keep_others(left, &done);
                return Err(why);
            }
        };
        client.answered();
        let Some(told) = told.first() else {
            return Err(Lost::Nonsense("an answer without the partition".to_owned()));
        };
        note_told(&client.scene, &left[index], *told);
        match *told {
            Told { code, .. } if code.is_ok() => done.push(left[index].number),
            // A later batch cannot fit once an earlier one was refused: only the first counts.
            Told { code, .. } => refused = refused.or(Some(code)),
        }
    }
    keep_others(left, &done);
    Ok(refused)
}

fn keep_others(left: &mut Vec<Prepared>, done: &[usize]) {
    left.retain(|batch| !done.contains(&batch.number));
}

/// As many batches as a broker remembers of a producer.
const IN_FLIGHT_MAX: u64 = 5;
/// A partition that goes on refusing is given up, as a client's delivery timeout does.
pub(super) const REFUSALS_MAX: u32 = 30;
