//! The JSON of `-when_expressions`, read as Go's `encoding/json` reads it, and refused in its words.
//! <https://pkg.go.dev/encoding/json#Unmarshal>

use std::fmt;

use super::WhenExpression;

/// How deep values may stand in each other. Go has 10000; only members that nobody reads could go so deep.
const DEPTH: usize = 1000;

/// Go's names of the types that are read into.
const LIST: &str = "value of type types.WhenExpressions";
const EXPRESSION: &str = "value of type types.WhenExpression";
const INPUT: &str = "struct field WhenExpression.input of type string";
const OPERATOR: &str = "struct field WhenExpression.operator of type selection.Operator";
const CEL: &str = "struct field WhenExpression.cel of type string";
const VALUES: &str = "struct field WhenExpression.values of type []string";
const VALUE: &str = "struct field WhenExpression.values of type string";

/// What is wrong with a text, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It ends too early.
    #[error("unexpected end of JSON input")]
    End,
    /// A character stands where it must not.
    #[error("invalid character '{}' {context}", Character(*.byte))]
    Invalid {
        /// Its first byte, which Go takes for the character.
        byte: u8,
        /// Where it stands.
        context: Context,
    },
    /// A value is of a wrong type.
    #[error("json: cannot unmarshal {found} into Go {target}")]
    Mismatch {
        /// The kind of value.
        found: &'static str,
        /// Go's name of what it is read into.
        target: &'static str,
    },
}

/// Where a character stands that must not stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// In one of Go's phrases for it.
    Phrase(&'static str),
    /// In the middle of a word, where this was expected.
    Literal(&'static str, char),
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phrase(phrase) => f.write_str(phrase),
            Self::Literal(word, expected) => write!(f, "in literal {word} (expecting '{expected}')"),
        }
    }
}

/// A byte, shown as the character that Go takes it for.
struct Character(u8);

impl fmt::Display for Character {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match char::from(self.0) {
            '\'' => f.write_str(r"\'"),
            '"' => f.write_str("\""),
            '\x07' => f.write_str(r"\a"),
            '\x08' => f.write_str(r"\b"),
            '\x0b' => f.write_str(r"\v"),
            '\x0c' => f.write_str(r"\f"),
            character @ ('\\' | '\n' | '\r' | '\t') => write!(f, "{}", character.escape_default()),
            character @ (' '..='~' | '¡'..='¬' | '®'..='ÿ') => write!(f, "{character}"),
            character if character.is_ascii() => write!(f, "\\x{:02x}", self.0),
            _ => write!(f, "\\u{:04x}", self.0),
        }
    }
}

/// The text as expressions.
///
/// # Errors
/// What is wrong with it: a syntax error before a value of a wrong type; of those, the first.
pub(super) fn read(text: &str) -> Result<Vec<WhenExpression>, JsonError> {
    let mut reader = Reader { text, at: 0, mismatch: None };
    let expressions = reader.expressions()?;
    reader.skip_space();
    if reader.peek().is_some() {
        return Err(reader.invalid("after top-level value"));
    }
    reader.mismatch.map_or(Ok(expressions), Err)
}

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

impl Kind {
    /// Go's word for it.
    fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Null => "null",
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The first value of a wrong type.
    mismatch: Option<JsonError>,
}

