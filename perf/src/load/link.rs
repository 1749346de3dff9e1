//! One connection without waiting: what is to go out, what came in, what is on its way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use wire::frame::{self, Frame};

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    /// What the answer must name.
    pub(crate) correlation: i32,
    /// When it was to be sent.
    pub(crate) intended_ns: u64,
    /// The load's own note: which template or slot.
    pub(crate) tag: u32,
    /// The load's own note: which number.
    pub(crate) sequence: u64,
}

/// A connection of a load.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    pub(crate) output: Output,
    pub(crate) in_flight: VecDeque<Flight>,
    /// Whether the socket took less than it was offered, so that writability matters.
    pub(crate) blocked: bool,
    /// Whether the load that owns it listed it as having something to send.
    pub(crate) dirty: bool,
    /// Why it is of no use any more.
    pub(crate) dead: Option<String>,
    /// Whether its end was dealt with.
    pub(crate) buried: bool,
    correlation: i32,
    input: Input,
}

/// Bytes that wait to be sent: small ones here, large bodies by reference.
#[derive(Debug, Default)]
pub(crate) struct Output {
    own: Vec<u8>,
    own_sent: usize,
    /// Bodies, and where among `own` each belongs.
    bodies: VecDeque<Body>,
}

#[derive(Debug)]
struct Body {
    at: usize,
    bytes: Arc<[u8]>,
    sent: usize,
}

/// Bytes that came in: whole frames are taken from the front.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Link {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            output: Output::default(),
            in_flight: VecDeque::new(),
            blocked: false,
            dirty: false,
            dead: None,
            buried: false,
            correlation: 0,
            input: Input::default(),
        })
    }

    /// Notes a request as on its way; its correlation id.
    pub(crate) fn launch(&mut self, intended_ns: u64, tag: u32, sequence: u64) -> i32 {
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        let correlation = self.correlation;
        self.in_flight.push_back(Flight { correlation, intended_ns, tag, sequence });
        correlation
    }

    /// Sends what the socket takes.
    pub(crate) fn flush(&mut self) {
        match self.output.write_to(&mut self.stream) {
            Ok(()) => self.blocked = false,
            Err(e) if e.kind() == ErrorKind::WouldBlock => self.blocked = true,
            Err(e) => self.dead = Some(format!("sending failed: {e}")),
        }
    }

    /// Receives what there is. The input is taken out of the link, so that frames of it can be
    /// looked at while the link is written to; give it back with [`Link::put_back`].
    pub(crate) fn receive(&mut self) -> Input {
        let mut input = std::mem::take(&mut self.input);
        if let Err(e) = input.read_from(&mut self.stream) {
            self.dead = Some(e.to_string());
        }
        input
    }

    /// See [`Link::receive`].
    pub(crate) fn put_back(&mut self, input: Input) {
        self.input = input;
    }
}

