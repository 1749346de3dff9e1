//! Opening a log: what is in its directory, and what has to be read before it can serve.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::appender::Appender;
use super::checkpoint::Entry;
use super::clean::swap::finish_swaps;
use super::dir::LogDir;
use super::index::{OffsetIndex, TimeIndex};
use super::names::Stage;
use super::recovery::{Recovered, Recovery, Report, adopt_indexes};
use super::segment::{Indexes, Segment, read_index_file};
use super::site::{Site, SiteSpec};
use super::{FileKind, Log, State, names};
use crate::batch::header::BatchHeader;
use crate::buf::BLOCK;
use crate::cx::EngineCx;
use crate::error::{LogError, OpenError};
use crate::ids::{Offset, TopicId};
use crate::rt::Rt;
use crate::waiters::FifoLock;
use config::TopicConfig;

/// Which log to open.
pub(crate) struct LogSpec {
    /// Its directory.
    pub(crate) path: PathBuf,
    pub(crate) dir: Rc<LogDir>,
    pub(crate) topic: String,
    pub(crate) topic_id: TopicId,
    pub(crate) partition: i32,
    pub(crate) config: Rc<TopicConfig>,
    /// First offset, where an earlier run noted one.
    pub(crate) log_start: Option<i64>,
    /// What earlier checkpoints say, best first; each has to prove itself.
    pub(crate) entries: Vec<Entry>,
    /// Only we used the log since it was made or recovered: every segment but the last is known to
    /// be whole and synced.
    pub(crate) ours: bool,
    /// Offset below which an earlier run compacted everything, where it noted one.
    pub(crate) cleaned_through: Option<i64>,
    /// Offset below which an earlier run synced everything, where it noted one.
    pub(crate) recovery_point: Option<i64>,
    /// The last process to use the directory stopped in order.
    pub(crate) closed_in_order: bool,
}

/// What nobody needs any more in a log's directory: files that waited for removal when the last
/// process ended, and what stood beside segments that are gone.
async fn sweep(cx: &EngineCx, path: &Path, listing: &Listing) {
    for name in &listing.leftovers {
        let gone = path.join(name);
        match cx.rt.remove_file(&gone).await {
            Ok(()) => tracing::debug!(path = %gone.display(), "a leftover was removed"),
            Err(error) => {
                tracing::warn!(path = %gone.display(), %error, "cannot remove a leftover")
            }
        }
    }
}

/// What a directory holds, before anything in it was opened.
pub(super) struct Listing {
    /// Base offset and length of each segment.
    pub(super) segments: BTreeMap<i64, u64>,
    /// Offsets of the producer snapshots.
    pub(super) snapshots: Vec<i64>,
    /// Names of files that may go.
    leftovers: Vec<String>,
}

