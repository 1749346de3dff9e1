//! One connection: versions negotiated once, one request in flight.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::error_code::ErrorCode;
use wire::header::{RequestHeader, ResponseHeader};
use wire::msg::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use wire::schema::{self, Message};

/// A connection to one broker.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: TcpStream,
    client_id: String,
    /// What the broker speaks, by API key.
    versions: BTreeMap<i16, (i16, i16)>,
    correlation_id: i32,
    /// The last response, which decoded answers borrow from.
    response: Vec<u8>,
}

impl Conn {
    /// Connects and learns the broker's versions.
    pub(crate) fn open(host_port: &str, client_id: &str) -> Result<Self> {
        let addrs = host_port
            .to_socket_addrs()
            .with_context(|| format!("{host_port} is not an address of the form HOST:PORT"))?;
        let mut failure = None;
        for addr in addrs {
            match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
                Ok(stream) => return Self::greet(stream, host_port, client_id),
                Err(e) => failure = Some(e),
            }
        }
        match failure {
            Some(e) => Err(e).with_context(|| {
                format!("no broker answers at {host_port}; is one running? (odradek serve)")
            }),
            None => bail!("{host_port} names no address"),
        }
    }

    fn greet(stream: TcpStream, host_port: &str, client_id: &str) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let mut conn = Self {
            stream,
            client_id: client_id.to_owned(),
            versions: BTreeMap::new(),
            correlation_id: 0,
            response: Vec::new(),
        };
        let request = ApiVersionsRequest {
            client_software_name: "odradek-cli",
            client_software_version: env!("CARGO_PKG_VERSION"),
        };
        // Version 3 is the newest that every broker of the last years answers in kind; one that
        // cannot says so in version 0.
        let answer: ApiVersionsResponse<'_> = conn
            .call_version(3, &request)
            .with_context(|| format!("{host_port} does not answer as a Kafka broker does"))?;
        check(answer.error_code, "ApiVersions")?;
        let versions =
            answer.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect();
        conn.versions = versions;
        Ok(conn)
    }

    /// Sends a request in the newest version both sides know and waits for the answer.
    pub(crate) fn call<'q, 'r, Q: Message<'q>, R: Message<'r>>(
        &'r mut self,
        request: &Q,
    ) -> Result<R> {
        let version = self.version::<Q>()?;
        self.call_version(version, request)
    }

    /// As [`Conn::call`], in no newer version than this.
    pub(crate) fn call_at_most<'q, 'r, Q: Message<'q>, R: Message<'r>>(
        &'r mut self,
        version: i16,
        request: &Q,
    ) -> Result<R> {
        let version = self.version::<Q>()?.min(version);
        self.call_version(version, request)
    }

    /// As [`Conn::call`], for an answer that may take as long as `limit` and some more.
    pub(crate) fn call_within<'q, 'r, Q: Message<'q>, R: Message<'r>>(
        &'r mut self,
        limit: Duration,
        request: &Q,
    ) -> Result<R> {
        let version = self.version::<Q>()?;
        self.stream.set_read_timeout(Some(limit + ANSWER_TIMEOUT))?;
        self.send(version, request)?;
        self.receive().with_context(|| format!("no answer to {}", Q::NAME))?;
        self.stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        self.decode::<Q, R>(version)
    }

    /// The version in which [`Conn::call`] would send this request.
    pub(crate) fn version<'q, Q: Message<'q>>(&self) -> Result<i16> {
        let Some(&(min, max)) = self.versions.get(&Q::KEY) else {
            bail!("the broker does not serve {}", Q::NAME);
        };
        let version = max.min(Q::MAX_VERSION);
        if version < min.max(Q::MIN_VERSION) {
            bail!(
                "the broker serves {} in versions {min} to {max}, this program in {} to {}",
                Q::NAME,
                Q::MIN_VERSION,
                Q::MAX_VERSION
            );
        }
        Ok(version)
    }

    /// Whether the broker says that it serves the API, in whatever versions.
    pub(crate) fn serves(&self, key: ApiKey) -> bool {
        self.versions.contains_key(&key.key())
    }

    /// Sends a request that has no answer (Produce with acks=0).
    pub(crate) fn cast<'q, Q: Message<'q>>(&mut self, request: &Q) -> Result<()> {
        let version = self.version::<Q>()?;
        self.send(version, request)
    }

    fn call_version<'q, 'r, Q: Message<'q>, R: Message<'r>>(
        &'r mut self,
        version: i16,
        request: &Q,
    ) -> Result<R> {
        self.send(version, request)?;
        self.receive().with_context(|| format!("no answer to {}", Q::NAME))?;
        self.decode::<Q, R>(version)
    }

    /// The answer that was received last.
    fn decode<'q, 'r, Q: Message<'q>, R: Message<'r>>(&'r self, version: i16) -> Result<R> {
        let api = api_of(Q::KEY)?;
        let mut cur = Cursor::new(&self.response);
        let header = ResponseHeader::decode(&mut cur, api, version)?;
        if header.correlation_id != self.correlation_id {
            bail!(
                "the broker answered request {} where {} was asked",
                header.correlation_id,
                self.correlation_id
            );
        }
        Ok(schema::decode(&mut cur, version)?)
    }

    fn send<'q, Q: Message<'q>>(&mut self, version: i16, request: &Q) -> Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            api: api_of(Q::KEY)?,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(&self.client_id),
        };
        self.stream.write_all(&header.frame(request)?.into_bytes())?;
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len).context("the broker closed the connection")?;
        let len = i32::from_be_bytes(len);
        let len = usize::try_from(len)
            .ok()
            .filter(|&len| len <= RESPONSE_BYTES_MAX)
            .with_context(|| format!("the broker announced an answer of {len} bytes"))?;
        self.response.clear();
        let got =
            Read::by_ref(&mut self.stream).take(len as u64).read_to_end(&mut self.response)?;
        if got < len {
            let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(cut).with_context(|| {
                format!("the broker closed the connection within an answer ({got} of {len} bytes)")
            });
        }
        Ok(())
    }
}

