//! Checksums over what Kafka's format leaves unprotected: `<base>.blocks.odradek`.
//!
//! A batch's own checksum covers neither its offset, length and leader epoch nor its place in the
//! file. The sidecar has a CRC-32 for every [`BLOCK_BYTES`] of the segment. A block enters once it
//! is full, when it is never written again, or with the segment's end when that is closed; the file
//! trails the log like the indexes, behind each checkpoint.
//!
//! ```text
//! page of 4096 bytes, little-endian:
//!  0 "ODBK"   4 version u16   6 zero u16   8 generation u64   16 base offset i64
//! 24 page u32  28 count u32   32 covered u64 (bytes of the segment, through this page)
//! 40 crc32 of the page with this field zero u32   44 zero u32   48 count × crc32
//! ```
//!
//! Pages stand for themselves: of a torn file the whole ones are used. Those of another generation
//! are not, since somebody else may have changed the segment.

use crc32fast::Hasher;

use crate::checksum::block_crc32;

/// Bytes that one checksum covers.
pub(crate) const BLOCK_BYTES: u64 = 16 * 1024;

/// The checksums of one segment's blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sidecar {
    crcs: Vec<u32>,
    /// Bytes that `crcs` cover: whole blocks, and the segment's end once closed.
    covered: u64,
    /// The block that `covered` ends at, as far as it was appended; none while bytes before it are
    /// missing.
    open: Option<OpenBlock>,
    /// Checksums that are in the file.
    saved: usize,
}

#[derive(Clone, Debug, Default)]
struct OpenBlock {
    hasher: Hasher,
    bytes: u64,
}

/// What a page must say to be believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageOwner {
    pub(crate) generation: u64,
    pub(crate) base: i64,
}

/// A sidecar of a newer release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block checksums of version {found}, which a newer release of Odradek wrote")]
pub(crate) struct NewerSidecar {
    pub(crate) found: u16,
}

impl Sidecar {
    /// Of an empty segment.
    pub(crate) fn empty() -> Self {
        Self { open: Some(OpenBlock::default()), ..Self::default() }
    }

    /// Bytes taken in without a gap: the next byte that [`Sidecar::extend`] takes.
    pub(crate) fn end(&self) -> u64 {
        self.covered + self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// Bytes whose checksums are known.
    pub(crate) fn covered(&self) -> u64 {
        self.covered
    }

    /// Takes in bytes that follow each other in the file. Bytes behind a gap are passed over.
    pub(crate) fn extend(&mut self, position: u64, mut bytes: &[u8]) {
        if position != self.end() {
            return;
        }
        let Some(open) = &mut self.open else { return };
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK_BYTES - open.bytes).expect("a block");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            open.hasher.update(now);
            open.bytes += now.len() as u64;
            bytes = later;
            if open.bytes == BLOCK_BYTES {
                self.crcs.push(std::mem::take(&mut open.hasher).finalize());
                self.covered += BLOCK_BYTES;
                open.bytes = 0;
            }
        }
    }

    /// Covers the unfinished block too: the segment is closed.
    pub(crate) fn close(&mut self) {
        if let Some(open) = self.open.take().filter(|open| open.bytes > 0) {
            self.crcs.push(open.hasher.finalize());
            self.covered += open.bytes;
        }
    }

    /// Forgets what lies behind `end`, and the block that it lies in: [`Sidecar::extend`] goes on
    /// from that block's start, which is returned.
    pub(crate) fn cut(&mut self, end: u64) -> u64 {
        let whole = usize::try_from((end / BLOCK_BYTES).min(self.covered / BLOCK_BYTES));
        self.crcs.truncate(whole.expect("fits into memory"));
        self.covered = self.crcs.len() as u64 * BLOCK_BYTES;
        self.saved = self.saved.min(self.crcs.len());
        self.open = Some(OpenBlock::default());
        self.covered
    }

    /// Forgets also the checksums of an unfinished page, as the file is about to; answers the
    /// length of the file then.
    pub(crate) fn cut_to_page(&mut self) -> u64 {
        let pages = self.crcs.len() / PER_PAGE;
        self.saved = self.saved.min(pages * PER_PAGE);
        (pages * PAGE) as u64
    }

    /// The first byte of a block of `bytes`, which start at the block border `start`, that is not
    /// what it was.
    pub(crate) fn first_bad(&self, start: u64, bytes: &[u8]) -> Option<u64> {
        let mut at = start;
        for block in bytes.chunks(BLOCK_BYTES as usize) {
            let index = usize::try_from(at / BLOCK_BYTES).expect("fits into memory");
            let covered = self.covered.saturating_sub(at).min(BLOCK_BYTES);
            let crc = self.crcs.get(index).filter(|_| covered == block.len() as u64);
            if crc.is_some_and(|crc| *crc != block_crc32(block)) {
                return Some(at);
            }
            at += block.len() as u64;
        }
        None
    }

    /// Pages that are not in the file yet, and where they go.
    pub(crate) fn pages_to_save(&self, owner: PageOwner) -> Option<(u64, Vec<u8>)> {
        if self.saved >= self.crcs.len() {
            return None;
        }
        let first = self.saved / PER_PAGE;
        let mut bytes = Vec::new();
        for (at, crcs) in self.crcs.chunks(PER_PAGE).enumerate().skip(first) {
            let through = ((at + 1) * PER_PAGE).min(self.crcs.len()) as u64 * BLOCK_BYTES;
            encode(&mut bytes, owner, at, crcs, through.min(self.covered));
        }
        Some(((first * PAGE) as u64, bytes))
    }

    /// Checksums there are, to be told to [`Sidecar::set_saved`] once their pages are durable.
    pub(crate) fn count(&self) -> usize {
        self.crcs.len()
    }

    pub(crate) fn set_saved(&mut self, count: usize) {
        self.saved = count.min(self.crcs.len());
    }

    /// Reads a file; stops at the first page that is not whole or not `owner`'s.
    pub(crate) fn decode(file: &[u8], owner: PageOwner) -> Result<Self, NewerSidecar> {
        let mut sidecar = Self::default();
        for (at, page) in file.chunks_exact(PAGE).enumerate() {
            let Some((crcs, covered)) = decode(page, owner, at)? else { break };
            let before = sidecar.crcs.len() as u64 * BLOCK_BYTES;
            let most = before + crcs.len() as u64 * BLOCK_BYTES;
            if sidecar.covered != before
                || covered <= most.saturating_sub(BLOCK_BYTES)
                || covered > most
            {
                break;
            }
            sidecar.crcs.extend(crcs);
            sidecar.covered = covered;
        }
        sidecar.saved = sidecar.crcs.len();
        Ok(sidecar)
    }
}