impl Reader<'_> {
    /// A list of expressions; null is an empty one.
    fn expressions(&mut self) -> Result<Vec<WhenExpression>, JsonError> {
        let found = self.kind()?;
        if found == Kind::Array { self.array(Self::expression) } else { self.unfit(found, LIST, 0) }
    }

    /// One expression; null is an empty one.
    fn expression(&mut self) -> Result<WhenExpression, JsonError> {
        let found = self.kind()?;
        if found != Kind::Object {
            return self.unfit(found, EXPRESSION, 1);
        }
        let mut expression = WhenExpression::default();
        self.object(|reader, name| reader.member(&mut expression, name))?;
        Ok(expression)
    }

    /// A member of an expression: known whatever the case of its letters; the last one of a name counts.
    fn member(&mut self, expression: &mut WhenExpression, name: &str) -> Result<(), JsonError> {
        // Also the letter that only looks old: Go folds ſ to s.
        match name.to_lowercase().replace('ſ', "s").as_str() {
            "input" => self.text_into(&mut expression.input, INPUT),
            "operator" => self.text_into(&mut expression.operator, OPERATOR),
            "cel" => self.text_into(&mut expression.cel, CEL),
            "values" => {
                expression.values = self.values()?;
                Ok(())
            }
            _ => self.skip(2),
        }
    }

    /// A list of strings; null is an empty one, and in it an empty string.
    fn values(&mut self) -> Result<Vec<String>, JsonError> {
        let found = self.kind()?;
        if found != Kind::Array {
            return self.unfit(found, VALUES, 2);
        }
        self.array(|reader| {
            let mut value = String::new();
            reader.text_into(&mut value, VALUE)?;
            Ok(value)
        })
    }

    /// A string; null changes nothing.
    fn text_into(&mut self, text: &mut String, target: &'static str) -> Result<(), JsonError> {
        let found = self.kind()?;
        if found != Kind::String {
            return self.unfit(found, target, 3);
        }
        *text = self.string()?;
        Ok(())
    }

    /// A value that is not of the type that it is read into: null stands for nothing, anything else is a mismatch.
    fn unfit<T: Default>(&mut self, found: Kind, target: &'static str, depth: usize) -> Result<T, JsonError> {
        self.skip(depth)?;
        if found != Kind::Null {
            self.mismatch.get_or_insert(JsonError::Mismatch { found: found.name(), target });
        }
        Ok(T::default())
    }

    /// Reads over any value.
    fn skip(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.kind()? {
            Kind::Object | Kind::Array if depth > DEPTH => Err(self.invalid("exceeded max depth")),
            Kind::Object => self.object(|reader, _| reader.skip(depth + 1)),
            Kind::Array => self.array(|reader| reader.skip(depth + 1)).map(drop),
            Kind::String => self.string().map(drop),
            Kind::Number => self.number(),
            Kind::Bool | Kind::Null => self.literal(),
        }
    }

    /// The members of an object, in order.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<(), JsonError>) -> Result<(), JsonError> {
        const KEY: &str = "looking for beginning of object key string";
        self.at += 1;
        self.skip_space();
        if self.peek() == Some('}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_space();
            if self.peek() != Some('"') {
                return Err(self.invalid(KEY));
            }
            let name = self.string()?;
            self.expect(':', "after object key")?;
            member(self, &name)?;
            self.skip_space();
            match self.peek() {
                Some(',') => self.at += 1,
                Some('}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.invalid("after object key:value pair")),
            }
        }
    }

    /// The elements of an array, in order.
    fn array<T>(&mut self, mut element: impl FnMut(&mut Self) -> Result<T, JsonError>) -> Result<Vec<T>, JsonError> {
        let mut elements = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(']') {
            self.at += 1;
            return Ok(elements);
        }
        loop {
            elements.push(element(self)?);
            self.skip_space();
            match self.peek() {
                Some(',') => self.at += 1,
                Some(']') => {
                    self.at += 1;
                    return Ok(elements);
                }
                _ => return Err(self.invalid("after array element")),
            }
        }
    }

    /// A string; half a surrogate pair becomes U+FFFD.
    fn string(&mut self) -> Result<String, JsonError> {
        const TEXT: &str = "in string literal";
        let mut text = String::new();
        self.at += 1;
        loop {
            let Some(character) = self.peek() else { return Err(self.invalid(TEXT)) };
            match character {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '\\' => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                '\0'..='\x1f' => return Err(self.invalid(TEXT)),
                _ => {
                    self.at += character.len_utf8();
                    text.push(character);
                }
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, JsonError> {
        let character = match self.peek() {
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.invalid("in string escape code")),
        };
        self.at += 1;
        Ok(character)
    }

    /// What stands behind `\u`, with the other half of a pair.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.hexadecimal()?;
        let after_first = self.at;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            self.at += 2;
            let second = self.hexadecimal()?;
            if let Some(Ok(pair)) = char::decode_utf16([first, second]).next() {
                return Ok(pair);
            }
            self.at = after_first;
        }
        Ok(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hexadecimal(&mut self) -> Result<u16, JsonError> {
        let mut number = 0;
        for _ in 0..4 {
            match self.peek().and_then(|digit| digit.to_digit(16)).and_then(|digit| u16::try_from(digit).ok()) {
                Some(digit) => number = number << 4 | digit,
                None => return Err(self.invalid(r"in \u hexadecimal character escape")),
            }
            self.at += 1;
        }
        Ok(number)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let digits = |reader: &mut Self| {
            let from = reader.at;
            while reader.peek().is_some_and(|digit| digit.is_ascii_digit()) {
                reader.at += 1;
            }
            reader.at > from
        };
        if self.peek() == Some('-') {
            self.at += 1;
        }
        if self.peek() == Some('0') {
            self.at += 1;
        } else if !digits(self) {
            return Err(self.invalid("in numeric literal"));
        }
        if self.peek() == Some('.') {
            self.at += 1;
            if !digits(self) {
                return Err(self.invalid("after decimal point in numeric literal"));
            }
        }
        if let Some('e' | 'E') = self.peek() {
            self.at += 1;
            if let Some('+' | '-') = self.peek() {
                self.at += 1;
            }
            if !digits(self) {
                return Err(self.invalid("in exponent of numeric literal"));
            }
        }
        Ok(())
    }

    /// `true`, `false` or `null`.
    fn literal(&mut self) -> Result<(), JsonError> {
        let word = match self.peek() {
            Some('t') => "true",
            Some('f') => "false",
            _ => "null",
        };
        for expected in word.chars() {
            if self.peek() != Some(expected) {
                return Err(self.invalid_in(Context::Literal(word, expected)));
            }
            self.at += 1;
        }
        Ok(())
    }

    /// The kind of the next value, by its first character.
    fn kind(&mut self) -> Result<Kind, JsonError> {
        self.skip_space();
        match self.peek() {
            Some('{') => Ok(Kind::Object),
            Some('[') => Ok(Kind::Array),
            Some('"') => Ok(Kind::String),
            Some('-' | '0'..='9') => Ok(Kind::Number),
            Some('t' | 'f') => Ok(Kind::Bool),
            Some('n') => Ok(Kind::Null),
            _ => Err(self.invalid("looking for beginning of value")),
        }
    }

    fn expect(&mut self, character: char, context: &'static str) -> Result<(), JsonError> {
        self.skip_space();
        if self.peek() != Some(character) {
            return Err(self.invalid(context));
        }
        self.at += 1;
        Ok(())
    }

    fn skip_space(&mut self) {
        while let Some(' ' | '\t' | '\n' | '\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// What stands here must not.
    fn invalid(&self, phrase: &'static str) -> JsonError {
        self.invalid_in(Context::Phrase(phrase))
    }

    fn invalid_in(&self, context: Context) -> JsonError {
        let byte = self.text.as_bytes().get(self.at);
        byte.map_or(JsonError::End, |&byte| JsonError::Invalid { byte, context })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::expression;
    use super::*;

    #[test]
    fn what_go_reads_is_read_to_the_same_meaning() {
        for (text, expected) in [
            ("null", vec![]),
            ("\t\n[]\r ", vec![]),
            ("[null]", vec![expression("", "", &[], "")]),
            ("[{}, {}]", vec![expression("", "", &[], ""); 2]),
            (r#"[{"input":"a","operator":"in","values":["a","b"]}]"#, vec![expression("a", "in", &["a", "b"], "")]),
            (r#"[{"cel":"'a' == 'b'"}]"#, vec![expression("", "", &[], "'a' == 'b'")]),
            (r#"[{"INPUT":"a","OpErAtOr":"in","valueſ":["a"],"Cel":"c"}]"#, vec![expression("a", "in", &["a"], "c")]),
            (r#"[{"\u0069nput":"a"}]"#, vec![expression("a", "", &[], "")]),
            (r#"[{"input":"a","Input":"b","cel":"c","cel":null}]"#, vec![expression("b", "", &[], "c")]),
            (r#"[{"values":["a"],"values":["b"]}]"#, vec![expression("", "", &["b"], "")]),
            (r#"[{"values":["a"],"values":null}]"#, vec![expression("", "", &[], "")]),
            (r#"[{"values":[null,"a"]}]"#, vec![expression("", "", &["", "a"], "")]),
            (r#"[{"x":{"y":[1,-0.5e+3,{"z":null}],"":true},"input":"a"}]"#, vec![expression("a", "", &[], "")]),
            (
                r#"[{"input":"\ud83d\ude00\ud800\ud800\u0041\"\\\/\b\f\n\r\t"}]"#,
                vec![expression("😀\u{fffd}\u{fffd}A\"\\/\x08\x0c\n\r\t", "", &[], "")],
            ),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        let deep = format!("[{{\"x\":{}1{}}}]", "[".repeat(900), "]".repeat(900));
        assert_eq!(read(&deep).map(|expressions| expressions.len()), Ok(1));
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        let deep = format!("[{{\"x\":{}", "[".repeat(100_000));
        for (text, words) in [
            (" ", "unexpected end of JSON input"),
            ("[", "unexpected end of JSON input"),
            ("[{", "unexpected end of JSON input"),
            ("[{\"", "unexpected end of JSON input"),
            ("[{\"input\":", "unexpected end of JSON input"),
            ("[{\"input\":\"a", "unexpected end of JSON input"),
            ("[{\"input\":1},", "unexpected end of JSON input"),
            ("[]x", "invalid character 'x' after top-level value"),
            ("null null", "invalid character 'n' after top-level value"),
            ("[}", "invalid character '}' looking for beginning of value"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("[{,}]", "invalid character ',' looking for beginning of object key string"),
            ("[{\"a\":1,}]", "invalid character '}' looking for beginning of object key string"),
            ("[{a:1}]", "invalid character 'a' looking for beginning of object key string"),
            ("['a']", r"invalid character '\'' looking for beginning of value"),
            ("[tru]", "invalid character ']' in literal true (expecting 'e')"),
            ("[falsy]", "invalid character 'y' in literal false (expecting 'e')"),
            ("[01]", "invalid character '1' after array element"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[-]", "invalid character ']' in numeric literal"),
            ("[1.]", "invalid character ']' after decimal point in numeric literal"),
            ("[1e]", "invalid character ']' in exponent of numeric literal"),
            ("[\"\x01\"]", r"invalid character '\x01' in string literal"),
            ("[\"a\nb\"]", r"invalid character '\n' in string literal"),
            (r#"["\x"]"#, "invalid character 'x' in string escape code"),
            (r#"["\u12"]"#, r#"invalid character '"' in \u hexadecimal character escape"#),
            (r#"[{"a" 1}]"#, "invalid character '1' after object key"),
            (r#"[{"a":1 "b":2}]"#, r#"invalid character '"' after object key:value pair"#),
            ("\u{feff}[]", "invalid character 'ï' looking for beginning of value"),
            ("\u{b}[]", r"invalid character '\v' looking for beginning of value"),
            ("{}", "json: cannot unmarshal object into Go value of type types.WhenExpressions"),
            ("true", "json: cannot unmarshal bool into Go value of type types.WhenExpressions"),
            ("[1]", "json: cannot unmarshal number into Go value of type types.WhenExpression"),
            ("[[]]", "json: cannot unmarshal array into Go value of type types.WhenExpression"),
            (
                r#"[{"input":1,"operator":2}]"#,
                "json: cannot unmarshal number into Go struct field WhenExpression.input of type string",
            ),
            (
                r#"[{"operator":1}]"#,
                "json: cannot unmarshal number into Go struct field WhenExpression.operator of type selection.Operator",
            ),
            (
                r#"[{"values":"a"}]"#,
                "json: cannot unmarshal string into Go struct field WhenExpression.values of type []string",
            ),
            (
                r#"[{"values":["a",{}]}]"#,
                "json: cannot unmarshal object into Go struct field WhenExpression.values of type string",
            ),
            (&deep, "invalid character '[' exceeded max depth"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.to_string(), words, "{}", &text[..text.len().min(80)]);
        }
    }
}
