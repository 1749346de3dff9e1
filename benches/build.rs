//! Notes the compiler, which instruction counts depend on.

use std::process::Command;
use std::{env, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = env::var_os("RUSTC").expect("set by cargo");
    let version = Command::new(compiler).arg("--version").output()?.stdout;
    println!("cargo::rustc-env=COMPILER={}", String::from_utf8_lossy(&version).trim());
    Ok(())
}
