//! librdkafka in this process, with the few moves the behaviours need.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientContext, util::Timeout};

/// No single request of a test takes this long, even on a machine that builds beside it.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Settings of a load that outlives every restart of its broker: it retries without end.
pub(crate) const ENDLESS: [(&str, &str); 7] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("linger.ms", "2"),
    ("message.timeout.ms", "0"),
    ("reconnect.backoff.ms", "10"),
    ("reconnect.backoff.max.ms", "100"),
    ("retry.backoff.ms", "20"),
];

/// What became of one record: its partition and offset, or why it was not written.
pub(crate) type Delivered = Result<(i32, i64), KafkaError>;

/// A producer whose every record's end is known, by the number it was sent under.
pub(crate) struct Producer {
    inner: BaseProducer<Deliveries>,
}

/// A record to be sent, by default empty and to whatever partition.
#[derive(Clone, Default)]
pub(crate) struct Record {
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    pub(crate) fn of(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    pub(crate) fn to(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }
}

impl Producer {
    pub(crate) fn new(address: &str, settings: &[(&str, &str)]) -> Self {
        let inner = config(address, settings)
            .create_with_context(Deliveries::default())
            .expect("a valid producer configuration");
        Self { inner }
    }

    /// Queues a record; its end is reported under `number`.
    pub(crate) fn send(
        &self,
        topic: &str,
        record: &Record,
        number: usize,
    ) -> Result<(), KafkaError> {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        let base = BaseRecord::<[u8], [u8], usize> {
            topic,
            partition: record.partition,
            key: record.key.as_deref(),
            payload: record.value.as_deref(),
            timestamp: record.timestamp_ms,
            headers: (!record.headers.is_empty()).then_some(headers),
            delivery_opaque: number,
        };
        self.inner.send(base).map_err(|(error, _)| error)
    }

    /// Serves callbacks for up to `time`.
    pub(crate) fn poll(&self, time: Duration) {
        self.inner.poll(time);
    }

    /// Waits for everything queued to come to an end.
    pub(crate) fn flush(&self, limit: Duration) -> Result<(), KafkaError> {
        self.inner.flush(limit)
    }

    /// Takes the ends reported since the last call.
    pub(crate) fn delivered(&self) -> Vec<(usize, Delivered)> {
        std::mem::take(&mut *self.inner.context().ends.lock().expect("callbacks do not panic"))
    }

    /// Sends all and waits for all; the ends in the order of the records.
    pub(crate) fn send_all(&self, topic: &str, records: &[Record]) -> Vec<Delivered> {
        for (number, record) in records.iter().enumerate() {
            while let Err(error) = self.send(topic, record, number) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full, "queueing record {number}");
                self.poll(Duration::from_millis(50));
            }
        }
        self.flush(LIMIT).expect("all records came to an end");
        let mut ends = self.delivered();
        ends.sort_by_key(|(number, _)| *number);
        assert_eq!(ends.len(), records.len(), "each record ends once");
        ends.into_iter().map(|(_, end)| end).collect()
    }
}

/// Sends all records, which must all be written; their partitions and offsets in order.
pub(crate) fn produce(
    address: &str,
    settings: &[(&str, &str)],
    topic: &str,
    records: &[Record],
) -> Vec<(i32, i64)> {
    let ends = Producer::new(address, settings).send_all(topic, records);
    ends.into_iter().map(|end| end.expect("written")).collect()
}

/// Reads `count` messages of one partition from `from`.
pub(crate) fn consume(
    address: &str,
    topic: &str,
    partition: i32,
    from: Offset,
    count: usize,
) -> Vec<OwnedMessage> {
    let consumer = consumer(address, &[]);
    assign(&consumer, topic, partition, from);
    take(&consumer, count)
}

/// A consumer outside any group.
pub(crate) fn consumer(address: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(
        address,
        &[
            // librdkafka assigns nothing without a group's name, even to who never joins one.
            ("group.id", "outsider"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "error"),
            ("fetch.wait.max.ms", "100"),
            ("check.crcs", "true"),
        ],
    );
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().expect("a valid consumer configuration")
}

pub(crate) fn assign(consumer: &BaseConsumer, topic: &str, partition: i32, from: Offset) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, from).expect("a valid offset");
    consumer.assign(&list).expect("an assignment");
}

/// The next `count` messages of what the consumer is assigned; any error is one too many.
pub(crate) fn take(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    take_despite(consumer, count, &[])
}

/// As [`take`], over a restart of the broker: librdkafka reports the lost connection, depending on
/// what it was doing, and connects again by itself.
pub(crate) fn take_over_restart(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    let lost = [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::BrokerTransportFailure];
    take_despite(consumer, count, &lost)
}

fn take_despite(
    consumer: &BaseConsumer,
    count: usize,
    harmless: &[RDKafkaErrorCode],
) -> Vec<OwnedMessage> {
    let deadline = Instant::now() + LIMIT;
    let mut messages = Vec::with_capacity(count);
    while messages.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} messages", messages.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => messages.push(message.detach()),
            Some(Err(error))
                if error.rdkafka_error_code().is_some_and(|code| harmless.contains(&code)) => {}
            Some(Err(error)) => panic!("after {} messages: {error}", messages.len()),
            None => {}
        }
    }
    messages
}

/// Asserts that no further message comes within a while.
pub(crate) fn assert_drained(consumer: &BaseConsumer) {
    let deadline = Instant::now() + Duration::from_millis(500);
    while Instant::now() < deadline {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            panic!("one more: {}", message.offset());
        }
    }
}

pub(crate) fn payloads(messages: &[OwnedMessage]) -> Vec<&[u8]> {
    messages.iter().map(|message| message.payload().expect("a value")).collect()
}

/// The headers of a message, in order.
pub(crate) fn headers(message: &OwnedMessage) -> Vec<(String, Option<Vec<u8>>)> {
    let Some(headers) = message.headers() else { return vec![] };
    headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect()
}

/// Creates a topic with `key=value` configs.
pub(crate) fn create_topic(address: &str, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in configs {
        topic = topic.set(key, value);
    }
    let results = block_on(admin(address).create_topics(&[topic], &options()));
    assert_eq!(results.expect("an answer"), [Ok(name.to_owned())]);
}

pub(crate) fn admin(address: &str) -> AdminClient<DefaultClientContext> {
    config(address, &[]).create().expect("a valid admin configuration")
}

pub(crate) fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT))
}

/// Waits on this thread; librdkafka's own threads do the work.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn config(address: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("broker.address.family", "v4");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

/// Collects delivery reports.
#[derive(Default)]
struct Deliveries {
    ends: Mutex<Vec<(usize, Delivered)>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let end = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        self.ends.lock().expect("no holder panics").push((number, end));
    }
}

/// [`LIMIT`] as librdkafka wants it.
pub(crate) fn timeout() -> Timeout {
    Timeout::After(LIMIT)
}