/// Whether the connection failed rather than the request: the same may be asked on another one.
pub(crate) fn is_broken(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<io::Error>())
}

/// What a broker refused, as it said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    /// The broker's own words, or those that belong to the code.
    pub(crate) message: String,
}

impl Refusal {
    /// With the broker's own words, where it sent some.
    pub(crate) fn new(code: i16, message: Option<&str>) -> Self {
        let code = ErrorCode(code);
        Self { code, message: message.unwrap_or_else(|| code.message()).to_owned() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.name())
    }
}

impl std::error::Error for Refusal {}

/// The refusal that an error is about, if a broker refused.
pub(crate) fn refusal(error: &anyhow::Error) -> Option<&Refusal> {
    error.downcast_ref()
}

/// The code of the refusal that an error is about; that of success where it is about none.
pub(crate) fn code_of(error: &anyhow::Error) -> ErrorCode {
    refusal(error).map_or(ErrorCode::NONE, |refusal| refusal.code)
}

/// Turns an error code into an error that says what failed.
pub(crate) fn check(code: i16, what: &str) -> Result<()> {
    check_with(code, None, what)
}

/// As [`check`], with the broker's own words where it sent some.
pub(crate) fn check_with(code: i16, message: Option<&str>, what: &str) -> Result<()> {
    refused(code, message).with_context(|| what.to_owned())
}

/// Turns an error code into the refusal that it is.
pub(crate) fn refused(code: i16, message: Option<&str>) -> Result<(), Refusal> {
    match ErrorCode(code) {
        ErrorCode::NONE => Ok(()),
        _ => Err(Refusal::new(code, message)),
    }
}

fn api_of(key: i16) -> Result<ApiKey> {
    ApiKey::from_key(key).with_context(|| format!("API key {key} is unknown"))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than any wait that a request of ours asks the broker for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What a Fetch of ours can come to, with room; a larger announcement is not from a broker.
const RESPONSE_BYTES_MAX: usize = 256 << 20;
