//! Base64 as Go's standard encoding reads it, because its complaints are part of what a user sees.
//!
//! Padding is required, CR and LF are ignored anywhere, unused bits are not looked at
//! (<https://pkg.go.dev/encoding/base64#Encoding.Decode>). The `base64` crate does not ignore line ends and counts
//! offsets by other rules.

/// The input is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data at input byte {offset}")]
pub struct Corrupt {
    /// Where it is wrong, in bytes from the start, as Go counts.
    pub offset: usize,
}

/// The bytes that the text stands for.
///
/// # Errors
///
/// Go's offsets: the character itself if it is illegal or comes after the end, and if the input ends inside a group of
/// four, as many bytes before the end as the group has characters, line ends or not.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    let mut characters = text.iter().copied().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    // The group so far: its bits, and of how many characters they are.
    let (mut bits, mut count) = (0_u32, 0_usize);
    while let Some((offset, byte)) = characters.next() {
        if let Some(value) = value(byte) {
            (bits, count) = (bits << 6 | value, count + 1);
            if count == 4 {
                let [_, bytes @ ..] = bits.to_be_bytes();
                decoded.extend_from_slice(&bytes);
                (bits, count) = (0, 0);
            }
            continue;
        }
        // Two characters and two signs of padding are one byte; three characters and one sign are two.
        match (byte, count) {
            (b'=', 2) => {
                match characters.next() {
                    Some((_, b'=')) => {}
                    Some((offset, _)) => return Err(Corrupt { offset: offset.saturating_sub(1) }),
                    None => return Err(Corrupt { offset: text.len() }),
                }
                let [.., byte] = (bits >> 4).to_be_bytes();
                decoded.push(byte);
            }
            (b'=', 3) => {
                let [.., first, second] = (bits >> 2).to_be_bytes();
                decoded.extend_from_slice(&[first, second]);
            }
            _ => return Err(Corrupt { offset }),
        }
        return characters.next().map_or(Ok(decoded), |(offset, _)| Err(Corrupt { offset }));
    }
    if count == 0 { Ok(decoded) } else { Err(Corrupt { offset: text.len() - count }) }
}

/// The six bits of a character.
fn value(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use ::base64::Engine;
    use ::base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn whatever_was_encoded_is_decoded_with_and_without_line_ends() {
        let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        for length in (0..40).chain([255, 256, 257, 511, 512]) {
            let bytes = &bytes[..length];
            let text = STANDARD.encode(bytes);
            assert_eq!(decode(text.as_bytes()).as_deref(), Ok(bytes));
            for width in [1, 3, 76] {
                let lines: Vec<_> = text.as_bytes().chunks(width).map(|line| [line, b"\r\n"].concat()).collect();
                assert_eq!(decode(&lines.concat()).as_deref(), Ok(bytes), "{length} in lines of {width}");
            }
        }
    }

    #[test]
    fn what_go_accepts_beyond_that_is_accepted() {
        for (text, decoded) in [
            ("", ""),
            ("\n", ""),
            ("\r\n\r\n", ""),
            ("\nQ\nU\nJ\nD\n", "ABC"),
            ("QQ=\n=\n", "A"),
            ("QQ\n==", "A"),
            ("QUI\r\n=", "AB"),
            // Bits that stand for nothing.
            ("QR==", "A"),
            ("QUJ=", "AB"),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Ok(decoded.as_bytes()), "{text:?}");
        }
    }

    /// Each row is what Go's rules give by hand: see the documentation of [`decode`].
    #[test]
    fn a_mistake_is_found_at_gos_offset() {
        for (text, offset) in [
            // An illegal character, itself.
            ("!", 0),
            ("Q!", 1),
            ("QQ!=", 2),
            ("QUI!", 3),
            ("QUJD!", 4),
            ("QUJDRUZHS!", 9),
            (" QQ==", 0),
            ("QQ ==", 2),
            ("Q\nQ!", 3),
            ("QQ-_", 2),
            ("echo hi", 4),
            ("#!/bin/sh\n", 0),
            // Padding where no group can end.
            ("=", 0),
            ("Q=", 1),
            ("Q===", 1),
            ("QUJD=", 4),
            ("\n=", 1),
            // The second sign of padding is missing.
            ("QQ=", 3),
            ("QQ=\n", 4),
            ("QQ=Q", 2),
            ("QQ=\nQ", 3),
            // Something after the end.
            ("QQ==Q", 4),
            ("QQ==\nQ", 5),
            ("QQ===", 4),
            ("QUI==", 4),
            ("QUI=QUI=", 4),
            ("QQ==QQ==", 4),
            // The input ends inside a group.
            ("Q", 0),
            ("QQ", 0),
            ("QUI", 0),
            ("QUJDQ", 4),
            ("QUJDQQ", 4),
            ("QUJDQUI", 4),
            ("QUI\n", 1),
            ("Q\nQ", 1),
            ("QUJD\nQ\n", 6),
        ] {
            assert_eq!(decode(text.as_bytes()), Err(Corrupt { offset }), "{text:?}");
        }
        assert_eq!(Corrupt { offset: 4 }.to_string(), "illegal base64 data at input byte 4");
    }
}
