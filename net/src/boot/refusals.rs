//! Every directory that a node does not start on: it says why, and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::batch::header::Batches;
use engine::ids::BrokerId;
use engine::rt::{FileLock, Rt};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use replication::quorum::{DataVersion, ElectionState, QuorumConfig, format};
use replication::record::{self, BatchPlace, ControlRecord};
use wire::primitives::Uuid;
use wire::record::control::KRaftVersionRecord;
use wire::record::metadata::{FeatureLevelRecord, MetadataRecord, RegisterBrokerRecord};

use crate::testing::Whole;

/// All files and directories of the node, files with their bytes.
fn tree(node: &Whole) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    node.on_node(|rt| async move {
        let mut found = BTreeMap::new();
        let mut todo = vec![PathBuf::from("/")];
        while let Some(dir) = todo.pop() {
            for entry in rt.list_dir(&dir).await.expect("listable") {
                let path = dir.join(&entry.name);
                if entry.is_dir {
                    found.insert(path.clone(), None);
                    todo.push(path);
                } else {
                    let bytes = rt.read_file(&path, 1 << 30).await.expect("readable");
                    found.insert(path, Some(bytes));
                }
            }
        }
        found
    })
}

/// What somebody did to the node's disk.
type Mischief = fn(Rt) -> LocalBoxFuture<'static, Held>;

/// What they hold until the node was refused: nothing, mostly.
struct Held {
    _lock: Option<FileLock>,
}

impl From<()> for Held {
    fn from((): ()) -> Self {
        Self { _lock: None }
    }
}

impl From<FileLock> for Held {
    fn from(lock: FileLock) -> Self {
        Self { _lock: Some(lock) }
    }
}

struct Case {
    /// Settings beside the usual.
    settings: &'static [&'static str],
    /// Whether the node served before, and stopped in order.
    used: bool,
    mischief: Mischief,
    /// Words of the refusal.
    words: &'static [&'static str],
}

fn assert_refused(case: &Case) {
    let mut node = if case.used { Whole::start(1, 2, &[]) } else { Whole::new(1, 2, &[]) };
    if case.used {
        assert!(node.stop().iter().all(Result::is_ok));
    }
    node.set(case.settings);
    let held = node.on_node(case.mischief);
    let before = tree(&node);
    assert!(!node.try_boot(), "{:?}: not refused", case.words);
    let why = node.why();
    for word in case.words {
        assert!(why.contains(word), "{word:?} is not in: {why}");
    }
    let after = tree(&node);
    for path in before.keys().chain(after.keys()) {
        assert_eq!(before.get(path), after.get(path), "{}: {why}", path.display());
    }
    drop(held);
}

/// `name: [settings], used or new, |rt| what was done; words;`
macro_rules! refused {
    ($($name:ident: $settings:expr, $used:expr, |$rt:ident| $mischief:block $words:expr;)*) => {
        $(#[test]
        fn $name() {
            let mischief: Mischief = |$rt| async move { $mischief.into() }.boxed_local();
            assert_refused(&Case { settings: $settings, used: $used, mischief, words: $words });
        })*
    };
}

const USED: bool = true;
const NEW: bool = false;
const TWO: &[&str] = &["log.dirs=/more,/data"];

