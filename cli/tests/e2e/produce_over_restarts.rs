//! `odradek produce` goes on when its broker comes back, and each line is written once.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::{Broker, binary};
use crate::support::client::{LIMIT, consume, consumer, create_topic, payloads};
use crate::support::{eventually, process};

const ROUNDS: usize = 4;
const LINES: usize = 3000;

#[test]
fn produce_loses_and_repeats_nothing_over_restarts() {
    let mut broker = Broker::own(&[]);
    create_topic(broker.address(), "kept", 1, &[]);
    let mut command = Command::new(binary());
    command.args(["produce", "kept", "--bootstrap-server", broker.address()]);
    // Small batches, so that one of them is likely to be under way when the broker ends.
    command.args(["--batch-size", "500"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary");
    let mut input = child.stdin.take().expect("piped");
    let mut sent = Vec::new();
    for round in 0..ROUNDS {
        for line in 0..LINES {
            let line = format!("round {round} line {line}");
            writeln!(input, "{line}").expect("it reads on");
            sent.push(line);
        }
        if round == 0 {
            // Who has never met the broker fails at once instead.
            let watcher = consumer(broker.address(), &[]);
            eventually("the first lines are written", LIMIT, || {
                watcher.fetch_watermarks("kept", 0, LIMIT).ok().filter(|(_, end)| *end > 0)
            });
        }
        if round % 2 == 0 {
            broker.kill();
        } else {
            assert!(broker.stop().success());
        }
        thread::sleep(Duration::from_millis(300));
        broker.restart();
    }
    drop(input);
    let status = process::wait(&mut child, Duration::from_secs(180)).expect("it ends");
    assert!(status.success(), "{status}");
    let watcher = consumer(broker.address(), &[]);
    let (_, end) = watcher.fetch_watermarks("kept", 0, LIMIT).expect("an answer");
    assert_eq!(usize::try_from(end), Ok(sent.len()), "lines sent, once each");
    let messages = consume(broker.address(), "kept", 0, Offset::Beginning, sent.len());
    let read: Vec<&[u8]> = payloads(&messages);
    assert!(read.iter().zip(&sent).all(|(read, sent)| *read == sent.as_bytes()), "in order");
}
