//! Whether a partition is where it should be, before it is opened.
//!
//! A partition that nobody ever opened here is made; one that was here and is not must not come
//! back empty, and of two directories with the same name nobody can tell which is the right one.

use std::rc::Rc;

use engine::ids::PartitionId;
use engine::log::dir::LogDir;
use replication::image::Topic;
use replication::image::directory;

use crate::core::Core;

/// Why a partition cannot be opened on this node, with what to do.
pub(crate) fn trouble(core: &Core, topic: &Topic, partition: PartitionId) -> Option<String> {
    let (name, number) = (&*topic.name, partition.0);
    let holds = |dir: &&Rc<LogDir>| dir.contents().holds(name, number);
    let mut holders = core.dirs.iter().filter(holds).map(|dir| dir.path().display());
    match (holders.next(), holders.next()) {
        (Some(one), Some(other)) => Some(format!(
            "{name}-{number} is both in {one} and in {other}; move the one that is wrong away"
        )),
        (Some(_), None) => None,
        (None, _) => missing(core, topic, partition),
    }
}

/// Why a partition that is in no directory was in one.
fn missing(core: &Core, topic: &Topic, partition: PartitionId) -> Option<String> {
    let (name, number) = (&*topic.name, partition.0);
    for dir in &core.dirs {
        if let Some(end) = dir.contents().known_end(topic.id, number) {
            let path = dir.path().join(format!("{name}-{number}"));
            return Some(format!(
                "{} is gone, which had records up to offset {end}; put it back, or delete the topic",
                path.display()
            ));
        }
    }
    let assigned = topic.partition(partition)?.directory_of(core.node.id)?;
    let known = core.node.dirs.iter().any(|dir| dir.meta.directory_id == Some(assigned));
    (!known && !directory::is_reserved(assigned)).then(|| {
        format!(
            "{name}-{number} is in the log directory whose meta.properties says \
             directory.id={assigned}; add that to log.dirs, or delete the topic"
        )
    })
}
