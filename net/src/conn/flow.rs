//! The life of one connection: receive, start, wait, answer, in one task.
//!
//! Three things move independently and are polled together: the receive (which owns the reader
//! while it waits), the request that has arrived but may not start yet, and the lane. Whatever
//! happens first decides the next step. A peer that closes its direction still gets its answers.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use engine::ids::CoreId;
use engine::rt::Stream;
use smallvec::SmallVec;

use super::lane::Lane;
use super::read::{ReadEnd, Reader};
use super::reply::{Reply, Response};
use super::request::Request;
use super::watch::Watch;
use super::{CloseReason, Conn, Handover, write};
use crate::core::Core;

/// How a connection left its task.
pub(super) enum Ending {
    /// It is closed.
    Closed(CloseReason),
    /// It goes on at another core.
    Moved(CoreId, Box<Handover>),
}

/// Serves the connection to its end.
pub(super) async fn run(
    core: &Rc<Core>,
    conn: &Rc<Conn>,
    stream: Stream,
    reader: Reader,
) -> Ending {
    let mut flow = Flow {
        core,
        conn,
        stream,
        reader: Some(reader),
        next: None,
        lane: Lane::new(IN_FLIGHT_MAX),
        ended: None,
        deaf: false,
        destination: None,
    };
    let outcome = flow.run(Request::serve, Reader::fill).await;
    let Flow { stream, lane, reader, .. } = flow;
    let reason = match (outcome, reader) {
        (Ok(to), Some(reader)) => {
            drop(stream);
            match hand_over(conn, reader) {
                Ok(handover) => return Ending::Moved(to, Box::new(handover)),
                Err(reason) => return Ending::Closed(reason),
            }
        }
        (Ok(_), None) => unreachable!("a connection moves with its reader in hand"),
        (Err(reason), _) => reason,
    };
    if !lane.is_empty() {
        conn.watch.set_gone();
        drop(core.rt.spawn("connection-drain", lane.drain()));
    }
    stream.shutdown().await;
    Ending::Closed(reason)
}

fn hand_over(conn: &Conn, reader: Reader) -> Result<Handover, CloseReason> {
    let (stream, unread) = reader.into_parts();
    let stream = stream.into_handoff().map_err(CloseReason::Adoption)?;
    let mut identity = conn.identity.borrow().clone();
    identity.moves += 1;
    Ok(Handover { stream, unread, identity })
}

struct Flow<'a, F> {
    core: &'a Rc<Core>,
    conn: &'a Rc<Conn>,
    stream: Stream,
    /// None while a receive has it.
    reader: Option<Reader>,
    /// Arrived, but may not start yet.
    next: Option<Request>,
    lane: Lane<F>,
    /// Nothing more will be received, for this reason.
    ended: Option<CloseReason>,
    /// What was received beyond the last request makes no sense.
    deaf: bool,
    /// The core to move to as soon as nothing is in flight.
    destination: Option<CoreId>,
}

/// What the task does next.
enum Event {
    /// An answer is ready at the head of the lane.
    Answer,
    /// Nothing is left to do.
    End(CloseReason),
    /// The connection is better served elsewhere, and nothing is in flight.
    Move(CoreId),
}

