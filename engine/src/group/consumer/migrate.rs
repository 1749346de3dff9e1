//! A consumer group comes from a classic one, or becomes one.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::guest::{by_id, by_name};
use super::member::{Guest, Held, Member, Profile, Stand};
use super::{Consumer, Key, Turn};
use crate::group::GroupError;
use crate::group::assign::Partitions;
use crate::group::classic::Classic;
use crate::group::migration::{Batch, MALFORMED, Migrant};
use crate::group::out::entries;
use crate::group::subscription::Subscription;

impl Consumer {
    pub(in crate::group) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are members, and all of them are guests.
    pub(in crate::group) fn is_left_to_guests(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(|it| it.profile.guest.is_some())
    }

    /// Whether all members have what they are to have.
    pub(in crate::group) fn is_settled(&self) -> bool {
        self.epoch == self.target_epoch
            && self.members.values().all(|member| member.is_settled(self.epoch))
    }

    /// Takes the members of a classic group in, with what they had in this generation.
    ///
    /// # Errors
    /// What a member says cannot be read; or one batch could not hold the group.
    pub(in crate::group) fn take_in(
        &mut self,
        turn: &mut Turn<'_>,
        generation: i32,
        migrants: Vec<Migrant>,
    ) -> Result<(), GroupError> {
        self.epoch = generation;
        self.target_epoch = generation;
        let mut taken: Vec<(Rc<str>, Partitions, Partitions)> = Vec::with_capacity(migrants.len());
        for migrant in migrants {
            let assigned = by_id(turn.topics, &migrant.assigned);
            let id = Rc::clone(&migrant.id);
            let session = migrant.session_timeout;
            let metadata = migrant.protocols.first().map_or(&[][..], |(_, metadata)| metadata);
            let mut subscription = Subscription::read(metadata).ok_or(MALFORMED)?;
            let owned = by_id(turn.topics, &std::mem::take(&mut subscription.owned));
            let profile = profile(migrant, subscription);
            self.subscribe(&profile);
            if let Some(instance) = &profile.instance {
                self.instances.insert(Rc::clone(instance), Rc::clone(&id));
            }
            let mut member = Member::new(turn.memory, profile);
            member.silent_at = Some(turn.arm(session));
            self.members.insert(Rc::clone(&id), member);
            self.touch(Key::Member(Rc::clone(&id)));
            taken.push((id, assigned, owned));
        }
        self.touch(Key::Group);
        for (id, assigned, _) in &taken {
            self.targets.insert(Rc::clone(id), assigned.clone());
            self.touch(Key::TargetOf(Rc::clone(id)));
        }
        self.touch(Key::Target);
        for (id, assigned, _) in &taken {
            let assigned = self.free_of(assigned, generation);
            let (epoch, previous_epoch) = (generation, generation);
            self.stand(id, Stand { epoch, previous_epoch, assigned, ..Stand::default() });
        }
        for (id, _, owned) in &taken {
            // Some that it had before it may still have, if nobody was told yet that it is to go.
            let more = self.free_of(owned, generation);
            let mut stand = self.members[id].stand.clone();
            for (topic, ids) in more {
                stand.assigned.entry(topic).or_default().extend(ids);
            }
            self.stand(id, stand);
            self.weigh(id);
        }
        let records: Vec<_> = self.touched_records(turn.name).collect();
        entries(&records, turn.settings.append_bytes_max).map(drop)
    }

    /// A leader may have assigned a partition twice: one has it.
    fn free_of(&self, partitions: &Partitions, epoch: i32) -> Held {
        let mut held = Held::new();
        for (topic, ids) in partitions {
            let free = ids.iter().filter(|id| !self.holders.contains_key(&(*topic, **id)));
            let free: std::collections::BTreeMap<_, _> = free.map(|id| (*id, epoch)).collect();
            if !free.is_empty() {
                held.insert(*topic, free);
            }
        }
        held
    }

