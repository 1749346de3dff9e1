//! A Kafka client's connection: requests out, answers in, with a limit to its patience.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use engine::rt::{Rt, Stream};
use futures_util::future::{Either, select};
use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::error::DecodeError;
use wire::header::{RequestHeader, ResponseHeader};
use wire::schema::Message;

/// One connection. A client that loses it makes another.
#[derive(Debug)]
pub(crate) struct Connection {
    rt: Rt,
    stream: Stream,
    next_id: i32,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The connection broke, was refused, or was closed.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// The node did not answer in time.
    #[error("no answer in time")]
    Silence,
    /// The node answered nonsense.
    #[error("the answer cannot be read: {0}")]
    Nonsense(String),
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(rt: &Rt, addr: SocketAddr) -> Result<Self, Lost> {
        let stream = in_time(rt, CONNECT_PATIENCE, rt.connect(addr)).await??;
        Ok(Self { rt: rt.clone(), stream, next_id: 1 })
    }

    /// Sends a request; its answer comes after those of the requests before it.
    pub(crate) async fn send<'q, Q: Message<'q>>(
        &mut self,
        version: i16,
        request: &Q,
    ) -> Result<Pending, Lost> {
        let correlation_id = self.next_id;
        self.next_id += 1;
        let api = ApiKey::from_key(Q::KEY).expect("a request has a key");
        let frame = frame(api, version, correlation_id, request);
        in_time(&self.rt, PATIENCE, self.stream.send(&[&frame])).await??;
        Ok(Pending { api, version, correlation_id })
    }

    /// The answer to the oldest request that has none yet, which must be `pending`.
    pub(crate) async fn answer<T>(
        &self,
        pending: Pending,
        read: impl FnOnce(&mut Cursor<'_>, i16) -> Result<T, DecodeError>,
    ) -> Result<T, Lost> {
        let frame = in_time(&self.rt, PATIENCE, frame_from(&self.stream)).await??;
        let nonsense = |error: DecodeError| Lost::Nonsense(error.to_string());
        let mut cur = Cursor::new(&frame);
        let header = ResponseHeader::decode(&mut cur, pending.api, pending.version);
        let header = header.map_err(nonsense)?;
        if header.correlation_id != pending.correlation_id {
            let (got, want) = (header.correlation_id, pending.correlation_id);
            return Err(Lost::Nonsense(format!("answer {got} where {want} was due")));
        }
        let value = read(&mut cur, pending.version).map_err(nonsense)?;
        cur.finish().map_err(nonsense)?;
        Ok(value)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask<'q, Q: Message<'q>, T>(
        &mut self,
        version: i16,
        request: &Q,
        read: impl FnOnce(&mut Cursor<'_>, i16) -> Result<T, DecodeError>,
    ) -> Result<T, Lost> {
        let pending = self.send(version, request).await?;
        self.answer(pending, read).await
    }
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

async fn in_time<T>(rt: &Rt, patience: Duration, f: impl Future<Output = T>) -> Result<T, Lost> {
    match select(pin!(f), rt.sleep(patience)).await {
        Either::Left((value, _)) => Ok(value),
        Either::Right(_) => Err(Lost::Silence),
    }
}

async fn frame_from(stream: &Stream) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 4];
    recv_exact(stream, &mut prefix).await?;
    let len = usize::try_from(i32::from_be_bytes(prefix)).ok().filter(|len| *len <= FRAME_MAX);
    let len = len.ok_or(io::ErrorKind::InvalidData)?;
    let mut frame = vec![0; len];
    recv_exact(stream, &mut frame).await?;
    Ok(frame)
}

async fn recv_exact(stream: &Stream, bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match stream.recv(&mut bytes[done..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(())
}

fn frame<'q>(
    api: ApiKey,
    api_version: i16,
    correlation_id: i32,
    request: &impl Message<'q>,
) -> Vec<u8> {
    let header = RequestHeader { api, api_version, correlation_id, client_id: Some("sim") };
    header.frame(request).expect("the workload knows its versions").into_bytes()
}

/// Longer than any answer of a healthy node takes, delays of slow links included.
const PATIENCE: Duration = Duration::from_secs(5);
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// No answer of the workload comes near.
const FRAME_MAX: usize = 16 << 20;