refused! {
    a_directory_of_somebody_else: TWO, NEW, |rt| { put(&rt, "/data/photos.txt", b"x").await; }
        &["photos.txt"];
    a_strange_directory: TWO, USED, |rt| { put(&rt, "/data/photos/a.jpg", b"x").await; }
        &["photos"];
    another_node: TWO, USED, |rt| { replace(&rt, META, "node.id=1", "node.id=2").await; }
        &["node 2", "node.id"];
    another_cluster: TWO, USED, |rt| {
        put(&rt, "/more/meta.properties", THEIRS.as_bytes()).await;
    } &["MkU3OEVBNTcwNTJENDM2Qk"];
    a_newer_meta_properties: TWO, USED, |rt| { replace(&rt, META, "version=1", "version=2").await; }
        &["version 2"];
    a_damaged_meta_properties: TWO, USED, |rt| { put(&rt, META, b"\xff\xfe").await; }
        &["meta.properties"];
    a_damaged_journal: TWO, USED, |rt| {
        put(&rt, "/data/odradek-core-7.journal", &[0xff; 16_384]).await;
    } &["odradek-core-7.journal", "damaged"];
    somebody_elses_lock: TWO, USED, |rt| {
        rt.lock_file(Path::new("/data/.lock")).expect("free")
    } &["/data"];
    two_metadata_logs: TWO, USED, |rt| {
        let ours = read(&rt, META).await;
        let theirs = String::from_utf8(ours).expect("text");
        let other = theirs.lines().filter(|line| !line.starts_with("directory.id"));
        let other = other.collect::<Vec<_>>().join("\n");
        put(&rt, "/more/meta.properties", other.as_bytes()).await;
        put(&rt, "/more/__cluster_metadata-0/quorum-state", b"x").await;
    } &["both hold a metadata log"];
    partitions_without_their_metadata: TWO, USED, |rt| {
        put(&rt, "/data/t-0/00000000000000000000.log", b"").await;
        rt.remove_dir_all(Path::new("/data/__cluster_metadata-0")).await.expect("removed");
    } &["no log directory holds __cluster_metadata-0"];
    a_lost_metadata_log: TWO, USED, |rt| {
        remove(&rt, LOG).await;
        remove(&rt, FIRST).await;
    } &["gone"];
    a_lost_segment: TWO, USED, |rt| {
        let log = read(&rt, LOG).await;
        put(&rt, "/data/__cluster_metadata-0/00000000000000000003.log", &log).await;
        remove(&rt, LOG).await;
    } &["a file was lost"];
    a_lost_end: TWO, USED, |rt| {
        let first = read(&rt, FIRST).await;
        put(&rt, "/data/__cluster_metadata-0/00000000000000000999-0000000001.checkpoint", &first)
            .await;
    } &["a file was lost"];
    a_damaged_snapshot: TWO, USED, |rt| {
        put(&rt, "/data/__cluster_metadata-0/00000000000000000001-0000000001.checkpoint", b"junk")
            .await;
    } &["00000000000000000001-0000000001.checkpoint"];
    a_damaged_quorum_state: TWO, USED, |rt| { put(&rt, STATE, b"{").await; } &["quorum-state"];
    the_last_epoch: TWO, USED, |rt| { elect(&rt, i32::MAX, &[]).await; }
        &["cannot be raised any more"];
    a_damaged_log: TWO, USED, |rt| {
        let mut log = read(&rt, LOG).await;
        log[100] ^= 1;
        put(&rt, LOG, &log).await;
    } &["damaged at offset 0"];
    an_interrupted_compaction: TWO, USED, |rt| {
        put(&rt, "/data/__cluster_metadata-0/00000000000000000000.log.swap", b"").await;
    } &["compaction"];
    another_topic: TWO, USED, |rt| {
        let other = b"version: 0\ntopic_id: MkU3OEVBNTcwNTJENDM2Qg";
        put(&rt, "/data/__cluster_metadata-0/partition.metadata", other).await;
    } &["MkU3OEVBNTcwNTJENDM2Qg"];
    another_voter: TWO, NEW, |rt| { formatted_by(&rt, 2).await; } &["not among the voters"];
    another_directory: TWO, NEW, |rt| { formatted_by(&rt, 1).await; } &["not among the voters"];
    more_voters: TWO, NEW, |rt| {
        put(&rt, META, THEIRS.as_bytes()).await;
        put(&rt, LOG, b"").await;
        elect(&rt, 3, &[1, 2]).await;
    } &["remove the others first"];
    no_voters: TWO, NEW, |rt| {
        put(&rt, META, THEIRS.as_bytes()).await;
        put(&rt, LOG, b"").await;
    } &["names no voters"];
    a_newer_quorum: TWO, USED, |rt| {
        let newer = ControlRecord::KRaftVersion(KRaftVersionRecord { k_raft_version: 9 });
        append(&rt, |place| record::control_batch(place, &[newer]).expect("encoded")).await;
    } &["kraft.version 9"];
    a_newer_record: TWO, USED, |rt| {
        append(&rt, |place| record::metadata_batch(place, &[vec![1, 100, 0]])).await;
    } &["type 100"];
    a_newer_level: TWO, USED, |rt| {
        append(&rt, |place| batch(place, newer_level())).await;
    } &["metadata.version at level 99"];
    an_unknown_feature: TWO, USED, |rt| {
        let level = FeatureLevelRecord { name: "wings".to_owned(), feature_level: 1 };
        append(&rt, |place| batch(place, level.into())).await;
    } &["wings"];
    a_directory_that_another_broker_registered: TWO, USED, |rt| {
        let meta = String::from_utf8(read(&rt, META).await).expect("text");
        let id = meta.lines().find_map(|line| line.strip_prefix("directory.id="));
        let broker = RegisterBrokerRecord {
            broker_id: 7,
            log_dirs: vec![id.expect("an id").parse().expect("an id")],
            fenced: true,
            ..RegisterBrokerRecord::default()
        };
        append(&rt, |place| batch(place, broker.into())).await;
    } &["already registered"];
    a_newer_bootstrap: TWO, NEW, |rt| {
        put(&rt, "/more/meta.properties", THEIRS.as_bytes()).await;
        put(&rt, "/more/bootstrap.checkpoint", b"junk").await;
    } &["bootstrap.checkpoint"];
}