impl Log {
    /// Whether the log at `path`, which is never compacted, could be opened, as far as can be told
    /// without changing anything.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub(crate) async fn inspect(rt: &Rt, path: &Path, topic_id: TopicId) -> Result<(), OpenError> {
        let metadata = path.join(METADATA_FILE);
        match rt.read_file(&metadata, METADATA_MAX).await {
            Ok(bytes) => check_metadata(path, &bytes, topic_id)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("read", &metadata, &error).into()),
        }
        refuse_interrupted(rt, path).await?;
        list(rt, path).await.map(drop)
    }

    /// Opens the log at `spec.path`, creating it if nothing is there.
    ///
    /// # Errors
    /// When the directory belongs to another topic, or cannot be read or repaired. Nothing was
    /// deleted then.
    pub(crate) async fn open(
        cx: &Rc<EngineCx>,
        spec: &LogSpec,
    ) -> Result<(Rc<Self>, Report), OpenError> {
        let name = spec.path.file_name().unwrap_or_default().to_string_lossy();
        let site = SiteSpec {
            name: Arc::from(&*name),
            dir: Rc::clone(&spec.dir),
            topic: spec.topic.clone(),
            topic_id: spec.topic_id,
            partition: spec.partition,
            path: spec.path.clone(),
        };
        let site = Site::new(cx, site);
        let fresh = create_if_absent(cx, spec).await?;
        finish_swaps(cx, &spec.path).await?;
        let listing = list(&cx.rt, &spec.path).await?;
        if listing.segments.is_empty() {
            refuse_if_known(spec)?;
        }
        let mut recovery = Recovery::new(&site, spec);
        // A creation that failed half-way leaves a log like this, maybe under the name of an older one.
        let untouched = listing.segments.iter().all(|(&base, &bytes)| base == 0 && bytes == 0);
        if fresh || untouched {
            recovery.forget_hints();
        }
        let found = recovery.run(&listing).await?;
        let report = found.report.clone();
        let stray = listing.snapshots.iter().any(|&snapshot| snapshot > found.end);
        cx.metrics.recovered_bytes.add(report.rescanned_bytes);
        cx.metrics.set_aside_bytes.add(report.cut_bytes);
        let reread = found.reread.clone();
        let log = assemble(site, spec, found).await?;
        if stray {
            // Of records that are not there: believed once the log has grown, it would lie.
            log.rebuild_producers(log.log_end()).await?;
        }
        sweep(cx, &spec.path, &listing).await;
        for segment in reread {
            segment.finish_time_index();
            segment.close_sidecar();
            log.save_segment(&segment).await;
        }
        let mut closed = log.segments_from(i64::MIN);
        closed.pop();
        closed.iter().for_each(|segment| segment.unpin(cx));
        spec.dir.register(&log);
        Ok((log, report))
    }

    /// Brings a closed segment's indexes into memory, from their files or by reading the segment.
    pub(super) async fn load_indexes(&self, segment: &Rc<Segment>) -> Result<(), LogError> {
        if !self.segments_from(segment.base).iter().any(|there| Rc::ptr_eq(there, segment)) {
            // Compaction put another in its place, whose files these are: whoever looks looks again.
            return Ok(());
        }
        let next = self.next_base(segment).unwrap_or_else(|| self.log_end());
        match indexes_from_files(&self.site.cx, segment, next).await? {
            Some(indexes) => adopt_indexes(segment, indexes),
            None => self.rebuild_indexes(segment).await?,
        }
        self.site.cx.shelf.touch(segment);
        Ok(())
    }
}

async fn assemble(site: Site, spec: &LogSpec, mut found: Recovered) -> Result<Rc<Log>, OpenError> {
    let end = found.end;
    let last = found.segments.last_key_value().map(|(_, segment)| Rc::clone(segment));
    let active = match last {
        Some(active) => active,
        None => {
            let fresh = site.create_segment(end).await?;
            found.segments.insert(end, Rc::clone(&fresh));
            fresh
        }
    };
    active.with_indexes_mut(|_| ());
    learn_start(&site, &active).await?;
    let appender_spec = site.appender_spec(&active, end, &spec.config).await?;
    let cx = Rc::clone(&site.cx);
    Ok(Rc::new_cyclic(|me: &Weak<Log>| {
        let me = me.clone();
        let on_progress = move || {
            if let Some(log) = me.upgrade() {
                log.progressed();
            }
        };
        Log {
            site,
            shape: FifoLock::default(),
            turn: FifoLock::default(),
            files: Rc::default(),
            high_watermark: Cell::new(found.high_watermark),
            intended_start: Cell::new(found.log_start),
            changes: Cell::new(1),
            captured: Cell::new(0),
            leftover: RefCell::new(found.leftover),
            state: RefCell::new(State {
                segments: found.segments,
                active,
                appender: Appender::new(&cx, appender_spec, on_progress),
                log_start: found.log_start,
                log_end: end,
                epochs: found.epochs,
                epochs_changed: true,
                producers: found.producers,
                closed: false,
            }),
            config: RefCell::new(Rc::clone(&spec.config)),
            listener: RefCell::new(None),
            ends: Cell::new([None; 2]),
            cleaned_through: Cell::new(spec.cleaned_through),
            truncations: Cell::new(0),
            uncleanable: Cell::new(false),
            moving: Cell::new(false),
        }
    }))
}

