//! Packs `workloads/*.toml` into the program, so that a file put there is a workload at once.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=workloads");
    let home = env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo");
    let mut files = fs::read_dir(Path::new(&home).join("workloads"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    let mut rust = String::from("&[\n");
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        rust += &format!("    ({name:?}, include_str!({path:?})),\n");
    }
    rust += "]\n";
    let out = env::var_os("OUT_DIR").expect("set by cargo");
    fs::write(Path::new(&out).join("workloads.rs"), rust)
}
