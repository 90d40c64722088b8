//! A wire between a client and a server, on threads: it does one kind of harm at one byte of what goes one way.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpSocket;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    Asked,
    /// To the client.
    Answered,
}

/// What becomes of a byte, and of what is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Both ends see the end of the connection before it.
    Closed,
    /// Both ends see a reset before it.
    Reset,
    /// It never comes, nor does anything behind it.
    Silence,
    /// These bits of it are the other way round.
    Flipped(u8),
    /// Another byte comes in its place.
    Replaced(u8),
    /// It is left out.
    Lost,
    /// It comes twice.
    Doubled,
    /// So many bytes from here on come behind as many that follow them.
    Swapped(usize),
}

/// How often it happens in one lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Often {
    Once,
    /// Again at the same byte of each connection that follows.
    Always,
}

/// One harm at one byte of a lookup, counted through all of its connections.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub way: Way,
    pub at: usize,
    pub harm: Harm,
    pub often: Often,
}

/// What a wire does during one lookup.
#[derive(Debug, Clone, Copy)]
pub enum Weather {
    Fine,
    /// Every byte comes alone.
    Dribble,
    Harm(Fault),
}

/// What goes over the wire in one lookup.
pub struct Trip {
    weather: Weather,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    passed: [Vec<u8>; 2],
    /// At which byte of its connection the harm was done first.
    done: Option<usize>,
}

