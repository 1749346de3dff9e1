//! A classic group becomes a consumer group, or comes from one.

use std::rc::Rc;

use wire::record::group::{GroupMetadataKey, GroupRecord};

use super::join::Joined;
use super::member::{Member, Protocols};
use super::{Classic, State};
use crate::group::migration::{CUSTOM_ASSIGNOR, MALFORMED, Migrant};
use crate::group::out::Entry;
use crate::group::out::entries;
use crate::group::subscription::{CONSUMER, read_assignment};
use crate::group::{GroupError, Ticket, Turn};

impl Classic {
    pub(in crate::group) fn len(&self) -> usize {
        self.members.len()
    }

    pub(in crate::group) fn generation(&self) -> i32 {
        self.generation
    }

    /// The members, with what they have: of the last generation that was assigned, even while they
    /// join another, since they may not have given it up.
    ///
    /// # Errors
    /// An assignment is none, or has more in it than partitions.
    pub(in crate::group) fn migrants(&self) -> Result<Vec<Migrant>, GroupError> {
        let migrant = |(id, member): (&Rc<str>, &Member)| {
            let assigned = match &*member.assignment {
                [] => Vec::new(),
                bytes => match read_assignment(bytes).ok_or(MALFORMED)? {
                    (_, true) => return Err(CUSTOM_ASSIGNOR),
                    (assigned, false) => assigned,
                },
            };
            Ok(Migrant {
                id: Rc::clone(id),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                session_timeout: member.session_timeout,
                rebalance_timeout: member.rebalance_timeout,
                protocols: member.protocols.with_first(self.protocol.as_deref().unwrap_or("")),
                assigned,
            })
        };
        self.members.iter().map(migrant).collect()
    }

    /// A stable group of these members, in this generation; none where they have no protocol in
    /// common.
    pub(in crate::group) fn of_migrants(
        turn: &Turn<'_>,
        generation: i32,
        migrants: Vec<(Migrant, Vec<u8>)>,
    ) -> Option<Self> {
        let mut classic = Self {
            protocol_type: Some(CONSUMER.to_owned()),
            generation,
            state: State::Stable { until: None },
            ..Self::new(turn.now.wall_ms)
        };
        for (migrant, assignment) in migrants {
            let Migrant { id, instance, client_id, client_host, protocols, .. } = migrant;
            classic.add_support(&protocols);
            if let Some(name) = &instance {
                classic.instances.insert(Rc::clone(name), Rc::clone(&id));
            }
            let timeouts = (migrant.session_timeout, migrant.rebalance_timeout);
            let client = (client_id, client_host);
            let mut member = Member::new(turn.memory, instance, client, timeouts, protocols);
            member.assignment = assignment;
            member.weigh();
            classic.members.insert(id, member);
        }
        classic.leader = classic.members.keys().next().cloned();
        classic.protocol = Some(classic.elected()?);
        Some(classic)
    }

    /// What is remembered of it.
    ///
    /// # Errors
    /// One batch could not hold it.
    pub(in crate::group) fn record(&self, turn: &Turn<'_>) -> Result<Vec<Entry>, GroupError> {
        let key = GroupMetadataKey { group: turn.name.to_string() };
        let value = self.value(turn.now.wall_ms, |_, member| &member.assignment);
        let record = GroupRecord::GroupMetadata(key, Some(value));
        entries(&[record], turn.settings.append_bytes_max)
    }

    /// It was a consumer group until now: everybody's session begins anew, and unless nothing is to
    /// change, they all join again. One of them is at it.
    pub(in crate::group) fn take_over(
        &mut self,
        turn: &mut Turn<'_>,
        anew: bool,
        joiner: Option<(Ticket, String)>,
    ) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in &ids {
            self.renew(turn, id);
        }
        if let Some((ticket, id)) = joiner {
            self.park(turn, &Rc::from(id), ticket);
        }
        if anew {
            self.rebalance_or_complete(turn);
        }
    }
}

impl Joined {
    /// A guest's generation is the epoch that it has in its consumer group: nobody leads.
    pub(in crate::group) fn guest(member: &str, epoch: i32, protocols: &Protocols) -> Self {
        Self {
            generation: epoch,
            protocol_type: CONSUMER.to_owned(),
            protocol: protocols.first().map_or_else(String::new, |(name, _)| name.to_string()),
            member: member.to_owned(),
            ..Self::default()
        }
    }
}
