//! Which broker leads what, and a connection to each.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use wire::error_code::ErrorCode;
use wire::list::List;
use wire::msg::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
};
use wire::msg::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use wire::primitives::Uuid;

use super::conn::{Conn, check};
use super::partitions::TopicPartition;

/// A cluster, known from one broker of it.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// `HOST:PORT`, perhaps several with commas between them.
    bootstrap_servers: String,
    client_id: String,
    bootstrap: Conn,
    leaders: BTreeMap<i32, Conn>,
    brokers: BTreeMap<i32, String>,
}

/// A topic as Metadata tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) internal: bool,
    /// In order of their index.
    pub(crate) partitions: Vec<Partition>,
}

/// A partition as Metadata tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    pub(crate) index: i32,
    /// The leading broker's id; −1 while there is none.
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    /// Eligible leaders that are out of sync, and those that led last (KIP-966); none where the
    /// broker was not asked or does not know of them.
    pub(crate) elr: Option<Vec<i32>>,
    pub(crate) last_known_elr: Option<Vec<i32>>,
}

impl Topic {
    /// The partition of this index, if it is there.
    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.index == index)
    }

    /// All partitions, by name.
    pub(crate) fn every(&self) -> impl Iterator<Item = TopicPartition> {
        self.partitions.iter().map(|it| TopicPartition::new(&*self.name, it.index))
    }
}

impl Cluster {
    /// Connects to the broker at `HOST:PORT`, or to the first that answers of several with commas
    /// between them.
    pub(crate) fn connect(bootstrap_servers: &str) -> Result<Self> {
        Self::connect_as(bootstrap_servers, CLIENT_ID)
    }