/// What is to be done with some bytes.
enum Carried {
    Whole,
    Instead(Vec<u8>),
    /// So many of them, then this.
    UpTo(usize, Harm),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trip {
    fn new(weather: Weather) -> Self {
        Self { weather, seen: Mutex::default() }
    }

    /// Whether the harm was done.
    pub fn harmed(&self) -> bool {
        locked(&self.seen).done.is_some()
    }

    /// What was sent one way, whatever became of it.
    pub fn sent(&self, way: Way) -> Vec<u8> {
        locked(&self.seen).passed[way as usize].clone()
    }

    /// Takes note of bytes, `own` behind the beginning of their connection.
    fn carry(&self, way: Way, own: usize, bytes: &[u8]) -> Carried {
        let mut seen = locked(&self.seen);
        let before = seen.passed[way as usize].len();
        seen.passed[way as usize].extend_from_slice(bytes);
        let Weather::Harm(Fault { way: harmed, at, harm, often }) = self.weather else { return Carried::Whole };
        if way != harmed {
            return Carried::Whole;
        }
        let index = match seen.done {
            None => at.checked_sub(before),
            Some(offset) if often == Often::Always => offset.checked_sub(own),
            Some(_) => None,
        };
        let Some(index) = index.filter(|index| *index < bytes.len()) else { return Carried::Whole };
        let mut instead = bytes.to_vec();
        match harm {
            Harm::Closed | Harm::Reset | Harm::Silence => {}
            Harm::Flipped(bits) => instead[index] ^= bits,
            Harm::Replaced(byte) => instead[index] = byte,
            Harm::Lost => drop(instead.remove(index)),
            Harm::Doubled => instead.insert(index, bytes[index]),
            // What comes in another segment is not waited for: the client may be waiting for this one.
            Harm::Swapped(length) => match instead.get_mut(index..index + 2 * length) {
                Some(both) => both.rotate_left(length),
                None => return Carried::Whole,
            },
        }
        if instead == bytes && !matches!(harm, Harm::Closed | Harm::Reset | Harm::Silence) {
            return Carried::Whole;
        }
        seen.done.get_or_insert(own + index);
        match harm {
            Harm::Closed | Harm::Reset | Harm::Silence => Carried::UpTo(index, harm),
            Harm::Flipped(_) | Harm::Replaced(_) | Harm::Lost | Harm::Doubled | Harm::Swapped(_) => {
                Carried::Instead(instead)
            }
        }
    }
}

/// A running wire.
pub struct Wire {
    address: SocketAddr,
    trip: Arc<Mutex<Arc<Trip>>>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Wire {
    /// A wire from a listener to a server.
    pub fn new(listener: TcpListener, server: SocketAddr) -> Self {
        Self::start(listener, move |client, trip| {
            // Whom a lookup has left is nobody's loss.
            let _ = TcpStream::connect(server).and_then(|server| connect(client, server, trip));
        })
    }

    /// A wire whose connections come in pairs: each client is given what the other one is answered.
    pub fn crossed(listener: TcpListener, server: SocketAddr) -> Self {
        let mut waiting = None;
        Self::start(listener, move |client, trip| {
            let Some(other) = waiting.take() else {
                waiting = Some(client);
                return;
            };
            let _ = cross([other, client], server, trip);
        })
    }

    fn start(listener: TcpListener, mut connected: impl FnMut(TcpStream, &Arc<Trip>) + Send + 'static) -> Self {
        let address = listener.local_addr().expect("an address");
        let trip = Arc::new(Mutex::new(Arc::new(Trip::new(Weather::Fine))));
        let stopping = Arc::new(AtomicBool::new(false));
        let accepting = {
            let (trip, stopping) = (Arc::clone(&trip), Arc::clone(&stopping));
            std::thread::spawn(move || {
                for client in listener.incoming() {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(client) = client else { continue };
                    let trip = Arc::clone(&*locked(&trip));
                    connected(client, &trip);
                }
            })
        };
        Self { address, trip, stopping, accepting: Some(accepting) }
    }

    /// What begins now goes through this.
    pub fn begin(&self, weather: Weather) -> Arc<Trip> {
        let trip = Arc::new(Trip::new(weather));
        *locked(&self.trip) = Arc::clone(&trip);
        trip
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

fn connect(client: TcpStream, server: TcpStream, trip: &Arc<Trip>) -> io::Result<()> {
    let reset = Arc::new(AtomicBool::new(false));
    let [client, server] = ends([client, server])?;
    carry(&client, &server, Way::Asked, trip, &reset);
    carry(&server, &client, Way::Answered, trip, &reset);
    Ok(())
}

fn cross(clients: [TcpStream; 2], server: SocketAddr, trip: &Arc<Trip>) -> io::Result<()> {
    let reset = Arc::new(AtomicBool::new(false));
    let clients = ends(clients)?;
    let servers = ends([TcpStream::connect(server)?, TcpStream::connect(server)?])?;
    for (one, other) in [(0, 1), (1, 0)] {
        carry(&clients[one], &servers[one], Way::Asked, trip, &reset);
        carry(&servers[one], &clients[other], Way::Answered, trip, &reset);
    }
    Ok(())
}

fn ends(streams: [TcpStream; 2]) -> io::Result<[Arc<TcpStream>; 2]> {
    for stream in &streams {
        stream.set_nodelay(true)?;
    }
    Ok(streams.map(Arc::new))
}

/// A thread for what goes one way.
fn carry(from: &Arc<TcpStream>, to: &Arc<TcpStream>, way: Way, trip: &Arc<Trip>, reset: &Arc<AtomicBool>) {
    let (from, to, trip, reset) = (Arc::clone(from), Arc::clone(to), Arc::clone(trip), Arc::clone(reset));
    std::thread::spawn(move || {
        let _ = pass(&from, &to, way, &trip, &reset);
        // The last of the threads closes, which is the reset. An end told before that would be a clean one.
        if !reset.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Write);
        }
    });
}

/// Carries what goes one way, to the end of it.
fn pass(mut from: &TcpStream, mut to: &TcpStream, way: Way, trip: &Trip, reset: &AtomicBool) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    let mut own = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let bytes = &buffer[..read];
        let carried = trip.carry(way, own, bytes);
        own += read;
        match carried {
            Carried::Whole if matches!(trip.weather, Weather::Dribble) => {
                for byte in bytes {
                    to.write_all(&[*byte])?;
                    // Only so that each is read alone, most often; nothing depends on it.
                    std::thread::sleep(Duration::from_micros(30));
                }
            }
            Carried::Whole => to.write_all(bytes)?,
            Carried::Instead(instead) => to.write_all(&instead)?,
            Carried::UpTo(index, harm) => {
                to.write_all(&bytes[..index])?;
                if harm == Harm::Silence {
                    // Ends when the other side has had enough.
                    io::copy(&mut from, &mut io::sink())?;
                    return Ok(());
                }
                if harm == Harm::Reset {
                    reset.store(true, Ordering::SeqCst);
                    for end in [from, to] {
                        TcpSocket::from_std_stream(end.try_clone()?).set_zero_linger()?;
                        // Wakes the other thread.
                        end.shutdown(Shutdown::Read)?;
                    }
                    return Ok(());
                }
                for end in [from, to] {
                    end.shutdown(Shutdown::Both)?;
                }
                return Ok(());
            }
        }
    }
}
