//! Client quotas (KIP-546).

use std::collections::BTreeMap;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

/// Whom a quota holds for: entity types (`user`, `client-id`, `ip`) in order, each with a name or
/// `None` for "all the others".
pub type QuotaEntity = BTreeMap<Arc<str>, Option<Arc<str>>>;

/// Limits by key, e.g. `producer_byte_rate`.
pub type QuotaLimits = BTreeMap<Arc<str>, f64>;

/// All quotas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quotas {
    pub(super) by_entity: RedBlackTreeMapSync<QuotaEntity, Arc<QuotaLimits>>,
}

impl Quotas {
    /// Limits set for exactly this entity.
    #[must_use]
    pub fn get(&self, entity: &QuotaEntity) -> Option<&Arc<QuotaLimits>> {
        self.by_entity.get(entity)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&QuotaEntity, &Arc<QuotaLimits>)> {
        self.by_entity.iter()
    }

    /// Sets a limit, or removes it with `None`.
    pub(super) fn set(&mut self, entity: QuotaEntity, key: &str, limit: Option<f64>) {
        let mut limits = self
            .by_entity
            .get(&entity)
            .map_or_else(Default::default, |old| QuotaLimits::clone(old));
        match limit {
            Some(limit) => limits.insert(key.into(), limit),
            None => limits.remove(key),
        };
        if limits.is_empty() {
            self.by_entity.remove_mut(&entity);
        } else {
            self.by_entity.insert_mut(entity, Arc::new(limits));
        }
    }
}
