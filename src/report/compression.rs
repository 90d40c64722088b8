//! The compressed form of a termination message: [`PREFIX`], then raw DEFLATE in base64 without padding.
//!
//! Only a controller that asks for it reads it. What is read and what is refused is that of `compressMessage` and
//! `decompressMessage` in Tekton's `pkg/termination/write.go`; the compressed bytes need not be those of Go.

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine as _};
use base64::{DecodeError, alphabet};
use miniz_oxide::deflate::core::{
    CompressionStrategy, CompressorOxide, TDEFLFlush, TDEFLStatus, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};

/// What a compressed message starts with.
pub const PREFIX: &str = "tknz:";

/// How many bytes a message may have before it is compressed: no controller takes more out of one.
pub const LIMIT: usize = 128 * 1024;

/// The level that Tekton uses, the highest of zlib's.
const LEVEL: i32 = 9;

/// The header of zlib: none.
const RAW: i32 = -1;

/// Base64 as Go's `RawStdEncoding` has it: no padding, and unused bits are not looked at.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Why a message that starts as a compressed one is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// What is behind the prefix is not base64 without padding.
    #[error("base64 decode")]
    Base64(#[from] DecodeError),
    /// What the base64 stands for is not a whole DEFLATE stream.
    #[error("flate decompress: it is damaged or cut off")]
    Deflate,
    /// The message is longer than [`LIMIT`].
    #[error("decompressed termination message exceeds {LIMIT} byte limit")]
    TooLong,
}

/// The compressed form of a text, if that is shorter.
#[must_use]
pub fn compress(json: &str) -> Option<String> {
    // Digests compress better where short repetitions are left alone, other text where they are not: the difference is up
    // to a tenth, and with the better of both no more than a fiftieth to Go's.
    let strategies = [CompressionStrategy::Default, CompressionStrategy::Filtered];
    let shortest = strategies.into_iter().filter_map(|strategy| deflate(json, strategy)).min_by_key(Vec::len)?;
    let mut message = String::from(PREFIX);
    BASE64.encode_string(shortest, &mut message);
    Some(message).filter(|message| message.len() < json.len())
}

/// The DEFLATE stream of a text, if that is shorter.
fn deflate(json: &str, strategy: CompressionStrategy) -> Option<Vec<u8>> {
    let flags = create_comp_flags_from_zip_params(LEVEL, RAW, strategy as i32);
    let mut stream = vec![0; json.len()];
    let mut compressor = CompressorOxide::new(flags);
    let (status, _, length) =
        miniz_oxide::deflate::core::compress(&mut compressor, json.as_bytes(), &mut stream, TDEFLFlush::Finish);
    stream.truncate(length);
    Some(stream).filter(|_| status == TDEFLStatus::Done)
}

