//! Listeners and streams.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use futures_util::future::{Either, select};

use super::behaviours;
use crate::rt::{Listener, Rt, Stream, StreamHandoff};

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn pair(rt: &Rt) -> (Stream, Stream) {
    let listener = rt.listen(ANY_PORT, 16).await.unwrap();
    let (connecting, addr) = (rt.clone(), listener.local_addr());
    let client = rt.spawn("connects", async move { connecting.connect(addr).await });
    let (handoff, peer) = listener.accept().await.unwrap();
    let client = client.await.unwrap().unwrap();
    assert_eq!(client.local_addr(), peer);
    assert_eq!(client.peer_addr(), addr);
    let server = Stream::adopt(rt, handoff).unwrap();
    assert_eq!((server.local_addr(), server.peer_addr()), (addr, peer));
    (client, server)
}

async fn recv_exact(stream: &Stream, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        match stream.recv_hint(&mut bytes[done..], len - done).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(bytes)
}

fn echo(rt: &Rt, stream: Stream) {
    rt.spawn("echo", async move {
        let mut buf = vec![0; 16 << 10];
        while let Ok(n @ 1..) = stream.recv(&mut buf).await {
            if stream.send(&[&buf[..n]]).await.is_err() {
                break;
            }
        }
    })
    .detach();
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

async fn accept_loop(listener: Listener) -> (usize, io::Error) {
    let mut accepted = 0;
    loop {
        match listener.accept().await {
            Ok(_) => accepted += 1,
            Err(e) => return (accepted, e),
        }
    }
}

behaviours! {
    async fn echoes(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        echo(&rt, server);
        for len in [1, 100, 40_000] {
            let sent = pattern(len);
            client.send(&[&sent[..len / 2], &[], &sent[len / 2..]]).await.unwrap();
            assert_eq!(recv_exact(&client, len).await.unwrap(), sent);
        }
    }

    async fn a_slow_reader_gets_every_byte_of_a_vectored_send(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        let sent = pattern(3 << 20);
        let (expected, own) = (sent.clone(), rt.clone());
        let reader = rt.spawn("reads slowly", async move {
            let mut got = Vec::new();
            let mut buf = vec![0; 200_000];
            loop {
                match client.recv(&mut buf).await.unwrap() {
                    0 => return got == expected,
                    n => got.extend_from_slice(&buf[..n]),
                }
                own.sleep(Duration::from_micros(200)).await;
            }
        });
        let slices: Vec<&[u8]> = sent.chunks(1700).collect();
        server.send(&slices).await.unwrap();
        drop(server);
        assert!(reader.await.unwrap());
    }

    async fn both_directions_at_once(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        let data = pattern(1 << 20);
        let mut tasks = Vec::new();
        for stream in [client.clone(), server.clone()] {
            let (out, inward, data) = (stream.clone(), stream, data.clone());
            let expected = data.clone();
            tasks.push(rt.spawn("sends", async move { out.send(&[&data]).await.is_ok() }));
            tasks.push(rt.spawn("receives", async move {
                recv_exact(&inward, expected.len()).await.unwrap() == expected
            }));
        }
        for task in tasks {
            assert!(task.await.unwrap());
        }
    }

    async fn a_dropped_recv_takes_nothing(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        let sent = pattern(60_000);
        let (own, data) = (rt.clone(), sent.clone());
        let sender = rt.spawn("sends in pieces", async move {
            for piece in data.chunks(777) {
                client.send(&[piece]).await.unwrap();
                own.sleep(Duration::from_micros(100)).await;
            }
            client
        });
        let (mut got, mut dropped) = (Vec::new(), 0);
        let mut buf = vec![0; 5000];
        while got.len() < sent.len() {
            let limit = rt.sleep(Duration::from_micros(60));
            let received = match select(Box::pin(server.recv(&mut buf)), limit).await {
                Either::Left((n, _)) => Some(n.unwrap()),
                Either::Right(_) => None,
            };
            match received {
                Some(n) => got.extend_from_slice(&buf[..n]),
                None => dropped += 1,
            }
        }
        assert!(got == sent && dropped > 0, "dropped {dropped}");
        drop(sender.await.unwrap());
    }

    async fn closing_is_seen_at_once(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        let own = client.clone();
        let reader = rt.spawn("reads", async move { own.recv(&mut [0; 10]).await });
        rt.sleep(Duration::from_millis(1)).await;
        server.shutdown().await;
        assert_eq!(reader.await.unwrap().unwrap(), 0);
        assert_eq!(server.recv(&mut [0; 10]).await.unwrap(), 0);
        assert!(server.send(&[b"x"]).await.is_err());
        client.shutdown().await;
        assert_eq!(client.recv(&mut [0; 10]).await.unwrap(), 0);
    }

    async fn shutdown_ends_this_ends_own_calls(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        let (reading, writing) = (server.clone(), server.clone());
        let reader = rt.spawn("reads", async move { reading.recv(&mut [0; 10]).await });
        let writer = rt.spawn("writes", async move { writing.send(&[&vec![0; 32 << 20]]).await });
        rt.sleep(Duration::from_millis(5)).await;
        server.shutdown().await;
        assert_eq!(reader.await.unwrap().unwrap(), 0);
        assert!(writer.await.unwrap().is_err());
        drop(client);
    }

    async fn a_hint_does_not_hide_what_came_before_the_end(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        let sent = pattern(100_000);
        let (own, data) = (rt.clone(), sent.clone());
        let sender = rt.spawn("sends less than expected", async move {
            client.send(&[&data[..50_000]]).await.unwrap();
            own.sleep(Duration::from_millis(5)).await;
            client.send(&[&data[50_000..]]).await.unwrap();
        });
        let (mut got, mut buf) = (Vec::new(), vec![0; 1 << 20]);
        loop {
            let expect = (1 << 20) - got.len();
            match server.recv_hint(&mut buf, expect).await.unwrap() {
                0 => break,
                n => got.extend_from_slice(&buf[..n]),
            }
        }
        assert!(got == sent);
        sender.await.unwrap();
    }

    async fn a_plain_recv_after_a_dropped_hint_is_woken_by_one_byte(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        let mut large = vec![0; 1 << 20];
        let hinted = Box::pin(server.recv_hint(&mut large, 1 << 20));
        drop(select(hinted, rt.sleep(Duration::from_millis(2))).await);
        client.send(&[b"x"]).await.unwrap();
        let received = Box::pin(recv_exact(&server, 1));
        match select(received, rt.sleep(Duration::from_secs(5))).await {
            Either::Left((bytes, _)) => assert_eq!(bytes.unwrap(), b"x"),
            Either::Right(_) => panic!("not woken"),
        }
    }

    async fn a_dropped_stream_closes(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        server.send(&[b"last words"]).await.unwrap();
        drop(server);
        assert_eq!(recv_exact(&client, 10).await.unwrap(), b"last words");
        assert_eq!(client.recv(&mut [0; 10]).await.unwrap(), 0);
    }

    async fn a_send_to_a_closed_peer_fails(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        drop(client);
        let data = vec![0; 100_000];
        let failed = loop {
            rt.sleep(Duration::from_millis(1)).await;
            if let Err(e) = server.send(&[&data]).await {
                break e;
            }
        };
        let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        assert!(kinds.contains(&failed.kind()), "{failed}");
    }

    async fn a_busy_port_is_an_error(rt: Rt, _dir: PathBuf) {
        let listener = rt.listen(ANY_PORT, 16).await.unwrap();
        let again = rt.listen(listener.local_addr(), 16).await;
        assert_eq!(again.map(|_| ()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        listener.shutdown();
    }

    async fn nobody_listens(rt: Rt, _dir: PathBuf) {
        let listener = rt.listen(ANY_PORT, 16).await.unwrap();
        let addr = listener.local_addr();
        listener.shutdown();
        drop(listener);
        let refused = rt.connect(addr).await;
        assert_eq!(refused.map(|_| ()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    async fn shutdown_ends_the_accept_loop(rt: Rt, _dir: PathBuf) {
        let listener = rt.listen(ANY_PORT, 16).await.unwrap();
        let accepting = rt.spawn("accepts", accept_loop(listener.clone()));
        for _ in 0..5 {
            let stream = rt.connect(listener.local_addr()).await.unwrap();
            // Nobody adopts it: the connection is closed, not leaked.
            assert!(matches!(stream.recv(&mut [0; 1]).await, Ok(0) | Err(_)));
        }
        listener.shutdown();
        let (accepted, _) = accepting.await.unwrap();
        assert_eq!(accepted, 5);
        assert!(listener.accept().await.is_err());
    }

    async fn a_dropped_accept_loses_no_connection(rt: Rt, _dir: PathBuf) {
        const CONNECTIONS: usize = 40;
        let listener = rt.listen(ANY_PORT, 64).await.unwrap();
        let (own, addr) = (rt.clone(), listener.local_addr());
        let clients = rt.spawn("connects", async move {
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(own.connect(addr).await.unwrap());
                own.sleep(Duration::from_micros(130)).await;
            }
            clients
        });
        let (mut accepted, mut dropped) = (Vec::new(), 0);
        while accepted.len() < CONNECTIONS {
            let limit = rt.sleep(Duration::from_micros(100));
            match select(Box::pin(listener.accept()), limit).await {
                Either::Left((connection, _)) => accepted.push(connection.unwrap()),
                Either::Right(_) => dropped += 1,
            }
        }
        assert!(dropped > 0);
        let clients = clients.await.unwrap();
        for (handoff, peer) in accepted {
            let server = Stream::adopt(&rt, handoff).unwrap();
            let client = clients.iter().find(|c| c.local_addr() == peer).unwrap();
            client.send(&[b"hello"]).await.unwrap();
            assert_eq!(recv_exact(&server, 5).await.unwrap(), b"hello");
        }
    }

    async fn connections_wait_for_whoever_accepts(rt: Rt, _dir: PathBuf) {
        let listener = rt.listen(ANY_PORT, 64).await.unwrap();
        let mut clients = Vec::new();
        for _ in 0..30 {
            clients.push(rt.connect(listener.local_addr()).await.unwrap());
        }
        rt.sleep(Duration::from_millis(2)).await;
        for client in &clients {
            assert_eq!(listener.accept().await.unwrap().1, client.local_addr());
        }
        let unwanted = rt.connect(listener.local_addr()).await.unwrap();
        rt.sleep(Duration::from_millis(2)).await;
        listener.shutdown();
        assert!(listener.accept().await.is_err());
        assert!(matches!(unwanted.recv(&mut [0; 1]).await, Ok(0) | Err(_)), "closed, not leaked");
    }

    async fn a_connection_is_handed_over(rt: Rt, _dir: PathBuf) {
        let (client, server) = pair(&rt).await;
        client.send(&[b"one"]).await.unwrap();
        assert_eq!(recv_exact(&server, 3).await.unwrap(), b"one");
        client.send(&[b"two"]).await.unwrap();
        let shared = server.clone();
        drop(shared);
        let handoff: StreamHandoff = server.into_handoff().unwrap();
        let server = Stream::adopt(&rt, handoff).unwrap();
        rt.sleep(Duration::from_millis(2)).await;
        assert_eq!(recv_exact(&server, 3).await.unwrap(), b"two");
        server.send(&[b"three"]).await.unwrap();
        assert_eq!(recv_exact(&client, 5).await.unwrap(), b"three");
        assert_eq!(server.peer_addr(), client.local_addr());
    }
}
