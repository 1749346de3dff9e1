//! Apache Kafka's own programs, fetched once by Maven.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::process::{self, Finished};
use super::skip;

/// The release whose programs, formats and messages are the reference.
const VERSION: &str = "4.3.1";
/// A JVM beside a build on two cores.
const TOOL_LIMIT: Duration = Duration::from_secs(90);
const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// Kafka's jars and the JVM to run them.
pub(crate) struct Java {
    libs: PathBuf,
}

impl Java {
    /// Kafka's programs; `None`, with the reason printed, where Java or Maven is missing.
    pub(crate) fn get() -> Option<&'static Self> {
        static JAVA: OnceLock<Option<Java>> = OnceLock::new();
        let java = JAVA.get_or_init(|| {
            let programs = process::available("java", "-version");
            (programs && process::available("mvn", "--version")).then(|| Self { libs: fetch() })
        });
        if java.is_none() {
            skip("java and mvn are needed for Kafka's own programs");
        }
        java.as_ref()
    }

    /// Runs a program to its successful end; its standard output.
    pub(crate) fn run(&self, class: &str, arguments: &[&str]) -> String {
        self.finish(class, arguments, b"").expect_success()
    }

    /// Runs a program to its end with `input` on its standard input.
    pub(crate) fn finish(&self, class: &str, arguments: &[&str], input: &[u8]) -> Finished {
        // A short life: the quick compiler and the small collector start fastest.
        let mut command = self.command(
            &[
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
            ],
            class,
        );
        command.args(arguments);
        process::run(command, input, TOOL_LIMIT)
    }

    /// A JVM on Kafka's class path.
    pub(crate) fn command(&self, options: &[&str], class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx512m"]).args(options);
        command.arg("-cp").arg(self.libs.join("*")).arg(class);
        command
    }
}

/// Copies the jars into the target directory, once for all test processes.
fn fetch() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in target");
    let folder = target.join(format!("kafka-{VERSION}"));
    let lock = File::create(target.join(format!("kafka-{VERSION}.lock"))).expect("a lock file");
    lock.lock().expect("a lock");
    if !folder.join("libs").exists() {
        let project = folder.join("fetch");
        fs::create_dir_all(&project).expect("a writable target directory");
        fs::write(project.join("pom.xml"), pom()).expect("a writable target directory");
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"]);
        maven.current_dir(&project);
        process::run(maven, b"", FETCH_LIMIT).expect_success();
        // Whole or not at all: a fetch that was cut short is made again.
        fs::rename(project.join("libs"), folder.join("libs")).expect("one file system");
    }
    folder.join("libs")
}

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        dependency("org.slf4j", "slf4j-simple", "1.7.36"),
    ];
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>odradek</groupId><artifactId>kafka-programs</artifactId><version>1</version>\
         <dependencies>{}</dependencies></project>\n",
        dependencies.concat()
    )
}