fn encode(bytes: &mut Vec<u8>, owner: PageOwner, number: usize, crcs: &[u32], covered: u64) {
    let mut page = [0; PAGE];
    let count = u32::try_from(crcs.len()).expect("at most a page's");
    let number = u32::try_from(number).expect("segments are below 2 GiB");
    page[..4].copy_from_slice(MAGIC);
    page[4..6].copy_from_slice(&VERSION.to_le_bytes());
    page[8..16].copy_from_slice(&owner.generation.to_le_bytes());
    page[16..24].copy_from_slice(&owner.base.to_le_bytes());
    page[24..28].copy_from_slice(&number.to_le_bytes());
    page[28..32].copy_from_slice(&count.to_le_bytes());
    page[32..40].copy_from_slice(&covered.to_le_bytes());
    for (slot, crc) in page[HEAD..].chunks_exact_mut(4).zip(crcs) {
        slot.copy_from_slice(&crc.to_le_bytes());
    }
    let crc = crc32fast::hash(&page);
    page[40..44].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&page);
}

type Page = (Vec<u32>, u64);

fn decode(page: &[u8], owner: PageOwner, number: usize) -> Result<Option<Page>, NewerSidecar> {
    let u32_at = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().expect("4 bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().expect("8 bytes"));
    let mut summed = page.to_vec();
    summed[40..44].fill(0);
    if &page[..4] != MAGIC || crc32fast::hash(&summed) != u32_at(40) {
        return Ok(None);
    }
    let found = u16::from_le_bytes(page[4..6].try_into().expect("2 bytes"));
    if found > VERSION {
        return Err(NewerSidecar { found });
    }
    let count = u32_at(28) as usize;
    let mine = u64_at(8) == owner.generation
        && u64_at(16) == owner.base as u64
        && u32_at(24) as usize == number
        && (1..=PER_PAGE).contains(&count);
    if !mine {
        return Ok(None);
    }
    let crcs = page[HEAD..].chunks_exact(4).take(count);
    let crcs = crcs.map(|crc| u32::from_le_bytes(crc.try_into().expect("4 bytes")));
    Ok(Some((crcs.collect(), u64_at(32))))
}

const MAGIC: &[u8; 4] = b"ODBK";
const VERSION: u16 = 1;
const PAGE: usize = 4096;
const HEAD: usize = 48;
const PER_PAGE: usize = (PAGE - HEAD) / 4;
/// The longest file there can be: of a segment of 2 GiB, and some.
pub(crate) const FILE_MAX: usize = ((2 << 30) / BLOCK_BYTES as usize / PER_PAGE + 2) * PAGE;

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: PageOwner = PageOwner { generation: 99, base: 4711 };

    fn data(len: usize) -> Vec<u8> {
        (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 21) as u8).collect()
    }

    fn of(bytes: &[u8], step: usize) -> Sidecar {
        let mut sidecar = Sidecar::empty();
        let mut at = 0;
        for piece in bytes.chunks(step) {
            sidecar.extend(at, piece);
            at += piece.len() as u64;
        }
        sidecar
    }

    #[test]
    fn finds_the_flipped_bit() {
        let mut bytes = data(100_000);
        let mut sidecar = of(&bytes, 777);
        assert_eq!((sidecar.covered(), sidecar.end()), (6 * BLOCK_BYTES, 100_000));
        assert_eq!(sidecar.first_bad(0, &bytes), None);
        bytes[99_999] ^= 1;
        assert_eq!(sidecar.first_bad(0, &bytes), None, "the last block is not full");
        bytes[99_999] ^= 1;
        sidecar.close();
        assert_eq!(sidecar.covered(), 100_000);
        bytes[99_999] ^= 1;
        assert_eq!(sidecar.first_bad(0, &bytes), Some(6 * BLOCK_BYTES));
        bytes[20_000] ^= 1;
        assert_eq!(sidecar.first_bad(BLOCK_BYTES, &bytes[16_384..]), Some(BLOCK_BYTES));
        assert_eq!(sidecar.first_bad(2 * BLOCK_BYTES, &bytes[32_768..90_000]), None);
    }

    #[test]
    fn pages_round_trip_and_stand_for_themselves() {
        let bytes = data(PER_PAGE * BLOCK_BYTES as usize + 50_000);
        let mut sidecar = of(&bytes, 1 << 20);
        let (at, first) = sidecar.pages_to_save(OWNER).expect("all of it");
        assert_eq!((at, first.len()), (0, 2 * PAGE));
        sidecar.set_saved(sidecar.count());
        assert_eq!(sidecar.pages_to_save(OWNER), None);
        sidecar.close();
        let (at, tail) = sidecar.pages_to_save(OWNER).expect("the last block");
        assert_eq!((at, tail.len()), (PAGE as u64, PAGE));
        let file = [&first[..PAGE], &tail].concat();
        let read = Sidecar::decode(&file, OWNER).expect("known");
        assert_eq!((&read.crcs, read.covered), (&sidecar.crcs, sidecar.covered));
        let mut torn = file.clone();
        torn[PAGE + 2000] ^= 1;
        let read = Sidecar::decode(&torn, OWNER).expect("known");
        assert_eq!(read.covered, PER_PAGE as u64 * BLOCK_BYTES);
        let other = PageOwner { generation: 98, ..OWNER };
        assert_eq!(Sidecar::decode(&file, other).expect("known").covered, 0);
    }

    #[test]
    fn goes_on_after_a_cut() {
        let bytes = data(70_000);
        let mut sidecar = of(&bytes, 5000);
        assert_eq!(sidecar.cut(40_000), 2 * BLOCK_BYTES);
        sidecar.extend(50_000, &bytes[50_000..]);
        assert_eq!(sidecar.end(), 2 * BLOCK_BYTES, "not behind a gap");
        sidecar.extend(32_768, &bytes[32_768..]);
        assert_eq!(sidecar.crcs, of(&bytes, 70_000).crcs);
    }

    #[test]
    fn a_newer_page_is_not_passed_over() {
        let (_, mut page) = of(&data(20_000), 20_000).pages_to_save(OWNER).expect("one");
        page[4] = 2;
        page[40..44].fill(0);
        let crc = crc32fast::hash(&page);
        page[40..44].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Sidecar::decode(&page, OWNER).expect_err("newer").found, 2);
    }

    #[test]
    fn the_released_format_is_still_read() {
        let released = include_bytes!("fixtures/blocks-v1.bin");
        let read = Sidecar::decode(released, OWNER).expect("known");
        let mut now = of(&data(40_000), 40_000);
        now.close();
        assert_eq!((read.crcs, read.covered), (now.crcs, now.covered));
    }
}
