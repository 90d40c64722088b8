//! Go's flag grammar, without any meaning: argv cut into settings of flags and what stands behind them.
//!
//! The rules are those of Go's `flag` package (<https://pkg.go.dev/flag#hdr-Command_line_flag_syntax>), because what
//! starts this program was written for a Go program, and Tekton's cut at the first `--`
//! (`cmd/entrypoint/args.go` of tektoncd/pipeline).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::quote::OneLine;

/// Whether a flag takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Never takes the next element; a value only behind `=`.
    Boolean,
    /// Takes what stands behind `=`, or else the next element, whatever it looks like.
    Valued,
}

/// A flag that was set, in order of appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting<'a> {
    /// Its name, without dashes.
    pub(super) name: &'a str,
    /// Its value; `true` for a boolean without one.
    pub(super) value: &'a OsStr,
}

/// What ended the flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End<'a> {
    /// The first element that is no flag, and all that follow it.
    Positionals(&'a [OsString]),
    /// `-h` or `-help`, which nobody defined.
    Help,
    /// An element that breaks the grammar.
    Broken(SyntaxFault),
}

/// How an element breaks the grammar, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxFault {
    #[error("bad flag syntax: {}", OneLine(.0.clone()))]
    BadSyntax(String),
    #[error("flag provided but not defined: -{}", OneLine(.0.clone()))]
    NotDefined(String),
    #[error("flag needs an argument: -{0}")]
    NoArgument(String),
}

/// One element of argv, by its looks alone.
enum Element<'a> {
    /// No flag: it ends the flags.
    Plain,
    /// `--`: it ends the flags and is gone.
    Terminator,
    /// Dashes without a name.
    Nameless,
    /// `-name`, `--name`, `-name=value` or `--name=value`.
    Flag { name: &'a OsStr, value: Option<&'a OsStr> },
}

impl<'a> Element<'a> {
    fn of(element: &'a OsStr) -> Self {
        let bytes = element.as_bytes();
        let name = match bytes {
            b"--" => return Self::Terminator,
            [b'-', b'-', name @ ..] => name,
            // A lone dash is a name for stdin, not a flag.
            [b'-', name @ ..] if !name.is_empty() => name,
            _ => return Self::Plain,
        };
        if let [] | [b'-' | b'=', ..] = name {
            return Self::Nameless;
        }
        match name.iter().position(|&byte| byte == b'=').and_then(|at| name.split_at_checked(at)) {
            // What comes second starts with the sign itself.
            Some((name, value)) => {
                Self::Flag { name: OsStr::from_bytes(name), value: value.get(1..).map(OsStr::from_bytes) }
            }
            None => Self::Flag { name: OsStr::from_bytes(name), value: None },
        }
    }
}

/// Cuts the arguments (without the program's name) at the first `--`, wherever it stands, before anything is read as a
/// flag: what is before it is ours, what is behind it is the step's. A `--` in front of everything is not that cut.
pub(super) fn cut(args: &[OsString]) -> (&[OsString], &[OsString]) {
    match args.iter().position(|arg| arg == "--") {
        None | Some(0) => (args, &[]),
        Some(at) => {
            let (ours, steps) = args.split_at(at);
            (ours, steps.get(1..).unwrap_or_default())
        }
    }
}

