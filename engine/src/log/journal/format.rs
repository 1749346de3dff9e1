//! The bytes of a core's journal: `odradek-core-<n>.journal`.
//!
//! ```text
//! file   half 0, half 1; each a head of 4096 bytes, then frames back to back, then what was there
//! head    0 "ODJH"  4 version u16  6 state u16 (0 empty, 1 in use)  8 generation u64
//!        16 directory id (16)  32 bytes of the half u64  40 crc32 of 0..40 u32
//! frame   0 "ODJF"  4 zero u32  8 generation u64  16 number in its half u64
//!        24 payload bytes u32  28 entries u32  32 crc32 of 0..32 and the payload u32  36 zero (28)
//!        64 entries; padded with zeros to whole blocks of 4096 bytes
//! entry   0 kind u8 (1 bytes, 2 void)  1 bytes of the name u8  2 zero u16  4 partition i32
//!         8 topic id (16)  24 base offset of the segment i64  32 position in it u64
//!        40 data bytes u32  44 name of the partition's directory, then data
//! ```
//!
//! All numbers are little-endian. A frame counts if its checksum is right, its generation that of
//! its half's head, and its number the next one: frames are written one after the other, each synced
//! before the next, so the first that does not count ends the half.

use crc32fast::Hasher;
use wire::primitives::Uuid;

use crate::buf::BLOCK;

/// Bytes in front of a half's first frame.
pub(super) const HEAD_BYTES: usize = BLOCK;
/// Bytes in front of a frame's first entry.
pub(super) const FRAME_HEAD_BYTES: usize = 64;
/// Bytes of an entry without its name and data.
pub(super) const ENTRY_HEAD_BYTES: usize = 44;

/// What the head of a half says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its frames are needed, as far as they count.
    pub(super) in_use: bool,
    /// Rises with each use of either half.
    pub(super) generation: u64,
    /// The log directory that the journal belongs to.
    pub(super) directory: Uuid,
    /// Of each half, its head included.
    pub(super) half_bytes: u64,
}

/// Why a half cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHead {
    #[error(
        "of version {0}, which a newer release of Odradek wrote; use that release, and stop it in \
         order before this one is started"
    )]
    Newer(u16),
    #[error("damaged")]
    Damaged,
}

/// Which bytes of which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Of the partition's directory.
    pub(super) name: &'a str,
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
    /// Base offset of the segment.
    pub(super) base: i64,
    /// Of the first byte.
    pub(super) position: u64,
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// These bytes belong there.
    Bytes(Target<'a>, &'a [u8]),
    /// Earlier entries of the partition do not count any more: its end was cut off, and is written
    /// anew.
    Void(Target<'a>),
}

impl Head {
    pub(super) fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        block[..4].copy_from_slice(HEAD_MAGIC);
        block[4..6].copy_from_slice(&VERSION.to_le_bytes());
        block[6..8].copy_from_slice(&u16::from(self.in_use).to_le_bytes());
        block[8..16].copy_from_slice(&self.generation.to_le_bytes());
        block[16..32].copy_from_slice(&self.directory.0);
        block[32..40].copy_from_slice(&self.half_bytes.to_le_bytes());
        let crc = crc32fast::hash(&block[..40]);
        block[40..44].copy_from_slice(&crc.to_le_bytes());
    }

    pub(super) fn decode(block: &[u8]) -> Result<Self, BadHead> {
        let sound = block.len() >= 44
            && &block[..4] == HEAD_MAGIC
            && crc32fast::hash(&block[..40]) == u32_at(block, 40);
        if !sound {
            return Err(BadHead::Damaged);
        }
        match u16::from_le_bytes([block[4], block[5]]) {
            VERSION => {}
            newer => return Err(BadHead::Newer(newer)),
        }
        Ok(Self {
            in_use: block[6] == 1,
            generation: u64_at(block, 8),
            directory: Uuid(block[16..32].try_into().expect("16 bytes")),
            half_bytes: u64_at(block, 32),
        })
    }
}

/// Completes the frame at the front of `buf`: `payload` bytes of `entries` entries lie behind the
/// room for its head.
pub(super) fn seal(buf: &mut [u8], generation: u64, number: u64, payload: usize, entries: u32) {
    let payload_bytes = u32::try_from(payload).expect("a frame is small");
    buf[..4].copy_from_slice(FRAME_MAGIC);
    buf[4..8].fill(0);
    buf[8..16].copy_from_slice(&generation.to_le_bytes());
    buf[16..24].copy_from_slice(&number.to_le_bytes());
    buf[24..28].copy_from_slice(&payload_bytes.to_le_bytes());
    buf[28..32].copy_from_slice(&entries.to_le_bytes());
    let crc = checksum(&buf[..32], &buf[FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + payload]);
    buf[32..36].copy_from_slice(&crc.to_le_bytes());
    buf[36..FRAME_HEAD_BYTES].fill(0);
}

/// The entries of the frame at the front of `bytes`, and its bytes with padding; none if it does
/// not count.
pub(super) fn open(bytes: &[u8], generation: u64, number: u64) -> Option<(Vec<Entry<'_>>, usize)> {
    let head = bytes.get(..FRAME_HEAD_BYTES)?;
    let named =
        &head[..4] == FRAME_MAGIC && u64_at(head, 8) == generation && u64_at(head, 16) == number;
    if !named {
        return None;
    }
    let payload = bytes.get(FRAME_HEAD_BYTES..)?.get(..u32_at(head, 24) as usize)?;
    if checksum(&head[..32], payload) != u32_at(head, 32) {
        return None;
    }
    let (mut rest, mut entries) = (payload, Vec::new());
    while !rest.is_empty() {
        let (entry, behind) = Entry::decode(rest)?;
        entries.push(entry);
        rest = behind;
    }
    let whole = (FRAME_HEAD_BYTES + payload.len()).next_multiple_of(BLOCK);
    (entries.len() == u32_at(head, 28) as usize).then_some((entries, whole))
}

