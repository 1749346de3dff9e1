//! The frame of files that only Odradek reads.
//!
//! ```text
//!  0  magic  "odradek\n"
//!  8  kind   4 letters
//! 12  version u32        ┐ little-endian
//! 16  length  u64        │ of the payload
//! 24  crc32   u32        │ of kind, version, length and payload
//! 28  zero    u32        ┘
//! 32  payload
//! ```
//!
//! A newer version is refused by name, since what it says must not be passed over. A damaged file
//! is told apart from that: every such file can be made again or done without.

use crc32fast::Hasher;
use rkyv::api::high::{HighDeserializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, rancor};

/// A kind of file, and the newest version of it that this release writes and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: [u8; 4],
    pub(crate) version: u32,
}

/// Why a file of ours is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OwnFileError {
    #[error(
        "of version {found}, which a newer release of Odradek wrote; this one knows up to \
         {known}: use that release, or remove the file if it has to be done without"
    )]
    Newer { found: u32, known: u32 },
    #[error("damaged")]
    Damaged,
}

/// Frames `payload`.
pub(crate) fn encode(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(FRAME + payload.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&kind.name);
    file.extend_from_slice(&kind.version.to_le_bytes());
    file.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let crc = checksum(&file[8..24], payload);
    file.extend_from_slice(&crc.to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(payload);
    file
}

/// The payload of a file of `kind`.
pub(crate) fn decode(kind: Kind, file: &[u8]) -> Result<&[u8], OwnFileError> {
    let (head, payload) = file.split_at_checked(FRAME).ok_or(OwnFileError::Damaged)?;
    let stored = u32::from_le_bytes(head[24..28].try_into().expect("4 bytes"));
    if &head[..8] != MAGIC || head[8..12] != kind.name {
        return Err(OwnFileError::Damaged);
    }
    let found = u32::from_le_bytes(head[12..16].try_into().expect("4 bytes"));
    let length = u64::from_le_bytes(head[16..24].try_into().expect("8 bytes"));
    let payload = usize::try_from(length).ok().and_then(|length| payload.get(..length));
    let payload = payload.ok_or(OwnFileError::Damaged)?;
    if checksum(&head[8..24], payload) != stored {
        return Err(OwnFileError::Damaged);
    }
    if found > kind.version {
        return Err(OwnFileError::Newer { found, known: kind.version });
    }
    Ok(payload)
}

/// Reads back what rkyv wrote into a file.
///
/// # Errors
/// As [`decode`]; and `Damaged` where the payload is no `T`.
pub(crate) fn restore<T>(kind: Kind, file: &[u8]) -> Result<T, OwnFileError>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Error>>
        + Deserialize<T, HighDeserializer<rancor::Error>>,
{
    let payload = decode(kind, file)?;
    let mut aligned: AlignedVec = AlignedVec::with_capacity(payload.len());
    aligned.extend_from_slice(payload);
    rkyv::from_bytes::<T, rancor::Error>(&aligned).map_err(|_| OwnFileError::Damaged)
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

const MAGIC: &[u8; 8] = b"odradek\n";
const FRAME: usize = 32;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const KIND: Kind = Kind { name: *b"TEST", version: 3 };

    /// Damages every byte of a file in its turn.
    pub(in crate::log) fn check_damage(file: &[u8], decodes: impl Fn(&[u8]) -> bool) {
        for at in 0..file.len() {
            let mut bad = file.to_vec();
            bad[at] ^= 0x10;
            let harmless = (28..32).contains(&at);
            assert_eq!(decodes(&bad), harmless, "byte {at}");
        }
    }

    #[test]
    fn frame_is_checked() {
        let file = encode(KIND, b"hello");
        assert_eq!(decode(KIND, &file), Ok(&b"hello"[..]));
        check_damage(&file, |bad| decode(KIND, bad).is_ok());
        for len in 0..file.len() {
            assert_eq!(decode(KIND, &file[..len]), Err(OwnFileError::Damaged));
        }
        let newer = encode(Kind { version: 4, ..KIND }, b"?");
        assert_eq!(decode(KIND, &newer), Err(OwnFileError::Newer { found: 4, known: 3 }));
        assert_eq!(decode(Kind { name: *b"ELSE", ..KIND }, &file), Err(OwnFileError::Damaged));
    }

    #[test]
    fn bytes_are_as_released() {
        let file = encode(Kind { name: *b"CKPT", version: 1 }, b"x");
        let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "6f64726164656b0a434b5054010000000100000000000000f6869b970000000078");
    }
}