/// Reads flags until the first element that ends them. `kind` says which flags there are.
pub(super) fn scan<'a>(args: &'a [OsString], kind: impl Fn(&str) -> Option<Kind>) -> (Vec<Setting<'a>>, End<'a>) {
    let mut settings = Vec::new();
    let mut rest = args;
    while let [element, behind @ ..] = rest {
        let (name, value) = match Element::of(element) {
            Element::Plain => break,
            Element::Terminator => return (settings, End::Positionals(behind)),
            Element::Nameless => {
                return (settings, End::Broken(SyntaxFault::BadSyntax(element.to_string_lossy().into_owned())));
            }
            Element::Flag { name, value } => (name, value),
        };
        rest = behind;
        let Some((name, kind)) = name.to_str().and_then(|name| kind(name).map(|kind| (name, kind))) else {
            let end = match name.as_bytes() {
                b"h" | b"help" => End::Help,
                _ => End::Broken(SyntaxFault::NotDefined(name.to_string_lossy().into_owned())),
            };
            return (settings, end);
        };
        let value = match (value, kind, behind) {
            (Some(value), _, _) => value,
            (None, Kind::Boolean, _) => OsStr::new("true"),
            (None, Kind::Valued, [value, behind @ ..]) => {
                rest = behind;
                value.as_os_str()
            }
            (None, Kind::Valued, []) => {
                return (settings, End::Broken(SyntaxFault::NoArgument(name.to_owned())));
            }
        };
        settings.push(Setting { name, value });
    }
    (settings, End::Positionals(rest))
}

