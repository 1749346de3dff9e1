//! What is denied gets a code of its own, and the rest is served.

use std::collections::BTreeMap;

use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::error_code::ErrorCode;
use wire::msg::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use wire::msg::create_topics::{CreatableTopic, CreateTopicsRequest};
use wire::msg::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use wire::msg::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use wire::msg::{alter_configs as alter, incremental_alter_configs as incremental};
use wire::schema::Message;

use crate::testing::{Client, Whole};

const TOPIC: i8 = 2;
const NAMES: [&str; 2] = ["forbidden-fruit", "t"];

/// By resource, what became of it.
type Codes = BTreeMap<String, ErrorCode>;

/// Asks about both topics: the one is denied, and nothing is wrong with the other.
async fn denied<'q>(
    client: &mut Client,
    (api, version): (ApiKey, i16),
    request: &impl Message<'q>,
    read: fn(&mut Cursor<'_>) -> Codes,
) {
    let codes = client.ask(api, version, request, read).await.expect("answered");
    let expected = [ErrorCode::TOPIC_AUTHORIZATION_FAILED, ErrorCode::NONE];
    let expected: Codes = NAMES.map(str::to_owned).into_iter().zip(expected).collect();
    assert_eq!(codes, expected, "{}", api.name());
}

fn code(name: &str, code: i16) -> (String, ErrorCode) {
    (name.to_owned(), ErrorCode(code))
}

async fn configs_are_denied(client: &mut Client) {
    let resources = NAMES.map(|resource_name| DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name,
        ..Default::default()
    });
    let request = DescribeConfigsRequest { resources: (&resources).into(), ..Default::default() };
    denied(client, (ApiKey::DescribeConfigs, 2), &request, |cur| {
        let response = DescribeConfigsResponse::decode(cur, 2).expect("a response");
        response.results.iter().map(|it| code(it.resource_name, it.error_code)).collect()
    })
    .await;
    let resources = NAMES.map(|resource_name| alter::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name,
        ..Default::default()
    });
    let request =
        alter::AlterConfigsRequest { resources: (&resources).into(), ..Default::default() };
    denied(client, (ApiKey::AlterConfigs, 1), &request, |cur| {
        let response = alter::AlterConfigsResponse::decode(cur, 1).expect("a response");
        response.responses.iter().map(|it| code(it.resource_name, it.error_code)).collect()
    })
    .await;
    let resources = NAMES.map(|resource_name| incremental::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name,
        ..Default::default()
    });
    let request = incremental::IncrementalAlterConfigsRequest {
        resources: (&resources).into(),
        ..Default::default()
    };
    denied(client, (ApiKey::IncrementalAlterConfigs, 1), &request, |cur| {
        let response = incremental::IncrementalAlterConfigsResponse::decode(cur, 1);
        let responses = response.expect("a response").responses;
        responses.iter().map(|it| code(it.resource_name, it.error_code)).collect()
    })
    .await;
}

#[test]
fn each_topic_is_asked_for_by_itself() {
    let node = Whole::start(21, 1, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let topic = CreatableTopic {
            name: NAMES[1],
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic].into(), ..Default::default() };
        client.ask(ApiKey::CreateTopics, 5, &request, |_| ()).await.expect("answered");
        configs_are_denied(&mut client).await;
        // Placed by the node: no assignments is something else than an empty list of them.
        let topics = NAMES.map(|name| CreatePartitionsTopic { name, count: 2, assignments: None });
        let request = CreatePartitionsRequest { topics: (&topics).into(), ..Default::default() };
        denied(&mut client, (ApiKey::CreatePartitions, 2), &request, |cur| {
            let response = CreatePartitionsResponse::decode(cur, 2).expect("a response");
            response.results.iter().map(|it| code(it.name, it.error_code)).collect()
        })
        .await;
        let request = DeleteTopicsRequest { topic_names: (&NAMES).into(), ..Default::default() };
        denied(&mut client, (ApiKey::DeleteTopics, 5), &request, |cur| {
            let response = DeleteTopicsResponse::decode(cur, 5).expect("a response");
            let told = response.responses;
            told.iter().map(|it| code(it.name.expect("a name"), it.error_code)).collect()
        })
        .await;
    });
}
