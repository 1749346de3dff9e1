//! A request's parts, sorted by the core that owns their partition, and its answers put back in
//! the request's order.

use engine::ids::CoreId;
use futures_util::future::join_all;

use super::Cx;
use crate::mesh::{CallError, Work};

/// Parts of one request. A slot is the caller's number for a part.
#[derive(Debug)]
pub(crate) struct Scatter<P> {
    cores: Vec<PerCore<P>>,
}

#[derive(Debug)]
struct PerCore<P> {
    core: CoreId,
    slots: Vec<usize>,
    parts: Vec<P>,
}

impl<P> Scatter<P> {
    pub(crate) fn new() -> Self {
        Self { cores: Vec::new() }
    }

    /// Adds a part that `core` serves.
    pub(crate) fn add(&mut self, core: CoreId, slot: usize, part: P) {
        let at = self.cores.iter().position(|per_core| per_core.core == core);
        let at = at.unwrap_or_else(|| {
            self.cores.push(PerCore { core, slots: Vec::new(), parts: Vec::new() });
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
        self,
        cx: &Cx,
        work: impl Fn(Vec<P>) -> W,
    ) -> Vec<(usize, Result<O, CallError>)>
    where
        W: Work<Outcome = Vec<O>>,
    {
        let calls = self.cores.into_iter().map(|PerCore { core, slots, parts }| {
            let expected = parts.len();
            let call = cx.call(core, work(parts));
            async move {
                let outcomes: Vec<_> = match call.await {
                    Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
                    Err(error) => (0..expected).map(|_| Err(error)).collect(),
                };
                assert_eq!(outcomes.len(), expected, "a core answers for every part");
                slots.into_iter().zip(outcomes).collect::<Vec<_>>()
            }
        });
        join_all(calls).await.into_iter().flatten().collect()
    }
}
