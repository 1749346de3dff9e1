//! A log moves to another log directory of its core while it is served, as Kafka's does
//! (AlterReplicaLogDirs, KIP-113).
//!
//! ```text
//!  A/t-0 ─── copied in passes, segment by segment ───▶ B/t-0.<id>-future
//!  A/t-0 ─── appends wait: the rest of the last segment, a note of all that is known ───▶
//!  1  B/t-0.<id>-future ──▶ B/t-0          durable: the log is in B from here on
//!  2  the log goes on there, in memory
//!  3  A/t-0 ──▶ A/t-0.<id>-delete          durable: who comes without B misses the log
//! ```
//!
//! A crash before step 1 leaves the log in A and an unfinished copy, which the next start begins
//! anew. A crash behind it leaves the partition in both; the copy's note names A, so the one in A is
//! taken for what it is ([`dir`](super::dir)). The note stays until a checkpoint in B says as much.
//! Appends that are acknowledged after the move wait until step 3 is done, so at no moment can a
//! start find an older log where it looks first.
//!
//! Every batch is checked as it is copied. Segments that retention or compaction took meanwhile go
//! from the copy, too; the log's end cut off begins the copy anew. What fails on the way leaves the
//! log where it is.

mod copy;
mod note;
mod switch;

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use wire::primitives::Uuid;

use self::copy::Copies;
pub(crate) use self::note::Note;
use super::dir::LogDir;
use super::names;
use super::open::METADATA_FILE;
use super::site::{Site, SiteSpec};
use super::{Log, Pace};
use crate::error::LogError;

/// A log on its way to another log directory.
pub(crate) struct Relocation {
    /// The log as it will be there; its directory is the unfinished copy's.
    site: Site,
    /// Directory of the unfinished copy.
    future: PathBuf,
    /// Names the move in files.
    id: Uuid,
    cancelled: Cell<bool>,
    /// Everything below this offset is in the copy.
    end: Cell<i64>,
    bytes: Cell<u64>,
}

/// How a move ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The log is in its new directory.
    Moved,
    /// Nobody wants it any more.
    Cancelled,
}

impl Relocation {
    /// Begins a move of `log` to `target`: an empty directory there, durably, which a later start
    /// finds and goes on from.
    ///
    /// # Errors
    /// What the file system reports.
    pub(crate) async fn begin(log: &Log, target: &Rc<LogDir>) -> Result<Rc<Self>, LogError> {
        let cx = &log.site.cx;
        let mut id = [0; 16];
        cx.rt.fill_random(&mut id);
        let (topic, partition) = (log.site.topic.clone(), log.site.partition);
        let id = Uuid(id);
        let path = target.path().join(names::future_dir(&topic, partition, id));
        let site = SiteSpec {
            name: Arc::clone(&log.site.name),
            dir: Rc::clone(target),
            topic,
            topic_id: log.site.topic_id,
            partition,
            path: path.clone(),
        };
        let made: io::Result<()> = async {
            if cx.rt.exists(&target.partition_path(&log.site.topic, partition)).await? {
                return Err(io::Error::other("a log of this name is there already"));
            }
            cx.rt.create_dir_all(&path).await?;
            let text = format!("version: 0\ntopic_id: {}", log.site.topic_id.0);
            cx.rt.replace_file(&path.join(METADATA_FILE), text.as_bytes()).await?;
            cx.rt.sync_dir(target.path()).await
        }
        .await;
        made.map_err(|error| LogError::io("create", &path, &error))?;
        Ok(Rc::new(Self {
            site: Site::new(cx, site),
            future: path,
            id,
            cancelled: Cell::new(false),
            end: Cell::new(log.log_start()),
            bytes: Cell::new(0),
        }))
    }

    /// Where it goes.
    pub(crate) fn target(&self) -> Rc<LogDir> {
        self.site.dir()
    }

    /// Offset below which everything is in the copy.
    pub(crate) fn end(&self) -> i64 {
        self.end.get()
    }

    /// Bytes of the copy.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Nobody wants the move any more; who runs it stops, and discards what there is.
    pub(crate) fn cancel(&self) {
        self.cancelled.set(true);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Removes the copy, of a move that did not come about; nothing where it did.
    ///
    /// # Errors
    /// What the file system reports.
    pub(crate) async fn discard(&self) -> Result<(), LogError> {
        self.target().discard_future(&self.future).await
    }

    fn check(&self) -> Result<(), LogError> {
        match self.target().failure() {
            Some(reason) => {
                let kind = io::ErrorKind::Other;
                Err(LogError::Io {
                    action: "move to",
                    path: self.site.path(),
                    kind,
                    message: reason,
                })
            }
            None => Ok(()),
        }
    }
}

impl Log {
    /// Runs a move to its end. Appends wait at the end alone, for as long as a few syncs take and
    /// [`SWITCH_BYTES`] to copy.
    ///
    /// # Errors
    /// The log is where it was, and serves on but after `Failed`; the copy may be discarded, but
    /// after `Closed`: a start goes on with it.
    pub(crate) async fn relocate(
        self: &Rc<Self>,
        to: &Relocation,
        pace: &Pace,
    ) -> Result<Ended, LogError> {
        let mut copies = Copies::new(self, to);
        let mut retries = 0;
        loop {
            let step = self.relocate_step(to, &mut copies, pace).await;
            if to.is_cancelled() && !matches!(step, Ok(true)) {
                return Ok(Ended::Cancelled);
            }
            match step {
                Ok(true) => return Ok(Ended::Moved),
                Ok(false) => retries = 0,
                // A segment went while it was read: the next pass does without it.
                Err(LogError::Retry | LogError::Io { kind: io::ErrorKind::NotFound, .. })
                    if retries < RETRIES_MAX =>
                {
                    retries += 1;
                }
                Err(error @ LogError::Corrupt { .. }) => {
                    // What was read may just be being cut off.
                    drop(self.turn.lock().await);
                    if !copies.are_of_cut_log(self) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            self.site.cx.rt.sleep(BREAK).await;
        }
    }

    /// One pass; true once the log has moved.
    async fn relocate_step<'a>(
        self: &Rc<Self>,
        to: &'a Relocation,
        copies: &mut Copies<'a>,
        pace: &Pace,
    ) -> Result<bool, LogError> {
        self.check_open()?;
        to.check()?;
        copies.reconcile(self).await?;
        copies.advance(self, Some(pace)).await?;
        if to.is_cancelled() || copies.behind(self) > SWITCH_BYTES {
            return Ok(false);
        }
        self.switch_to_copy(to, copies).await
    }
}

/// Removes a note, which is not needed any more, from the log directory `place`.
///
/// # Errors
/// What the file system reports.
pub(crate) async fn forget_note(rt: &crate::rt::Rt, place: &Path) -> Result<(), LogError> {
    let path: PathBuf = place.join(Note::FILE);
    super::truncate::remove_if_there(rt, &path).await?;
    rt.sync_dir(place).await.map_err(|error| LogError::io("sync", place, &error))
}

/// What is left to copy while appends wait: some milliseconds' worth.
const SWITCH_BYTES: u64 = 2 << 20;
/// Passes in a row that found something gone.
const RETRIES_MAX: u32 = 100;
/// Between two passes.
const BREAK: Duration = Duration::from_millis(1);