impl<F: Future<Output = Reply>> Flow<'_, F> {
    /// Returns the core to move to, or why the connection ends.
    async fn run<G>(
        &mut self,
        start: impl Fn(Request) -> F,
        fill: impl Fn(Reader, Rc<Watch>) -> G,
    ) -> Result<CoreId, CloseReason>
    where
        G: Future<Output = (Reader, Result<bool, ReadEnd>)>,
    {
        let mut filling = pin!(None);
        loop {
            let event = poll_fn(|cx| self.poll(cx, filling.as_mut(), &start, &fill)).await;
            match event {
                Event::Answer => self.answer().await?,
                Event::End(reason) => return Err(reason),
                Event::Move(to) => return Ok(to),
            }
            self.core.rt.turn().await;
        }
    }

    fn poll<G>(
        &mut self,
        cx: &mut Context<'_>,
        mut filling: Pin<&mut Option<G>>,
        start: &impl Fn(Request) -> F,
        fill: &impl Fn(Reader, Rc<Watch>) -> G,
    ) -> Poll<Event>
    where
        G: Future<Output = (Reader, Result<bool, ReadEnd>)>,
    {
        let watch = &self.conn.watch;
        watch.attend(cx.waker());
        if let Some(reason) = watch.killed() {
            return Poll::Ready(Event::End(reason));
        }
        if self.core.is_draining() && self.ended.is_none() {
            self.ended = Some(CloseReason::Stopping);
        }
        loop {
            self.start(cx, start);
            let answer = self.lane.poll(cx).is_ready();
            watch.set_in_flight(self.lane.len());
            if answer {
                return Poll::Ready(Event::Answer);
            }
            match self.receive(cx, filling.as_mut(), fill) {
                Poll::Ready(()) => {}
                Poll::Pending => return self.quiet(),
            }
        }
    }

    /// Starts every request that has arrived, as far as order and memory allow.
    fn start(&mut self, cx: &mut Context<'_>, start: &impl Fn(Request) -> F) {
        while self.may_start(cx) {
            let next = self.next.take().expect("it is there");
            self.destination = None;
            self.conn.watch.calm();
            self.lane.push(next.order(), start(next));
        }
        // What keeps memory behind a long poll would keep it for as long as the peer likes.
        if self.next.as_ref().is_some_and(Request::hurries) {
            self.conn.watch.hurry();
        }
    }

    fn may_start(&mut self, cx: &mut Context<'_>) -> bool {
        if self.next.is_none() {
            self.next = self.arrived();
        }
        let Some(next) = &mut self.next else { return false };
        self.lane.admits(next.order()) && next.poll_admission(cx).is_ready()
    }

    /// The next request in the reader's hands.
    fn arrived(&mut self) -> Option<Request> {
        if self.deaf {
            return None;
        }
        let request = match self.reader.as_mut()?.frame() {
            Ok(None) => return None,
            Ok(Some(frame)) => {
                self.conn.watch.frame_ended();
                Request::read(self.core, self.conn, frame).map_err(CloseReason::from)
            }
            Err(bad) => Err(CloseReason::BadPrefix(bad)),
        };
        request
            .map_err(|reason| {
                self.deaf = true;
                self.ended = Some(reason);
            })
            .ok()
    }

    /// Moves the receive on. Ready when there is something new to look at.
    fn receive<G>(
        &mut self,
        cx: &mut Context<'_>,
        mut filling: Pin<&mut Option<G>>,
        fill: &impl Fn(Reader, Rc<Watch>) -> G,
    ) -> Poll<()>
    where
        G: Future<Output = (Reader, Result<bool, ReadEnd>)>,
    {
        let watch = &self.conn.watch;
        if let Some(receive) = filling.as_mut().as_pin_mut() {
            let (mut reader, outcome) = ready!(receive.poll(cx));
            filling.set(None);
            match outcome {
                Ok(true) => {}
                Ok(false) => {
                    reader.rest();
                    self.lane.rest();
                }
                Err(end) => {
                    watch.set_gone();
                    self.ended.get_or_insert(match end {
                        ReadEnd::Closed => CloseReason::Peer,
                        ReadEnd::Broken(error) => CloseReason::Broken(error),
                    });
                }
            }
            self.reader = Some(reader);
            return Poll::Ready(());
        }
        if self.ended.is_some() || self.settled_to_move() {
            return Poll::Pending;
        }
        match self.reader.take() {
            Some(reader) if self.next.is_none() || reader.has_room() => {
                filling.set(Some(fill(reader, Rc::clone(watch))));
                Poll::Ready(())
            }
            reader => {
                self.reader = reader;
                Poll::Pending
            }
        }
    }

    /// Nothing can move now: waits, unless nothing ever will.
    fn quiet(&mut self) -> Poll<Event> {
        if !self.lane.is_empty() || self.next.is_some() {
            return Poll::Pending;
        }
        if let Some(reason) = self.ended.take() {
            return Poll::Ready(Event::End(reason));
        }
        match self.destination {
            Some(to) if self.settled_to_move() => Poll::Ready(Event::Move(to)),
            _ => Poll::Pending,
        }
    }

    /// Whether the connection wants to move and has its reader in hand, with little in it.
    fn settled_to_move(&self) -> bool {
        self.destination.is_some() && self.reader.as_ref().is_some_and(Reader::is_portable)
    }

    /// Sends every answer that is ready.
    async fn answer(&mut self) -> Result<(), CloseReason> {
        let mut responses = SmallVec::<[Response; 8]>::new();
        let mut bytes = 0;
        let mut close = None;
        while bytes < ANSWER_BYTES && close.is_none() {
            match self.lane.pop() {
                None => break,
                Some(Reply::Silent) => {}
                Some(Reply::Send(response)) => {
                    bytes += response.len();
                    responses.push(response);
                }
                Some(Reply::Close(refusal)) => close = Some(CloseReason::Refused(refusal)),
                Some(Reply::Panicked(message)) => close = Some(CloseReason::Panicked(message)),
            }
        }
        if !responses.is_empty() {
            let next = self.next.as_ref().map(Request::keeps).unwrap_or_default();
            let parked = self.reader.as_ref().map(Reader::keeps).unwrap_or_default().and(next);
            let Self { stream, lane, conn, .. } = self;
            let mut send = pin!(write::send(stream, &responses, &conn.watch, parked));
            poll_fn(|cx| {
                let sent = send.as_mut().poll(cx);
                // A peer that is slow to take its answers must not hold up its later requests: one
                // of them may have a partition in its hands that others wait for.
                if sent.is_pending() {
                    let _ = lane.poll(cx);
                }
                sent
            })
            .await?;
            self.core.metrics.bytes_sent.add(bytes as u64);
        }
        responses.into_iter().for_each(|spent| self.core.writers.give_back(spent.into_spent()));
        if let Some(reason) = close {
            return Err(reason);
        }
        self.rest_or_move();
        Ok(())
    }

    /// After an answer: looks whether the connection is idle, and at home.
    fn rest_or_move(&mut self) {
        let watch = &self.conn.watch;
        watch.set_in_flight(self.lane.len());
        if !self.lane.is_empty() || self.next.is_some() || self.ended.is_some() {
            return;
        }
        let moves = self.conn.identity.borrow().moves;
        self.destination = self.conn.traffic.better_home(self.core.id(), moves);
        if self.destination.is_some() {
            watch.interrupt();
        }
    }
}

