//! A producer without an id: every kind of acknowledgement, several partitions in one request, and
//! sometimes a second attempt, which may leave a record twice.

use super::Client;
use super::produce::{
    PRODUCE_VERSION, Prepared, Size, answers, note_sent, note_told, prepare, request,
};

pub(super) async fn run(mut client: Client) {
    while !client.scene.is_over() {
        client.think().await;
        let acks = *client.rng.pick(&[-1, -1, 1, 0]);
        let mut batches: Vec<Prepared> = Vec::new();
        for _ in 0..client.rng.between(1, 3) {
            let Some(place) = client.scene.some_place(&mut client.rng) else { break };
            if batches.iter().all(|batch| batch.place != place) {
                batches.push(prepare(&client.scene, &mut client.rng, place, acks, None, Size::Any));
            }
        }
        if batches.is_empty() {
            client.back_off().await;
            continue;
        }
        let answered = send(&mut client, acks, &batches).await;
        if !answered && acks != 0 && client.rng.one_in(3) {
            send(&mut client, acks, &batches).await;
        }
    }
}

/// False when no answer came.
async fn send(client: &mut Client, acks: i16, batches: &[Prepared]) -> bool {
    let all: Vec<&Prepared> = batches.iter().collect();
    let request = request(acks, &all);
    if acks == 0 {
        let sent = match client.connection().await {
            Ok(connection) => {
                let sent = connection.send(PRODUCE_VERSION, &request).await;
                note_sent(&client.scene, &all);
                sent.map(|_| ())
            }
            Err(why) => Err(why),
        };
        match sent {
            Ok(()) => client.answered(),
            Err(why) => client.lost(why).await,
        }
        return true;
    }
    note_sent(&client.scene, &all);
    let Some(told) = client.ask(PRODUCE_VERSION, &request, answers).await else { return false };
    for (batch, told) in batches.iter().zip(told) {
        note_told(&client.scene, batch, told);
    }
    true
}
