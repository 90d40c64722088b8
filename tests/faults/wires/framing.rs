//! Answers whose frame and content do not agree: cut short and called whole, chunked without an end, more than announced.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::PLAIN;
use super::origin::{Connections, Documents, Said};
use super::sweep::Tally;
use super::wire::{Weather, Wire};
use super::world::{Came, Kind, Over, Patient, World};

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    Right,
    Told,
    /// Told, and not told where it was so only once.
    Mended,
    /// Anything but another command.
    Either,
}

type Frame = fn(&Said) -> Vec<u8>;

fn with(status: u16, said: &Said, more: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Said\r\n{}{more}\r\n\r\n{body}", said.headers).into_bytes()
}

fn length(said: &Said) -> String {
    format!("Content-Length: {}", said.body.len())
}

fn half(said: &Said) -> &str {
    &said.body[..said.body.len() / 2]
}

const CHUNKED: &str = "Transfer-Encoding: chunked";

fn chunks(said: &Said) -> String {
    let (one, other) = said.body.split_at(said.body.len() / 2);
    format!("{:x}\r\n{one}\r\n{:x};extension=1\r\n{other}\r\n", one.len(), other.len())
}

/// An answer that nobody has asked for.
const SMUGGLED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

const FRAMES: &[(&str, Comes, Frame)] = &[
    ("half of it, called whole", Comes::Told, |s| with(200, s, &format!("Content-Length: {}", half(s).len()), half(s))),
    ("nothing, called whole", Comes::Told, |s| with(200, s, "Content-Length: 0", "")),
    ("half of it, up to the end of the connection", Comes::Told, |s| with(200, s, "Connection: close", half(s))),
    ("up to the end of the connection", Comes::Right, |s| with(200, s, "Connection: close", &s.body)),
    ("half of what is announced", Comes::Mended, |s| with(200, s, &length(s), half(s))),
    ("chunks", Comes::Right, |s| with(200, s, CHUNKED, &format!("{}0\r\n\r\n", chunks(s)))),
    ("chunks and a trailer", Comes::Right, |s| with(200, s, CHUNKED, &format!("{}0\r\nA: b\r\n\r\n", chunks(s)))),
    ("chunks without the last", Comes::Mended, |s| with(200, s, CHUNKED, &chunks(s))),
    ("chunks without the last line", Comes::Mended, |s| with(200, s, CHUNKED, &format!("{}0\r\n", chunks(s)))),
    ("a chunk that is cut", Comes::Mended, |s| with(200, s, CHUNKED, &format!("{:x}\r\n{}", s.body.len(), half(s)))),
    ("a chunk of no size", Comes::Told, |s| with(200, s, CHUNKED, &format!("zz\r\n{}\r\n0\r\n\r\n", s.body))),
    ("a chunk of every size", Comes::Told, |s| with(200, s, CHUNKED, &format!("ffffffffffffffffff\r\n{}", s.body))),
    ("a length and chunks", Comes::Either, |s| {
        with(200, s, &format!("Content-Length: 3\r\n{CHUNKED}"), &format!("{}0\r\n\r\n", chunks(s)))
    }),
    ("two lengths", Comes::Told, |s| with(200, s, &format!("Content-Length: 3\r\n{}", length(s)), &s.body)),
    ("a length that is none", Comes::Told, |s| with(200, s, "Content-Length: -1", &s.body)),
    ("a length of everything", Comes::Told, |s| with(200, s, "Content-Length: 18446744073709551615", &s.body)),
    ("more than announced", Comes::Either, |s| with(200, s, &length(s), &format!("{}}}}}", s.body))),
    ("another answer behind it", Comes::Either, |s| with(200, s, &length(s), &format!("{}{SMUGGLED}", s.body))),
    ("HTTP/1.0 with a length", Comes::Right, |s| {
        format!("HTTP/1.0 200 OK\r\n{}{}\r\n\r\n{}", s.headers, length(s), s.body).into_bytes()
    }),
    ("HTTP/1.0 without", Comes::Right, |s| format!("HTTP/1.0 200 OK\r\n{}\r\n{}", s.headers, s.body).into_bytes()),
    ("no reason", Comes::Right, |s| {
        format!("HTTP/1.1 200\r\n{}{}\r\n\r\n{}", s.headers, length(s), s.body).into_bytes()
    }),
    ("continue and early hints before it", Comes::Right, |s| {
        let first = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
        [&first[..], &s.framed(Connections::Closed)].concat()
    }),
    ("a thousand early hints", Comes::Right, |s| {
        [b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000), s.framed(Connections::Closed)].concat()
    }),
    ("another protocol", Comes::Told, |s| with(101, s, "Connection: upgrade\r\nUpgrade: h2c", &s.body)),
    ("no content", Comes::Told, |s| with(204, s, "X: y", "")),
    ("a part, called one", Comes::Told, |s| with(206, s, &format!("Content-Length: {}", half(s).len()), half(s))),
    ("a range that is all", Comes::Right, |s| with(206, s, &length(s), &s.body)),
    ("said to be packed, and is not", Comes::Right, |s| {
        with(200, s, &format!("Content-Encoding: gzip\r\n{}", length(s)), &s.body)
    }),
    ("a header of a megabyte", Comes::Told, |s| {
        with(200, s, &format!("A: {}\r\n{}", "a".repeat(1 << 20), length(s)), &s.body)
    }),
    ("a thousand headers", Comes::Told, |s| {
        with(200, s, &format!("{}{}", "A: b\r\n".repeat(1000), length(s)), &s.body)
    }),
];

