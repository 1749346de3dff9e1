//! Placement of replicas on brokers: Kafka's striped, rack-aware algorithm.
//!
//! Racks in sorted order from a random start, brokers within a rack likewise; every partition
//! shifts both by one. The first replica (the leader) comes from the next rack with an unfenced
//! broker, the others go round the racks, unfenced brokers before fenced ones. After as many
//! partitions as there are unfenced brokers everything is shuffled, so that long topics do not
//! repeat the same sets.

use std::collections::BTreeMap;

use engine::ids::BrokerId;

use super::Random;

/// A broker that may take replicas: registered, not shutting down, with a directory not cordoned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsableBroker {
    /// Its id.
    pub id: BrokerId,
    /// Its rack, if it named one; brokers without one share a rack.
    pub rack: Option<String>,
    /// Fenced brokers take replicas last and never lead.
    pub fenced: bool,
}

/// Why no placement exists; Kafka answers all of them as an invalid replication factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// Asked for no replicas at all.
    #[error("Invalid replication factor {0}: the replication factor must be positive.")]
    NotPositive(i16),
    /// No broker can lead.
    #[error("All brokers are currently fenced.")]
    AllFenced,
    /// More replicas than brokers.
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {registered} \
         broker(s) are registered or some brokers have all their log directories cordoned."
    )]
    TooFewBrokers {
        /// Replicas asked for.
        wanted: i16,
        /// Usable brokers.
        registered: usize,
    },
}

/// Replicas for `partitions` partitions, preferred leader first.
///
/// # Errors
/// If the replication factor is not positive or cannot be reached.
pub fn place(
    brokers: &[UsableBroker],
    partitions: usize,
    replication_factor: i16,
    random: &mut Random<'_>,
) -> Result<Vec<Vec<BrokerId>>, PlaceError> {
    let replicas = usize::try_from(replication_factor).unwrap_or(0);
    if replicas == 0 {
        return Err(PlaceError::NotPositive(replication_factor));
    }
    if brokers.iter().all(|broker| broker.fenced) {
        return Err(PlaceError::AllFenced);
    }
    if replicas > brokers.len() {
        let registered = brokers.len();
        return Err(PlaceError::TooFewBrokers { wanted: replication_factor, registered });
    }
    let mut racks = Racks::new(brokers, random);
    Ok((0..partitions).map(|_| racks.place(replicas, random)).collect())
}

struct Racks {
    racks: Vec<Rack>,
    unfenced: usize,
    /// Partitions placed since the last shuffle; also what shifts the brokers of a rack.
    epoch: usize,
    /// Rack that the next partition starts with.
    offset: usize,
}

impl Racks {
    fn new(brokers: &[UsableBroker], random: &mut Random<'_>) -> Self {
        let mut by_name: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        for broker in brokers {
            let rack = by_name.entry(broker.rack.as_deref()).or_default();
            let ring = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
            ring.brokers.push(broker.id);
        }
        let mut racks: Vec<Rack> = by_name.into_values().collect();
        for ring in racks.iter_mut().flat_map(|rack| [&mut rack.fenced, &mut rack.unfenced]) {
            ring.brokers.sort_unstable();
            if !ring.brokers.is_empty() {
                ring.offset = random.below(ring.brokers.len());
            }
        }
        let offset = random.below(racks.len());
        let unfenced = brokers.iter().filter(|broker| !broker.fenced).count();
        Self { racks, unfenced, epoch: 0, offset }
    }

    fn place(&mut self, replicas: usize, random: &mut Random<'_>) -> Vec<BrokerId> {
        // With one unfenced broker a shuffle changes nothing.
        if self.epoch == self.unfenced && self.unfenced > 1 {
            self.shuffle(random);
            self.epoch = 0;
        }
        if self.offset == self.racks.len() {
            self.offset = 0;
        }
        let mut chosen = Vec::with_capacity(replicas);
        let mut leader_rack = self.offset;
        loop {
            if let Some(leader) = self.racks[leader_rack].unfenced.next(self.epoch) {
                chosen.push(leader);
                break;
            }
            leader_rack = (leader_rack + 1) % self.racks.len();
        }
        let mut skip = Some(leader_rack);
        let mut rack = self.offset;
        while chosen.len() < replicas {
            if skip == Some(rack) {
                skip = None;
            } else if let Some(follower) = self.racks[rack].next(self.epoch) {
                chosen.push(follower);
            }
            rack = (rack + 1) % self.racks.len();
        }
        self.epoch += 1;
        self.offset += 1;
        chosen
    }

