//! One case in one process under callgrind.

use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs, io};

use super::{Case, REPEATS, Tools};

/// Why nothing was counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CountError {
    /// There is no valgrind.
    #[error("valgrind is not installed (Debian, Ubuntu: apt-get install valgrind)")]
    NoValgrind,
    /// It could not be started, or its result not be read.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// The case ended with an error.
    #[error("{case} failed under valgrind:\n{stderr}")]
    Failed {
        /// The case.
        case: &'static str,
        /// What it and valgrind wrote.
        stderr: String,
    },
    /// Callgrind's file has no total, or one of nothing.
    #[error("callgrind has counted nothing in {case}: its function was not found by name")]
    Nothing {
        /// The case.
        case: &'static str,
    },
}

/// The instructions of one operation, counted in a process of its own: `program run CASE`. Nothing
/// that another case did to the heap can move it. Its profile stays in `profiles`.
///
/// # Errors
/// When valgrind is missing or the case fails.
pub fn count(program: &Path, case: &Case, profiles: &Path) -> Result<u64, CountError> {
    let file = profiles.join(case.name.replace('/', "-"));
    let mut valgrind = valgrind("callgrind");
    valgrind
        .args(["--cache-sim=no", "--branch-sim=no", "--toggle-collect=*counted_by_callgrind*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["run", case.name]);
    output(&mut valgrind, case.name)?;
    let profile = fs::read_to_string(&file)
        .map_err(|error| CountError::Io { what: "callgrind's result", error })?;
    match total(&profile) {
        None | Some(0) => Err(CountError::Nothing { case: case.name }),
        Some(total) => Ok(total.div_ceil(u64::from(REPEATS))),
    }
}

/// What counts made here depend on beside the code.
///
/// # Errors
/// When valgrind is missing.
pub fn tools(program: &Path) -> Result<Tools, CountError> {
    let said = |output: Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let version = output(Command::new("valgrind").arg("--version"), "valgrind --version")?;
    let features = output(valgrind("none").arg(program).arg("cpu"), "cpu")?;
    let libc = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    Ok(Tools::from([
        ("rustc".to_owned(), env!("COMPILER").to_owned()),
        ("valgrind".to_owned(), said(version)),
        ("libc".to_owned(), libc.map_or_else(|_| "unknown".to_owned(), said)),
        ("cpu".to_owned(), said(features)),
    ]))
}

/// What code that asks for the CPU's features before it uses them finds here; under valgrind that
/// is what valgrind can do, on any CPU that can do as much.
#[must_use]
pub fn cpu() -> String {
    let mut found = vec![env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("sse4.2", std::arch::is_x86_feature_detected!("sse4.2")),
            ("pclmulqdq", std::arch::is_x86_feature_detected!("pclmulqdq")),
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
            ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ];
        found.extend(known.iter().filter(|(_, has)| *has).map(|(name, _)| name));
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("crc") {
        found.push("crc");
    }
    found.join(" ")
}

/// Valgrind with one of its tools, in an environment that is the same everywhere: variables lie on
/// the stack and shift what lies below them.
fn valgrind(tool: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    // The C library would choose between copying by vectors and by one instruction, by the size of
    // the caches that it finds.
    command.env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM");
    command.arg(format!("--tool={tool}")).arg("--quiet");
    command
}

fn output(command: &mut Command, case: &'static str) -> Result<Output, CountError> {
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CountError::NoValgrind,
        _ => CountError::Io { what: "valgrind", error },
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(CountError::Failed { case, stderr })
}

/// The sum over all functions in a file of callgrind's.
fn total(profile: &str) -> Option<u64> {
    let line = profile.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found() {
        assert_eq!(total("version: 1\nsummary: 7\n\nfn=(1) x\n1 9\n\ntotals: 1234\n"), Some(1234));
        assert_eq!(total("version: 1\n"), None);
    }
}
