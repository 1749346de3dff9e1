//! Commits that a model's members send, of one partition and ever higher.

use super::*;

/// What was asked to be kept, and what is known to be.
#[derive(Debug, Default)]
pub(super) struct Commits {
    asked: i64,
    kept: i64,
    under_way: BTreeMap<Ticket, i64>,
}

impl Commits {
    /// A member commits.
    pub(super) fn send(
        &mut self,
        world: &mut World,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) {
        self.asked += 1;
        let offset = self.asked;
        let request = CommitRequest {
            group: "g".into(),
            generation,
            member: member.into(),
            instance: instance.map(str::to_owned),
            knows_epochs: true,
            offsets: vec![NewOffset { topic: "t".into(), offset, ..NewOffset::default() }],
        };
        let ticket = world.ticket();
        self.under_way.insert(ticket, offset);
        world.shard.commit(world.now, ticket, &request);
    }

    /// Takes an answer, if it is one to a commit.
    pub(super) fn take(&mut self, ticket: Ticket, answer: &Answer) -> bool {
        let Some(offset) = self.under_way.remove(&ticket) else { return false };
        let Answer::Parts(parts) = answer else { panic!("{answer:?}") };
        if parts.is_ok() {
            self.kept = self.kept.max(offset);
        }
        true
    }

    /// Nobody answers any more.
    pub(super) fn forget(&mut self) {
        self.under_way.clear();
    }

    /// Nothing that was acknowledged is lost.
    pub(super) fn check(&self, world: &World) {
        let found = world.shard.offset("g", "t", Uuid::ZERO, 0).map_or(0, |it| it.offset);
        assert!(found >= self.kept, "{found} after {} was acknowledged", self.kept);
    }
}
