//! An idempotent producer with much to send, as Kafka's clients are under load: batches of some
//! 100 KB, five of a partition under way at all times on one connection. After a disconnect or a
//! refusal all that is not acknowledged goes again, in order, before anything new.
//!
//! Such requests come one behind another into one append, wait for memory, and are refused in rows.

use std::collections::VecDeque;
use std::time::Duration;

use wire::error_code::ErrorCode;

use super::Client;
use super::idempotent::{Identity, REFUSALS_MAX, introduce};
use super::produce::{
    PRODUCE_VERSION, Prepared, Size, answers, note_sent, note_told, prepare, request,
};
use crate::client::Lost;
use crate::history::Place;

/// Batches of one partition: what was sent and is not acknowledged, and how many are to follow.
struct Burst {
    place: Place,
    left: VecDeque<Prepared>,
    unsent: u64,
}

pub(super) async fn run(mut client: Client) {
    let mut identity: Option<Identity> = None;
    let mut batches = 0;
    while !client.scene.is_over() && batches < BATCHES_MAX {
        let pause = client.rng.below(PAUSE_MS_MAX);
        client.scene.rt.sleep(Duration::from_millis(pause)).await;
        let Some(me) = &mut identity else {
            identity = introduce(&mut client).await;
            continue;
        };
        let Some(place) = client.scene.some_place(&mut client.rng) else { continue };
        let unsent = client.rng.between(UNDER_WAY_MAX, BURST_MAX);
        batches += unsent;
        let burst = Burst { place, left: VecDeque::new(), unsent };
        if !burst.deliver(&mut client, me).await {
            identity = None;
        }
    }
}

impl Burst {
    fn is_done(&self) -> bool {
        self.unsent == 0 && self.left.is_empty()
    }

    /// Sends until all is acknowledged; false when it gives up.
    async fn deliver(mut self, client: &mut Client, me: &mut Identity) -> bool {
        let mut refusals = 0;
        while !self.is_done() {
            match self.stream(client, me).await {
                Ok(None) => {}
                Ok(Some(code)) => {
                    refusals += 1;
                    if code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
                        || code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER
                    {
                        let batch = self.left.front().map_or(0, |batch| batch.number);
                        let message =
                            format!("batch {batch} is the next of its producer, but: {code}");
                        client.scene.violate("exactly_once", message);
                    }
                    if !code.is_retriable() || refusals > REFUSALS_MAX {
                        return false;
                    }
                    client.back_off().await;
                }
                Err(why) => client.lost(why).await,
            }
            if client.scene.is_over() || client.scene.is_doomed(self.place.topic) {
                return self.is_done();
            }
        }
        true
    }

    /// Keeps the pipe full until all is acknowledged, or something was refused and the rest of what
    /// was under way is answered; `Some` is the first refusal.
    async fn stream(
        &mut self,
        client: &mut Client,
        me: &mut Identity,
    ) -> Result<Option<ErrorCode>, Lost> {
        client.connection().await?;
        let mut under_way = VecDeque::new();
        let mut sent = 0;
        let mut refused = None;
        loop {
            while refused.is_none() && under_way.len() < UNDER_WAY_MAX as usize {
                let Some(batch) = self.next(client, me, sent) else { break };
                let one = [&batch];
                note_sent(&client.scene, &one);
                let request = request(-1, &one);
                let pending = client.connection().await?.send(PRODUCE_VERSION, &request).await?;
                under_way.push_back((pending, batch));
                sent += 1;
            }
            let Some((pending, batch)) = under_way.pop_front() else { return Ok(refused) };
            let told = client.connection().await?.answer(pending, answers).await?;
            client.answered();
            let Some(told) = told.first() else {
                return Err(Lost::Nonsense("an answer without the partition".to_owned()));
            };
            note_told(&client.scene, &batch, *told);
            if told.code.is_ok() {
                self.left.retain(|other| other.number != batch.number);
                sent -= 1;
            } else {
                // What was sent behind it cannot fit: only the first refusal counts.
                refused = refused.or(Some(told.code));
            }
        }
    }

    /// The batch behind the first `sent` of those left: one of them, or a new one.
    fn next(&mut self, client: &mut Client, me: &mut Identity, sent: usize) -> Option<Prepared> {
        if sent == self.left.len() {
            self.unsent = self.unsent.checked_sub(1)?;
            let new = prepare(
                &client.scene,
                &mut client.rng,
                self.place,
                -1,
                Some(me.next(self.place)),
                Size::Large,
            );
            me.passed(&new);
            self.left.push_back(new);
        }
        self.left.get(sent).cloned()
    }
}

/// As many batches as a broker remembers of a producer.
const UNDER_WAY_MAX: u64 = 5;
const BURST_MAX: u64 = 12;
/// Of a run: enough to fill segments.
const BATCHES_MAX: u64 = 40;
const PAUSE_MS_MAX: u64 = 30;
