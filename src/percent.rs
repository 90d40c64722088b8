//! Percent signs in URLs and forms (RFC 3986, section 2.1).

/// What percent signs stand for. What is no code stays as it is.
#[must_use]
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let code = match (first, others) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { others.get(2..).unwrap_or_default() } else { others };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_with_two_digits_stands_for_a_byte() {
        for (text, decoded) in [
            ("a%2Fb%20c", "a/b c"),
            ("%C3%A9", "\u{e9}"),
            ("100%", "100%"),
            ("%zz%2", "%zz%2"),
            ("%+1", "%+1"),
            ("", ""),
        ] {
            assert_eq!(percent_decoded(text), decoded, "{text}");
        }
    }
}