/// Whether the frame at the front of `bytes` counts, but for being a later one than `number`.
pub(super) fn follows(bytes: &[u8], generation: u64, number: u64) -> bool {
    let Some(head) = bytes.get(..FRAME_HEAD_BYTES) else { return false };
    let later = u64_at(head, 16);
    &head[..4] == FRAME_MAGIC && later > number && open(bytes, generation, later).is_some()
}

/// Bytes of an entry with its name, before its data.
pub(super) fn entry_bytes(name: &str) -> usize {
    ENTRY_HEAD_BYTES + name.len()
}

impl Target<'_> {
    /// Writes the part of an entry before its data; the number of data bytes comes with
    /// [`set_data_bytes`].
    pub(super) fn encode(&self, is_void: bool, at: &mut [u8]) {
        at[0] = if is_void { VOID } else { BYTES };
        at[1] = u8::try_from(self.name.len()).expect("a file name");
        at[2..4].fill(0);
        at[4..8].copy_from_slice(&self.partition.to_le_bytes());
        at[8..24].copy_from_slice(&self.topic_id.0);
        at[24..32].copy_from_slice(&self.base.to_le_bytes());
        at[32..40].copy_from_slice(&self.position.to_le_bytes());
        at[40..44].fill(0);
        at[ENTRY_HEAD_BYTES..][..self.name.len()].copy_from_slice(self.name.as_bytes());
    }
}

/// Says how many data bytes follow the entry that begins at the front of `entry`.
pub(super) fn set_data_bytes(entry: &mut [u8], count: usize) {
    let count = u32::try_from(count).expect("an entry is small");
    entry[40..44].copy_from_slice(&count.to_le_bytes());
}

impl<'a> Entry<'a> {
    fn decode(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let head = bytes.get(..ENTRY_HEAD_BYTES)?;
        let rest = &bytes[ENTRY_HEAD_BYTES..];
        let (name, rest) = rest.split_at_checked(usize::from(head[1]))?;
        let (data, rest) = rest.split_at_checked(u32_at(head, 40) as usize)?;
        let target = Target {
            name: std::str::from_utf8(name).ok()?,
            topic_id: Uuid(head[8..24].try_into().expect("16 bytes")),
            partition: i32::from_le_bytes(head[4..8].try_into().expect("4 bytes")),
            base: i64::from_le_bytes(head[24..32].try_into().expect("8 bytes")),
            position: u64_at(head, 32),
        };
        match head[0] {
            BYTES => Some((Self::Bytes(target, data), rest)),
            VOID => Some((Self::Void(target), rest)),
            _ => None,
        }
    }
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

const HEAD_MAGIC: &[u8; 4] = b"ODJH";
const FRAME_MAGIC: &[u8; 4] = b"ODJF";
const VERSION: u16 = 1;
const BYTES: u8 = 1;
const VOID: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'_> =
        Target { name: "t-3", topic_id: Uuid([7; 16]), partition: 3, base: 40, position: 4_711 };

    fn frame() -> Vec<u8> {
        let mut buf = vec![0; BLOCK];
        let mut at = FRAME_HEAD_BYTES;
        TARGET.encode(false, &mut buf[at..]);
        set_data_bytes(&mut buf[at..], 5);
        at += entry_bytes(TARGET.name);
        buf[at..at + 5].copy_from_slice(b"hello");
        at += 5;
        TARGET.encode(true, &mut buf[at..]);
        at += entry_bytes(TARGET.name);
        seal(&mut buf, 9, 2, at - FRAME_HEAD_BYTES, 2);
        buf
    }

    #[test]
    fn a_frame_is_read_back_and_checked() {
        let frame = frame();
        let entries = vec![Entry::Bytes(TARGET, &b"hello"[..]), Entry::Void(TARGET)];
        assert_eq!(open(&frame, 9, 2), Some((entries, BLOCK)));
        assert_eq!(open(&frame, 8, 2), None, "another generation");
        assert_eq!(open(&frame, 9, 3), None, "another number");
        let sealed = FRAME_HEAD_BYTES + 2 * entry_bytes(TARGET.name) + 5;
        for at in (0..sealed).filter(|at| !(36..FRAME_HEAD_BYTES).contains(at)) {
            let mut bad = frame.clone();
            bad[at] ^= 0x20;
            assert_eq!(open(&bad, 9, 2), None, "byte {at}");
        }
        for len in 0..sealed {
            assert_eq!(open(&frame[..len], 9, 2), None, "{len} bytes");
        }
    }

    #[test]
    fn a_head_is_read_back_and_checked() {
        let head = Head { in_use: true, generation: 5, directory: Uuid([1; 16]), half_bytes: 8192 };
        let mut block = vec![0xff; HEAD_BYTES];
        head.encode(&mut block);
        assert_eq!(Head::decode(&block), Ok(head));
        for at in 0..44 {
            let mut bad = block.clone();
            bad[at] ^= 1;
            assert_eq!(Head::decode(&bad), Err(BadHead::Damaged), "byte {at}");
        }
        block[4] = 2;
        let crc = crc32fast::hash(&block[..40]);
        block[40..44].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Head::decode(&block), Err(BadHead::Newer(2)));
    }
}
