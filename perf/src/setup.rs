//! From a workload to loads with open connections, shared out to threads.

mod members;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wire::error_code::ErrorCode;
use wire::msg::fetch::FetchRequest;
use wire::msg::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use wire::msg::produce::ProduceRequest;

use crate::batch::Identity;
use crate::clock::Clock;
use crate::control::{Control, TopicView};
use crate::load::client::{Client, ClientPlan, Producer};
use crate::load::fetch::{Fetch, FetchPlan, Group, Place, Slot};
use crate::load::link::Link;
use crate::load::produce::{RawPlan, RawProduce, Sender};
use crate::load::template::{FetchTemplate, Mold, ProduceTemplate};
use crate::load::worker::Part;
use crate::load::{Load, share};
use crate::workload::{From, Kind, Produce, Workload};

/// What all loads of a run are made from.
pub(crate) struct Setup<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) control: &'a mut Control,
    pub(crate) topic: &'a TopicView,
    pub(crate) clock: Clock,
    pub(crate) run: u32,
    pub(crate) threads: usize,
    /// Lanes below this are taken.
    pub(crate) lanes_used: u32,
}

/// Where each partition began and ended when the loads were made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) start: Vec<i64>,
    pub(crate) end: Vec<i64>,
}

impl Setup<'_> {
    /// The parts that write the prefill, by thread.
    pub(crate) fn prefill(&mut self) -> Result<Vec<Vec<Part>>> {
        let spec = Produce {
            name: "prefill".to_owned(),
            depth: Some(8),
            batch: self.workload.topic.prefill_batch,
            ..toml::from_str("record = \"1KiB\"").context("the defaults of a load")?
        };
        let batches = self.workload.topic.prefill.0.div_ceil(spec.batch.0.max(1));
        let mut threads = self.threads_of_parts();
        self.raw(0, &spec, Some(batches), &mut threads)?;
        Ok(threads)
    }

    /// The parts of all loads, by thread.
    pub(crate) fn loads(&mut self, bounds: &Bounds) -> Result<Vec<Vec<Part>>> {
        let mut threads = self.threads_of_parts();
        let first_lane = self.lanes_used;
        let workload = self.workload;
        for (number, load) in workload.produce.iter().enumerate() {
            match load.kind {
                Kind::Raw => self.raw(number, load, None, &mut threads)?,
                Kind::Client => self.client(number, load, &mut threads)?,
            }
        }
        for number in 0..workload.consume.len() {
            self.fetch(number, first_lane, bounds, &mut threads)?;
        }
        for number in 0..workload.group.len() {
            self.members(number, &mut threads)?;
        }
        Ok(threads)
    }

    fn threads_of_parts(&self) -> Vec<Vec<Part>> {
        (0..self.threads).map(|_| Vec::new()).collect()
    }

    fn raw(
        &mut self,
        number: usize,
        spec: &Produce,
        limit: Option<u64>,
        threads: &mut [Vec<Part>],
    ) -> Result<()> {
        let version = self.control.versions().of::<ProduceRequest<'_>>()?;
        let mold = Mold::new(spec, (self.clock.now() / 1_000_000) as i64)?;
        let brokers = brokers(self.topic);
        let mut templates = Vec::new();
        let mut of_broker = Vec::new();
        for (_, partitions) in &brokers {
            let first = templates.len() as u32;
            for chunk in partitions.chunks(spec.partitions_per_request as usize) {
                let chunk = chunk.to_vec();
                templates.push(ProduceTemplate::new(spec, &mold, self.topic, chunk, version)?);
            }
            of_broker.push((first..templates.len() as u32).collect::<Arc<[u32]>>());
        }
        let connections = (spec.connections as usize).max(brokers.len());
        let plan = Arc::new(RawPlan {
            spec: spec.clone(),
            version,
            run: self.run,
            mold,
            templates,
            partitions: self.topic.leaders.len() as u32,
            first_lane: self.take_lanes(connections)?,
        });
        let parts = self.threads.min(connections);
        for (thread, into) in threads.iter_mut().enumerate().take(parts) {
            let mut senders = Vec::new();
            let mut links = Vec::new();
            for link in share(connections, thread, parts) {
                links.push(open(brokers[link % brokers.len()].0)?);
                let templates = of_broker[link % brokers.len()].clone();
                let identity = self.identity(spec)?;
                // By its share of the partitions: all get the same.
                let left = limit.map(|limit| {
                    (limit * templates.len() as u64).div_ceil(plan.templates.len() as u64)
                });
                senders.push(Sender {
                    left,
                    link: link as u32,
                    // Links begin at different partitions.
                    next: link * templates.len() / connections,
                    sequences: vec![0; templates.len()],
                    templates,
                    identity,
                });
            }
            let load = RawProduce::new(plan.clone(), senders, (thread, parts));
            into.push(Part { number, load: Box::new(load), links });
        }
        Ok(())
    }

    fn client(&mut self, number: usize, spec: &Produce, threads: &mut [Vec<Part>]) -> Result<()> {
        let brokers = brokers(self.topic);
        let connections = (spec.connections as usize).max(brokers.len());
        let plan = Arc::new(ClientPlan {
            spec: spec.clone(),
            version: self.control.versions().of::<ProduceRequest<'_>>()?,
            run: self.run,
            topic: self.topic.clone(),
            first_lane: self.take_lanes(connections)?,
        });
        let parts = self.threads.min(connections);
        for (thread, into) in threads.iter_mut().enumerate().take(parts) {
            let mut producers = Vec::new();
            let mut links = Vec::new();
            for link in share(connections, thread, parts) {
                let (address, partitions) = &brokers[link % brokers.len()];
                links.push(open(*address)?);
                let identity = self.identity(spec)?;
                producers.push(Producer::new(link as u32, partitions.as_slice().into(), identity));
            }
            let load = Client::new(plan.clone(), producers, (thread, parts));
            into.push(Part { number, load: Box::new(load), links });
        }
        Ok(())
    }

    fn identity(&mut self, spec: &Produce) -> Result<Option<Identity>> {
        spec.idempotent.then(|| self.control.producer_identity()).transpose()
    }

    fn fetch(
        &self,
        number: usize,
        first_lane: u32,
        bounds: &Bounds,
        threads: &mut [Vec<Part>],
    ) -> Result<()> {
        let spec = &self.workload.consume[number];
        let version = self.control.versions().of::<FetchRequest<'_>>()?;
        let plan =
            Arc::new(FetchPlan { spec: spec.clone(), version, run: self.run, number, first_lane });
        let brokers = brokers(self.topic);
        let connections = (spec.connections as usize).max(brokers.len());
        let parts = self.threads.min(connections);
        for (thread, into) in threads.iter_mut().enumerate().take(parts) {
            let mut slots = Vec::new();
            let mut links = Vec::new();
            for connection in share(connections, thread, parts) {
                let (address, partitions) = &brokers[connection % brokers.len()];
                // Connections and slots of this broker share its partitions.
                let nth = connection / brokers.len();
                let peers = (connections - connection % brokers.len()).div_ceil(brokers.len());
                let depth = spec.depth as usize;
                for slot in 0..depth {
                    let (part, of) = match spec.each_reads_all {
                        true => (slot, depth),
                        false => (nth * depth + slot, peers * depth),
                    };
                    let own = portion(partitions, part, of);
                    let groups = self.groups(number, &own, bounds, version)?;
                    // Readers of the same partitions begin at different ones.
                    let turn = part * groups.len() / of.max(1);
                    slots.push(Slot { link: links.len(), groups, turn });
                }
                links.push(open(*address)?);
            }
            let load: Box<dyn Load> = Box::new(Fetch::new(plan.clone(), slots));
            into.push(Part { number: self.workload.produce.len() + number, load, links });
        }
        Ok(())
    }

    fn groups(
        &self,
        number: usize,
        partitions: &[u32],
        bounds: &Bounds,
        version: i16,
    ) -> Result<Vec<Group>> {
        let spec = &self.workload.consume[number];
        let size = match spec.partitions_per_request {
            0 => partitions.len().max(1),
            size => size as usize,
        };
        let group = |partitions: &[u32]| {
            let template = FetchTemplate::new(spec, self.topic, partitions, version)?;
            let places = partitions.iter().map(|&partition| {
                let (start, end) =
                    (bounds.start[partition as usize], bounds.end[partition as usize]);
                let next = if spec.from == From::Start { start } else { end };
                Place::new(partition, start, next, end)
            });
            Ok(Group { template, places: places.collect() })
        };
        partitions.chunks(size).map(group).collect()
    }

    /// Lanes for so many links.
    pub(crate) fn take_lanes(&mut self, links: usize) -> Result<u32> {
        let first = self.lanes_used;
        let lanes = links as u64 * self.topic.leaders.len() as u64;
        let used = u32::try_from(u64::from(first) + lanes).ok().filter(|used| *used < 1 << 31);
        self.lanes_used = used.context("connections × partitions pass 2 147 483 648")?;
        Ok(first)
    }
}

