//! The patterns of `matches()`: written in RE2's syntax, as CEL has it, and translated to that of the crate `regex`,
//! which reads some of the same signs differently.
//! <https://github.com/google/re2/wiki/Syntax>, <https://docs.rs/regex/latest/regex/#syntax>

use std::iter::Peekable;
use std::str::Chars;

use regex::bytes::Regex;

/// The highest number of repetitions, as in RE2.
const REPETITIONS: u32 = 1000;

/// The classes that have a name in brackets.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Whether the pattern is found in the text.
///
/// # Errors
/// When the pattern is none, or has something that is not translated.
pub(super) fn is_match(written: &str, text: &str) -> Result<bool, String> {
    let wrong = |reason: String| format!("error parsing regexp: {reason}: `{written}`");
    let translated = translate(written).map_err(wrong)?;
    let pattern = Regex::new(&translated).map_err(|error| {
        let said = error.to_string();
        let reason = said.lines().last().unwrap_or_default();
        wrong(reason.trim_start_matches("error: ").to_owned())
    })?;
    Ok(pattern.is_match(text.as_bytes()))
}

/// The pattern in the other syntax.
fn translate(written: &str) -> Result<String, String> {
    let mut translation =
        Translation { rest: written.chars().peekable(), done: String::new(), repeatable: Repeatable::No };
    translation.all()?;
    Ok(translation.done)
}

/// What a repetition sign at this place would repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeatable {
    /// Nothing: the start, or what stands behind `(` or `|`.
    No,
    /// A character, a class, a group, an assertion.
    Once,
    /// A repetition; `?` makes it a lazy one.
    Repetition,
    /// A lazy repetition.
    Lazy,
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    done: String,
    repeatable: Repeatable,
}

