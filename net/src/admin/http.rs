//! The admin port: HTTP/1.1, one request to a connection.
//!
//! It is for few and is written so that many cannot hurt: [`CONNECTIONS_MAX`] at a time, of which the
//! oldest goes when another comes; a request's head is short and comes within [`HEAD_LIMIT`], its
//! body is not read; everything ends within [`LIFE_LIMIT`]. All of it is on the ordinary thread,
//! which no client of Kafka's protocol waits for.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use config::Config;
use config::listener::parse_host_port;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::desk::{Desk, Verdict};
use super::text::Form;
use crate::boot::Handle;

/// The port, bound.
#[derive(Debug)]
pub(crate) struct Port {
    listener: TcpListener,
    config: Config,
}

/// Binds `odradek.admin.listener`; none where it is empty, or where it is taken and nobody asked for
/// it by name.
///
/// # Errors
/// Why it cannot be bound.
pub(crate) fn bind(config: &Config) -> Result<Option<Port>, String> {
    let address = &config.odradek_admin_listener;
    if address.is_empty() {
        return Ok(None);
    }
    let asked_for = config.origin("odradek.admin.listener").is_some();
    match listen(address, if asked_for { BIND_TRIES } else { 1 }) {
        Ok(listener) => {
            if let Ok(addr) = listener.local_addr() {
                tracing::info!(%addr, "metrics and health");
            }
            Ok(Some(Port { listener, config: config.clone() }))
        }
        Err(error) if asked_for => Err(format!("odradek.admin.listener = {address}: {error}")),
        Err(error) => {
            tracing::warn!(
                address,
                "no metrics and health: {error}; set odradek.admin.listener to another address, or \
                 to nothing"
            );
            Ok(None)
        }
    }
}

fn listen(address: &str, tries: u32) -> io::Result<TcpListener> {
    let (host, port) = parse_host_port(address).map_err(io::Error::other)?;
    let host = if host.is_empty() { "0.0.0.0".to_owned() } else { host };
    let addresses: Vec<_> = (host.as_str(), port).to_socket_addrs()?.collect();
    let mut left = tries;
    loop {
        left = left.saturating_sub(1);
        match TcpListener::bind(&*addresses) {
            // Whoever had it may be on its way out.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && left > 0 => {
                thread::sleep(BIND_RETRY);
            }
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return Ok(listener);
            }
            Err(error) => return Err(error),
        }
    }
}

impl Port {
    /// Where it is.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves for ever. Runs on the ordinary thread's runtime.
    pub(crate) async fn serve(self, handle: Handle) {
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!("no metrics and health: {error}"),
        };
        let desk = Arc::new(Desk::new(handle, &self.config));
        let mut connections: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            // A failed accept is the want of descriptors: they come back as connections end.
            let Ok((stream, _)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            connections.retain(|connection| !connection.is_finished());
            if connections.len() >= CONNECTIONS_MAX
                && let Some(oldest) = connections.pop_front()
            {
                oldest.abort();
            }
            let life = timeout(LIFE_LIMIT, converse(stream, Arc::clone(&desk)));
            connections.push_back(tokio::spawn(life).abort_handle());
        }
    }
}

async fn converse(stream: TcpStream, desk: Arc<Desk>) {
    let service = TowerToHyperService::new(routes(desk));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("admin connection: {error}");
    }
}

fn routes(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(async || Html(LINKS)))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async |State(desk): State<Arc<Desk>>| verdict(desk.alive().await)))
        .route("/readyz", get(async |State(desk): State<Arc<Desk>>| verdict(desk.ready().await)))
        .with_state(desk)
}

async fn metrics(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let form = Form::accepted(accept.unwrap_or_default());
    match desk.page(form).await {
        Some(page) => ([(header::CONTENT_TYPE, form.content_type())], page).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "core 0 does not answer\n").into_response(),
    }
}

fn verdict(verdict: Verdict) -> (StatusCode, String) {
    match verdict {
        Ok(words) => (StatusCode::OK, words),
        Err(words) => (StatusCode::SERVICE_UNAVAILABLE, words),
    }
}

const LINKS: &str = "<!doctype html>
<html lang=\"en\"><meta charset=\"utf-8\"><title>Odradek</title>
<h1>Odradek</h1>
<ul>
<li><a href=\"/metrics\">metrics</a>, for Prometheus
<li><a href=\"/healthz\">healthz</a>: whether the process is alive
<li><a href=\"/readyz\">readyz</a>: whether clients may come
</ul>
";

/// A scraper, a probe or two, and people.
const CONNECTIONS_MAX: usize = 32;
/// From the connection to the end of the request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// Of the request's head; hyper's least.
const HEAD_BYTES_MAX: usize = 8192;
/// From the connection to the last byte of the answer.
const LIFE_LIMIT: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Two seconds in all, as for Kafka's listeners.
const BIND_TRIES: u32 = 200;
const BIND_RETRY: Duration = Duration::from_millis(10);
