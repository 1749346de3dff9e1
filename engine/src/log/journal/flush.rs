//! The task that writes a journal's frames, and the cleaning of its halves.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream;

use super::format::{self, HEAD_BYTES, Head};
use super::{Appender, FRAME_BYTES, Frame, HALF_AGE, Half, Journal, Stage, State};
use crate::buf::BLOCK;
use crate::error::LogError;
use crate::rt::{File, Instant, OpenMode};

impl Journal {
    /// Starts the flush task unless it runs.
    pub(super) fn start(self: &Rc<Self>) {
        if !self.state.borrow_mut().running {
            self.state.borrow_mut().running = true;
            self.rt.spawn("journal", run(Guard(Rc::clone(self)))).detach();
        }
        self.work.raise();
    }

    /// Makes the file, aside: its blocks are written once, so that later writes change no more of
    /// the file system than those blocks.
    pub(super) fn make(self: &Rc<Self>) {
        self.state.borrow_mut().stage = Stage::Making;
        let journal = Rc::clone(self);
        let making = async move {
            let made = journal.open_file().await;
            let mut state = journal.state.borrow_mut();
            match made {
                Ok((file, generation)) => {
                    state.file = Some(file);
                    state.generation = generation;
                    state.stage = Stage::Ready;
                }
                Err(error) => {
                    // Nothing is in it, and nothing will be.
                    let path = journal.path.display();
                    tracing::warn!(%path, "appends go without a commit journal: {error}");
                    state.stage = Stage::Closed;
                }
            }
            drop(state);
            journal.moved.wake_all();
        };
        self.rt.spawn("journal making", making).detach();
    }

    async fn open_file(&self) -> io::Result<(File, u64)> {
        let half = self.half_bytes();
        let file = self.rt.open(&self.path, OpenMode::Create).await?;
        let mut generation = 0;
        if file.len().await? == 2 * half {
            for at in [0, half] {
                let block = file.read_at(at, HEAD_BYTES).await?;
                generation = generation.max(Head::decode(&block).map_or(0, |head| head.generation));
            }
        } else {
            self.fill(&file, 2 * half).await?;
        }
        // Whoever made the file may have been killed before its length and its name were durable.
        file.truncate(2 * half).await?;
        for start in [0, half] {
            self.write_head(&file, start, generation, false).await?;
        }
        file.sync().await?;
        self.rt.sync_dir(self.path.parent().unwrap_or(&self.path)).await?;
        file.close().await?;
        Ok((self.rt.open(&self.path, OpenMode::WriteThrough).await?, generation))
    }

    /// Gives a file its blocks.
    async fn fill(&self, file: &File, bytes: u64) -> io::Result<()> {
        let space = self.rt.space(self.path.parent().unwrap_or(&self.path)).await?;
        if space.free_bytes < bytes * SPACE_FACTOR {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is nearly full"));
        }
        // Of another size: what it said was replayed at the start.
        file.truncate(0).await?;
        file.allocate(bytes).await?;
        let mut at = 0;
        while at < bytes {
            let mut zeros = self.rt.alloc(FRAME_BYTES);
            zeros.fill(0);
            let count = usize::try_from(bytes - at).unwrap_or(FRAME_BYTES).min(FRAME_BYTES);
            file.write_at(Rc::new(zeros), count, at).await?;
            at += count as u64;
            self.rt.turn().await;
        }
        Ok(())
    }

    /// Writes a frame, and tells its owners.
    async fn put(self: &Rc<Self>, mut frame: Frame) -> io::Result<()> {
        let whole = frame.len.next_multiple_of(BLOCK) as u64;
        let has_room = {
            let state = self.state.borrow();
            let half = &state.halves[state.active];
            half.end > 0 && half.end + whole <= self.half_bytes()
        };
        if !has_room && !self.switch().await {
            return Err(io::Error::other("the other half could not be cleaned"));
        }
        let (file, head, at) = {
            let mut state = self.state.borrow_mut();
            let file = state.file.clone().expect("a journal that is used has a file");
            let (index, generation, now) = (state.active, state.generation, self.rt.now());
            let half = &mut state.halves[index];
            let payload = frame.len - format::FRAME_HEAD_BYTES;
            format::seal(&mut frame.buf, generation, half.frames, payload, frame.entries);
            frame.buf[frame.len..usize::try_from(whole).expect("a frame is small")].fill(0);
            let start = index as u64 * self.half_bytes();
            let head = (half.frames == 0).then_some((start, generation));
            let at = start + half.end;
            half.frames += 1;
            half.end += whole;
            half.since.get_or_insert(now);
            for (owner, end) in &frame.owners {
                half.owners.insert(owner.uid, (Rc::clone(owner), *end));
            }
            (file, head, at)
        };
        if let Some((start, generation)) = head {
            // Before any frame: under the head of its last use, a half with a frame of this one
            // would look damaged.
            self.write_head(&file, start, generation, true).await?;
        }
        let len = usize::try_from(whole).expect("a frame is small");
        let buf = Rc::new(frame.buf);
        file.write_at(Rc::clone(&buf), len, at).await?;
        {
            let mut state = self.state.borrow_mut();
            state.written += 1;
            if let Ok(buf) = Rc::try_unwrap(buf) {
                state.keep(buf);
            }
        }
        if let Some((owner, _)) = frame.owners.first() {
            let metrics = &owner.cx.metrics;
            metrics.device_writes.inc();
            metrics.device_bytes.add(whole);
            metrics.syncs.inc();
        }
        for (owner, end) in frame.owners {
            owner.cx.metrics.journal_commits.inc();
            owner.journaled(end);
        }
        self.moved.wake_all();
        Ok(())
    }