    /// What a member has, and what it is to have that nobody else has. With all settled, its target.
    fn claim_of(&self, id: &Rc<str>, member: &Member) -> Partitions {
        let held = member.stand.assigned.iter().chain(&member.stand.revoking);
        let mut claim = Partitions::new();
        for (topic, partitions) in held {
            claim.entry(*topic).or_default().extend(partitions.keys());
        }
        for (topic, partitions) in self.targets.get(id).into_iter().flatten() {
            let free = |id: &&i32| !self.holders.contains_key(&(*topic, **id));
            let free: BTreeSet<i32> = partitions.iter().filter(free).copied().collect();
            if !free.is_empty() {
                claim.entry(*topic).or_default().extend(free);
            }
        }
        claim
    }

    /// The classic group that this one becomes, and the records of that; none where it cannot. Who has
    /// not given up yet what it has is said to have it: another member may come at any time that makes
    /// this a consumer group again, and finds there what is free. (Kafka writes the target.)
    pub(in crate::group) fn downgraded(&self, turn: &Turn<'_>) -> Option<(Classic, Batch)> {
        let migrants = self.members.iter().map(|(id, member)| {
            let guest = member.profile.guest.as_ref()?;
            let metadata = guest.protocols.first().map_or(&[][..], |(_, metadata)| metadata);
            let claim = self.claim_of(id, member).into_iter();
            let claim = claim.map(|(topic, ids)| (topic, ids.into_iter().collect()));
            let assigned = by_name(turn.topics, claim);
            let assignment = crate::group::subscription::write_assignment(metadata, &assigned);
            Some((migrant(id, member, guest), assignment))
        });
        let classic = Classic::of_migrants(turn, self.epoch, migrants.collect::<Option<_>>()?)?;
        let keys = self.all_keys();
        let tombstones: Vec<_> = keys.iter().map(|key| key.tombstone(turn.name)).collect();
        let mut records = entries(&tombstones, turn.settings.append_bytes_max).ok()?;
        records.extend(classic.record(turn).ok()?);
        let bytes: usize = records.iter().map(crate::group::Entry::bytes).sum();
        (bytes <= turn.settings.append_bytes_max).then_some((classic, (keys, records)))
    }

    /// All that the group remembers, or may have written, in the order in which it is forgotten: the
    /// group itself comes last.
    pub(in crate::group) fn all_keys(&self) -> Vec<Key> {
        let mut ids: BTreeSet<&Rc<str>> = self.members.keys().chain(self.targets.keys()).collect();
        let mut patterns: BTreeSet<&Rc<str>> = self.resolved.keys().collect();
        for key in self.touched.iter() {
            match key {
                Key::Member(id) | Key::TargetOf(id) | Key::Current(id) => ids.insert(id),
                Key::Pattern(pattern) => patterns.insert(pattern),
                Key::Classic | Key::Group | Key::Target | Key::Partitions => false,
            };
        }
        let of = |key: fn(Rc<str>) -> Key| ids.iter().map(move |id| key(Rc::clone(id)));
        let mut keys: Vec<_> = of(Key::Current).chain(of(Key::TargetOf)).collect();
        keys.push(Key::Target);
        keys.extend(of(Key::Member));
        keys.extend(patterns.into_iter().map(|pattern| Key::Pattern(Rc::clone(pattern))));
        keys.extend([Key::Partitions, Key::Group]);
        keys
    }
}

fn profile(migrant: Migrant, subscription: Subscription) -> Profile {
    let mut topics: Vec<Rc<str>> = subscription.topics.into_iter().map(Rc::from).collect();
    topics.sort();
    topics.dedup();
    let session_timeout_ms = millis(migrant.session_timeout);
    Profile {
        instance: migrant.instance,
        rack: subscription.rack,
        client_id: migrant.client_id,
        client_host: migrant.client_host,
        topics,
        pattern: Rc::from(""),
        rebalance_timeout_ms: millis(migrant.rebalance_timeout),
        assignor: None,
        guest: Some(Rc::new(Guest { session_timeout_ms, protocols: migrant.protocols })),
    }
}

fn migrant(id: &Rc<str>, member: &Member, guest: &Guest) -> Migrant {
    let profile = &member.profile;
    Migrant {
        id: Rc::clone(id),
        instance: profile.instance.clone(),
        client_id: profile.client_id.clone(),
        client_host: profile.client_host.clone(),
        session_timeout: guest.session_timeout(),
        rebalance_timeout: profile.rebalance_timeout(),
        protocols: guest.protocols.clone(),
        assigned: Vec::new(),
    }
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}
