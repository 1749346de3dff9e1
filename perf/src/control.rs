//! The quiet connection: topics are made and looked up, one request at a time.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wire::cursor::Cursor;
use wire::error_code::ErrorCode;
use wire::header::{RequestHeader, ResponseHeader};
use wire::msg::Request;
use wire::msg::api_versions::ApiVersionsRequest;
use wire::msg::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use wire::msg::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use wire::msg::find_coordinator::FindCoordinatorRequest;
use wire::msg::init_producer_id::InitProducerIdRequest;
use wire::msg::metadata::{MetadataRequest, MetadataRequestTopic};
use wire::primitives::Uuid;
use wire::schema::{self, Message};
use wire::writer::{Encoded, Writer};

use crate::batch::Identity;
use crate::workload::Topic;

/// Which versions a broker serves, by API key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions(HashMap<i16, (i16, i16)>);

/// A connection on which one request waits for its answer.
#[derive(Debug)]
pub(crate) struct Control {
    stream: TcpStream,
    address: SocketAddr,
    versions: Versions,
    correlation: i32,
    answer: Vec<u8>,
}

/// A topic as it was found.
#[derive(Clone, Debug)]
pub(crate) struct TopicView {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    /// Address of each partition's leader, by partition.
    pub(crate) leaders: Vec<SocketAddr>,
}

impl Versions {
    /// The newest version of a request that both sides know.
    pub(crate) fn of<'q, Q: Message<'q>>(&self) -> Result<i16> {
        let (min, max) = *self
            .0
            .get(&Q::KEY)
            .with_context(|| format!("the broker does not serve {}", Q::NAME))?;
        let version = max.min(Q::MAX_VERSION);
        ensure!(
            version >= min.max(Q::MIN_VERSION),
            "{}: the broker serves versions {min} to {max}, this program {} to {}",
            Q::NAME,
            Q::MIN_VERSION,
            Q::MAX_VERSION
        );
        Ok(version)
    }
}