    async fn write_head(
        &self,
        file: &File,
        start: u64,
        generation: u64,
        in_use: bool,
    ) -> io::Result<()> {
        let (directory, half_bytes) = (self.directory, self.half_bytes());
        let mut block = self.rt.alloc(HEAD_BYTES);
        Head { in_use, generation, directory, half_bytes }.encode(&mut block);
        file.write_at(Rc::new(block), HEAD_BYTES, start).await
    }

    /// Goes on in the other half once that is clean, and has this one cleaned. False if the journal
    /// has failed: what is in the other half stays.
    async fn switch(self: &Rc<Self>) -> bool {
        let other = {
            let mut state = self.state.borrow_mut();
            state.clean_now = false;
            let old = state.active;
            if state.halves[old].frames > 0 {
                state.halves[old].cleaning = true;
                let cleaning = clean(Rc::clone(self), old);
                self.rt.spawn("journal cleaning", cleaning).detach();
            }
            1 - old
        };
        self.moved
            .until(0, || {
                let state = self.state.borrow();
                (!state.halves[other].cleaning || state.stage == Stage::Failed).then_some(())
            })
            .await;
        let mut state = self.state.borrow_mut();
        if state.stage == Stage::Failed {
            return false;
        }
        state.generation += 1;
        state.active = other;
        state.halves[other] = Half { end: HEAD_BYTES as u64, ..Half::default() };
        true
    }

    /// Every log in a half is synced, so the half is not needed any more.
    async fn clean_half(&self, index: usize) -> Result<(), LogError> {
        let owners: Vec<_> = self.state.borrow().halves[index].owners.values().cloned().collect();
        let writes = owners.iter().map(|(owner, end)| owner.write_through(*end));
        stream::iter(writes).buffer_unordered(WRITES_MAX).collect::<()>().await;
        if owners.len() >= TOGETHER_MIN {
            self.sync_together(&owners).await;
        }
        let syncs = owners.iter().map(|(owner, end)| owner.sync_through(*end));
        let mut syncs = stream::iter(syncs).buffer_unordered(SYNCS_MAX);
        while let Some(synced) = syncs.next().await {
            synced?;
        }
        Ok(())
    }

    /// Syncs many logs at once.
    async fn sync_together(&self, owners: &[(Rc<Appender>, u64)]) {
        let files: Vec<File> = owners.iter().map(|(owner, _)| owner.file.clone()).collect();
        let covered: Vec<u64> = owners.iter().map(|(owner, _)| owner.written_end()).collect();
        let dir = self.path.parent().unwrap_or(&self.path);
        let result = self.rt.sync_files(dir, &files).await;
        for ((owner, _), covered) in owners.iter().zip(covered) {
            owner.synced_with_others(covered, &result);
        }
        if let Some((owner, _)) = owners.first() {
            owner.cx.metrics.syncs.inc();
        }
    }

    /// Has everything in the journal synced, and says so in the file.
    pub(super) async fn empty(self: &Rc<Self>) -> Result<(), LogError> {
        self.moved
            .until(0, || {
                let state = self.state.borrow();
                let settled = state.stage != Stage::Making && state.is_settled();
                (settled || state.stage == Stage::Failed).then_some(())
            })
            .await;
        if self.state.borrow().stage == Stage::Failed {
            return Err(LogError::Closed);
        }
        for index in 0..2 {
            self.clean_half(index).await?;
        }
        let (file, generation) = {
            let mut state = self.state.borrow_mut();
            state.stage = Stage::Closed;
            state.halves = <[Half; 2]>::default();
            (state.file.take(), state.generation)
        };
        self.work.raise();
        let Some(file) = file else { return Ok(()) };
        let failed = |error| LogError::io("close", &self.path, &error);
        for start in [0, self.half_bytes()] {
            self.write_head(&file, start, generation, false).await.map_err(failed)?;
        }
        file.close().await.map_err(failed)
    }

