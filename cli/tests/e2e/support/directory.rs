//! What a directory holds, to be compared byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Relative path of every file and folder below, with its bytes; folders have none.
pub(crate) fn contents(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// Names of the paths that differ between two [`contents`].
pub(crate) fn differences(
    before: &BTreeMap<String, Option<Vec<u8>>>,
    after: &BTreeMap<String, Option<Vec<u8>>>,
) -> Vec<String> {
    let names = before.keys().chain(after.keys());
    let mut differing: Vec<String> =
        names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
    differing.sort();
    differing.dedup();
    differing
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Option<Vec<u8>>>) {
    for entry in fs::read_dir(folder).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        let name = path.strip_prefix(root).expect("below the root").display().to_string();
        if path.is_dir() {
            found.insert(name, None);
            walk(root, &path, found);
        } else {
            found.insert(name, Some(fs::read(&path).expect("a readable file")));
        }
    }
}