async fn put(rt: &Rt, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    rt.create_dir_all(path.parent().expect("below the root")).await.expect("made");
    rt.replace_file(path, bytes).await.expect("written");
}

async fn read(rt: &Rt, path: &str) -> Vec<u8> {
    rt.read_file(Path::new(path), 1 << 30).await.expect("there")
}

async fn remove(rt: &Rt, path: &str) {
    rt.remove_file(Path::new(path)).await.expect("there");
}

async fn replace(rt: &Rt, path: &str, from: &str, to: &str) {
    let text = String::from_utf8(read(rt, path).await).expect("text");
    assert!(text.contains(from), "{text}");
    put(rt, path, text.replace(from, to).as_bytes()).await;
}

async fn elect(rt: &Rt, epoch: i32, voters: &[i32]) {
    let voters: Vec<_> = voters.iter().copied().map(BrokerId).collect();
    let version = if voters.is_empty() { DataVersion::V1 } else { DataVersion::V0 };
    let state = ElectionState { epoch, leader: None, voted: None, voters };
    put(rt, STATE, state.encode(version).as_bytes()).await;
}

/// A directory of this node whose metadata log names another directory, or node, as its voter.
async fn formatted_by(rt: &Rt, node: i32) {
    put(rt, META, THEIRS.as_bytes()).await;
    let config =
        QuorumConfig { node: BrokerId(node), directory: Uuid([9; 16]), endpoints: Vec::new() };
    put(rt, FIRST, &format::empty_log_checkpoint(&config, 0).expect("encoded")).await;
}

/// Appends a batch to the metadata log.
async fn append(rt: &Rt, batch: impl FnOnce(BatchPlace) -> Vec<u8>) {
    let mut log = read(rt, LOG).await;
    let last = Batches::new(&log).last().expect("some batches").expect("a whole one");
    let (base, epoch) = (last.next_offset(), last.leader_epoch);
    let added = batch(BatchPlace { base, epoch, timestamp_ms: 0 });
    log.extend(added);
    put(rt, LOG, &log).await;
}

fn batch(place: BatchPlace, record: MetadataRecord) -> Vec<u8> {
    let value = record.to_bytes(record.version_at(30)).expect("encoded");
    record::metadata_batch(place, &[value])
}

fn newer_level() -> MetadataRecord {
    FeatureLevelRecord { name: "metadata.version".to_owned(), feature_level: 99 }.into()
}

const META: &str = "/data/meta.properties";
const STATE: &str = "/data/__cluster_metadata-0/quorum-state";
const LOG: &str = "/data/__cluster_metadata-0/00000000000000000000.log";
const FIRST: &str = "/data/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";
/// `meta.properties` of node 1 of another cluster.
const THEIRS: &str = "#\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\ndirectory.id=6Jm3tDxNRq-K8c7G0V2lzw\n\
                      node.id=1\nversion=1\n";
