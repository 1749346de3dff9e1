//! One suite of behaviours, run against every form of the runtime.

use std::{future::Future, path::PathBuf};

use super::{
    Rt,
    real::{CoreSpec, start},
    sim,
};

mod files;
mod meshes;
mod streams;
mod tasks;

/// Declares tests that each get a core's runtime and an empty directory on it.
macro_rules! behaviours {
    ($($(#[$doc:meta])* async fn $name:ident($rt:ident: Rt, $dir:ident: PathBuf) $body:block)+) => {
        mod behaviour {
            use super::*;
            $($(#[$doc])* pub(super) async fn $name($rt: Rt, $dir: PathBuf) $body)+
        }
        mod real {
            $(#[test] fn $name() { crate::rt::tests::real(super::behaviour::$name); })+
        }
        mod simulated {
            $(#[test] fn $name() { crate::rt::tests::simulated(super::behaviour::$name); })+
        }
    };
}
use behaviours;

fn simulated<F, Fut>(behaviour: F)
where
    F: Fn(Rt, PathBuf) -> Fut + Copy + 'static,
    Fut: Future<Output = ()> + 'static,
{
    for seed in 0..20 {
        sim::run(seed, move |rt| async move {
            let dir = PathBuf::from("/data");
            rt.create_dir_all(&dir).await.unwrap();
            behaviour(rt, dir).await;
        });
    }
}

fn real<F, Fut>(behaviour: F)
where
    F: Fn(Rt, PathBuf) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let core = (CoreSpec::default(), move |rt| behaviour(rt, path));
    let cores = start(vec![core]).unwrap();
    if let Err(failed) = cores.join() {
        panic!("{failed:?}");
    }
}
