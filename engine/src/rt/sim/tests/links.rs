use std::io;

use super::*;
use crate::rt::sim::LinkOptions;

/// A world with an echo server on node 0, a client node, and a connection between them.
struct Pair {
    world: World,
    server: NodeId,
    client: NodeId,
    addr: SocketAddr,
}

fn pair(seed: u64) -> Pair {
    let world = world(seed);
    let (server, client) = (world.add_node(1), world.add_node(1));
    let addr = SocketAddr::new(world.ip(server), 9092);
    let pair = Pair { world, server, client, addr };
    pair.serve();
    pair
}

impl Pair {
    fn serve(&self) {
        let addr = self.addr;
        self.world.start_core(self.server, CORE, move |rt| async move {
            let listener = rt.listen(addr, 8).await.unwrap();
            while let Ok((handoff, _)) = listener.accept().await {
                let stream = Stream::adopt(&rt, handoff).unwrap();
                rt.spawn("echo", async move {
                    let mut buf = [0; 999];
                    while let Ok(n @ 1..) = stream.recv(&mut buf).await {
                        if stream.send(&[&buf[..n]]).await.is_err() {
                            break;
                        }
                    }
                })
                .detach();
            }
        });
        self.world.run_for(Duration::from_millis(1));
    }

    fn connect(&self) -> Stream {
        let addr = self.addr;
        on_node(&self.world, self.client, |rt| async move { rt.connect(addr).await.unwrap() })
    }

    /// Sends, and waits at most `limit` for the echo.
    fn ask(&self, stream: &Stream, limit: Duration) -> io::Result<()> {
        let stream = stream.clone();
        on_node(&self.world, self.client, move |rt| async move {
            let ask = async {
                stream.send(&[b"ping"]).await?;
                let mut got = 0;
                while got < 4 {
                    match stream.recv(&mut [0; 4][got..]).await? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => got += n,
                    }
                }
                Ok(())
            };
            match futures_util::future::select(Box::pin(ask), rt.sleep(limit)).await {
                futures_util::future::Either::Left((result, _)) => result,
                futures_util::future::Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }
}

fn kind(result: io::Result<()>) -> Option<io::ErrorKind> {
    result.err().map(|e| e.kind())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn pieces_arrive_in_order_however_small() {
    let mut pieces = 0;
    for seed in 0..20 {
        let pair = pair(seed);
        let link = LinkOptions { piece_bytes_max: 5000, tiny_one_in: 3, ..LinkOptions::default() };
        pair.world.set_link(pair.server, pair.client, &link);
        let stream = pair.connect();
        let sent: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let (own, expected) = (stream.clone(), sent.clone());
        pair.world
            .rt(pair.client, CORE)
            .spawn("sends", async move {
                own.send(&[&sent]).await.unwrap();
            })
            .detach();
        pieces += on_node(&pair.world, pair.client, |_| async move {
            let (mut got, mut buf, mut reads) = (Vec::new(), [0; 8192], 0);
            while got.len() < expected.len() {
                let n = stream.recv(&mut buf).await.unwrap();
                got.extend_from_slice(&buf[..n]);
                reads += 1;
            }
            assert!(got == expected, "seed {seed}");
            reads
        });
    }
    assert!(pieces > 20 * 10, "{pieces}");
}

#[test]
fn a_cut_holds_and_healing_delivers() {
    let pair = pair(1);
    let stream = pair.connect();
    pair.ask(&stream, SECOND).unwrap();
    pair.world.cut(pair.server, pair.client);
    assert_eq!(kind(pair.ask(&stream, SECOND)), Some(io::ErrorKind::TimedOut));
    let addr = pair.addr;
    let refused = on_node(&pair.world, pair.client, |rt| async move { rt.connect(addr).await });
    assert_eq!(refused.map(drop).unwrap_err().kind(), io::ErrorKind::TimedOut);
    pair.world.heal_all();
    pair.ask(&stream, SECOND).unwrap();
    // One way: the question arrives, the answer does not.
    pair.world.cut_one_way(pair.server, pair.client);
    assert_eq!(kind(pair.ask(&stream, SECOND)), Some(io::ErrorKind::TimedOut));
    pair.world.heal(pair.client, pair.server);
    pair.ask(&stream, SECOND).unwrap();
}

#[test]
fn a_killed_process_resets_its_connections() {
    let pair = pair(2);
    let stream = pair.connect();
    pair.ask(&stream, SECOND).unwrap();
    pair.world.crash(pair.server, Crash::Kill);
    assert!(matches!(
        kind(pair.ask(&stream, SECOND)),
        Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
    ));
    let addr = pair.addr;
    let refused = on_node(&pair.world, pair.client, |rt| async move { rt.connect(addr).await });
    assert_eq!(refused.map(drop).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    pair.world.restart(pair.server);
    pair.serve();
    pair.ask(&pair.connect(), SECOND).unwrap();
}

#[test]
fn a_dead_machine_leaves_its_peers_half_open() {
    let pair = pair(3);
    let (asking, idle) = (pair.connect(), pair.connect());
    pair.ask(&asking, SECOND).unwrap();
    pair.ask(&idle, SECOND).unwrap();
    pair.world.crash(pair.server, Crash::PowerLoss);
    assert_eq!(kind(pair.ask(&asking, MINUTE / 2)), Some(io::ErrorKind::TimedOut));
    pair.world.restart(pair.server);
    pair.serve();
    // What was under way is answered by a reset; who asks only now finds out then.
    assert_eq!(kind(pair.ask(&asking, SECOND)), Some(io::ErrorKind::ConnectionReset));
    assert_eq!(kind(pair.ask(&idle, SECOND)), Some(io::ErrorKind::ConnectionReset));
    pair.ask(&pair.connect(), SECOND).unwrap();
}

#[test]
fn connections_reset_on_demand_and_by_chance() {
    let pair = pair(4);
    let stream = pair.connect();
    pair.ask(&stream, SECOND).unwrap();
    pair.world.reset_connections(pair.client, pair.server);
    assert_eq!(kind(pair.ask(&stream, SECOND)), Some(io::ErrorKind::ConnectionReset));
    let link = LinkOptions { reset_one_in: 10, ..LinkOptions::default() };
    pair.world.set_link(pair.client, pair.server, &link);
    let failed = (0..50).filter(|_| pair.ask(&pair.connect(), SECOND).is_err()).count();
    assert!((2..=40).contains(&failed), "{failed}");
}

#[test]
fn the_loopback_is_of_one_node() {
    let world = world(5);
    let (a, b) = (world.add_node(1), world.add_node(1));
    let addr: SocketAddr = "127.0.0.1:9092".parse().unwrap();
    let listener = on_node(&world, a, |rt| async move { rt.listen(addr, 8).await.unwrap() });
    on_node(&world, a, |rt| async move { rt.connect(addr).await.unwrap() });
    let refused = on_node(&world, b, |rt| async move { rt.connect(addr).await });
    assert_eq!(refused.map(drop).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let outside = SocketAddr::new(world.ip(a), 9092);
    let refused = on_node(&world, b, |rt| async move { rt.connect(outside).await });
    assert_eq!(refused.map(drop).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    drop(listener);
}
