//! Subcommands, by the first positional argument and the number of those behind it.

use std::ffi::OsString;
use std::fmt;

use crate::spec::SetupCommand;

/// How a subcommand is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Its word.
    pub(super) name: &'static str,
    /// Its arguments, for people.
    pub(super) arguments: &'static str,
    /// How many there must be.
    count: Count,
    /// What it does, for people.
    pub(super) about: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Any,
    Exactly(usize),
    AtLeast(usize),
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any number of arguments"),
            Self::Exactly(0) => f.write_str("no arguments"),
            Self::Exactly(1) => f.write_str("1 argument"),
            Self::Exactly(n) => write!(f, "{n} arguments"),
            Self::AtLeast(n) => write!(f, "at least {n} arguments"),
        }
    }
}

const CP: Form = Form {
    name: "cp",
    arguments: "SRC DST",
    count: Count::Exactly(2),
    about: "copy a program, executable by everybody; a running DST is replaced",
};
const INIT: Form = Form {
    name: "init",
    arguments: "SRC DST [STEP...]",
    count: Count::AtLeast(2),
    about: "cp, then step-init: what the first init container runs",
};
const STEP_INIT: Form = Form {
    name: "step-init",
    arguments: "[STEP...]",
    count: Count::Any,
    about: "link /tekton/steps/STEP and /tekton/steps/INDEX to the steps' metadata",
};
const DECODE_SCRIPT: Form = Form {
    name: "decode-script",
    arguments: "FILE",
    count: Count::Exactly(1),
    about: "decode a script file from base64, in place",
};
/// `version`, which is a subcommand only as the very first argument.
const VERSION: Form =
    Form { name: "version", arguments: "", count: Count::Exactly(0), about: "print the version and what is built in" };

/// `run-image`, likewise.
const RUN_IMAGE: Form = Form {
    name: "run-image",
    arguments: "IMAGE [flags] [-- ARGUMENT...]",
    count: Count::AtLeast(1),
    about: "look up what IMAGE runs and become it; no files are written. With the flags of the lookup only",
};

/// `resolve`, likewise.
const RESOLVE: Form = Form {
    name: "resolve",
    arguments: "IMAGE [flags] [-- ARGUMENT...]",
    count: Count::AtLeast(1),
    about: "look up what IMAGE runs, and tell it with the way there; with the flags of the lookup, -o and -source",
};

/// `doctor`, likewise.
const DOCTOR: Form = Form {
    name: "doctor",
    arguments: "[IMAGE] [flags]",
    count: Count::Any,
    about: "check what a lookup needs in this pod, with a fix per line, and look IMAGE up; with the flags of the lookup and -o",
};

/// All subcommands, in the order in which help shows them.
pub(super) const FORMS: [Form; 8] = [RUN_IMAGE, RESOLVE, DOCTOR, INIT, CP, STEP_INIT, DECODE_SCRIPT, VERSION];

/// A subcommand that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SubcommandFault {
    #[error("{} takes {}, got {got}: entrypoint {form}", form.name, form.count)]
    Count { form: Form, got: usize },
    #[error("{} takes the image first: entrypoint {form}", form.name)]
    NoImage { form: Form },
    #[error(
        "{} has no use for {argument:?} before `--`: what the image's program is to get stands behind `--`, as in \
         entrypoint {form}",
        form.name
    )]
    Argument { form: Form, argument: OsString },
    #[error("{} has no use for {argument:?}: entrypoint {form}", form.name)]
    NoUse { form: Form, argument: OsString },
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.arguments.is_empty() { "" } else { " " };
        write!(f, "{}{space}{}", self.name, self.arguments)
    }
}

/// A subcommand for people and pod templates: it is one only as the very first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForPeople<'a> {
    Version,
    RunImage(OfImage<'a>),
    Resolve(OfImage<'a>),
    Doctor {
        form: Form,
        /// The image, where one is named.
        image: Option<&'a OsString>,
        /// Flags.
        rest: &'a [OsString],
    },
}

/// The arguments of a subcommand about an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OfImage<'a> {
    pub(super) form: Form,
    pub(super) image: &'a OsString,
    /// Flags, then `--` and the arguments of the image's program.
    pub(super) rest: &'a [OsString],
}

/// Splits the arguments of a subcommand about an image.
fn of_image(form: Form, args: &[OsString]) -> Result<OfImage<'_>, SubcommandFault> {
    match args {
        [image, rest @ ..] if !image.is_empty() && !image.as_encoded_bytes().starts_with(b"-") => {
            Ok(OfImage { form, image, rest })
        }
        _ => Err(SubcommandFault::NoImage { form }),
    }
}

/// What the first of all arguments asks for, if it is a subcommand for people.
pub(super) fn for_people(args: &[OsString]) -> Result<Option<ForPeople<'_>>, SubcommandFault> {
    let [name, rest @ ..] = args else { return Ok(None) };
    if name == RUN_IMAGE.name {
        return of_image(RUN_IMAGE, rest).map(|args| Some(ForPeople::RunImage(args)));
    }
    if name == RESOLVE.name {
        return of_image(RESOLVE, rest).map(|args| Some(ForPeople::Resolve(args)));
    }
    if name == DOCTOR.name {
        let (image, rest) = match of_image(DOCTOR, rest) {
            Ok(OfImage { image, rest, .. }) => (Some(image), rest),
            // Flags, or nothing: there is no image.
            Err(_) => (None, rest),
        };
        return Ok(Some(ForPeople::Doctor { form: DOCTOR, image, rest }));
    }
    if name != VERSION.name {
        return Ok(None);
    }
    match rest.len() {
        0 => Ok(Some(ForPeople::Version)),
        got => Err(SubcommandFault::Count { form: VERSION, got }),
    }
}

