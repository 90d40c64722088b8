//! A long way to a server on loopback: every byte takes as long as it would on a network with a given round trip.
//!
//! Not every kernel has netem. TLS passes unopened.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::listening::Listening;

/// A relay to a server.
pub struct Relay(Listening);

impl Relay {
    /// Relays to `server`, half a round trip late in each direction. Nothing waits for what was sent before it, so it is
    /// the delay that grows and not the bandwidth that shrinks.
    pub fn to(server: SocketAddr, round_trip: Duration) -> io::Result<Self> {
        let listening = Listening::start(Ipv4Addr::LOCALHOST, move |client| {
            // The kernel has already told the client that it is connected, which would have taken a round trip.
            let connected = Instant::now() + round_trip;
            let server = TcpStream::connect(server)?;
            server.set_nodelay(true)?;
            let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
            let back = thread::spawn(move || carry(from_server, to_client, round_trip / 2, connected));
            let there = carry(client, server, round_trip / 2, connected);
            let _ = back.join();
            there
        })?;
        Ok(Self(listening))
    }

    /// Address and port as a registry reference has them.
    pub fn host(&self) -> String {
        self.0.address().to_string()
    }
}

/// One direction: what is read is written `delay` later, until there is no more. Nothing sets out before `connected`.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration, connected: Instant) -> io::Result<()> {
    let (chunks, arriving) = mpsc::channel::<(Instant, Vec<u8>)>();
    let writing = thread::spawn(move || -> io::Result<()> {
        for (due, chunk) in arriving {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            to.write_all(&chunk)?;
        }
        to.shutdown(Shutdown::Write)
    });
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer)?;
        let due = Instant::now().max(connected) + delay;
        if read == 0 || chunks.send((due, buffer.iter().take(read).copied().collect())).is_err() {
            break;
        }
    }
    drop(chunks);
    writing.join().unwrap_or(Ok(()))
}
