//! A frame that has become a request: header read, row of the API table found.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use wire::cursor::Cursor;
use wire::error::DecodeFault;
use wire::header::RequestHeader;

use super::Conn;
use super::budget::Turn;
use super::read::Frame;
use super::reply::{Refusal, Reply};
use super::watch::Kinds;
use crate::api::{self, Cx, Order};
use crate::core::Core;

/// A request that has not started.
#[derive(Debug)]
pub(super) struct Request {
    cx: Cx,
    frame: Frame,
    /// In line for the frame's share of the core's memory.
    turn: Option<Turn>,
    /// Its frame came with a ticket of its full size.
    large: bool,
}

impl Request {
    /// Reads the header. An API or version that is not served ends the connection, as in Kafka:
    /// the peer could not read an answer.
    pub(super) fn read(
        core: &Rc<Core>,
        conn: &Rc<Conn>,
        mut frame: Frame,
    ) -> Result<Self, Refusal> {
        core.metrics.bytes_received.add(frame.bytes.len() as u64);
        let mut cur = Cursor::new(&frame.bytes);
        let header = RequestHeader::decode(&mut cur).map_err(|error| match error.fault {
            DecodeFault::UnknownApiKey(key) => Refusal::UnknownApi(key),
            _ => Refusal::Malformed(error),
        })?;
        let row = api::row(header.api).ok_or(Refusal::UnknownApi(header.api.key()))?;
        if !row.accepts(header.api_version) {
            let (api, version) = (row.key.name(), header.api_version);
            let (min, max) = (row.key.min_version(), row.key.max_version());
            return Err(Refusal::UnsupportedVersion { api, version, min, max });
        }
        let cx = Cx {
            core: Rc::clone(core),
            conn: Rc::clone(conn),
            row,
            version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: conn.intern_client_id(header.client_id.unwrap_or_default()),
            started: core.rt.now(),
            claimed: Cell::new(None),
        };
        let body = frame.bytes.subslice_of(cur.rest());
        frame.bytes = body;
        let large = frame.ticket.is_some();
        let turn =
            (!large).then(|| core.memory.serving.acquire(frame.bytes.len() + row.budget_bytes));
        Ok(Self { cx, frame, turn, large })
    }

    /// How it may pass others.
    pub(super) fn order(&self) -> Order {
        self.cx.row.order
    }

    /// Whether long polls before it shall end so that it can start. A small one that is itself a
    /// long poll waits: hurrying those would have a client that pipelines them ask without pause.
    pub(super) fn hurries(&self) -> bool {
        self.large || self.order() != Order::Serial
    }

    /// The kind of memory that it keeps while it may not start.
    pub(super) fn keeps(&self) -> Kinds {
        Kinds { large: self.large, ..Kinds::default() }
    }

    /// Ready once the frame is charged to the core's memory.
    pub(super) fn poll_admission(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(turn) = &mut self.turn else { return Poll::Ready(()) };
        std::pin::Pin::new(turn).poll(cx).map(|ticket| {
            self.frame.ticket = Some(ticket);
            self.turn = None;
        })
    }

    /// Runs the handler.
    pub(super) async fn serve(self) -> Reply {
        let (core, row, started) = (Rc::clone(&self.cx.core), self.cx.row, self.cx.started);
        let reply = api::dispatch(self.cx, self.frame).await;
        core.requests.answered(row, core.rt.now().since(started));
        reply
    }
}