/// Reads the first batch's timestamp, which `segment.ms` counts from.
async fn learn_start(site: &Site, active: &Rc<Segment>) -> Result<(), OpenError> {
    if active.size() == 0 || active.first_timestamp_ms().is_some() {
        return Ok(());
    }
    let path = active.path(FileKind::Log);
    let file = active.file(&site.cx).await?;
    let read = file.read_at(0, BLOCK).await.map_err(|e| LogError::io("read", &path, &e))?;
    if let Ok(header) = BatchHeader::decode(&read) {
        active.set_first_timestamp_ms(Some(header.max_timestamp));
    }
    Ok(())
}

/// The directory with its `partition.metadata`, durable before anything is in it.
/// True when it was made now.
async fn create_if_absent(cx: &EngineCx, spec: &LogSpec) -> Result<bool, OpenError> {
    let metadata = spec.path.join(METADATA_FILE);
    match cx.rt.read_file(&metadata, METADATA_MAX).await {
        Ok(bytes) => {
            check_metadata(&spec.path, &bytes, spec.topic_id)?;
            if !spec.closed_in_order {
                sync_names(cx, &spec.path).await?;
            }
            Ok(false)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let had = cx.rt.exists(&spec.path).await;
            let fresh = !had.map_err(|error| LogError::io("look at", &spec.path, &error))?;
            if fresh {
                refuse_if_known(spec)?;
            }
            let made: io::Result<()> = async {
                cx.rt.create_dir_all(&spec.path).await?;
                let text = format!("version: 0\ntopic_id: {}", spec.topic_id.0);
                cx.rt.replace_file(&metadata, text.as_bytes()).await?;
                let root = spec.path.parent().unwrap_or(Path::new("."));
                cx.rt.sync_dir(root).await
            }
            .await;
            made.map_err(|error| LogError::io("create", &spec.path, &error))?;
            Ok(fresh)
        }
        Err(error) => Err(LogError::io("read", &metadata, &error).into()),
    }
}

/// A log that a checkpoint knows was made once, for it is noted before its creation is told: it must
/// not come back empty.
fn refuse_if_known(spec: &LogSpec) -> Result<(), OpenError> {
    let known = spec.entries.iter().map(|entry| entry.offset).max();
    known
        .map_or(Ok(()), |end| Err(OpenError::Missing { path: spec.path.clone(), end: Offset(end) }))
}

/// Makes the directory and what is in it durable: a process that was killed may have made names
/// that it did not come to sync.
async fn sync_names(cx: &EngineCx, path: &Path) -> Result<(), OpenError> {
    for dir in [path, path.parent().unwrap_or(Path::new("."))] {
        let synced = cx.rt.sync_dir(dir).await;
        synced.map_err(|error| LogError::io("sync", dir, &error))?;
    }
    Ok(())
}

fn check_metadata(dir: &Path, bytes: &[u8], expected: TopicId) -> Result<(), OpenError> {
    let found = parse_metadata(bytes).map_err(|reason| OpenError::Unreadable {
        path: dir.join(METADATA_FILE),
        reason: format!("{reason}; restore the file, or move the partition's directory away"),
    })?;
    if found != expected {
        return Err(OpenError::OtherTopic { path: dir.to_owned(), found, expected });
    }
    Ok(())
}

/// The topic that `partition.metadata` names.
fn parse_metadata(bytes: &[u8]) -> Result<TopicId, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text")?;
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    if field("version") != Some("0") {
        return Err("not of version 0");
    }
    let id = field("topic_id").and_then(|id| id.parse().ok());
    id.map(TopicId).ok_or("without a topic id")
}

/// The topic that the partition's directory `dir` belongs to, where it can be read.
pub(super) async fn topic_id(rt: &Rt, dir: &Path) -> Option<TopicId> {
    let bytes = rt.read_file(&dir.join(METADATA_FILE), METADATA_MAX).await.ok()?;
    parse_metadata(&bytes).ok()
}

/// A log that is never compacted has nothing that a compaction left.
async fn refuse_interrupted(rt: &Rt, path: &Path) -> Result<(), OpenError> {
    let entries = match rt.list_dir(path).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(LogError::io("list", path, &error).into()),
    };
    let names = entries.iter().map(|entry| entry.name.to_string_lossy());
    match names.into_iter().find(|name| Stage::parse(name).is_some()) {
        Some(name) => Err(OpenError::Unreadable {
            path: path.join(&*name),
            reason: "left by a compaction, which this log never has; move the file away".to_owned(),
        }),
        None => Ok(()),
    }
}