/// Refuses what stands between the flags of a subcommand about an image and `--`.
pub(super) fn no_positionals(form: Form, positionals: &[OsString]) -> Result<(), SubcommandFault> {
    match positionals.first() {
        None => Ok(()),
        Some(argument) => Err(SubcommandFault::Argument { form, argument: argument.clone() }),
    }
}

/// Refuses what stands behind the flags of `doctor`: it runs nothing that could have arguments.
pub(super) fn nothing_else(form: Form, arguments: &[OsString]) -> Result<(), SubcommandFault> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(SubcommandFault::NoUse { form, argument: argument.clone() }),
    }
}

/// What the positional arguments ask an init container to do. `None` when they name no subcommand; an error when they
/// name one with another number of arguments.
pub(super) fn setup(positionals: &[OsString]) -> Option<Result<SetupCommand, SubcommandFault>> {
    let [name, rest @ ..] = positionals else { return None };
    let form = [CP, INIT, STEP_INIT, DECODE_SCRIPT].into_iter().find(|form| name == form.name)?;
    let command = match (form.name, rest) {
        ("cp", [source, destination]) => {
            Some(SetupCommand::Copy { source: source.into(), destination: destination.into() })
        }
        ("init", [source, destination, steps @ ..]) => {
            Some(SetupCommand::Init { source: source.into(), destination: destination.into(), steps: steps.to_vec() })
        }
        ("step-init", steps) => Some(SetupCommand::StepInit { steps: steps.to_vec() }),
        ("decode-script", [file]) => Some(SetupCommand::DecodeScript { file: file.into() }),
        _ => None,
    };
    Some(command.ok_or(SubcommandFault::Count { form, got: rest.len() }))
}

#[cfg(test)]
mod tests {
    use super::super::step::Built;
    use super::super::{Invocation, UsageError, parse_with};
    use super::*;
    use crate::spec::{Format, ImageSource};

    fn os(args: &[&str]) -> Vec<OsString> {
        args.iter().map(OsString::from).collect()
    }

    fn read(args: &[&str]) -> Result<Invocation, UsageError> {
        parse_with(&os(&[&["entrypoint"], args].concat()), Built { lookup: true })
    }

    #[test]
    fn resolve_takes_an_image_the_flags_of_the_lookup_a_format_and_arguments() {
        for (args, format, rest) in [
            (&["resolve", "a/b"][..], Format::Text, &[][..]),
            (&["resolve", "a/b", "-o", "text", "--"], Format::Text, &[]),
            (&["resolve", "a/b", "-o=json", "--", "x", "-o"], Format::Json, &["x", "-o"]),
            (&["resolve", "a/b", "-image_lookup_timeout=5s", "--o", "json"], Format::Json, &[]),
        ] {
            match read(args) {
                Ok(Invocation::Resolve { lookup, args: arguments, format: read }) => {
                    assert_eq!((lookup.image.as_str(), arguments, read), ("a/b", os(rest), format), "{args:?}");
                }
                other => panic!("{args:?}: {other:?}"),
            }
        }
        for (args, sources) in [
            (&["resolve", "a"][..], &[ImageSource::Registry][..]),
            (&["resolve", "a", "--source", "docker"], &[ImageSource::Docker]),
            (&["resolve", "a", "-image_sources=docker,registry"], &[ImageSource::Docker, ImageSource::Registry]),
            (&["resolve", "a", "-source=registry", "-image_sources=docker,registry"], &[ImageSource::Registry]),
        ] {
            match read(args) {
                Ok(Invocation::Resolve { lookup, .. }) => assert_eq!(lookup.sources, sources, "{args:?}"),
                other => panic!("{args:?}: {other:?}"),
            }
        }
        assert!(matches!(read(&["resolve", "a", "-h"]), Ok(Invocation::Help(_))));
    }

    #[test]
    fn resolve_refuses_what_it_has_no_use_for() {
        let no_image = "resolve takes the image first: entrypoint resolve IMAGE [flags] [-- ARGUMENT...]";
        for (args, expected) in [
            (&["resolve"][..], no_image),
            (&["resolve", "-o", "json", "a"], no_image),
            (&["resolve", "a", "-o", "yaml"], "invalid value \"yaml\" for flag -o: write text or json"),
            (
                &["resolve", "a", "-source", "podman"],
                "invalid value \"podman\" for flag -source: write registry or docker",
            ),
            (&["resolve", "a", "-post_file=/o"], "flag provided but not defined: -post_file"),
            (
                &["resolve", "a", "b"],
                "resolve has no use for \"b\" before `--`: what the image's program is to get stands behind `--`, as in \
                 entrypoint resolve IMAGE [flags] [-- ARGUMENT...]",
            ),
        ] {
            assert_eq!(read(args).map_err(|error| error.message), Err(expected.to_owned()), "{args:?}");
        }
        assert_eq!(
            read(&["run-image", "a", "-source=docker"]).unwrap_err().message,
            "flag provided but not defined: -source"
        );
        // A step and run-image have no -o, and anywhere else resolve is a word like any other.
        for args in [&["-o", "json"][..], &["run-image", "a", "-o", "json"]] {
            assert_eq!(read(args).unwrap_err().message, "flag provided but not defined: -o");
        }
        let Ok(Invocation::Step(step)) = read(&["-timeout=5s", "resolve", "a"]) else { panic!("a step") };
        assert_eq!(step.ignored, os(&["resolve", "a"]));
    }
}
