//! Apache Kafka, fetched once by Maven: a broker and controller in one JVM.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::free_port;

/// The command that serves on `address` with data below `home`, which is formatted when new.
pub(super) fn command(
    home: &Path,
    address: &str,
    settings: &[String],
    cache: &Path,
) -> Result<Command> {
    let libs = libs(cache)?;
    let controller = format!("127.0.0.1:{}", free_port()?);
    let data = home.join("data");
    let properties = home.join("server.properties");
    let mut lines = vec![
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("listeners=PLAINTEXT://{address},CONTROLLER://{controller}"),
        format!("advertised.listeners=PLAINTEXT://{address},CONTROLLER://{controller}"),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("controller.quorum.bootstrap.servers={controller}"),
        format!("log.dirs={}", data.display()),
        "offsets.topic.replication.factor=1".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
        "share.coordinator.state.topic.replication.factor=1".to_owned(),
        "share.coordinator.state.topic.min.isr=1".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    lines.extend_from_slice(settings);
    fs::write(&properties, lines.join("\n") + "\n")?;
    if !data.join("meta.properties").exists() {
        let id = tool(&libs, &["random-uuid"])?;
        let file = properties.display().to_string();
        tool(&libs, &["format", "-t", id.trim(), "--standalone", "-c", &file])?;
    }
    let mut java = java(&libs);
    // Kafka's own start script gives a gigabyte and these settings of the collector.
    java.args(["-Xmx1g", "-Xms1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
    java.args(["-XX:InitiatingHeapOccupancyPercent=35", "-Djava.awt.headless=true"]);
    java.arg("-cp").arg(libs.join("*")).arg("kafka.Kafka").arg(properties);
    Ok(java)
}

fn tool(libs: &Path, arguments: &[&str]) -> Result<String> {
    let mut java = java(libs);
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]);
    java.arg(libs.join("*")).arg("kafka.tools.StorageTool").args(arguments);
    let done = java.stdin(Stdio::null()).output().context("java is needed to start Kafka")?;
    let errors = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "StorageTool {arguments:?}: {errors}");
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn java(libs: &Path) -> Command {
    let mut java = Command::new("java");
    // Its own place for what it writes beside the data.
    java.current_dir(libs);
    java
}

/// Kafka's jars, fetched when they are not there; one process at a time.
fn libs(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join(format!("kafka-{VERSION}"));
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    let libs = folder.join("libs");
    if !libs.exists() {
        let project = folder.join("fetch");
        fs::create_dir_all(&project)?;
        fs::write(project.join("pom.xml"), pom())?;
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"]);
        let done = maven.current_dir(&project).stdin(Stdio::null()).output();
        let done = done.context("mvn is needed to fetch Kafka")?;
        let said = String::from_utf8_lossy(&done.stdout);
        ensure!(done.status.success(), "mvn does not fetch Kafka {VERSION}: {said}");
        // Whole or not at all: a fetch that was cut short is made again.
        fs::rename(project.join("libs"), &libs)?;
    }
    fs::canonicalize(libs).context("the jars just fetched")
}

fn pom() -> String {
    let artifacts = [
        ("org.apache.kafka", "kafka_2.13", VERSION),
        ("org.apache.kafka", "kafka-tools", VERSION),
        ("org.slf4j", "slf4j-nop", "1.7.36"),
    ];
    let dependencies = artifacts.map(|(group, artifact, version)| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    });
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>perf</groupId><artifactId>kafka-libs</artifactId><version>1</version>\
         <dependencies>{}</dependencies></project>\n",
        dependencies.concat()
    )
}

/// The release that is compared with.
const VERSION: &str = "4.3.1";