/// Requests of one connection that are served at a time. librdkafka pipelines without a limit; five
/// is what an idempotent producer may.
const IN_FLIGHT_MAX: usize = 32;
/// Bytes of answers after which what is ready is sent before more is gathered.
const ANSWER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::net::SocketAddr;
    use std::time::Duration;

    use wire::api_key::ApiKey;
    use wire::msg::fetch::FetchRequest;
    use wire::msg::metadata::MetadataRequest;
    use wire::msg::produce::ProduceRequest;
    use wire::writer::Writer;

    use super::*;
    use crate::conn::reply::Records;
    use crate::conn::{Identity, Principal};
    use crate::listen::Seat;
    use crate::testing::{Client, Shell, frame};

    type Job = Pin<Box<dyn Future<Output = Reply>>>;

    /// Answers with one byte when the gate is open.
    fn answer(rt: &engine::rt::Rt, gate: &Rc<Cell<bool>>) -> Job {
        let (rt, gate) = (rt.clone(), Rc::clone(gate));
        Box::pin(async move {
            while !gate.get() {
                rt.sleep(Duration::from_millis(1)).await;
            }
            let mut writer = Writer::new();
            let mark = writer.begin_frame();
            writer.bytes(b"x");
            writer.end_frame(mark).expect("short");
            Reply::Send(Response::new(writer.finish(), Records::default()))
        })
    }

    /// Serves the one connection that comes to `addr` with these jobs in place of handlers.
    async fn serve(core: Rc<Core>, addr: SocketAddr, jobs: Vec<Job>) {
        let listener = core.rt.listen(addr, 1).await.expect("the port is free");
        let (handoff, peer) = listener.accept().await.expect("somebody comes");
        let stream = Stream::adopt(&core.rt, handoff).expect("a fresh socket");
        let identity = Identity {
            peer,
            listener: 0,
            principal: Principal::anonymous(),
            software: None,
            seat: Seat::of(peer.ip()),
            moves: 0,
        };
        let conn = Conn::new(&core, identity);
        let mut flow = Flow {
            core: &core,
            conn: &conn,
            reader: Some(Reader::new(stream.clone(), Rc::clone(&core.memory), &[])),
            stream,
            next: None,
            lane: Lane::new(IN_FLIGHT_MAX),
            ended: None,
            deaf: false,
            destination: None,
        };
        let jobs = RefCell::new(jobs.into_iter());
        let start = |_| jobs.borrow_mut().next().expect("a job for every request");
        drop(flow.run(start, Reader::fill).await);
    }

    fn padded(mut bytes: Vec<u8>, len: usize) -> Vec<u8> {
        bytes.resize(4 + len, 0);
        bytes[..4].copy_from_slice(&i32::try_from(len).expect("a frame").to_be_bytes());
        bytes
    }

    #[test]
    fn a_large_frame_behind_requests_that_wait_is_left_whole() {
        let produce = || frame(ApiKey::Produce, 9, 1, &ProduceRequest::default());
        let ordered = frame(ApiKey::Metadata, 9, 2, &MetadataRequest::default());
        let large = padded(produce(), 100_000);
        // How much of a buffer is used up, and how much of the large frame is in it: where little
        // is left and a large frame came before, the next one gets its own buffer at once.
        for (used, begun) in [(13_000, 1000), (55_000, 5000), (60_000, 500), (60_000, 3000)] {
            let shell = Shell::start(15, 1, &[]);
            let core = Rc::clone(&shell.cores[0]);
            let addr = SocketAddr::new(shell.addr.ip(), 9093);
            let gate = Rc::new(Cell::new(true));
            let jobs = (0..5).map(|_| answer(&core.rt, &gate)).collect();
            core.rt.spawn("flow", serve(Rc::clone(&core), addr, jobs)).detach();
            let (pending, ordered, large) =
                (padded(produce(), used), ordered.clone(), large.clone());
            shell.run(Duration::from_secs(60), move |rt, _| async move {
                let client = Client::connect(&rt, addr).await;
                client.send(&large).await.expect("sent");
                assert!(client.recv_frame().await.is_some());
                gate.set(false);
                let (head, tail) = large.split_at(begun);
                client.send(&[&pending, &ordered, head].concat()).await.expect("sent");
                rt.sleep(Duration::from_millis(100)).await;
                let rest = [tail, &produce()].concat();
                let sending = async { client.send(&rest).await.expect("sent") };
                let opening = async {
                    rt.sleep(Duration::from_secs(5)).await;
                    gate.set(true);
                };
                futures_util::future::join(sending, opening).await;
                for turn in 1..5 {
                    assert!(client.recv_frame().await.is_some(), "answer {turn}: {used} {begun}");
                }
            });
            assert_eq!(shell.frame_bytes(), 0);
        }
    }

    #[test]
    fn whole_frames_behind_a_request_that_waits_are_served_in_their_turn() {
        let produce = frame(ApiKey::Produce, 9, 1, &ProduceRequest::default());
        let fetch = frame(ApiKey::Fetch, 12, 2, &FetchRequest::default());
        let metadata = frame(ApiKey::Metadata, 9, 3, &MetadataRequest::default());
        for (first, next) in [(&produce, &metadata), (&metadata, &produce), (&fetch, &fetch)] {
            // All in one piece, and the last one cut in two.
            for cut in [0, 10] {
                let shell = Shell::start(16, 1, &[]);
                let core = Rc::clone(&shell.cores[0]);
                let addr = SocketAddr::new(shell.addr.ip(), 9093);
                let gate = Rc::new(Cell::new(false));
                let jobs = (0..5).map(|_| answer(&core.rt, &gate)).collect();
                core.rt.spawn("flow", serve(Rc::clone(&core), addr, jobs)).detach();
                let all = [first, next, next, next, next].map(Vec::as_slice).concat();
                shell.run(Duration::from_secs(60), move |rt, _| async move {
                    let client = Client::connect(&rt, addr).await;
                    let (head, tail) = all.split_at(all.len() - cut);
                    client.send(head).await.expect("sent");
                    rt.sleep(Duration::from_millis(100)).await;
                    client.send(tail).await.expect("sent");
                    rt.sleep(Duration::from_millis(100)).await;
                    gate.set(true);
                    for turn in 0..5 {
                        assert!(client.recv_frame().await.is_some(), "answer {turn}, cut {cut}");
                    }
                });
                assert_eq!(shell.frame_bytes(), 0);
            }
        }
    }

    #[test]
    fn requests_go_on_while_an_answer_is_not_taken() {
        let shell = Shell::start(14, 1, &[]);
        let core = Rc::clone(&shell.cores[0]);
        let addr = SocketAddr::new(shell.addr.ip(), 9093);
        let (held, released) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let first: Job = {
            let (rt, held) = (core.rt.clone(), Rc::clone(&held));
            Box::pin(async move {
                while !held.get() {
                    rt.sleep(Duration::from_millis(1)).await;
                }
                let mut writer = Writer::new();
                writer.bytes(&vec![0; 64 << 20]);
                Reply::Send(Response::new(writer.finish(), Records::default()))
            })
        };
        let second: Job = {
            let (rt, released) = (core.rt.clone(), Rc::clone(&released));
            Box::pin(async move {
                held.set(true);
                rt.sleep(Duration::from_secs(1)).await;
                released.set(true);
                Reply::Silent
            })
        };
        core.rt.spawn("flow", serve(Rc::clone(&core), addr, vec![first, second])).detach();
        shell.run(Duration::from_secs(60), move |rt, _| async move {
            let client = Client::connect(&rt, addr).await;
            let first = frame(ApiKey::Fetch, 12, 1, &FetchRequest::default());
            let second = frame(ApiKey::Produce, 9, 2, &ProduceRequest::default());
            client.send(&[first, second].concat()).await.expect("sent");
            rt.sleep(Duration::from_secs(10)).await;
            assert!(released.get(), "the second request waits for the first one's answer to go");
        });
    }
}