async fn list(rt: &Rt, path: &Path) -> Result<Listing, OpenError> {
    let entries = rt.list_dir(path).await;
    let entries = entries.map_err(|error| LogError::io("list", path, &error))?;
    let (mut segments, mut snapshots) = (BTreeMap::new(), Vec::new());
    let (mut leftovers, mut beside) = (Vec::new(), Vec::new());
    for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
        let name = entry.name.to_string_lossy();
        match FileKind::parse(&name) {
            Some((FileKind::Log, base)) => drop(segments.insert(base, entry.len)),
            Some((FileKind::Snapshot, offset)) => snapshots.push(offset),
            Some((_, base)) => beside.push((base, name.into_owned())),
            // KRaft's snapshots are their owner's to delete.
            None if name.ends_with(names::DELETED_SUFFIX) && !name.contains(".checkpoint") => {
                leftovers.push(name.into_owned());
            }
            None => {}
        }
    }
    snapshots.sort_unstable();
    // Those of earlier stops: the last one, and those where a segment begins, say as much.
    let newest = snapshots.last().copied();
    let stale = snapshots.iter().filter(|at| Some(**at) != newest && !segments.contains_key(at));
    leftovers.extend(stale.map(|&at| FileKind::Snapshot.name(at)));
    let orphans = beside.into_iter().filter(|(base, _)| !segments.contains_key(base));
    leftovers.extend(orphans.map(|(_, name)| name));
    Ok(Listing { segments, snapshots, leftovers })
}

/// A segment's indexes as its files have them, if they can be those of the segment.
pub(super) async fn indexes_from_files(
    cx: &EngineCx,
    segment: &Segment,
    next_base: i64,
) -> Result<Option<Indexes>, LogError> {
    let offsets = read_index_file(cx, &segment.path(FileKind::Index)).await?;
    let times = read_index_file(cx, &segment.path(FileKind::TimeIndex)).await?;
    let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(None) };
    let last = segment.relative(next_base - 1).unwrap_or(i32::MAX as u32);
    let decoded = OffsetIndex::decode(&offsets, segment.size())
        .and_then(|offsets| Ok(Indexes { offsets, times: TimeIndex::decode(&times, last)? }));
    match decoded {
        Ok(indexes) => Ok(Some(indexes)),
        Err(error) => {
            let path = segment.path(FileKind::Index);
            tracing::warn!(path = %path.display(), %error, "an index is rebuilt");
            Ok(None)
        }
    }
}

/// The part of a segment's index files that a checkpoint's entry vouches for.
pub(super) async fn indexes_of_entry(
    cx: &EngineCx,
    segment: &Segment,
    entry: &Entry,
) -> Result<Option<Indexes>, LogError> {
    let wanted = [
        (FileKind::Index, entry.index_entries as usize * OffsetIndex::ENTRY),
        (FileKind::TimeIndex, entry.time_index_entries as usize * TimeIndex::ENTRY),
    ];
    let mut found = [Vec::new(), Vec::new()];
    for ((kind, bytes), found) in wanted.into_iter().zip(&mut found) {
        if bytes == 0 {
            continue;
        }
        let Some(mut file) = read_index_file(cx, &segment.path(kind)).await? else {
            return Ok(None);
        };
        if file.len() < bytes {
            return Ok(None);
        }
        file.truncate(bytes);
        *found = file;
    }
    let last = segment.relative(entry.offset - 1).unwrap_or(i32::MAX as u32);
    let offsets = OffsetIndex::decode(&found[0], entry.position);
    let times = TimeIndex::decode(&found[1], last);
    let (Ok(offsets), Ok(times)) = (offsets, times) else { return Ok(None) };
    let whole = offsets.len() == entry.index_entries as usize
        && times.len() == entry.time_index_entries as usize;
    Ok(whole.then_some(Indexes { offsets, times }))
}

/// Kafka's file that names the topic.
pub(super) const METADATA_FILE: &str = "partition.metadata";
/// It has two short lines.
const METADATA_MAX: usize = 4096;
