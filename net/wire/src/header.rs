//! The headers in front of requests and responses.

use crate::api_key::ApiKey;
use crate::cursor::Cursor;
use crate::error::{DecodeError, DecodeFault, EncodeError};
use crate::schema::{self, At, Message, Value, read_tagged};
use crate::writer::Writer;

/// What every request begins with: v1 of Kafka's header, or v2 (with tagged fields) before a
/// flexible request. The client id is a plain nullable string in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API; whether this node serves it is not checked here.
    pub api: ApiKey,
    /// Version of the request, possibly one unknown here.
    pub api_version: i16,
    /// The client's number for the request; comes back in the response.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<&'a str>,
}

impl<'a> RequestHeader<'a> {
    /// Reads the header, leaving the cursor at the request.
    ///
    /// A key that is not in [`ApiKey`] is an error: not even the header's own version is known
    /// then, and Kafka too closes the connection. An unknown *version* is not: it is for the
    /// caller to answer (ApiVersions) or to close (all others).
    pub fn decode(cur: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let key = cur.i16().map_err(|e| e.within("api_key"))?;
        let api_version = cur.i16().map_err(|e| e.within("api_version"))?;
        let correlation_id = cur.i32().map_err(|e| e.within("correlation_id"))?;
        let Some(api) = ApiKey::from_key(key) else {
            return Err(DecodeFault::UnknownApiKey(key).into());
        };
        let client_id = Value::read(cur, PLAIN).map_err(|e: DecodeError| e.within("client_id"))?;
        if api.request_header_version(api_version) >= 2 {
            read_tagged(cur, |_, _| Ok(false))?;
        }
        Ok(Self { api, api_version, correlation_id, client_id })
    }

    /// A whole request: its length, this header, and the message in this header's version.
    pub fn frame<'q>(&self, request: &impl Message<'q>) -> Result<Writer, EncodeError> {
        let mut w = Writer::new();
        let mark = w.begin_frame();
        self.encode(&mut w)?;
        schema::encode(request, &mut w, self.api_version)?;
        w.end_frame(mark)?;
        Ok(w)
    }

    /// Writes the header.
    pub fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.i16(self.api.key());
        w.i16(self.api_version);
        w.i32(self.correlation_id);
        self.client_id.write(w, PLAIN).map_err(|e| e.within("client_id"))?;
        if self.api.request_header_version(self.api_version) >= 2 {
            w.uvarint(0);
        }
        Ok(())
    }

    /// The header of the response to this request.
    #[must_use]
    pub const fn response(&self) -> ResponseHeader {
        ResponseHeader { correlation_id: self.correlation_id }
    }
}

/// What every response begins with: v0, or v1 (with tagged fields) before a flexible response;
/// before ApiVersions always v0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The request's.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a response to `api` in `version`.
    pub fn decode(cur: &mut Cursor<'_>, api: ApiKey, version: i16) -> Result<Self, DecodeError> {
        let correlation_id = cur.i32().map_err(|e| e.within("correlation_id"))?;
        if api.response_header_version(version) >= 1 {
            read_tagged(cur, |_, _| Ok(false))?;
        }
        Ok(Self { correlation_id })
    }

    /// Writes the header of a response to `api` in `version`.
    pub fn encode(&self, w: &mut Writer, api: ApiKey, version: i16) {
        w.i32(self.correlation_id);
        if api.response_header_version(version) >= 1 {
            w.uvarint(0);
        }
    }
}

/// The header's strings have 16-bit lengths even in v2.
const PLAIN: At = At { version: 0, flexible: false };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flexible_request_has_tags_but_a_plain_client_id() {
        let header = RequestHeader {
            api: ApiKey::Fetch,
            api_version: 12,
            correlation_id: 5,
            client_id: Some("me"),
        };
        let mut w = Writer::new();
        header.encode(&mut w).unwrap();
        let bytes = w.into_bytes();
        assert_eq!(bytes, b"\0\x01\0\x0c\0\0\0\x05\0\x02me\0");
        let mut cur = Cursor::new(&bytes);
        assert_eq!(RequestHeader::decode(&mut cur), Ok(header));
        assert!(cur.is_empty());
    }

    #[test]
    fn the_client_id_may_be_null_and_tags_unknown() {
        let bytes = b"\0\x12\0\x04\0\0\0\x01\xff\xff\x01\x09\x02xyrest";
        let mut cur = Cursor::new(bytes);
        let header = RequestHeader::decode(&mut cur).unwrap();
        assert_eq!((header.api, header.client_id), (ApiKey::ApiVersions, None));
        assert_eq!(cur.rest(), b"rest");
    }

    #[test]
    fn an_unknown_version_is_readable_and_an_unknown_key_is_not() {
        let header = RequestHeader::decode(&mut Cursor::new(b"\0\x12\x7f\xff\0\0\0\x01\xff\xff\0"));
        assert_eq!(header.unwrap().api_version, i16::MAX);
        let header = RequestHeader::decode(&mut Cursor::new(b"\0\x04\0\0\0\0\0\x01\xff\xff"));
        assert_eq!(header.unwrap_err().fault, DecodeFault::UnknownApiKey(4));
    }

    #[test]
    fn response_headers_follow_the_api() {
        for (api, version, len) in
            [(ApiKey::Fetch, 11, 4), (ApiKey::Fetch, 12, 5), (ApiKey::ApiVersions, 4, 4)]
        {
            let header = ResponseHeader { correlation_id: 9 };
            let mut w = Writer::new();
            header.encode(&mut w, api, version);
            let bytes = w.into_bytes();
            assert_eq!(bytes.len(), len);
            let mut cur = Cursor::new(&bytes);
            assert_eq!(ResponseHeader::decode(&mut cur, api, version), Ok(header));
            assert!(cur.is_empty());
        }
    }
}