impl Output {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.own_sent == self.own.len() && self.bodies.is_empty()
    }

    /// Appends bytes; where they lie, to be patched with [`Output::patch`] before they are sent.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        if self.is_empty() {
            self.own.clear();
            self.own_sent = 0;
        } else if self.own_sent > COMPACT_BYTES {
            self.own.drain(..self.own_sent);
            for body in &mut self.bodies {
                body.at -= self.own_sent;
            }
            self.own_sent = 0;
        }
        let at = self.own.len();
        self.own.extend_from_slice(bytes);
        at
    }

    /// Appends a shared body: by copy when that is cheaper than another piece of a write.
    pub(crate) fn push_body(&mut self, bytes: &Arc<[u8]>) {
        if bytes.len() <= BODY_COPY_MAX {
            self.own.extend_from_slice(bytes);
        } else {
            self.bodies.push_back(Body { at: self.own.len(), bytes: bytes.clone(), sent: 0 });
        }
    }

    /// Overwrites bytes of the last push; `at` as it returned.
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.own[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes until nothing is left or the socket would block.
    fn write_to(&mut self, stream: &mut impl Write) -> io::Result<()> {
        while !self.is_empty() {
            let written = if self.bodies.is_empty() {
                stream.write(&self.own[self.own_sent..])
            } else {
                self.write_pieces(stream)
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn write_pieces(&self, stream: &mut impl Write) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        let mut at = self.own_sent;
        for body in self.bodies.iter().take(PIECES_MAX / 2 - 1) {
            if body.at > at {
                slices[count] = IoSlice::new(&self.own[at..body.at]);
                count += 1;
                at = body.at;
            }
            slices[count] = IoSlice::new(&body.bytes[body.sent..]);
            count += 1;
        }
        // What follows the last body taken, up to the next one.
        let next = self.bodies.get(PIECES_MAX / 2 - 1).map_or(self.own.len(), |body| body.at);
        if next > at {
            slices[count] = IoSlice::new(&self.own[at..next]);
            count += 1;
        }
        stream.write_vectored(&slices[..count])
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(body) = self.bodies.front_mut() {
            let own = written.min(body.at - self.own_sent);
            self.own_sent += own;
            written -= own;
            let of_body = written.min(body.bytes.len() - body.sent);
            body.sent += of_body;
            written -= of_body;
            if body.sent < body.bytes.len() {
                return;
            }
            self.bodies.pop_front();
        }
        self.own_sent += written;
    }
}

impl Input {
    /// The next whole frame's content; none when more must come first.
    pub(crate) fn next_frame(&mut self) -> Result<Option<&[u8]>, frame::FrameError> {
        match frame::next(&self.buffer[self.start..self.end], FRAME_MAX)? {
            Frame::Whole { body, total } => {
                let at = self.start;
                self.start += total;
                Ok(Some(&self.buffer[at + body.start..at + body.end]))
            }
            Frame::Partial { missing } => {
                self.make_room(missing);
                Ok(None)
            }
        }
    }

    fn read_from(&mut self, stream: &mut impl Read) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer.resize(FIRST_BYTES, 0);
        }
        loop {
            let room = &mut self.buffer[self.end..];
            if room.is_empty() {
                return Ok(());
            }
            let offered = room.len();
            match stream.read(room) {
                Ok(0) => return Err(io::Error::other("the broker closed the connection")),
                Ok(read) => {
                    self.end += read;
                    // A short read emptied the socket: another would only be told so.
                    if read < offered {
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(io::Error::new(e.kind(), format!("receiving failed: {e}"))),
            }
        }
    }

    /// Makes room for `missing` more bytes behind those at hand.
    fn make_room(&mut self, missing: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.end >= missing && self.end < self.buffer.len() {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let needed = self.end + missing;
        if needed > self.buffer.len() {
            self.buffer.resize(needed.next_power_of_two(), 0);
        }
    }
}

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Up to this a body is copied: a piece of a vectored write costs about as much.
const BODY_COPY_MAX: usize = 8 << 10;
const PIECES_MAX: usize = 64;
const COMPACT_BYTES: usize = 1 << 20;
const FIRST_BYTES: usize = 64 << 10;
/// More than any answer to a request of this program.
const FRAME_MAX: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, as a full socket does.
    struct Trickle(Vec<u8>, usize);

    impl Write for Trickle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..taken]);
            self.1 = self.1 % 97 + 5;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn pieces_go_out_in_order_however_little_is_taken() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        let body: Arc<[u8]> = vec![7; BODY_COPY_MAX + 1].into();
        let small: Arc<[u8]> = vec![8; 10].into();
        let mut out = Trickle(Vec::new(), 1);
        for round in 0..200_u32 {
            let at = output.push(&round.to_be_bytes());
            output.patch(at, &(round + 1).to_be_bytes());
            expected.extend_from_slice(&(round + 1).to_be_bytes());
            let body = if round % 3 == 0 { &body } else { &small };
            output.push_body(body);
            expected.extend_from_slice(body);
            if round % 40 == 39 {
                output.write_to(&mut out).expect("never blocks");
            }
        }
        assert!(output.is_empty());
        assert!(out.0 == expected);
    }

    #[test]
    fn frames_are_whole_however_they_come() {
        let mut stream = Vec::new();
        for len in [0_u32, 5, 70_000, 1, 300_000] {
            stream.extend_from_slice(&len.to_be_bytes());
            stream.extend(std::iter::repeat_n(len as u8, len as usize));
        }
        for step in [1, 3, 1000, 65_536, 400_000] {
            let mut input = Input::default();
            let mut lens = Vec::new();
            for chunk in stream.chunks(step) {
                let mut chunk = chunk;
                while !chunk.is_empty() {
                    // The end of the chunk reads as end of stream, which is not the point here.
                    let _ = input.read_from(&mut chunk);
                    while let Some(frame) = input.next_frame().expect("sound") {
                        assert!(frame.iter().all(|byte| *byte == frame.len() as u8));
                        lens.push(frame.len());
                    }
                }
            }
            assert_eq!(lens, [0, 5, 70_000, 1, 300_000], "in steps of {step}");
        }
    }
}