    /// Stops using the journal. Whoever waits for it goes straight; what is in it stays.
    fn fail(&self, reason: &str) {
        let (frames, halves) = {
            let mut state = self.state.borrow_mut();
            if state.stage == Stage::Failed {
                return;
            }
            state.stage = Stage::Failed;
            let mut frames: Vec<_> = state.ready.drain(..).collect();
            frames.extend(state.open.take());
            let owners = state.halves.iter().flat_map(|half| half.owners.values().cloned());
            (frames, owners.collect::<Vec<_>>())
        };
        let path = self.path.display();
        tracing::error!(%path, reason, "the commit journal failed: appends go on without it");
        let waiting = frames.into_iter().flat_map(|frame| frame.owners);
        for (owner, _) in waiting.chain(halves) {
            owner.without_journal();
        }
        self.moved.wake_all();
    }
}

/// Writes frames for as long as there is something to write, or to clean.
async fn run(guard: Guard) {
    let journal = &guard.0;
    loop {
        let frame = journal.state.borrow_mut().next_frame();
        if let Some(frame) = frame {
            let owners = frame.owners.clone();
            if let Err(error) = journal.put(frame).await {
                journal.fail(&error.to_string());
                owners.iter().for_each(|(owner, _)| owner.without_journal());
                return;
            }
            continue;
        }
        let Some(wait) = journal.state.borrow().wait() else { return };
        if let Wait::Until(due) = wait
            && due <= journal.rt.now()
        {
            // Where that fails there is nothing more to do, which is seen at once.
            let _ = journal.switch().await;
            continue;
        }
        let mut alarm = pin!(match wait {
            Wait::Until(due) => Some(journal.rt.sleep_until(due)),
            Wait::ForWork => None,
        });
        poll_fn(|cx| {
            let rang = match alarm.as_mut().as_pin_mut() {
                Some(alarm) => alarm.poll(cx).is_ready(),
                None => false,
            };
            if rang || journal.work.poll_raised(cx).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}

/// What the flush task waits for when there is no frame to write.
#[derive(Clone, Copy)]
enum Wait {
    ForWork,
    /// Then the half in use is to be cleaned.
    Until(Instant),
}

impl State {
    /// None when the task may end.
    fn wait(&self) -> Option<Wait> {
        let cleaning = self.halves.iter().any(|half| half.cleaning);
        let over = matches!(self.stage, Stage::Closed | Stage::Failed);
        match self.halves[self.active].since {
            _ if over => None,
            None if !cleaning => None,
            // The other half is not ready to be used.
            _ if cleaning => Some(Wait::ForWork),
            Some(since) if self.clean_now => Some(Wait::Until(since)),
            Some(since) => Some(Wait::Until(since + HALF_AGE)),
            None => Some(Wait::ForWork),
        }
    }

    /// Whether everything that was begun is written, and nothing is being cleaned.
    fn is_settled(&self) -> bool {
        let unused = self.open.as_ref().is_some_and(|open| open.entries == 0);
        self.written + u64::from(unused) == self.begun
            && !self.halves.iter().any(|half| half.cleaning)
    }
}

async fn clean(journal: Rc<Journal>, index: usize) {
    match journal.clean_half(index).await {
        Ok(()) => {
            journal.state.borrow_mut().halves[index] = Half::default();
        }
        // Some of it may be nowhere else.
        Err(error) => journal.fail(&error.to_string()),
    }
    journal.moved.wake_all();
    journal.work.raise();
}

/// Marks the task as ended; a panic in it stops the journal, loudly.
struct Guard(Rc<Journal>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.state.borrow_mut().running = false;
        if std::thread::panicking() {
            self.0.fail("its task panicked");
        }
    }
}

/// From so many logs on one sync of the file system is cheaper than one for each.
const TOGETHER_MIN: usize = 8;
/// Logs that are written to at a time.
const WRITES_MAX: usize = 16;
/// Logs that are synced at a time.
const SYNCS_MAX: usize = 4;
/// How often the journal has to fit into the free room of the disk to be made.
const SPACE_FACTOR: u64 = 4;
