//! A request's parts, sorted by the core that owns their partition, and its answers put back in
//! the request's order.

use engine::ids::CoreId;
use futures_util::future::join_all;
use smallvec::SmallVec;

use super::Cx;
use crate::mesh::{CallError, Work};

/// As many as a request has partitions on one core, or cores: mostly one, which needs no memory of
/// its own.
pub(crate) type Parts<T> = SmallVec<[T; 1]>;

/// Parts of one request. A slot is the caller's number for a part.
#[derive(Debug)]
pub(crate) struct Scatter<P> {
    cores: Parts<PerCore<P>>,
}

#[derive(Debug)]
struct PerCore<P> {
    core: CoreId,
    slots: Parts<usize>,
    parts: Parts<P>,
}

impl<P> Scatter<P> {
    pub(crate) fn new() -> Self {
        Self { cores: Parts::new() }
    }

    /// Adds a part that `core` serves.
    pub(crate) fn add(&mut self, core: CoreId, slot: usize, part: P) {
        let at = self.cores.iter().position(|per_core| per_core.core == core);
        let at = at.unwrap_or_else(|| {
            self.cores.push(PerCore { core, slots: Parts::new(), parts: Parts::new() });
            self.cores.len() - 1
        });
        self.cores[at].slots.push(slot);
        self.cores[at].parts.push(part);
    }

    /// The cores involved, with their parts.
    pub(crate) fn cores(&self) -> impl Iterator<Item = (CoreId, &[P])> {
        self.cores.iter().map(|per_core| (per_core.core, per_core.parts.as_slice()))
    }

    /// Asks every core once, all side by side, and returns each slot's outcome.
    pub(crate) async fn ask<W, O>(
        mut self,
        cx: &Cx,
        work: impl Fn(Parts<P>) -> W,
    ) -> Parts<(usize, Result<O, CallError>)>
    where
        W: Work,
        W::Outcome: IntoIterator<Item = O>,
    {
        if self.cores.len() == 1 {
            let only = self.cores.pop().expect("there is one");
            return only.ask(cx, &work).await;
        }
        let calls = self.cores.into_iter().map(|per_core| per_core.ask(cx, &work));
        join_all(calls).await.into_iter().flatten().collect()
    }
}

impl<P> PerCore<P> {
    async fn ask<W, O>(
        self,
        cx: &Cx,
        work: &impl Fn(Parts<P>) -> W,
    ) -> Parts<(usize, Result<O, CallError>)>
    where
        W: Work,
        W::Outcome: IntoIterator<Item = O>,
    {
        let slots = self.slots.into_iter();
        match cx.call(self.core, work(self.parts)).await {
            Err(error) => slots.map(|slot| (slot, Err(error))).collect(),
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                let mut next = || outcomes.next().expect("a core answers for every part");
                slots.map(|slot| (slot, Ok(next()))).collect()
            }
        }
    }
}
