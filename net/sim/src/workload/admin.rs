//! The one who makes and deletes topics, trims partitions, and lists what there is.

use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;
use wire::msg::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use wire::msg::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use wire::msg::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use wire::msg::metadata::{MetadataRequest, MetadataResponse};
use wire::primitives::Uuid;

use super::{Client, Topic};
use crate::history::{Event, Place};

pub(super) async fn run(mut client: Client) {
    let mut made = 0;
    while !client.scene.is_over() {
        let live = client.scene.topics.borrow().iter().filter(|topic| is_its_own(topic)).count();
        match client.rng.below(8) {
            _ if live == 0 => create_some(&mut client, &mut made).await,
            0 if live < TOPICS_MAX => create_some(&mut client, &mut made).await,
            1 if live > 1 && client.scene.offers(ApiKey::DeleteTopics) => delete(&mut client).await,
            2 | 3 if client.scene.offers(ApiKey::DeleteRecords) => trim(&mut client).await,
            4 | 5 => drop(client.list_topics().await),
            _ => client.think().await,
        }
        client.think().await;
        client.think().await;
    }
}

/// What it may delete.
fn is_its_own(topic: &Topic) -> bool {
    !topic.doomed && topic.name != SHARED
}

async fn create_some(client: &mut Client, made: &mut u32) {
    // A name that is free, at times one that was used before.
    let name = {
        let topics = client.scene.topics.borrow();
        let gone = topics.iter().filter(|topic| topic.doomed);
        let gone: Vec<&str> = gone.map(|topic| topic.name.as_str()).collect();
        let free = |name: &&str| topics.iter().all(|known| known.doomed || known.name != *name);
        match gone.into_iter().find(free).filter(|_| client.rng.one_in(2)) {
            Some(name) => name.to_owned(),
            None => {
                *made += 1;
                format!("topic{made}")
            }
        }
    };
    let partitions = i32::try_from(client.rng.between(1, 3)).expect("few");
    client.create(&name, partitions).await;
}

async fn delete(client: &mut Client) {
    let (name, id) = {
        let mut topics = client.scene.topics.borrow_mut();
        let mut live: Vec<&mut Topic> = topics.iter_mut().filter(|it| is_its_own(it)).collect();
        let index = usize::try_from(client.rng.below(live.len() as u64)).expect("an index");
        live[index].doomed = true;
        (live[index].name.clone(), live[index].id)
    };
    client.scene.note(Event::DeleteSent { id });
    let by_id = client.rng.one_in(2);
    loop {
        let state = match by_id {
            true => DeleteTopicState { name: None, topic_id: id },
            false => DeleteTopicState { name: Some(&name), topic_id: Uuid::ZERO },
        };
        let request = DeleteTopicsRequest {
            topics: vec![state].into(),
            timeout_ms: 5_000,
            ..DeleteTopicsRequest::default()
        };
        let answer = client.ask(6, &request, |cur, version| {
            let response = DeleteTopicsResponse::decode(cur, version)?;
            Ok(response.responses.first().map(|topic| ErrorCode(topic.error_code)))
        });
        match answer.await.flatten() {
            Some(
                ErrorCode::NONE
                | ErrorCode::UNKNOWN_TOPIC_ID
                | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ) => return client.scene.note(Event::Deleted { id }),
            Some(code) if !code.is_retriable() => {
                return client.scene.say(|| format!("{name} is not deleted: {code}"));
            }
            _ => client.back_off().await,
        }
        if client.scene.is_over() {
            return;
        }
    }
}

async fn trim(client: &mut Client) {
    let Some(place) = client.scene.some_place(&mut client.rng) else { return };
    let before = match client.rng.below(8) {
        0 => -1,
        _ => i64::try_from(client.rng.below(20)).expect("small"),
    };
    client.delete_records(place, before).await;
}

impl Client {
    /// Makes a topic.
    pub(super) async fn create(&mut self, name: &str, partitions: i32) {
        let topic = CreatableTopic {
            name,
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic].into(), ..Default::default() };
        self.scene.say(|| format!("create {name}"));
        let answer = self.ask(7, &request, |cur, version| {
            let response = CreateTopicsResponse::decode(cur, version)?;
            Ok(response.topics.first().map(|topic| (ErrorCode(topic.error_code), topic.topic_id)))
        });
        match answer.await.flatten() {
            Some((ErrorCode::NONE, id)) => {
                let name = name.to_owned();
                self.scene.note(Event::Created { name: name.clone(), id });
                self.scene.topics.borrow_mut().push(Topic { name, id, partitions, doomed: false });
            }
            // An attempt without an answer may have made it.
            Some((ErrorCode::TOPIC_ALREADY_EXISTS, _)) | None => drop(self.list_topics().await),
            Some((code, _)) => self.scene.say(|| format!("{name} is not created: {code}")),
        }
    }

    /// Has everything before an offset deleted; `None` without an answer.
    pub(super) async fn delete_records(&mut self, place: Place, before: i64) -> Option<ErrorCode> {
        let name = self.scene.name_of(place.topic)?;
        self.scene.note(Event::TrimSent { place, before });
        let part = DeleteRecordsPartition { partition_index: place.partition, offset: before };
        let topic = DeleteRecordsTopic { name: &name, partitions: vec![part].into() };
        let request = DeleteRecordsRequest { topics: vec![topic].into(), timeout_ms: 5_000 };
        let answer = self.ask(2, &request, |cur, version| {
            let response = DeleteRecordsResponse::decode(cur, version)?;
            let topic = response.topics.first();
            let part = topic.and_then(|topic| topic.partitions.first());
            Ok(part.map(|part| (ErrorCode(part.error_code), part.low_watermark)))
        });
        let (code, log_start) = answer.await.flatten()?;
        if code.is_ok() {
            self.scene.note(Event::Trimmed { place, log_start });
        }
        Some(code)
    }

    /// Lists all topics, and takes in those that were not known. `None` without an answer.
    pub(crate) async fn list_topics(&mut self) -> Option<Vec<(String, Uuid)>> {
        let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
        let sent = self.scene.now();
        let answer = self.ask(12, &request, |cur, version| {
            let response = MetadataResponse::decode(cur, version)?;
            // The node's own topics are looked at through what they are for.
            let users = response.topics.iter().filter(|topic| !topic.is_internal);
            let topics = users.map(|topic| {
                let epochs = topic.partitions.iter();
                let epochs = epochs.map(|part| (part.partition_index, part.leader_epoch));
                (topic.name.unwrap_or("").to_owned(), topic.topic_id, epochs.collect::<Vec<_>>())
            });
            Ok(topics.collect::<Vec<_>>())
        });
        let listed = answer.await?;
        for (name, id, epochs) in &listed {
            for (partition, epoch) in epochs {
                self.epochs.insert(Place { topic: *id, partition: *partition }, *epoch);
            }
            let mut topics = self.scene.topics.borrow_mut();
            if topics.iter().all(|known| known.id != *id) {
                let partitions = i32::try_from(epochs.len()).unwrap_or(0);
                topics.push(Topic { name: name.clone(), id: *id, partitions, doomed: false });
            }
        }
        let topics: Vec<_> = listed.into_iter().map(|(name, id, _)| (name, id)).collect();
        self.scene.note(Event::Listed { sent, topics: topics.clone() });
        Some(topics)
    }
}

/// The topic that members of groups read. It stays.
pub(super) const SHARED: &str = "shared";
/// Enough for all cores to have some.
const TOPICS_MAX: usize = 5;
