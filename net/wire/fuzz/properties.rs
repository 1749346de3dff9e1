//! What must hold for any bytes at all. Shared by the fuzz targets and by the test that replays
//! their corpora.
//!
//! Decoding never panics; what was decoded can be encoded; and what was encoded is a fixed point:
//! decoding and encoding it again gives the same bytes. (The first encoding may differ from the
//! input, which can hold unknown tagged fields, defaults spelled out, or long varints.)
//!
//! Each returns whether the bytes were accepted.

use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::header::RequestHeader;
use wire::msg::{AnyRequest, AnyResponse};
use wire::record::group::GroupRecord;
use wire::record::metadata::MetadataRecord;
use wire::writer::Writer;

/// The content of a frame: header and request.
pub(crate) fn request_decode(frame: &[u8]) -> bool {
    let mut cur = Cursor::new(frame);
    let Ok(header) = RequestHeader::decode(&mut cur) else { return false };
    let mut w = Writer::new();
    header.encode(&mut w).expect("a decoded header can be encoded");
    assert_eq!(RequestHeader::decode(&mut Cursor::new(w.head())), Ok(header));
    fixed_point(cur.rest(), |cur, w| {
        let request = AnyRequest::decode(cur, header.api, header.api_version).ok()?;
        request.encode(w, header.api_version).expect("a decoded request can be encoded");
        Some(())
    })
}

/// API key and version as in a request's header, then a response without header.
pub(crate) fn response_decode(bytes: &[u8]) -> bool {
    let mut cur = Cursor::new(bytes);
    let (Ok(key), Ok(version)) = (cur.i16(), cur.i16()) else { return false };
    let Some(api) = ApiKey::from_key(key) else { return false };
    fixed_point(cur.rest(), |cur, w| {
        let response = AnyResponse::decode(cur, api, version).ok()?;
        response.encode(w, version).expect("a decoded response can be encoded");
        Some(())
    })
}

/// The value of a record of the metadata log.
pub(crate) fn metadata_record(value: &[u8]) -> bool {
    fixed_point(value, |cur, w| {
        let (record, version) = MetadataRecord::decode(cur.rest()).ok()?;
        record.encode(w, version).expect("a decoded record can be encoded");
        Some(())
    })
}

/// Length and bytes of a key, then the value of a record of `__consumer_offsets`.
pub(crate) fn group_record(bytes: &[u8]) -> bool {
    fixed_point(bytes, |cur, w| {
        let key = cur.i16().ok().and_then(|len| usize::try_from(len).ok())?;
        let (key, value) = cur.rest().split_at_checked(key)?;
        let record = GroupRecord::decode(key, Some(value)).ok()?;
        let version = i16::from_be_bytes(value.first_chunk().copied()?);
        let key = record.key().expect("a decoded key can be encoded");
        w.i16(key.len().try_into().expect("as long as it was"));
        w.bytes(&key);
        w.bytes(&record.value_in(version).expect("a decoded record can be encoded"));
        Some(())
    })
}

fn fixed_point(bytes: &[u8], rewrite: impl Fn(&mut Cursor<'_>, &mut Writer) -> Option<()>) -> bool {
    let (mut once, mut twice) = (Writer::new(), Writer::new());
    if rewrite(&mut Cursor::new(bytes), &mut once).is_none() {
        return false;
    }
    rewrite(&mut Cursor::new(once.head()), &mut twice).expect("our own encoding is accepted");
    assert_eq!(once.head(), twice.head());
    true
}