impl Control {
    /// Connects to the first address that answers and learns its versions.
    pub(crate) fn open(bootstrap: &str) -> Result<Self> {
        let addresses = bootstrap
            .to_socket_addrs()
            .with_context(|| format!("{bootstrap} is no address of the form HOST:PORT"))?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
                Ok(stream) => return Self::greet(stream, address),
                Err(e) => last = Some(e),
            }
        }
        let why = last.map_or_else(|| "the name has no address".to_owned(), |e| e.to_string());
        bail!("no broker at {bootstrap}: {why}")
    }

    fn greet(stream: TcpStream, address: SocketAddr) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let versions = Versions(HashMap::from([(18, (3, 3))]));
        let mut control = Self { stream, address, versions, correlation: 0, answer: Vec::new() };
        let request = ApiVersionsRequest {
            client_software_name: CLIENT,
            client_software_version: env!("CARGO_PKG_VERSION"),
        };
        let (answer, _) = control.call(&request)?;
        check(answer.error_code, "ApiVersions")?;
        let keys = answer.api_keys.iter();
        let keys: HashMap<_, _> =
            keys.map(|key| (key.api_key, (key.min_version, key.max_version))).collect();
        control.versions = Versions(keys);
        Ok(control)
    }

    pub(crate) fn versions(&self) -> &Versions {
        &self.versions
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request and waits; the answer, and the version it is in.
    pub(crate) fn call<'q, 'r, Q: Request<'q>>(
        &'r mut self,
        request: &Q,
    ) -> Result<(Q::Response<'r>, i16)> {
        let version = self.versions.of::<Q>()?;
        self.correlation = self.correlation.wrapping_add(1);
        let frame = encode_frame(request, version, self.correlation)?;
        self.stream.write_all(&frame.head)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).with_context(|| format!("no answer to {}", Q::NAME))?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        ensure!(length <= ANSWER_MAX, "the broker announces an answer of {length} bytes");
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer)?;
        let mut cursor = Cursor::new(&self.answer);
        let header = ResponseHeader::decode(&mut cursor, Q::API, version)?;
        ensure!(header.correlation_id == self.correlation, "the answer is to another request");
        Ok((schema::decode(&mut cursor, version)?, version))
    }

    /// Whether the broker knows itself as one.
    pub(crate) fn is_ready(&mut self) -> Result<bool> {
        let topics: [MetadataRequestTopic<'_>; 0] = [];
        let request = MetadataRequest { topics: Some((&topics).into()), ..Default::default() };
        let (answer, _) = self.call(&request)?;
        Ok(!answer.brokers.is_empty())
    }

    /// Creates a topic and waits until all its partitions have leaders.
    pub(crate) fn create_topic(&mut self, name: &str, topic: &Topic) -> Result<TopicView> {
        let configs: Vec<_> = topic
            .config
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name, value: Some(value) })
            .collect();
        let assignments: [CreatableReplicaAssignment<'_>; 0] = [];
        let partitions = i32::try_from(topic.partitions).context("that many partitions")?;
        let wanted = [CreatableTopic {
            name,
            num_partitions: partitions,
            replication_factor: topic.replication,
            assignments: (&assignments).into(),
            configs: (&configs).into(),
        }];
        let request = CreateTopicsRequest {
            topics: (&wanted).into(),
            timeout_ms: 60_000,
            validate_only: false,
        };
        let (answer, _) = self.call(&request)?;
        let made = answer.topics.first().context("the broker said nothing of the topic")?;
        if !ErrorCode(made.error_code).is_ok() {
            bail!(
                "topic {name}: {} ({})",
                code_name(made.error_code),
                made.error_message.unwrap_or("")
            );
        }
        let deadline = Instant::now() + LEADERS_LIMIT;
        loop {
            match self.find_topic(name) {
                Ok(view) if view.leaders.len() == topic.partitions as usize => return Ok(view),
                Err(e) if Instant::now() > deadline => return Err(e),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Looks a topic up; an error while a partition has no leader.
    pub(crate) fn find_topic(&mut self, name: &str) -> Result<TopicView> {
        let topics = [MetadataRequestTopic { name: Some(name), ..Default::default() }];
        let request = MetadataRequest {
            topics: Some((&topics).into()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let (answer, _) = self.call(&request)?;
        let mut brokers = HashMap::new();
        for broker in &answer.brokers {
            let address = (broker.host, u16::try_from(broker.port)?).to_socket_addrs()?.next();
            brokers.insert(broker.node_id, address.context("a broker without address")?);
        }
        let topic = answer.topics.first().context("the broker said nothing of the topic")?;
        check(topic.error_code, name)?;
        let mut leaders = vec![None; topic.partitions.len()];
        for partition in &topic.partitions {
            check(partition.error_code, name)?;
            let place = leaders.get_mut(usize::try_from(partition.partition_index)?);
            *place.context("a partition number beyond the count")? =
                brokers.get(&partition.leader_id).copied();
        }
        let leaders: Option<Vec<_>> = leaders.into_iter().collect();
        let leaders = leaders.with_context(|| format!("a partition of {name} has no leader"))?;
        Ok(TopicView { name: name.to_owned(), id: topic.topic_id, leaders })
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&mut self, topic: &TopicView) -> Result<()> {
        let names = [topic.name.as_str()];
        let states = [DeleteTopicState { name: Some(&topic.name), topic_id: Uuid::ZERO }];
        let by_state = self.versions.of::<DeleteTopicsRequest<'_>>()? >= 6;
        let request = DeleteTopicsRequest {
            topics: if by_state { (&states).into() } else { Default::default() },
            topic_names: if by_state { Default::default() } else { (&names).into() },
            timeout_ms: 60_000,
        };
        let (answer, _) = self.call(&request)?;
        let code = answer.responses.first().map_or(0, |topic| topic.error_code);
        check(code, &format!("deleting {}", topic.name))
    }

    /// The broker that coordinates a group.
    pub(crate) fn find_coordinator(&mut self, group: &str) -> Result<SocketAddr> {
        let several = self.versions.of::<FindCoordinatorRequest<'_>>()? >= 4;
        let keys = [group];
        let request = FindCoordinatorRequest {
            key: if several { "" } else { group },
            coordinator_keys: if several { (&keys).into() } else { Default::default() },
            ..Default::default()
        };
        let deadline = Instant::now() + LEADERS_LIMIT;
        loop {
            let (answer, _) = self.call(&request)?;
            let (code, host, port) = match answer.coordinators.first() {
                Some(found) => (found.error_code, found.host, found.port),
                None => (answer.error_code, answer.host, answer.port),
            };
            match ErrorCode(code) {
                code if code.is_ok() => {
                    let address = (host, u16::try_from(port)?).to_socket_addrs()?.next();
                    return address.context("a coordinator without address");
                }
                code if code.is_retriable() && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                code => bail!("the coordinator of {group}: {}", code.name()),
            }
        }
    }

    /// An id for an idempotent producer.
    pub(crate) fn producer_identity(&mut self) -> Result<Identity> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..Default::default()
        };
        let deadline = Instant::now() + LEADERS_LIMIT;
        loop {
            let (answer, _) = self.call(&request)?;
            match ErrorCode(answer.error_code) {
                code if code.is_ok() => return Ok((answer.producer_id, answer.producer_epoch)),
                code if code.is_retriable() && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                code => bail!("a producer id: {}", code.name()),
            }
        }
    }
}

/// A whole frame: length, header, request. Records may be spliced.
pub(crate) fn encode_frame<'q, Q: Request<'q>>(
    request: &Q,
    version: i16,
    correlation: i32,
) -> Result<Encoded> {
    let mut w = Writer::new();
    let frame = w.begin_frame();
    let header = RequestHeader {
        api: Q::API,
        api_version: version,
        correlation_id: correlation,
        client_id: Some(CLIENT),
    };
    header.encode(&mut w)?;
    schema::encode(request, &mut w, version)?;
    w.end_frame(frame)?;
    Ok(w.finish())
}

/// An error for every code but 0.
pub(crate) fn check(code: i16, what: &str) -> Result<()> {
    ensure!(ErrorCode(code).is_ok(), "{what}: {}", code_name(code));
    Ok(())
}

/// A code's name.
pub(crate) fn code_name(code: i16) -> &'static str {
    ErrorCode(code).name()
}

/// What this program calls itself.
const CLIENT: &str = "odradek-perf";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Creating ten thousand partitions takes some brokers a while.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const LEADERS_LIMIT: Duration = Duration::from_secs(120);
const ANSWER_MAX: usize = 512 << 20;