    fn shuffle(&mut self, random: &mut Random<'_>) {
        random.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            random.shuffle(&mut rack.fenced.brokers);
            random.shuffle(&mut rack.unfenced.brokers);
        }
    }
}

#[derive(Default)]
struct Rack {
    fenced: Ring,
    unfenced: Ring,
}

impl Rack {
    fn next(&mut self, epoch: usize) -> Option<BrokerId> {
        self.unfenced.next(epoch).or_else(|| self.fenced.next(epoch))
    }
}

/// Brokers handed out once each per epoch, from a start that moves by one with every epoch.
#[derive(Default)]
struct Ring {
    brokers: Vec<BrokerId>,
    taken: usize,
    offset: usize,
    epoch: usize,
}

impl Ring {
    fn next(&mut self, epoch: usize) -> Option<BrokerId> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.taken = 0;
            self.offset = (self.offset + 1) % self.brokers.len();
        }
        if self.taken >= self.brokers.len() {
            return None;
        }
        let broker = self.brokers[(self.taken + self.offset) % self.brokers.len()];
        self.taken += 1;
        Some(broker)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn broker(id: i32, rack: Option<&str>, fenced: bool) -> UsableBroker {
        UsableBroker { id: BrokerId(id), rack: rack.map(str::to_owned), fenced }
    }

    fn run(brokers: &[UsableBroker], partitions: usize, factor: i16) -> Vec<Vec<BrokerId>> {
        let mut zero = || 0;
        place(brokers, partitions, factor, &mut Random::new(&mut zero)).expect("enough brokers")
    }

    #[test]
    fn stripes_over_racks() {
        let brokers: Vec<_> =
            (0..9).map(|id| broker(id, Some(["A", "B", "C"][id as usize / 3]), false)).collect();
        let ids: Vec<Vec<i32>> = run(&brokers, 3, 3)
            .into_iter()
            .map(|replicas| replicas.into_iter().map(|id| id.0).collect())
            .collect();
        assert_eq!(ids, [[0, 3, 6], [4, 7, 1], [8, 2, 5]]);
    }

    #[test]
    fn fenced_brokers_follow_but_never_lead() {
        let brokers = [broker(1, None, true), broker(2, None, false), broker(3, None, true)];
        for replicas in run(&brokers, 20, 2) {
            assert_eq!(replicas[0], BrokerId(2));
            assert_ne!(replicas[1], BrokerId(2));
        }
    }

    #[test]
    fn leaders_are_even_and_replicas_distinct() {
        let mut seed = 7u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 11
        };
        let brokers: Vec<_> = (0..6).map(|id| broker(id, None, false)).collect();
        let placed = place(&brokers, 600, 3, &mut Random::new(&mut random)).expect("placed");
        let mut leads = [0; 6];
        for replicas in placed {
            assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3);
            leads[replicas[0].0 as usize] += 1;
        }
        assert_eq!(leads, [100; 6]);
    }

    #[test]
    fn refusals_are_kafkas() {
        let mut zero = || 0;
        let mut random = Random::new(&mut zero);
        let one = [broker(1, None, false)];
        let error = place(&one, 1, 3, &mut random).expect_err("one broker");
        assert_eq!(
            error.to_string(),
            "The target replication factor of 3 cannot be reached because only 1 broker(s) are \
             registered or some brokers have all their log directories cordoned."
        );
        assert_eq!(place(&one, 1, 0, &mut random), Err(PlaceError::NotPositive(0)));
        let fenced = [broker(1, None, true)];
        assert_eq!(place(&fenced, 1, 1, &mut random), Err(PlaceError::AllFenced));
    }
}