/// Where every partition begins and ends now. Waits for leaders that are named but not yet at it,
/// as those of a new topic may be.
pub(crate) fn bounds(control: &mut Control, topic: &TopicView) -> Result<Bounds> {
    let deadline = Instant::now() + LEADERS_LIMIT;
    loop {
        match list_bounds(control, topic)? {
            Ok(bounds) => return Ok(bounds),
            Err(code) if code.is_retriable() && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(code) => bail!("ListOffsets: {}", code.name()),
        }
    }
}

/// The same once; the inner error is a partition's.
fn list_bounds(control: &mut Control, topic: &TopicView) -> Result<Result<Bounds, ErrorCode>> {
    let mut bounds = Bounds::default();
    for (timestamp, list) in [(-2, &mut bounds.start), (-1, &mut bounds.end)] {
        list.resize(topic.leaders.len(), 0);
        for (address, partitions) in brokers(topic) {
            let mut other = None;
            let control = match address == control.address() {
                true => &mut *control,
                false => other.insert(Control::open(&address.to_string())?),
            };
            let asked: Vec<_> = partitions
                .iter()
                .map(|&partition| ListOffsetsPartition {
                    partition_index: partition as i32,
                    timestamp,
                    ..Default::default()
                })
                .collect();
            let topics = [ListOffsetsTopic { name: &topic.name, partitions: (&asked).into() }];
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: (&topics).into(),
                timeout_ms: 30_000,
                ..Default::default()
            };
            let (answer, _) = control.call(&request)?;
            for part in answer.topics.iter().flat_map(|topic| topic.partitions.to_vec()) {
                if part.error_code != 0 {
                    return Ok(Err(ErrorCode(part.error_code)));
                }
                let place = list.get_mut(part.partition_index as usize);
                *place.context("an offset of a partition that does not exist")? = part.offset;
            }
        }
    }
    Ok(Ok(bounds))
}

