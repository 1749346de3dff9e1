//! Reads the files of a partition directory, whoever wrote them.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use engine::batch::header::{HEADER_BYTES, is_zero_header};
use engine::batch::{BatchHeader, BatchView};

/// The batches of a `.log` or `.checkpoint` file, one after the other.
pub(crate) struct SegmentReader {
    path: PathBuf,
    file: BufReader<File>,
    /// Length of the file.
    len: u64,
    /// Where the next batch begins.
    position: u64,
    batch: Vec<u8>,
}

/// Why reading stopped before the end of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tail {
    /// The file ends with the last batch.
    None,
    /// Only zeros follow: space that was set aside and not written yet.
    Zeros(u64),
    /// What follows is not a batch.
    Broken(u64, String),
}

impl SegmentReader {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("can't read {}", path.display()))?;
        let len = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 20, file),
            len,
            position: 0,
            batch: Vec::new(),
        })
    }

    /// Hands over each batch with its position, and says how the file ends.
    pub(crate) fn for_each(
        &mut self,
        mut visit: impl FnMut(u64, &BatchView<'_>) -> Result<()>,
    ) -> Result<Tail> {
        loop {
            let left = self.len - self.position;
            if left == 0 {
                return Ok(Tail::None);
            }
            self.fill(0, (left as usize).min(HEADER_BYTES))?;
            if is_zero_header(&self.batch) {
                return self.zeros(left);
            }
            let size = match BatchHeader::decode(&self.batch) {
                Ok(header) if header.size() as u64 <= left => header.size(),
                Ok(header) => {
                    let what = format!("a batch of {} bytes, {left} are left", header.size());
                    return Ok(Tail::Broken(self.position, what));
                }
                Err(e) => return Ok(Tail::Broken(self.position, e.to_string())),
            };
            self.fill(HEADER_BYTES, size)?;
            let batch = BatchView::decode(&self.batch)?;
            visit(self.position, &batch).with_context(|| self.path.display().to_string())?;
            self.position += size as u64;
        }
    }

    /// Reads until the buffer holds `len` bytes, of which `have` are there.
    fn fill(&mut self, have: usize, len: usize) -> Result<()> {
        self.batch.resize(len, 0);
        self.file.read_exact(&mut self.batch[have.min(len)..])?;
        Ok(())
    }

    fn zeros(&mut self, left: u64) -> Result<Tail> {
        let at = self.position + self.batch.len() as u64;
        let mut strip = vec![0; 64 << 10];
        let mut read = at;
        loop {
            let n = self.file.read(&mut strip)?;
            if n == 0 {
                return Ok(Tail::Zeros(left));
            }
            if let Some(i) = strip[..n].iter().position(|&b| b != 0) {
                let what = format!("a batch header of zeros, then data at {}", read + i as u64);
                return Ok(Tail::Broken(self.position, what));
            }
            read += n as u64;
        }
    }
}

/// An entry of an offset index (`.index`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) offset: i64,
    pub(crate) position: i32,
}

/// An entry of a time index (`.timeindex`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
}

/// The entries of an `.index` file; unused space at its end is left out.
pub(crate) fn read_index(path: &Path) -> Result<Vec<IndexEntry>> {
    let base = base_offset(path)?;
    let entries = entries::<8>(path)?;
    Ok(entries
        .iter()
        .map(|e| IndexEntry { offset: base + i64::from(i32_at(e, 0)), position: i32_at(e, 4) })
        // Kafka sets the whole file aside beforehand; only the first entry may be all zero.
        .enumerate()
        .take_while(|(i, e)| *i == 0 || e.offset > base)
        .map(|(_, e)| e)
        .filter(|e| e.offset > base || e.position > 0)
        .collect())
}

/// The entries of a `.timeindex` file; unused space at its end is left out.
pub(crate) fn read_time_index(path: &Path) -> Result<Vec<TimeEntry>> {
    let base = base_offset(path)?;
    let entries = entries::<12>(path)?;
    Ok(entries
        .iter()
        .take_while(|e| e.iter().any(|&b| b != 0))
        .map(|e| TimeEntry {
            timestamp: i64::from_be_bytes(e[..8].try_into().expect("8 bytes")),
            offset: base + i64::from(i32_at(e, 8)),
        })
        .collect())
}

fn entries<const N: usize>(path: &Path) -> Result<Vec<[u8; N]>> {
    let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    if bytes.len() % N != 0 {
        bail!("{}: {} bytes are not whole entries of {N}", path.display(), bytes.len());
    }
    Ok(bytes.chunks_exact(N).map(|e| e.try_into().expect("chunks of N")).collect())
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// The offset in a file's name.
pub(crate) fn base_offset(path: &Path) -> Result<i64> {
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let digits = stem.split('-').next().unwrap_or_default();
    digits.parse().with_context(|| {
        format!("{}: the name does not begin with the 20 digits of an offset", path.display())
    })
}

/// A file name's extension, as text.
pub(crate) fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default()
}
