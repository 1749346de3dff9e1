//! Reads what nobody reads: finds damage on disk while there is something to mend it with.
//!
//! Closed segments only. One with a whole sidecar is compared with it; of another the batches are
//! checked and a sidecar is made, so that the next time it is.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::FileKind;
use super::Log;
use super::dir::LogDir;
use super::scan::Scanner;
use super::segment::Segment;
use super::sidecar::Sidecar;
use crate::cache::WINDOW;
use crate::error::LogError;

/// How a core looks for damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubPace {
    /// Bytes read per second, at most.
    pub bytes_per_second: u64,
    /// Time between the starts of two passes, and before the first.
    pub every: Duration,
}

impl Default for ScrubPace {
    /// 4 MiB/s, once a week: a terabyte takes three days.
    fn default() -> Self {
        Self { bytes_per_second: 4 << 20, every: Duration::from_secs(7 * 86_400) }
    }
}

impl LogDir {
    /// Goes through all closed segments of this core's logs again and again, for ever.
    pub async fn scrub_forever(self: Rc<Self>, pace: ScrubPace) {
        let mut next = self.rt().now() + pace.every;
        loop {
            self.rt().sleep_until(next).await;
            next = self.rt().now() + pace.every;
            let bad = self.scrub(pace.bytes_per_second).await;
            tracing::info!(path = %self.path().display(), bad, "all closed segments were read");
        }
    }

    /// Goes through all closed segments of this core's logs once; answers how many are damaged.
    pub async fn scrub(&self, bytes_per_second: u64) -> usize {
        let mut bad = 0;
        for log in self.open_logs() {
            let mut closed = log.segments_from(i64::MIN);
            closed.pop();
            for segment in closed {
                match log.scrub_segment(&segment, bytes_per_second).await {
                    Ok(()) | Err(LogError::Closed | LogError::Retry) => {}
                    Err(error) if !matches!(error, LogError::Corrupt { .. }) => {
                        tracing::warn!(log = &*log.site.name, %error, "a segment is not looked at");
                    }
                    Err(error) => {
                        bad += 1;
                        log.site.cx.metrics.damage_found.inc();
                        tracing::error!(log = &*log.site.name, %error, "damage on disk");
                    }
                }
            }
        }
        bad
    }
}

impl Log {
    async fn scrub_segment(
        self: &Rc<Self>,
        segment: &Rc<Segment>,
        bytes_per_second: u64,
    ) -> Result<(), LogError> {
        segment.load_sidecar(&self.site.cx).await?;
        let size = segment.size();
        let whole = segment.covered() == Some(segment.size());
        let result = match whole {
            true => self.compare(segment, bytes_per_second).await,
            false => self.check_and_cover(segment, bytes_per_second).await,
        };
        let gone = !self.segments_from(segment.base).iter().any(|s| Rc::ptr_eq(s, segment));
        // A truncation cut it, and appends go on there.
        let cut = segment.is_pinned() || segment.size() != size;
        if gone || cut { Err(LogError::Retry) } else { result }
    }

    async fn compare(&self, segment: &Rc<Segment>, rate: u64) -> Result<(), LogError> {
        let mut start = 0;
        while start < segment.size() {
            self.check_open()?;
            let read = Rc::clone(segment).read_window(Rc::clone(&self.site.cx), start).await?;
            drop(read);
            self.pace(WINDOW, rate).await;
            start += WINDOW;
        }
        Ok(())
    }

    async fn check_and_cover(&self, segment: &Rc<Segment>, rate: u64) -> Result<(), LogError> {
        let path = segment.path(FileKind::Log);
        let failed = |error: io::Error| LogError::io("read", &path, &error);
        let file = segment.file(&self.site.cx).await?;
        let size = segment.size();
        let mut scanner = Scanner::new(&self.site.cx.rt, file, 0, size);
        let (mut sidecar, mut at, mut paced) = (Sidecar::empty(), 0, 0);
        loop {
            let next = scanner.next(|bytes| {
                sidecar.extend(at, bytes);
                at += bytes.len() as u64;
            });
            match next.await.map_err(failed)? {
                Ok(_) => {}
                Err(_) if at == size => break,
                Err(why) => return Err(segment.corrupt(at, &why.to_string())),
            }
            self.check_open()?;
            if at - paced >= WINDOW {
                self.pace(at - paced, rate).await;
                paced = at;
            }
        }
        sidecar.close();
        let _files = self.files.lock().await;
        if segment.is_pinned() || segment.size() != size {
            return Err(LogError::Retry);
        }
        segment.set_sidecar(sidecar);
        if let Some(pages) = segment.pages_to_save() {
            self.save_blocks(segment, pages).await;
        }
        Ok(())
    }

    async fn pace(&self, bytes: u64, rate: u64) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.site.cx.rt.sleep(time).await;
    }
}