/// The brokers that lead partitions of a topic, and which.
pub(crate) fn brokers(topic: &TopicView) -> Vec<(SocketAddr, Vec<u32>)> {
    let mut brokers: Vec<(SocketAddr, Vec<u32>)> = Vec::new();
    for (partition, leader) in topic.leaders.iter().enumerate() {
        let at = brokers.iter().position(|(address, _)| address == leader).unwrap_or_else(|| {
            brokers.push((*leader, Vec::new()));
            brokers.len() - 1
        });
        brokers[at].1.push(partition as u32);
    }
    brokers
}

/// Share `part` of `of`: every `of`-th, or, where there are fewer than `of`, the one it shares
/// with others.
fn portion(partitions: &[u32], part: usize, of: usize) -> Vec<u32> {
    match partitions.len() < of {
        true => vec![partitions[part % partitions.len()]],
        false => partitions.iter().copied().skip(part).step_by(of).collect(),
    }
}

pub(crate) fn open(address: SocketAddr) -> Result<Link> {
    Link::open(address).with_context(|| format!("connecting to {address}"))
}

const LEADERS_LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::portion;

    #[test]
    fn every_partition_has_a_reader() {
        assert_eq!(portion(&[0, 1, 2, 3, 4], 0, 2), [0, 2, 4]);
        assert_eq!(portion(&[0, 1, 2, 3, 4], 1, 2), [1, 3]);
        assert_eq!(portion(&[7], 3, 5), [7]);
        assert_eq!(portion(&[7, 9], 3, 5), [9]);
    }
}