    /// As [`Cluster::connect`], under this client id.
    pub(crate) fn connect_as(bootstrap_servers: &str, client_id: &str) -> Result<Self> {
        let addrs = bootstrap_servers.split(',');
        Ok(Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            client_id: client_id.to_owned(),
            bootstrap: open_any(addrs, client_id)?,
            leaders: BTreeMap::new(),
            brokers: BTreeMap::new(),
        })
    }

    /// Drops all connections, and connects to the first broker again or, where that does not
    /// answer, to another one that is known.
    pub(crate) fn reconnect(&mut self) -> Result<()> {
        self.leaders.clear();
        let others = self.brokers.values().map(String::as_str);
        let addrs = self.bootstrap_servers.split(',').chain(others);
        self.bootstrap = open_any(addrs, &self.client_id)?;
        Ok(())
    }

    /// The broker connected to first: for what any broker answers.
    pub(crate) fn any(&mut self) -> &mut Conn {
        &mut self.bootstrap
    }

    /// A connection to a broker of which the address is known.
    pub(crate) fn broker_at(&mut self, id: i32, host_port: &str) -> Result<&mut Conn> {
        self.brokers.insert(id, host_port.to_owned());
        self.broker(id)
    }

    /// A connection to a broker by id.
    pub(crate) fn broker(&mut self, id: i32) -> Result<&mut Conn> {
        if !self.leaders.contains_key(&id) {
            let addr = self.brokers.get(&id).with_context(|| {
                format!("broker {id} leads a partition but is not in the cluster's metadata")
            })?;
            self.leaders.insert(id, Conn::open(addr, &self.client_id)?);
        }
        self.leaders.get_mut(&id).context("just inserted")
    }

    /// Ids of all brokers, in order.
    pub(crate) fn brokers(&mut self) -> Result<Vec<i32>> {
        self.metadata(None, false)?;
        Ok(self.brokers.keys().copied().collect())
    }

    /// All topics, in order of their names.
    pub(crate) fn topics(&mut self) -> Result<Vec<Topic>> {
        self.metadata(None, false).map(|topics| topics.into_iter().map(|(_, t)| t).collect())
    }

    /// The same topics with their eligible leaders, asked for in pages of so many partitions.
    pub(crate) fn with_elr(
        &mut self,
        mut topics: Vec<Topic>,
        page: Option<i32>,
    ) -> Result<Vec<Topic>> {
        if self.bootstrap.version::<DescribeTopicPartitionsRequest<'_>>().is_err() {
            return Ok(topics);
        }
        let names: Vec<_> = topics.iter().map(|topic| topic.name.clone()).collect();
        let mut next: Option<(String, i32)> = None;
        while !names.is_empty() {
            let request = DescribeTopicPartitionsRequest {
                topics: names.iter().map(|name| TopicRequest { name }).collect::<Vec<_>>().into(),
                response_partition_limit: page.unwrap_or(PAGE_PARTITIONS),
                cursor: next.as_ref().map(|(topic_name, partition_index)| Cursor {
                    topic_name,
                    partition_index: *partition_index,
                }),
            };
            let answer: DescribeTopicPartitionsResponse<'_> = self.bootstrap.call(&request)?;
            for found in &answer.topics {
                let name = found.name.unwrap_or_default();
                let Some(topic) = topics.iter_mut().find(|topic| topic.name == name) else {
                    continue;
                };
                for it in &found.partitions {
                    let index = it.partition_index;
                    let known = topic.partitions.iter_mut().find(|known| known.index == index);
                    if let Some(known) = known {
                        known.elr = it.eligible_leader_replicas.as_ref().map(|ids| ids.to_vec());
                        known.last_known_elr = it.last_known_elr.as_ref().map(|ids| ids.to_vec());
                    }
                }
            }
            let cursor =
                answer.next_cursor.map(|it| (it.topic_name.to_owned(), it.partition_index));
            if cursor.is_none() || cursor == next {
                break;
            }
            next = cursor;
        }
        Ok(topics)
    }

    /// Those of the named topics that are there.
    pub(crate) fn topics_of<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, Topic>> {
        let names: Vec<_> = names.into_iter().collect();
        let topics = self.metadata(Some(&names), false)?.into_iter();
        let there = topics.filter(|(code, _)| ErrorCode(*code).is_ok());
        Ok(there.map(|(_, topic)| (topic.name.clone(), topic)).collect())
    }

    /// One topic; with `create`, a broker that creates topics on demand is asked to, and its
    /// leaders are waited for.
    pub(crate) fn topic(&mut self, name: &str, create: bool) -> Result<Topic> {
        let deadline = Instant::now() + LEADER_TIMEOUT;
        loop {
            let (code, topic) = self
                .metadata(Some(&[name]), create)?
                .into_iter()
                .next()
                .with_context(|| format!("the broker said nothing of topic {name}"))?;
            let ready = code == 0 && topic.partitions.iter().all(|p| p.leader >= 0);
            if ready {
                return Ok(topic);
            }
            if code != 0 && !(create && ErrorCode(code).is_retriable()) {
                check(code, &format!("topic {name}"))?;
            }
            if Instant::now() > deadline {
                bail!("topic {name} has partitions without a leader");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn metadata(&mut self, only: Option<&[&str]>, create: bool) -> Result<Vec<(i16, Topic)>> {
        let request = MetadataRequest {
            topics: only.map(named),
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        let answer: MetadataResponse<'_> = self.bootstrap.call(&request)?;
        let brokers =
            answer.brokers.iter().map(|b| (b.node_id, host_port(b.host, b.port))).collect();
        let mut topics: Vec<_> = answer
            .topics
            .iter()
            .map(|t| {
                let mut partitions: Vec<_> = t
                    .partitions
                    .iter()
                    .map(|p| Partition {
                        index: p.partition_index,
                        leader: p.leader_id,
                        replicas: p.replica_nodes.to_vec(),
                        isr: p.isr_nodes.to_vec(),
                        elr: None,
                        last_known_elr: None,
                    })
                    .collect();
                partitions.sort_by_key(|p| p.index);
                let topic = Topic {
                    name: t.name.unwrap_or_default().to_owned(),
                    id: t.topic_id,
                    internal: t.is_internal,
                    partitions,
                };
                (t.error_code, topic)
            })
            .collect();
        topics.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        self.brokers = brokers;
        Ok(topics)
    }
}

/// The first that answers; the first failure where none does.
fn open_any<'a>(addrs: impl Iterator<Item = &'a str>, client_id: &str) -> Result<Conn> {
    let mut failure = None;
    for addr in addrs.map(str::trim).filter(|addr| !addr.is_empty()) {
        match Conn::open(addr, client_id) {
            Ok(conn) => return Ok(conn),
            Err(error) => failure.get_or_insert(error),
        };
    }
    Err(failure.unwrap_or_else(|| anyhow!("no broker to begin with is named")))
}

fn named<'a>(names: &[&'a str]) -> List<'a, MetadataRequestTopic<'a>> {
    let topic = |&name| MetadataRequestTopic { name: Some(name), ..Default::default() };
    names.iter().map(topic).collect::<Vec<_>>().into()
}

/// `HOST:PORT`, with brackets around an IPv6 address.
pub(crate) fn host_port(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// How long a topic just created may take to have leaders.
const LEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What brokers know these commands as, unless they say otherwise.
const CLIENT_ID: &str = "odradek-cli";

/// As many as a broker puts into one answer by default.
const PAGE_PARTITIONS: i32 = 2000;
