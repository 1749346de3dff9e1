use std::path::{Path, PathBuf};

use super::*;
use crate::Config;

fn check(name: &str, rendered: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, rendered).expect("writable");
    }
    let written = std::fs::read_to_string(&path).expect("readable");
    assert!(
        written == rendered,
        "{name} is out of date; run UPDATE_DOCS=1 cargo test -p odradek-config docs"
    );
}

#[test]
fn files_are_up_to_date() {
    check("REFERENCE.md", &reference());
    check("odradek.toml", &example());
}

#[test]
fn the_example_is_the_default() {
    let load = |text: &str| {
        Config::builder().toml(Path::new("odradek.toml"), text).build().expect("valid")
    };
    assert_eq!(*load(&example()), *Config::default());

    // Without its comment signs it sets every key, and changes none but those without default.
    let uncommented: String = example()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = load(&uncommented);
    for key in keys::broker_keys() {
        assert!(config.origin(key.name).is_some(), "{}", key.name);
        let default = Layers::default().effective(key);
        if default != Value::Null {
            assert_eq!(config.layers().effective(key), default, "{}", key.name);
        }
    }
}

#[test]
fn numbers_in_words() {
    assert_eq!(in_words(Unit::Millis, 604_800_000).as_deref(), Some("7 d"));
    assert_eq!(in_words(Unit::Millis, 500), None);
    assert_eq!(in_words(Unit::Bytes, 1_048_588), None);
    assert_eq!(in_words(Unit::Bytes, 1 << 30).as_deref(), Some("1 GiB"));
    assert_eq!(in_words(Unit::None, i64::MAX).as_deref(), Some("no limit"));
    assert_eq!(in_words(Unit::Bytes, -1), None);
}

#[test]
fn long_lines_wrap() {
    assert_eq!(wrapped("a bb ccc dddd", 4), ["a bb", "ccc", "dddd"]);
}

#[test]
fn the_other_examples_load() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("pinned.toml");
    let config = Config::builder().file(&path).build().expect("valid");
    assert_eq!(config.cpus().len(), 7);
    assert_eq!(config.core_memory(7).io, 64 << 20);
}
