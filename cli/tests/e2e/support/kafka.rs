//! An Apache Kafka node, to exchange data directories with.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::java::Java;
use super::{client, eventually, process};

const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A broker and controller in one JVM; dropping it kills it.
pub(crate) struct Kafka {
    child: Child,
    address: String,
    log: PathBuf,
}

impl Kafka {
    /// Boots on `data`, formatting it first when it has no `meta.properties`.
    ///
    /// `settings` are lines of `server.properties` that go beyond one node's minimum.
    pub(crate) fn boot(java: &Java, home: &Path, data: &Path, settings: &[&str]) -> Self {
        let (port, controller_port) = (free_port(), free_port());
        let properties = home.join("server.properties");
        let lines = [
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
            ),
            format!(
                "advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
            ),
            "controller.listener.names=CONTROLLER".to_owned(),
            format!("controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}"),
            format!("log.dirs={}", data.display()),
            "offsets.topic.replication.factor=1".to_owned(),
            "transaction.state.log.replication.factor=1".to_owned(),
            "transaction.state.log.min.isr=1".to_owned(),
        ];
        let text = lines.join("\n") + "\n" + &settings.join("\n") + "\n";
        fs::write(&properties, text).expect("a writable home");
        let properties = properties.display().to_string();
        if !data.join("meta.properties").exists() {
            let id = java.run("kafka.tools.StorageTool", &["random-uuid"]);
            let format = ["format", "-t", id.trim(), "--standalone", "-c", &properties];
            java.run("kafka.tools.StorageTool", &format);
        }
        let log = home.join("kafka.log");
        let file = File::create(&log).expect("a writable home");
        let child = java
            .command(
                &["-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"],
                "kafka.Kafka",
            )
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("java");
        let mut kafka = Self { child, address: format!("127.0.0.1:{port}"), log };
        eventually("Kafka serves", START_LIMIT, || {
            if let Some(status) = kafka.child.try_wait().expect("a child of ours") {
                panic!("Kafka ended: {status}\n{}", kafka.output());
            }
            let probe = client::consumer(&kafka.address, &[("log_level", "0")]);
            let metadata = probe.fetch_metadata(None, Duration::from_secs(2)).ok()?;
            (metadata.brokers().len() == 1).then_some(())
        });
        kafka
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// SIGTERM, and the clean end that closes its files.
    pub(crate) fn stop(mut self) {
        process::signal(&self.child, libc::SIGTERM);
        let status = process::wait(&mut self.child, STOP_LIMIT);
        assert!(status.is_some(), "Kafka does not stop\n{}", self.output());
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}
