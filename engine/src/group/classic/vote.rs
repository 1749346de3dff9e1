//! Which protocol a generation uses.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Classic, Protocols};

impl Classic {
    /// Whether a member with these protocols can be in the group.
    pub(super) fn goes_with(&self, protocol_type: &str, protocols: &Protocols) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| self.is_candidate(name))
    }

    /// Each member votes for the first of its protocols that all support; the most votes win, among
    /// equals the first name.
    pub(super) fn elected(&self) -> Option<Rc<str>> {
        let mut votes: BTreeMap<&Rc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|(name, _)| name);
            if let Some(name) = names.find(|name| self.is_candidate(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let first = votes.into_iter().find(|(_, count)| *count == most);
        first.map(|(name, _)| Rc::clone(name))
    }

    fn is_candidate(&self, name: &str) -> bool {
        self.support.get(name).is_some_and(|count| *count == self.members.len())
    }

    pub(super) fn add_support(&mut self, protocols: &Protocols) {
        for (name, _) in protocols.iter() {
            *self.support.entry(Rc::clone(name)).or_default() += 1;
        }
    }

    pub(super) fn remove_support(&mut self, protocols: &Protocols) {
        for (name, _) in protocols.iter() {
            let Some(count) = self.support.get_mut(name) else { continue };
            *count -= 1;
            if *count == 0 {
                self.support.remove(name);
            }
        }
    }
}
