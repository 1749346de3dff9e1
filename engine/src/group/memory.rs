//! What groups take in memory: counted by estimate, over all shards of a core, and bounded.

use std::cell::Cell;
use std::rc::Rc;

use super::GroupError;

/// A core's memory for groups.
#[derive(Debug)]
pub struct GroupMemory {
    used: Cell<usize>,
    max: usize,
}

impl GroupMemory {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(max: usize) -> Rc<Self> {
        Rc::new(Self { used: Cell::new(0), max })
    }

    /// Bytes in use; what was loaded may pass the limit.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Whether `more` bytes fit.
    pub(super) fn admit(&self, more: usize) -> Result<(), GroupError> {
        match self.used.get().saturating_add(more) <= self.max {
            true => Ok(()),
            false => Err(GroupError::OutOfMemory),
        }
    }
}

/// Part of a [`GroupMemory`], given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    memory: Rc<GroupMemory>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(memory: &Rc<GroupMemory>, bytes: usize) -> Self {
        let mut charge = Self { memory: Rc::clone(memory), bytes: 0 };
        charge.set(bytes);
        charge
    }

    pub(super) fn set(&mut self, bytes: usize) {
        self.memory.used.set(self.memory.used.get() - self.bytes + bytes);
        self.bytes = bytes;
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.set(self.bytes + bytes);
    }

    pub(super) fn sub(&mut self, bytes: usize) {
        self.set(self.bytes - bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}
