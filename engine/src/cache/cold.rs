//! Windows of older data that readers asked for.
//!
//! A window is an aligned stretch of a segment file, read by one device request, checked against
//! the sidecar, and kept until newer windows need the room. Reads of one window share one request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use super::SegmentUid;
use crate::buf::Chunk;
use crate::error::LogError;
use crate::rt::Rt;
use crate::waiters::Waiters;

/// Bytes of a window: large enough that four in flight keep the device busy.
pub(crate) const WINDOW: u64 = 256 * 1024;

/// The cold windows of one core.
pub(crate) struct Cold {
    rt: Rt,
    bytes_max: usize,
    state: RefCell<State>,
    /// Woken whenever a request ends.
    loads: Waiters,
}

#[derive(Default)]
struct State {
    windows: BTreeMap<Key, Window>,
    /// Last use of each ready window, oldest first.
    uses: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
}

type Key = (SegmentUid, u64);

/// Where a request leaves what it read.
type Outcome = Rc<Cell<Option<Result<Rc<Chunk>, LogError>>>>;

enum Window {
    /// Being read; the number tells this request from an earlier one of the same window.
    Loading(u64),
    Ready {
        chunk: Rc<Chunk>,
        used: u64,
    },
}

impl Cold {
    pub(crate) fn new(rt: Rt, bytes_max: usize) -> Rc<Self> {
        Rc::new(Self { rt, bytes_max, state: RefCell::default(), loads: Waiters::default() })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state.borrow().bytes
    }

    /// The window that holds the byte at `pos`, if it was read.
    pub(crate) fn find(&self, segment: SegmentUid, pos: u64) -> Option<Rc<Chunk>> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let key = (segment, pos / WINDOW);
        let Some(Window::Ready { chunk, used }) = state.windows.get_mut(&key) else { return None };
        if pos >= chunk.end() {
            return None;
        }
        state.clock += 1;
        state.uses.remove(used);
        *used = state.clock;
        state.uses.insert(state.clock, key);
        Some(Rc::clone(chunk))
    }

    /// Whether the window of `pos` is there or on its way.
    pub(crate) fn knows(&self, segment: SegmentUid, pos: u64) -> bool {
        self.state.borrow().windows.contains_key(&(segment, pos / WINDOW))
    }

    /// Whether a request for the window of `pos` is under way.
    fn is_loading(&self, segment: SegmentUid, pos: u64) -> bool {
        let key = (segment, pos / WINDOW);
        matches!(self.state.borrow().windows.get(&key), Some(Window::Loading(_)))
    }

    /// The window that holds the byte at `pos`, by `read` unless someone reads it already. The
    /// request runs on when the caller goes away: its result serves the next one.
    pub(crate) async fn load<F>(
        self: &Rc<Self>,
        segment: SegmentUid,
        pos: u64,
        read: impl FnOnce(u64) -> F,
    ) -> Result<Rc<Chunk>, LogError>
    where
        F: Future<Output = Result<Rc<Chunk>, LogError>> + 'static,
    {
        if self.is_loading(segment, pos) {
            self.loads.until(0, || (!self.is_loading(segment, pos)).then_some(())).await;
            return self.find(segment, pos).ok_or(LogError::Retry);
        }
        let (request, outcome) = self.request(segment, pos, read);
        let key = (segment, pos / WINDOW);
        self.loads.until(0, || (!self.is_request(key, request)).then_some(())).await;
        outcome.take().unwrap_or_else(|| Err(LogError::Closed))
    }

    /// Begins to read the window of `pos`, without waiting for it.
    pub(crate) fn request<F>(
        self: &Rc<Self>,
        segment: SegmentUid,
        pos: u64,
        read: impl FnOnce(u64) -> F,
    ) -> (u64, Outcome)
    where
        F: Future<Output = Result<Rc<Chunk>, LogError>> + 'static,
    {
        let key = (segment, pos / WINDOW);
        let outcome = Outcome::default();
        let request = self.begin(key);
        let ended = Ended { cold: Rc::clone(self), key, request };
        let (cold, slot) = (Rc::clone(self), Rc::clone(&outcome));
        let reading = read(key.1 * WINDOW);
        let task = async move {
            let ended = ended;
            let result = reading.await;
            if let Ok(chunk) = &result {
                cold.keep(ended.key, ended.request, chunk);
            }
            slot.set(Some(result));
            drop(ended);
        };
        self.rt.spawn("cold read", task).detach();
        (request, outcome)
    }

    /// Forgets all windows of a segment: its file is gone or changed.
    pub(crate) fn forget(&self, segment: SegmentUid) {
        let mut state = self.state.borrow_mut();
        let keys: Vec<Key> =
            state.windows.range((segment, 0)..=(segment, u64::MAX)).map(|(k, _)| *k).collect();
        for key in keys {
            state.remove(key);
        }
    }

    /// Forgets the windows of a segment that nobody waits for: others took its place, and who is in
    /// the middle of it goes on.
    pub(crate) fn forget_ready(&self, segment: SegmentUid) {
        let mut state = self.state.borrow_mut();
        let windows = state.windows.range((segment, 0)..=(segment, u64::MAX));
        let ready = windows.filter(|(_, window)| matches!(window, Window::Ready { .. }));
        let keys: Vec<Key> = ready.map(|(key, _)| *key).collect();
        for key in keys {
            state.remove(key);
        }
    }

    fn begin(&self, key: Key) -> u64 {
        let mut state = self.state.borrow_mut();
        state.remove(key);
        state.clock += 1;
        let request = state.clock;
        state.windows.insert(key, Window::Loading(request));
        request
    }

    fn is_request(&self, key: Key, request: u64) -> bool {
        matches!(self.state.borrow().windows.get(&key), Some(Window::Loading(at)) if *at == request)
    }

    fn keep(&self, key: Key, request: u64, chunk: &Rc<Chunk>) {
        if !self.is_request(key, request) {
            return;
        }
        let mut state = self.state.borrow_mut();
        state.clock += 1;
        let used = state.clock;
        state.bytes += chunk.capacity();
        state.uses.insert(used, key);
        state.windows.insert(key, Window::Ready { chunk: Rc::clone(chunk), used });
        while state.bytes > self.bytes_max && state.uses.len() > 1 {
            let Some((_, oldest)) = state.uses.pop_first() else { break };
            state.remove(oldest);
        }
    }
}

impl State {
    fn remove(&mut self, key: Key) {
        if let Some(Window::Ready { chunk, used }) = self.windows.remove(&key) {
            self.uses.remove(&used);
            self.bytes -= chunk.capacity();
        }
    }
}

/// Ends a request, also one whose task panicked.
struct Ended {
    cold: Rc<Cold>,
    key: Key,
    request: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.cold.is_request(self.key, self.request) {
            self.cold.state.borrow_mut().remove(self.key);
        }
        self.cold.loads.wake_all();
    }
}
