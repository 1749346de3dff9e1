//! A log's surroundings: what is needed to make its files before the log itself exists.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::appender::AppenderSpec;
use super::dir::LogDir;
use super::flush_policy;
use super::journal::Seat;
use super::names::FileKind;
use super::segment::{Place, Segment};
use super::truncate::remove_if_there;
use crate::buf::BLOCK;
use crate::cache::Tail;
use crate::cx::EngineCx;
use crate::error::{LogError, is_full};
use crate::ids::TopicId;
use crate::rt::OpenMode;
use config::TopicConfig;

/// Where a log lives and what it shares with the core's other logs.
pub(crate) struct Site {
    pub(crate) cx: Rc<EngineCx>,
    /// Name of the directory, for messages.
    pub(crate) name: Arc<str>,
    /// Another one once the log has moved there, as its place is.
    dir: RefCell<Rc<LogDir>>,
    pub(crate) topic: String,
    pub(crate) topic_id: TopicId,
    pub(crate) partition: i32,
    place: RefCell<Rc<Place>>,
    pub(crate) tail: Rc<Tail>,
}

/// Which log of a log directory.
pub(crate) struct SiteSpec {
    pub(crate) name: Arc<str>,
    pub(crate) dir: Rc<LogDir>,
    pub(crate) topic: String,
    pub(crate) topic_id: TopicId,
    pub(crate) partition: i32,
    /// Its directory.
    pub(crate) path: PathBuf,
}

impl Site {
    pub(crate) fn new(cx: &Rc<EngineCx>, spec: SiteSpec) -> Self {
        let SiteSpec { name, dir, topic, topic_id, partition, path } = spec;
        let (dir, place) = (RefCell::new(dir), RefCell::new(Place::new(path)));
        let tail = Tail::new(&cx.tails);
        Self { cx: Rc::clone(cx), name, dir, topic, topic_id, partition, place, tail }
    }

    /// The log directory.
    pub(crate) fn dir(&self) -> Rc<LogDir> {
        Rc::clone(&self.dir.borrow())
    }

    /// The log's own directory, which moves under the feet of whoever knows its path.
    pub(crate) fn place(&self) -> Rc<Place> {
        Rc::clone(&self.place.borrow())
    }

    /// The log's own directory now.
    pub(crate) fn path(&self) -> PathBuf {
        self.place.borrow().get()
    }

    /// Goes on in another log directory; answers the place that was.
    pub(crate) fn move_to(&self, other: &Self) -> Rc<Place> {
        drop(self.dir.replace(other.dir()));
        self.place.replace(other.place())
    }

    pub(crate) fn segment(&self, base: i64, bytes: u64) -> Rc<Segment> {
        let generation = self.dir.borrow().generation();
        let place = self.place.borrow();
        Segment::listed(&self.cx, &self.name, &place, base, bytes, generation)
    }

    /// An empty segment file, with its name durable.
    pub(crate) async fn create_segment(&self, base: i64) -> Result<Rc<Segment>, LogError> {
        let segment = self.segment(base, 0);
        let path = segment.path(FileKind::Log);
        let made: io::Result<()> = async {
            let file = self.cx.rt.open(&path, OpenMode::Create).await?;
            // Left by an attempt that found the disk full.
            if file.len().await? > 0 {
                file.truncate(0).await?;
            }
            self.cx.rt.sync_dir(&self.path()).await?;
            segment.set_file(file);
            segment.start_sidecar();
            Ok(())
        }
        .await;
        match made {
            Ok(()) => Ok(segment),
            Err(error) if is_full(&error) => Err(self.full()),
            Err(error) => Err(LogError::io("create", &path, &error)),
        }
    }

    /// Takes back a segment that was begun at `base` and is not used: the log would go on past its
    /// name.
    pub(crate) async fn discard(&self, base: i64) -> Result<(), LogError> {
        let place = self.path();
        remove_if_there(&self.cx.rt, &FileKind::Log.path(&place, base)).await?;
        let synced = self.cx.rt.sync_dir(&place).await;
        synced.map_err(|error| LogError::io("sync", &place, &error))
    }

    /// What an appender at the end of `segment`, all of which is synced, is made from.
    pub(crate) async fn appender_spec(
        &self,
        segment: &Rc<Segment>,
        end_offset: i64,
        config: &TopicConfig,
    ) -> Result<AppenderSpec, LogError> {
        let file = segment.file(&self.cx).await?;
        let path = segment.path(FileKind::Log);
        let failed = |action, error: io::Error| LogError::io(action, &path, &error);
        let allocated = file.len().await.map_err(|e| failed("measure", e))?;
        let end = segment.size();
        let inside = usize::try_from(end % BLOCK as u64).expect("less than a block");
        let mut last_block = Vec::new();
        if inside > 0 {
            let block = file.read_at(end - inside as u64, BLOCK).await;
            let block = block.map_err(|e| failed("read", e))?;
            if block.len() < inside {
                return Err(segment.corrupt(end, "the file is shorter than its log"));
            }
            last_block.extend_from_slice(&block[..inside]);
        }
        Ok(AppenderSpec {
            log: Arc::clone(&self.name),
            uid: segment.uid,
            file,
            tail: Rc::clone(&self.tail),
            policy: flush_policy(config),
            end,
            end_offset,
            allocated,
            last_block,
            seat: self.seat(segment.base),
        })
    }

    /// The place of a segment in the core's journal. The metadata log has none: what it says is
    /// needed before any journal is replayed.
    fn seat(&self, base: i64) -> Option<Seat> {
        let dir = self.dir.borrow();
        let journal = dir.journal();
        (self.topic != METADATA_TOPIC)
            .then(|| Seat::new(journal, &self.name, self.topic_id.0, self.partition, base))
    }

    pub(crate) fn full(&self) -> LogError {
        LogError::DiskFull { log: Arc::clone(&self.name) }
    }
}

/// KRaft's own log (KIP-595).
const METADATA_TOPIC: &str = "__cluster_metadata";