impl Translation<'_> {
    fn all(&mut self) -> Result<(), String> {
        while let Some(next) = self.rest.next() {
            match next {
                '\\' => self.escape()?,
                '[' => {
                    self.class()?;
                    self.repeatable = Repeatable::Once;
                }
                '(' => self.group()?,
                '|' => {
                    self.done.push('|');
                    self.repeatable = Repeatable::No;
                }
                '*' | '+' | '?' => self.repetition(&next.to_string())?,
                '{' => self.braces()?,
                _ => {
                    self.done.push(next);
                    self.repeatable = Repeatable::Once;
                }
            }
        }
        Ok(())
    }

    /// A repetition sign.
    fn repetition(&mut self, sign: &str) -> Result<(), String> {
        self.repeatable = match (self.repeatable, sign) {
            (Repeatable::No, _) => return Err(format!("missing argument to repetition operator ({sign})")),
            (Repeatable::Once, _) => Repeatable::Repetition,
            (Repeatable::Repetition, "?") => Repeatable::Lazy,
            (Repeatable::Repetition | Repeatable::Lazy, _) => {
                return Err(format!("invalid nested repetition operator ({sign})"));
            }
        };
        self.done.push_str(sign);
        Ok(())
    }

    /// `{2}`, `{2,}`, `{2,3}`; anything else in braces is text.
    fn braces(&mut self) -> Result<(), String> {
        let ahead: String = self.rest.clone().take_while(|next| *next != '}').collect();
        let closed = self.rest.clone().any(|next| next == '}');
        let (least, most) = ahead.split_once(',').map_or((ahead.as_str(), None), |(least, most)| (least, Some(most)));
        let number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        if !closed || !number(least) || most.is_some_and(|most| !most.is_empty() && !number(most)) {
            self.done.push_str(r"\{");
            self.repeatable = Repeatable::Once;
            return Ok(());
        }
        let counts = [Some(least), most].into_iter().flatten().filter(|count| !count.is_empty());
        for count in counts {
            if !count.parse::<u32>().is_ok_and(|count| count <= REPETITIONS) {
                return Err(format!("invalid repeat count ({{{ahead}}})"));
            }
        }
        let length = ahead.chars().count() + 1;
        self.rest.by_ref().take(length).for_each(drop);
        self.repetition(&format!("{{{ahead}}}"))
    }

    /// A group, of which only the kinds that both know are let through.
    fn group(&mut self) -> Result<(), String> {
        self.done.push('(');
        self.repeatable = Repeatable::No;
        if self.rest.peek() != Some(&'?') {
            return Ok(());
        }
        let ahead: String = self.rest.clone().take_while(|next| !matches!(next, ')' | ':')).collect();
        let named = ahead.starts_with("?P<") || ahead.starts_with("?<");
        let flags = ahead.chars().skip(1).all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U' | '-'));
        if !named && !flags {
            return Err(format!("invalid or unsupported Perl syntax (({ahead})"));
        }
        // The question mark, or it would be taken for a repetition.
        self.done.extend(self.rest.next());
        if !named {
            let length = ahead.chars().count();
            self.done.extend(self.rest.by_ref().take(length));
            if self.done.ends_with(')') {
                self.repeatable = Repeatable::Once;
            }
            return Ok(());
        }
        for next in self.rest.by_ref() {
            self.done.push(next);
            if next == '>' {
                break;
            }
        }
        Ok(())
    }

    /// What stands behind a backslash, outside a class.
    fn escape(&mut self) -> Result<(), String> {
        let next = self.rest.next().ok_or("trailing backslash at end of expression")?;
        self.repeatable = Repeatable::Once;
        match next {
            // RE2 knows ASCII only here.
            'd' => self.done.push_str("[0-9]"),
            'D' => self.done.push_str("[^0-9]"),
            's' => self.done.push_str(r"[\t\n\f\r ]"),
            'S' => self.done.push_str(r"[^\t\n\f\r ]"),
            'w' => self.done.push_str("[0-9A-Za-z_]"),
            'W' => self.done.push_str("[^0-9A-Za-z_]"),
            'b' => self.done.push_str(r"(?-u:\b)"),
            'B' => self.done.push_str(r"(?-u:\B)"),
            'A' | 'z' => self.done.extend(['\\', next]),
            'Q' => self.quoted(),
            'E' => return Err("this version does not know \\E without \\Q".to_owned()),
            _ => self.character(next)?,
        }
        Ok(())
    }

    /// `\Q...\E`: text.
    fn quoted(&mut self) {
        let mut text = String::new();
        while let Some(next) = self.rest.next() {
            if next == '\\' && self.rest.peek() == Some(&'E') {
                self.rest.next();
                break;
            }
            text.push(next);
        }
        self.done.push_str(&regex::escape(&text));
    }

    /// An escape that is one character, or a Unicode class, in and outside of classes.
    fn character(&mut self, next: char) -> Result<(), String> {
        match next {
            'a' | 'f' | 'n' | 'r' | 't' | 'v' | 'x' | 'p' | 'P' => {
                self.done.extend(['\\', next]);
                // What is in the braces is no repetition.
                if self.rest.peek() == Some(&'{') {
                    for inner in self.rest.by_ref() {
                        self.done.push(inner);
                        if inner == '}' {
                            break;
                        }
                    }
                }
                Ok(())
            }
            _ if next.is_ascii_punctuation() => {
                self.done.push_str(&literal(next));
                Ok(())
            }
            _ => Err(format!("invalid escape sequence, or one that this version does not know (\\{next})")),
        }
    }

    /// A class in brackets: the crate also knows classes within classes, and sets.
    fn class(&mut self) -> Result<(), String> {
        self.done.push('[');
        if self.rest.peek() == Some(&'^') {
            self.done.extend(self.rest.next());
        }
        let mut first = true;
        loop {
            let next = self.rest.next().ok_or("missing closing ]")?;
            match next {
                ']' if !first => {
                    self.done.push(']');
                    return Ok(());
                }
                '[' if self.rest.peek() == Some(&':') => self.named_class()?,
                '\\' => self.class_escape()?,
                '-' => self.done.push('-'),
                _ => self.done.push_str(&literal(next)),
            }
            if next == '-' && self.rest.peek() == Some(&'-') {
                return Err("this version does not know -- in a class: write one - at its end".to_owned());
            }
            first = false;
        }
    }

    /// `[:alpha:]`; without its end, text.
    fn named_class(&mut self) -> Result<(), String> {
        let ahead: String = self.rest.clone().take_while(|next| *next != ']').collect();
        if ahead.len() < 2 || !ahead.ends_with(':') {
            self.done.push_str(r"\[");
            return Ok(());
        }
        if !CLASSES.contains(&ahead.trim_matches(':').trim_start_matches('^')) {
            return Err(format!("invalid character class range ([{ahead}])"));
        }
        let length = ahead.chars().count() + 1;
        self.done.push('[');
        self.done.extend(self.rest.by_ref().take(length));
        Ok(())
    }

    /// What stands behind a backslash in a class.
    fn class_escape(&mut self) -> Result<(), String> {
        let next = self.rest.next().ok_or("missing closing ]")?;
        match next {
            'd' => self.done.push_str("0-9"),
            'D' => self.done.push_str("[^0-9]"),
            's' => self.done.push_str(r"\t\n\f\r "),
            'S' => self.done.push_str(r"[^\t\n\f\r ]"),
            'w' => self.done.push_str("0-9A-Za-z_"),
            'W' => self.done.push_str("[^0-9A-Za-z_]"),
            _ => self.character(next)?,
        }
        Ok(())
    }
}

/// A character as itself, whatever it may mean elsewhere.
fn literal(character: char) -> String {
    if character.is_ascii_punctuation()
        && !matches!(character, '<' | '>' | '_' | '/' | '"' | '\'' | '%' | ',' | ':' | ';' | '=' | '@' | '`' | '!')
    {
        format!("\\{character}")
    } else {
        character.to_string()
    }
}
