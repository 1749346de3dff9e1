//! A well-behaved client beside the attack, who must notice nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::Broker;
use crate::support::client::{self, Producer, Record, create_topic};
use crate::support::unique;

/// No turn of the witness may take longer, attack or not; librdkafka itself would wait longer.
const TURN_MAX: Duration = Duration::from_secs(5);

/// Writes a record and reads it back, again and again, until told to stop.
pub(super) struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Duration)>,
}

impl Witness {
    pub(super) fn start(broker: &Broker) -> Self {
        let address = broker.address().to_owned();
        let topic = unique("witness");
        create_topic(&address, &topic, 1, &[]);
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || testify(&address, &topic, &told));
        Self { stop, thread }
    }

    /// Ends the watch, and fails if anything went wrong during it.
    pub(super) fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (turns, longest) = self.thread.join().expect("the witness was served");
        println!("witness: {turns} turns, the longest {longest:?}");
        assert!(turns > 0 && longest < TURN_MAX, "{turns} turns, the longest {longest:?}");
    }
}

fn testify(address: &str, topic: &str, stop: &AtomicBool) -> (usize, Duration) {
    let producer = Producer::new(address, &[("linger.ms", "0"), ("acks", "all")]);
    let consumer = client::consumer(address, &[]);
    client::assign(&consumer, topic, 0, Offset::Beginning);
    let (mut turns, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) || turns == 0 {
        let started = Instant::now();
        let value = turns.to_string();
        let written = producer.send_all(topic, &[Record::of(value.clone()).to(0)]).remove(0);
        assert_eq!(written, Ok((0, i64::try_from(turns).expect("few"))));
        let read = client::take(&consumer, 1).remove(0);
        assert_eq!(read.payload(), Some(value.as_bytes()));
        // The first turn also connects and learns.
        if turns > 0 {
            longest = longest.max(started.elapsed());
        }
        turns += 1;
    }
    (turns, longest)
}
