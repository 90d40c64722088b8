//! Inflates a raw DEFLATE stream (RFC 1951): the second opinion about a compressed message.

/// The bits of a stream, the lowest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<usize> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = usize::from(byte >> (self.at % 8) & 1);
        self.at += 1;
        Some(bit)
    }

    fn number(&mut self, bits: usize) -> Option<usize> {
        (0..bits).try_fold(0, |number, place| Some(number | self.bit()? << place))
    }

    fn symbol(&mut self, code: &Code) -> Option<usize> {
        let (mut word, mut first, mut index) = (0, 0, 0);
        for &count in &code.counts[1..] {
            word |= self.bit()?;
            if word < first + count {
                return code.symbols.get(index + word - first).copied();
            }
            index += count;
            first = (first + count) << 1;
            word <<= 1;
        }
        None
    }
}

/// A canonical Huffman code.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn of(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().filter(|length| **length > 0).for_each(|length| counts[*length] += 1);
        let of_length = |wanted| (0..lengths.len()).filter(move |symbol| lengths[*symbol] == wanted);
        Self { counts, symbols: (1..16).flat_map(of_length).collect() }
    }
}

/// The inflated bytes; `None` of what is no such stream.
pub fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Bits { bytes, at: 0 };
    let mut out = Vec::new();
    loop {
        let last = bits.bit()? == 1;
        match bits.number(2)? {
            0 => {
                bits.at = bits.at.next_multiple_of(8);
                let length = bits.number(16)?;
                bits.number(16)?;
                for _ in 0..length {
                    out.push(u8::try_from(bits.number(8)?).ok()?);
                }
            }
            1 => {
                let fixed = |symbol| match symbol {
                    0..144 => 8,
                    144..256 => 9,
                    256..280 => 7,
                    _ => 8,
                };
                let lengths: Vec<usize> = (0..288).map(fixed).collect();
                block(&mut bits, &mut out, &Code::of(&lengths), &Code::of(&[5; 30]))?;
            }
            2 => {
                let (literals, distances) = codes(&mut bits)?;
                block(&mut bits, &mut out, &literals, &distances)?;
            }
            _ => return None,
        }
        if last {
            return Some(out);
        }
    }
}

/// The codes that stand at the head of a block.
fn codes(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, used) = (bits.number(5)? + 257, bits.number(5)? + 1, bits.number(4)? + 4);
    let mut lengths = [0; 19];
    for place in ORDER.into_iter().take(used) {
        lengths[place] = bits.number(3)?;
    }
    let code = Code::of(&lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match bits.symbol(&code)? {
            16 => (*lengths.last()?, bits.number(2)? + 3),
            17 => (0, bits.number(3)? + 3),
            18 => (0, bits.number(7)? + 11),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    Some((Code::of(&lengths[..literals]), Code::of(&lengths[literals..])))
}

fn block(bits: &mut Bits<'_>, out: &mut Vec<u8>, literals: &Code, distances: &Code) -> Option<()> {
    const LENGTHS: [(usize, usize); 29] = [
        (3, 0),
        (4, 0),
        (5, 0),
        (6, 0),
        (7, 0),
        (8, 0),
        (9, 0),
        (10, 0),
        (11, 1),
        (13, 1),
        (15, 1),
        (17, 1),
        (19, 2),
        (23, 2),
        (27, 2),
        (31, 2),
        (35, 3),
        (43, 3),
        (51, 3),
        (59, 3),
        (67, 4),
        (83, 4),
        (99, 4),
        (115, 4),
        (131, 5),
        (163, 5),
        (195, 5),
        (227, 5),
        (258, 0),
    ];
    const DISTANCES: [(usize, usize); 30] = [
        (1, 0),
        (2, 0),
        (3, 0),
        (4, 0),
        (5, 1),
        (7, 1),
        (9, 2),
        (13, 2),
        (17, 3),
        (25, 3),
        (33, 4),
        (49, 4),
        (65, 5),
        (97, 5),
        (129, 6),
        (193, 6),
        (257, 7),
        (385, 7),
        (513, 8),
        (769, 8),
        (1025, 9),
        (1537, 9),
        (2049, 10),
        (3073, 10),
        (4097, 11),
        (6145, 11),
        (8193, 12),
        (12289, 12),
        (16385, 13),
        (24577, 13),
    ];
    loop {
        match bits.symbol(literals)? {
            256 => return Some(()),
            symbol if symbol < 256 => out.push(u8::try_from(symbol).ok()?),
            symbol => {
                let (base, extra) = *LENGTHS.get(symbol - 257)?;
                let length = base + bits.number(extra)?;
                let (base, extra) = *DISTANCES.get(bits.symbol(distances)?)?;
                let start = out.len().checked_sub(base + bits.number(extra)?)?;
                (start..start + length).for_each(|at| out.push(out[at]));
            }
        }
    }
}

#[test]
fn streams_of_every_kind_are_inflated() {
    // Made with zlib: stored, with the fixed code, with a code of their own.
    assert_eq!(inflate(b"\x01\x03\x00\xfc\xffabc").unwrap(), b"abc");
    assert_eq!(inflate(b"\x4b\x4c\x4a\x4e\x84\x21\x00").unwrap(), b"abcabcabcabc");
    let squares: String = (0..20).map(|number| format!("{},", number * number)).collect();
    let stream = b"\x0d\xca\xb1\x11\x00\x30\x08\xc3\xc0\x85\x54\x60\xe2\x70\x61\xff\xc5\xe2\x4a\x85\xbe\x10\x66\xd1\
        \xd0\x97\x33\x78\x19\xf3\x84\xaa\x50\xa7\x76\x6e\xc4\x86\xc4\xf4\x4d\xdf\x72\xda\xf1\xe2\x03";
    assert_eq!(inflate(stream).unwrap(), squares.as_bytes());
    assert_eq!(inflate(b"\x07"), None);
    assert_eq!(inflate(&stream[..20]), None);
}
