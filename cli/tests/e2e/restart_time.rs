//! How long a node that was killed under a heavy load takes to serve again.
//!
//! The time is told, not asserted. An ordinary run writes little; as much as wanted, by one command:
//!
//! ```sh
//! ODRADEK_RESTART_MIB=4096 cargo test -p odradek --test e2e restart_time -- --nocapture
//! ```
//!
//! Then, with the rights for it, the caches of the system are dropped before each start.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use crate::support::broker::Broker;
use crate::support::client::{self, LIMIT, Producer, Record, create_topic};

const PARTITIONS: i32 = 6;
const VALUE_BYTES: usize = 64 << 10;
/// Bytes on their way, as a fast producer has them.
const UNACKED_MAX: usize = 64 << 20;

#[test]
fn a_kill_under_load_is_over_at_once() {
    let asked = std::env::var("ODRADEK_RESTART_MIB").ok();
    let mib: usize = asked.as_ref().map_or(96, |text| text.parse().expect("a number"));
    let drop_caches = || asked.is_some() && std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    let mut broker = Broker::own(&[]);
    create_topic(broker.address(), "heavy", PARTITIONS, &[]);
    let settings = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("linger.ms", "5"),
        ("batch.size", "1000000"),
        ("queue.buffering.max.kbytes", "262144"),
        ("message.timeout.ms", "0"),
    ];
    let producer = Producer::new(broker.address(), &settings);
    let records = (mib << 20) / VALUE_BYTES;
    let (mut sent, mut acked) = (0, 0);
    let mut ends = [0; PARTITIONS as usize];
    let began = Instant::now();
    // On into the kill: the last ones are under way then.
    while acked < records {
        while (sent - acked) * VALUE_BYTES < UNACKED_MAX {
            let value = vec![sent as u8; VALUE_BYTES];
            let to = i32::try_from(sent).expect("few enough") % PARTITIONS;
            producer.send("heavy", &Record::of(value).to(to), sent).expect("room in the queue");
            sent += 1;
        }
        producer.poll(Duration::from_millis(1));
        for (_, delivered) in producer.delivered() {
            let (partition, offset) = delivered.expect("delivered");
            let end = &mut ends[usize::try_from(partition).expect("one of six")];
            *end = offset.max(*end);
            acked += 1;
        }
    }
    let mib_per_s =
        acked as f64 * VALUE_BYTES as f64 / (1 << 20) as f64 / began.elapsed().as_secs_f64();
    println!("{mib} MiB in {PARTITIONS} partitions at {mib_per_s:.0} MiB/s, acks=all");
    broker.kill();
    let dropped = drop_caches();
    let started = Instant::now();
    broker.restart();
    println!("killed: serving again after {:?} (caches dropped: {dropped})", started.elapsed());
    let consumer = client::consumer(broker.address(), &[]);
    for (partition, end) in (0..).zip(ends) {
        let (low, high) = consumer.fetch_watermarks("heavy", partition, LIMIT).expect("an answer");
        assert!(low == 0 && high > end, "partition {partition}: {low}..{high}, acknowledged {end}");
    }
    println!("every partition answered after {:?}", started.elapsed());
    drop(producer);
    assert!(broker.stop().success());
    let dropped = drop_caches();
    let started = Instant::now();
    broker.restart();
    println!(
        "stopped in order: serving again after {:?} (caches dropped: {dropped})",
        started.elapsed()
    );
}
