//! Which broker leads what, and a connection to each.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wire::error_code::ErrorCode;
use wire::msg::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use wire::primitives::Uuid;

use super::conn::{Conn, check};

/// A cluster, known from one broker of it.
#[derive(Debug)]
pub(crate) struct Cluster {
    bootstrap_server: String,
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
}

impl Cluster {
    /// Connects to the broker at `HOST:PORT`.
    pub(crate) fn connect(bootstrap_server: &str) -> Result<Self> {
        Ok(Self {
            bootstrap_server: bootstrap_server.to_owned(),
            bootstrap: Conn::open(bootstrap_server)?,
            leaders: BTreeMap::new(),
            brokers: BTreeMap::new(),
        })
    }

    /// Drops all connections, and connects to the first broker again or, where that does not
    /// answer, to another one that is known.
    pub(crate) fn reconnect(&mut self) -> Result<()> {
        self.leaders.clear();
        let first = Conn::open(&self.bootstrap_server);
        let others = self.brokers.values().filter(|addr| **addr != self.bootstrap_server);
        self.bootstrap = first.or_else(|failure| {
            others.map(|addr| Conn::open(addr)).find_map(Result::ok).ok_or(failure)
        })?;
        Ok(())
    }

    /// The broker connected to first: for what any broker answers.
    pub(crate) fn any(&mut self) -> &mut Conn {
        &mut self.bootstrap
    }

    /// A connection to a broker by id.
    pub(crate) fn broker(&mut self, id: i32) -> Result<&mut Conn> {
        if !self.leaders.contains_key(&id) {
            let addr = self.brokers.get(&id).with_context(|| {
                format!("broker {id} leads a partition but is not in the cluster's metadata")
            })?;
            self.leaders.insert(id, Conn::open(addr)?);
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

    /// One topic; with `create`, a broker that creates topics on demand is asked to, and its
    /// leaders are waited for.
    pub(crate) fn topic(&mut self, name: &str, create: bool) -> Result<Topic> {
        let deadline = Instant::now() + LEADER_TIMEOUT;
        loop {
            let (code, topic) = self
                .metadata(Some(name), create)?
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

    fn metadata(&mut self, only: Option<&str>, create: bool) -> Result<Vec<(i16, Topic)>> {
        let wanted: Vec<_> = only
            .map(|name| MetadataRequestTopic { name: Some(name), ..Default::default() })
            .into_iter()
            .collect();
        let request = MetadataRequest {
            topics: only.map(|_| wanted.into()),
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

/// `HOST:PORT`, with brackets around an IPv6 address.
pub(crate) fn host_port(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// How long a topic just created may take to have leaders.
const LEADER_TIMEOUT: Duration = Duration::from_secs(10);
