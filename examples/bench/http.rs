//! HTTP/1.1 as far as the registries of the benchmark and of the simulation speak it.

use std::io::{self, Read, Write};

/// The largest head of a request that is read.
const HEAD_LIMIT: usize = 1 << 16;

/// A request, as far as anybody here looks at it; what it does not have is empty.
pub struct Request {
    pub method: String,
    pub path: String,
    pub host: String,
    pub authorization: String,
}

/// The answer to one. What it says to a HEAD is left out.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// One connection, until the client closes it.
pub fn serve(stream: &mut (impl Read + Write), answer: &impl Fn(&Request) -> Answer) -> io::Result<()> {
    let mut unread = Vec::new();
    while let Some(request) = read_request(stream, &mut unread)? {
        let Answer { status, headers, body } = answer(&request);
        let mut bytes = format!("HTTP/1.1 {status} Bench\r\nContent-Length: {}\r\n", body.len()).into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        if request.method != "HEAD" {
            bytes.extend_from_slice(&body);
        }
        // One write, so that it leaves in one packet.
        stream.write_all(&bytes)?;
        stream.flush()?;
    }
    Ok(())
}

/// The next request; none when the connection was closed or speaks something else. The clients send no bodies.
fn read_request(stream: &mut (impl Read + Write), unread: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        // TLS where plain http is spoken: a client that tries that first wants to hear that it is wrong.
        if unread.first().is_some_and(|first| !first.is_ascii_uppercase()) || unread.len() > HEAD_LIMIT {
            stream.write_all(b"HTTP/1.1 400 Bench\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            return Ok(None);
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(None);
        }
        unread.extend(buffer.iter().take(read));
    };
    let head: Vec<u8> = unread.drain(..end + 4).collect();
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let header = |wanted: &str| {
        let mut lines = lines.clone().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    Ok(Some(Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        host: header("Host"),
        authorization: header("Authorization"),
    }))
}