/// A lookup where one of the three documents comes in this frame, always or only the first time.
fn lookup(over: Over, document: usize, frame: Frame, once: bool) -> Came {
    let documents = Documents::new();
    let path = documents.paths()[document].clone();
    let asked_for = AtomicUsize::new(0);
    let world = World::saying(Kind { over, ..PLAIN_CLOSED }, Patient::Yes, Wire::new, move |kind, realm, asked| {
        let said = documents.answer(kind.login, kind.scheme(), realm, asked);
        let framed = asked.path == path && (asked_for.fetch_add(1, Ordering::SeqCst) == 0 || !once);
        if framed { frame(&said) } else { said.framed(kind.connections) }
    });
    world.lookup(Weather::Fine).0
}

const PLAIN_CLOSED: Kind = Kind { connections: Connections::Closed, ..PLAIN };

#[test]
fn a_frame_that_does_not_fit_is_told_and_gives_no_other_command() {
    let mut tally = Tally::default();
    for over in [Over::Plain, Over::Tls] {
        for (name, comes, frame) in FRAMES {
            for document in 0..3 {
                let came = lookup(over, document, *frame, false);
                tally.add(&came);
                let fits = match comes {
                    Comes::Right => came == Came::Right,
                    Comes::Told | Comes::Mended => matches!(came, Came::Told(_)),
                    Comes::Either => true,
                };
                assert!(fits, "{over:?} {name}, of document {document}: {came:?}");
                if *comes == Comes::Mended {
                    assert_eq!(lookup(over, document, *frame, true), Came::Right, "{over:?} {name}, once");
                    tally.add(&Came::Right);
                }
            }
        }
    }
    eprintln!("frames: {tally}");
}

#[test]
fn what_comes_behind_an_answer_is_not_the_next_answer() {
    for over in [Over::Plain, Over::Tls] {
        let documents = Documents::new();
        let world = World::saying(Kind { over, ..PLAIN }, Patient::Yes, Wire::new, move |kind, realm, asked| {
            let said = documents.answer(kind.login, kind.scheme(), realm, asked);
            [said.framed(Connections::Kept), SMUGGLED.as_bytes().to_vec()].concat()
        });
        let (came, _) = world.lookup(Weather::Fine);
        assert_eq!(came, Came::Right, "{over:?}");
    }
}