/// The last value of a flag in arguments that hold a mistake: reads on behind whatever is wrong, up to `--`.
pub(super) fn last_value<'a>(
    args: &'a [OsString],
    kind: impl Fn(&str) -> Option<Kind>,
    wanted: &str,
) -> Option<&'a OsStr> {
    let mut found = None;
    let mut rest = args;
    while let [element, behind @ ..] = rest {
        rest = behind;
        let (name, value) = match Element::of(element) {
            Element::Terminator => break,
            Element::Plain | Element::Nameless => continue,
            Element::Flag { name, value } => (name, value),
        };
        let value = match (value, name.to_str().and_then(&kind), behind) {
            (None, Some(Kind::Valued), [value, behind @ ..]) => {
                rest = behind;
                Some(value.as_os_str())
            }
            // An unknown flag may have an argument or not: the next element is read for what it looks like.
            (value, _, _) => value,
        };
        if name == wanted && value.is_some() {
            found = value;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn os(args: &[&str]) -> Vec<OsString> {
        args.iter().map(OsString::from).collect()
    }

    fn kind(name: &str) -> Option<Kind> {
        match name {
            "s" | "post_file" => Some(Kind::Valued),
            "b" => Some(Kind::Boolean),
            _ => None,
        }
    }

    /// The settings as `name=value`, and the end.
    fn scanned(args: &[&str]) -> (Vec<String>, String) {
        let args = os(args);
        let (settings, end) = scan(&args, kind);
        let settings = settings.iter().map(|s| format!("{}={}", s.name, s.value.display())).collect();
        let end = match end {
            End::Positionals(rest) => format!("{rest:?}"),
            End::Help => "help".to_owned(),
            End::Broken(fault) => fault.to_string(),
        };
        (settings, end)
    }

    #[test]
    fn the_first_double_dash_cuts_argv_before_any_flag_is_read() {
        for (args, ours, steps) in [
            (&[][..], &[][..], &[][..]),
            (&["-s", "x"], &["-s", "x"], &[]),
            (&["-s", "x", "--", "a", "--", "b"], &["-s", "x"], &["a", "--", "b"]),
            (&["-s", "--", "a"], &["-s"], &["a"]),
            (&["-s", "x", "--"], &["-s", "x"], &[]),
            (&["--", "cp", "--", "b"], &["--", "cp", "--", "b"], &[]),
            (&["--"], &["--"], &[]),
        ] {
            let args = os(args);
            assert_eq!(cut(&args), (os(ours).as_slice(), os(steps).as_slice()), "{args:?}");
        }
    }

    #[test]
    fn every_spelling_of_a_flag_is_read_as_go_reads_it() {
        for (args, settings, end) in [
            (&["-s", "v"][..], &["s=v"][..], "[]"),
            (&["--s", "v"], &["s=v"], "[]"),
            (&["-s=v"], &["s=v"], "[]"),
            (&["--s=v"], &["s=v"], "[]"),
            (&["-s=a=b"], &["s=a=b"], "[]"),
            (&["-s="], &["s="], "[]"),
            (&["-s", ""], &["s="], "[]"),
            (&["-s", "-b"], &["s=-b"], "[]"),
            (&["-s", "-"], &["s=-"], "[]"),
            (&["-s", "1", "--s=2"], &["s=1", "s=2"], "[]"),
            (&["-b"], &["b=true"], "[]"),
            (&["--b=false"], &["b=false"], "[]"),
            (&["-b="], &["b="], "[]"),
            (&["-b", "-s", "v"], &["b=true", "s=v"], "[]"),
            (&["-b", "false", "-s", "v"], &["b=true"], r#"["false", "-s", "v"]"#),
            (&["x", "-s", "v"], &[], r#"["x", "-s", "v"]"#),
            (&["-", "-s", "v"], &[], r#"["-", "-s", "v"]"#),
            (&["", "-s", "v"], &[], r#"["", "-s", "v"]"#),
            (&["--", "-s", "v"], &[], r#"["-s", "v"]"#),
            (&["-s"], &[], "flag needs an argument: -s"),
            (&["-b", "--s"], &["b=true"], "flag needs an argument: -s"),
            (&["---x"], &[], "bad flag syntax: ---x"),
            (&["-=x"], &[], "bad flag syntax: -=x"),
            (&["--=x"], &[], "bad flag syntax: --=x"),
            (&["-nope"], &[], "flag provided but not defined: -nope"),
            (&["--nope=3"], &[], "flag provided but not defined: -nope"),
            (&["-s", "v", "-nope", "-s", "w"], &["s=v"], "flag provided but not defined: -nope"),
            (&["-h"], &[], "help"),
            (&["-help"], &[], "help"),
            (&["--help"], &[], "help"),
            (&["--h=x"], &[], "help"),
            (&["-s", "-help"], &["s=-help"], "[]"),
            (&["-b", "-help", "-nope"], &["b=true"], "help"),
            (&["-nope", "-help"], &[], "flag provided but not defined: -nope"),
        ] {
            let settings = settings.iter().map(|&s| s.to_owned()).collect();
            assert_eq!(scanned(args), (settings, end.to_owned()), "{args:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_survive_in_values_and_are_no_flags_name() {
        let raw = OsString::from_vec(b"\xffx".to_vec());
        for args in [vec!["-s".into(), raw.clone()], vec![OsString::from_vec(b"--s=\xffx".to_vec())]] {
            assert_eq!(scan(&args, kind).0, [Setting { name: "s", value: &raw }]);
        }
        let name = [OsString::from_vec(b"-\xffx=1".to_vec())];
        assert_eq!(scan(&name, kind).1, End::Broken(SyntaxFault::NotDefined("\u{fffd}x".to_owned())));
    }

    #[test]
    fn a_mistake_is_one_line_whatever_was_written() {
        for (argument, told) in [
            ("-a\r\x1b[2Kb", r"flag provided but not defined: -a\r\u{1b}[2Kb"),
            ("-a\nINFO it went well", r"flag provided but not defined: -a\nINFO it went well"),
            ("-=\n", r"bad flag syntax: -=\n"),
        ] {
            assert_eq!(scanned(&[argument]).1, told);
        }
    }

    #[test]
    fn in_a_broken_argv_a_flags_last_value_is_still_found() {
        for (args, value) in [
            (&["-post_file", "p", "-nope"][..], Some("p")),
            (&["-nope", "-post_file", "p"], Some("p")),
            (&["-nope", "x", "--post_file=p"], Some("p")),
            (&["---", "--post_file", "p", "-post_file", "q"], Some("q")),
            (&["---", "-post_file=p", "-post_file="], Some("")),
            (&["-b", "false", "-post_file=p"], Some("p")),
            (&["-post_file=p", "-post_file"], Some("p")),
            (&["-post_file"], None),
            (&["-s", "-post_file", "p"], None),
            (&["--", "-post_file", "p"], None),
            (&["-nope"], None),
        ] {
            assert_eq!(last_value(&os(args), kind, "post_file"), value.map(OsStr::new), "{args:?}");
        }
    }
}