/// What was compressed; `encoded` is what stands behind [`PREFIX`].
///
/// # Errors
/// [`DecompressError`] when that is nothing compressed, or more than [`LIMIT`] bytes.
pub fn decompress(encoded: &[u8]) -> Result<Vec<u8>, DecompressError> {
    // Go does not see line ends.
    let encoded: Vec<u8> = encoded.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let compressed = BASE64.decode(encoded)?;
    decompress_to_vec_with_limit(&compressed, LIMIT).map_err(|error| {
        if error.status == TINFLStatus::HasMoreOutput { DecompressError::TooLong } else { DecompressError::Deflate }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cause::chain;

    /// What Tekton's entrypoint wrote, and what it meant.
    const RECORDED: [(&str, &str); 2] = [
        (
            concat!(
                "tknz:tM07DoJAEIDhu0y9PGZf6lR6Bq00FsMyIj4CWVcTYri7lcaClvIv/nyHN1xlAAIGBS++PQUImhDztiv62F0kpKK9cy",
                "Prx5m188RVqOWE2ljnF8tVOd2gIA29AOGovkI1uxBmF7aJY5J6k/4kXWqfIWYad2jJGLIuR2f3v9+Mx08AAAD//w"
            ),
            concat!(
                r##"[{"key":"a","value":"gcr.io/project/image@sha256:abcdef1234567890abcdef1234567890abcdef","type":1},{"key":"b","##,
                r##""value":"gcr.io/project/image@sha256:abcdef1234567890abcdef1234567890abcdef","type":1},{"key":"c","value":"gcr"##,
                r##".io/project/image@sha256:abcdef1234567890abcdef1234567890abcdef","type":1},{"key":"StartedAt","value":"2026-11"##,
                r##"-21T14:33:45.154Z","type":3}]"##
            ),
        ),
        // Line ends are not seen, unused bits and what stands behind the end of the stream not looked at.
        (
            "tknz:i65Wyk6tVLJS\r\nys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAGdhcmJhZ2V\n",
            r#"[{"key":"old","value":"1","type":1}]"#,
        ),
    ];

    fn behind_prefix(message: &str) -> &[u8] {
        message.strip_prefix(PREFIX).unwrap().as_bytes()
    }

    #[test]
    fn what_tekton_compressed_is_read() {
        for (message, json) in RECORDED {
            assert_eq!(decompress(behind_prefix(message)).unwrap(), json.as_bytes(), "{message}");
        }
    }

    #[test]
    fn what_tekton_refuses_is_refused() {
        for (message, expected) in [
            ("tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAA==", "base64 decode: Invalid padding"),
            ("tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAA ", "base64 decode: Invalid symbol 32, offset 46."),
            ("tknz:!!!", "base64 decode: Invalid symbol 33, offset 0."),
            ("tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsA", "flate decompress: it is damaged or cut off"),
            ("tknz:", "flate decompress: it is damaged or cut off"),
            ("tknz:aGVsbG8gd29ybGQ", "flate decompress: it is damaged or cut off"),
            // With the header of zlib.
            (
                "tknz:eNqLrlbKTq1UslLKz0lR0lEqS8wpTQXyDIHsksoCINOwNhYAy8gK1A",
                "flate decompress: it is damaged or cut off",
            ),
        ] {
            assert_eq!(chain(&decompress(behind_prefix(message)).unwrap_err()), expected, "{message}");
        }
    }

    #[test]
    fn at_most_128_kib_come_out_of_a_message() {
        for (size, expected) in
            [(LIMIT, Ok(LIMIT)), (LIMIT + 1, Err(DecompressError::TooLong)), (1 << 22, Err(DecompressError::TooLong))]
        {
            let message = compress(&"x".repeat(size)).unwrap();
            assert_eq!(decompress(behind_prefix(&message)).map(|json| json.len()), expected, "{size}");
        }
    }

    #[test]
    fn what_is_compressed_is_read_again() {
        for json in ["\u{1f600}".repeat(5000), (0..10_000).map(|n| format!("{n},")).collect(), "<".repeat(20)] {
            let message = compress(&json).unwrap();
            assert!(!message.contains('=') && message.len() < json.len(), "{message}");
            assert_eq!(decompress(behind_prefix(&message)).unwrap(), json.as_bytes());
        }
    }

    #[test]
    fn what_would_not_be_shorter_is_not_compressed() {
        for json in ["", "[]", r#"[{"key":"StartedAt","value":"2026-11-21T05:55:02.402Z","type":3}]"#] {
            assert_eq!(compress(json), None, "{json}");
        }
    }

    #[test]
    fn digests_are_compressed_as_well_as_go_does_it() {
        // A generator of random numbers in place of a digest's bytes; Go's level 9 needs 2611 bytes, and base64 a third more.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut digit = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from_digit(u32::try_from(state >> 60).unwrap(), 16).unwrap()
        };
        let entries: Vec<String> = (0..60)
            .map(|n| {
                let digest: String = (0..64).map(|_| digit()).collect();
                format!(r#"{{"key":"IMAGE_{n}_DIGEST","value":"registry.example.com/team/image-{n}@sha256:{digest}","type":1}}"#)
            })
            .collect();
        let message = compress(&format!("[{}]", entries.join(","))).unwrap();
        assert!(message.len() < PREFIX.len() + 2611 * 4 / 3, "{}", message.len());
    }
}
