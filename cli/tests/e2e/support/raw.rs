//! Bytes on a socket, for what no client library would send.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::broker::Broker;
use super::client::{Record, create_topic, produce};

/// A request or a part of one, big-endian as the protocol is.
#[derive(Clone, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn i8(self, value: i8) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i16(self, value: i16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// An unsigned varint, as compact lengths and tags are written.
    pub(crate) fn uvarint(mut self, mut value: u32) -> Self {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// A string with a 16-bit length.
    pub(crate) fn string(self, text: &str) -> Self {
        let length = i16::try_from(text.len()).expect("a short text");
        self.i16(length).raw(text.as_bytes())
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A request header (version 1, or 2 when `flexible`) and this as its body, framed.
    pub(crate) fn request(self, key: i16, version: i16, flexible: bool) -> Vec<u8> {
        let header = Self::new().i16(key).i16(version).i32(7).string("raw");
        let header = if flexible { header.uvarint(0) } else { header };
        header.raw(&self.0).frame()
    }

    /// This behind its length.
    pub(crate) fn frame(self) -> Vec<u8> {
        let length = i32::try_from(self.0.len()).expect("a small frame");
        [&length.to_be_bytes(), self.0.as_slice()].concat()
    }
}

/// How the broker met some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// One whole frame, without its length.
    Answered(Vec<u8>),
    Closed,
    /// Neither within the limit: it waits for more.
    Silent,
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("a listener");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// A connection with answers that nobody reads, records of a new topic, and more of them than fit
/// into the sockets: a broker's drain waits for them.
pub(crate) fn answers_unread(broker: &Broker, topic: &str) -> TcpStream {
    create_topic(broker.address(), topic, 1, &[]);
    let records: Vec<Record> = (0..8).map(|n| Record::of(vec![n; 900_000]).to(0)).collect();
    produce(broker.address(), &[], topic, &records);
    let fetch = Bytes::new().i32(-1).i32(0).i32(1).i32(16 << 20).i8(0).i32(1).string(topic);
    let fetch = fetch.i32(1).i32(0).i64(0).i32(16 << 20).request(1, 4, false);
    let mut stream = connect(broker.socket_address());
    stream.write_all(&fetch.repeat(8)).expect("small requests");
    stream.peek(&mut [0]).expect("the first answer has begun");
    stream
}

/// Sends bytes on a connection of their own and waits for what comes of it.
pub(crate) fn meet(address: SocketAddr, bytes: &[u8], limit: Duration) -> Met {
    let mut stream = connect(address);
    // A broker that has closed already makes writing fail; reading tells the same.
    let _ = stream.write_all(bytes);
    read_frame(&mut stream, limit)
}

/// The next frame on a connection.
pub(crate) fn read_frame(stream: &mut TcpStream, limit: Duration) -> Met {
    stream.set_read_timeout(Some(limit)).expect("a socket");
    let mut length = [0; 4];
    let read = stream.read_exact(&mut length).and_then(|()| {
        let length = usize::try_from(i32::from_be_bytes(length)).expect("a positive length");
        assert!(length < 16 << 20, "an answer of {length} bytes");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).map(|()| body)
    });
    match read {
        Ok(body) => Met::Answered(body),
        Err(error) if is_timeout(&error) => Met::Silent,
        Err(_) => Met::Closed,
    }
}

/// Every API the broker advertises: key, lowest and highest version.
pub(crate) fn advertised(address: SocketAddr) -> Vec<(i16, i16, i16)> {
    let Met::Answered(body) = meet(address, &Bytes::new().request(18, 0, false), LIMIT) else {
        panic!("ApiVersions 0 has an answer");
    };
    // Correlation id, error code, count, then rows of three numbers.
    let number = |at: usize| i16::from_be_bytes([body[at], body[at + 1]]);
    assert_eq!(number(4), 0, "no error");
    body[10..]
        .chunks_exact(6)
        .enumerate()
        .map(|(row, _)| {
            let at = 10 + row * 6;
            (number(at), number(at + 2), number(at + 4))
        })
        .collect()
}

/// An answer to a small request.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
