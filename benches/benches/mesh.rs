//! Hops between two cores: what their mailboxes compute, and what waking the other core takes.
//!
//! A core that has nothing to do sleeps, and waking it is the operating system's; with many
//! messages under way it seldom sleeps. Needs two CPUs that are idle otherwise.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::ids::CoreId;
use engine::rt::mesh;
use odradek_benches::ops;
use odradek_benches::real::Cores;

fn mailboxes(c: &mut Criterion) {
    let mut op = ops::mesh::there_and_back();
    c.bench_function("mesh/mailboxes", |b| b.iter(|| op.run()));
}

fn hops(c: &mut Criterion) {
    let mut group = c.benchmark_group("mesh");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for under_way in [1_u64, 16, 128] {
        let mut ports = mesh::<[u64; 16]>(2, 1024);
        let (theirs, ours) = (ports.pop().expect("of two"), ports.pop().expect("of two"));
        let answering = |_| async move {
            while let Some((from, message)) = theirs.recv().await {
                theirs.send(from, message).await.expect("the other core runs");
            }
        };
        let asking = move |_, jobs: odradek_benches::real::Jobs| async move {
            let there_and_back = async || {
                for at in 0..under_way {
                    ours.send(CoreId(1), [at; 16]).await.expect("the other core runs");
                }
                for _ in 0..under_way {
                    ours.recv().await.expect("the other core runs");
                }
            };
            jobs.each(there_and_back, async || ()).await;
        };
        let cores = Cores::two(asking, answering);
        group.throughput(Throughput::Elements(under_way));
        let name = format!("there_and_back/{under_way}");
        group.bench_function(name, |b| b.iter_custom(|repeats| cores.time(repeats)));
    }
    group.finish();
}

criterion_group!(benches, mailboxes, hops);
criterion_main!(benches);
