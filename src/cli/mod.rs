//! The command line: Go-style flags, through clap, to an invocation.
//!
//! Pure: argv in, a value out. `grammar` cuts argv by Go's rules and hands clap one `--name=value` per setting,
//! `flags` defines the flags, `value` their values, `step` what they mean together.

mod duration;
mod endpoint;
mod flags;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grammar;
mod help;
#[doc(hidden)]
pub mod reference;
mod step;
mod subcommand;
mod value;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{ArgMatches, Command};

use self::flags::{DEFAULT_TERMINATION_PATH, OfStep, POST_FILE, Refused, TERMINATION_PATH};
use self::grammar::{End, SyntaxFault};
use self::step::{Built, StepFault, not_empty};
use self::subcommand::{ForPeople, Form, OfImage, SubcommandFault};
use crate::spec::{CommandSource, DoctorSpec, Format, ImagePin, LookupSpec, SetupCommand, StepSpec};
use crate::sys::cause::chain;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Run a step.
    Step(Box<StepSpec>),
    /// Prepare a pod's shared directories.
    Setup(SetupCommand),
    /// Look up what an image runs, and become that.
    RunImage {
        /// The image, and how to ask for it.
        lookup: Box<LookupSpec>,
        /// The arguments for its program.
        args: Vec<OsString>,
    },
    /// Look up what an image runs, and tell it with the way there.
    Resolve {
        /// The image, and how to ask for it.
        lookup: Box<LookupSpec>,
        /// The arguments that a step would have.
        args: Vec<OsString>,
        /// How to tell it.
        format: Format,
    },
    /// Check what a lookup needs in this pod.
    Doctor {
        /// What is looked at.
        spec: Box<DoctorSpec>,
        /// How to tell it.
        format: Format,
    },
    /// Say which version this is.
    Version,
    /// Print this text, on stderr, and succeed.
    Help(String),
}

/// The command line cannot be followed. Its `Display` is one sentence; the process exits 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    /// What is wrong.
    pub message: String,
    /// The post file, as far as it could be found: its `.err` must be written, or the next step waits for ever.
    pub post_file: Option<PathBuf>,
    /// Where the message goes: as far as it could be found, else the default. `None` for what is no step.
    pub termination_path: Option<PathBuf>,
}

impl UsageError {
    /// Where to read more: the line after the sentence.
    #[must_use]
    pub fn usage_hint(&self) -> &'static str {
        "Run 'entrypoint -help' for the flags and subcommands."
    }
}

/// Everything that can be wrong with a command line.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Syntax(#[from] SyntaxFault),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Step(#[from] StepFault),
    #[error(transparent)]
    Subcommand(#[from] SubcommandFault),
    /// In what is no step, and so has no report.
    #[error(transparent)]
    ForPeople(Box<Self>),
}

/// Reads the command line. The first element is the program's own name.
///
/// # Errors
///
/// The first mistake in argv, in Go's words where Go would find it too, with the places where a failure is reported.
pub fn parse(argv: &[OsString]) -> Result<Invocation, UsageError> {
    parse_with(argv, Built { lookup: cfg!(feature = "lookup") })
}

fn parse_with(argv: &[OsString], built: Built) -> Result<Invocation, UsageError> {
    let args = argv.get(1..).unwrap_or_default();
    read(args, built).map_err(|fault| {
        if let Fault::ForPeople(fault) = &fault {
            return UsageError { message: chain(fault.as_ref()), post_file: None, termination_path: None };
        }
        let (ours, _) = grammar::cut(args);
        let defined = OfStep::default();
        let last = |flag| grammar::last_value(ours, |name| defined.kind(name), flag).map(PathBuf::from);
        UsageError {
            message: chain(&fault),
            post_file: last(POST_FILE).and_then(not_empty),
            termination_path: Some(last(TERMINATION_PATH).unwrap_or_else(|| DEFAULT_TERMINATION_PATH.into())),
        }
    })
}

fn read(args: &[OsString], built: Built) -> Result<Invocation, Fault> {
    let for_people = |fault: Fault| Fault::ForPeople(Box::new(fault));
    match subcommand::for_people(args).map_err(|fault| for_people(fault.into()))? {
        Some(ForPeople::Version) => return Ok(Invocation::Version),
        Some(ForPeople::RunImage(args)) => return run_image(args, built).map_err(for_people),
        Some(ForPeople::Resolve(args)) => return resolve(args, built).map_err(for_people),
        Some(ForPeople::Doctor { form, image, rest }) => return doctor(form, image, rest, built).map_err(for_people),
        None => {}
    }
    let (ours, steps) = grammar::cut(args);
    let defined = OfStep::default();
    let (settings, end) = grammar::scan(ours, |name| defined.kind(name));
    // What places the program in a pod is called without flags, often from a disk that has yet to be read.
    if let (End::Positionals(positionals), []) = (&end, &settings[..])
        && let Some(Ok(setup)) = subcommand::setup(positionals)
    {
        return Ok(Invocation::Setup(setup));
    }
    // Go sets each flag as it comes: a bad value is found before whatever is wrong behind it.
    let matches = defined.matches(&settings)?;
    let positionals = match end {
        End::Positionals(positionals) => positionals,
        End::Help => return Ok(help()),
        End::Broken(fault) => return Err(fault.into()),
    };
    let miscounted = match subcommand::setup(positionals) {
        Some(Ok(setup)) => return Ok(Invocation::Setup(setup)),
        Some(Err(fault)) => Some(fault),
        None => None,
    };
    let step = step::step(matches, built, positionals, steps)?;
    match (miscounted, &step.command) {
        // Tekton goes on as a step here, and fails for want of a command.
        (Some(fault), CommandSource::PlatformTable) => Err(fault.into()),
        (_, CommandSource::PlatformTable | CommandSource::Given(_) | CommandSource::Image(_)) => {
            Ok(Invocation::Step(Box::new(step)))
        }
    }
}

/// `run-image IMAGE`, with the flags of the lookup and no others.
fn run_image(given: OfImage<'_>, built: Built) -> Result<Invocation, Fault> {
    let Some((flags, args)) = of_image(given, flags::lookup_command())? else { return Ok(help()) };
    let lookup = step::lookup_of(flags, given.image, built)?;
    Ok(Invocation::RunImage { lookup: Box::new(lookup), args })
}

/// `resolve IMAGE`, with the flags of the lookup and its own.
fn resolve(given: OfImage<'_>, built: Built) -> Result<Invocation, Fault> {
    let Some((mut flags, args)) = of_image(given, flags::resolve_command())? else { return Ok(help()) };
    let format = flags.remove_one("o").unwrap_or_default();
    let source = flags.remove_one("source");
    let mut lookup = by_a_person(step::lookup_of(flags, given.image, built)?);
    if let Some(source) = source {
        lookup.sources = vec![source];
    }
    Ok(Invocation::Resolve { lookup: Box::new(lookup), args, format })
}

/// `doctor [IMAGE]`, with the flags of the lookup and its own.
fn doctor(form: Form, image: Option<&OsString>, rest: &[OsString], built: Built) -> Result<Invocation, Fault> {
    let Some((mut flags, args)) = flags_and_args(form, rest, flags::doctor_command(), subcommand::nothing_else)? else {
        return Ok(help());
    };
    subcommand::nothing_else(form, &args)?;
    let format = flags.remove_one("o").unwrap_or_default();
    let lookup = by_a_person(step::lookup_of(flags, image.map_or(OsStr::new(""), OsString::as_os_str), built)?);
    Ok(Invocation::Doctor { spec: Box::new(DoctorSpec::new(lookup)), format })
}

/// A person asks from some other container than the one that would run it.
fn by_a_person(mut lookup: LookupSpec) -> LookupSpec {
    lookup.termination_paths.clear();
    if lookup.pin == ImagePin::Offered {
        lookup.pin = ImagePin::Registry;
    }
    lookup
}

fn help() -> Invocation {
    Invocation::Help(help::text(&flags::command()))
}

/// What stands behind the image: flags, and the arguments of its program. `None` when help is asked for.
fn of_image(given: OfImage<'_>, command: Command) -> Result<Option<(ArgMatches, Vec<OsString>)>, Fault> {
    flags_and_args(given.form, given.rest, command, subcommand::no_positionals)
}

/// Flags, and what stands behind `--`; what stands between them is for `positionals` to refuse. `None` when help is asked
/// for.
fn flags_and_args(
    form: Form,
    rest: &[OsString],
    command: Command,
    positionals: fn(Form, &[OsString]) -> Result<(), SubcommandFault>,
) -> Result<Option<(ArgMatches, Vec<OsString>)>, Fault> {
    let (ours, args) = match rest {
        [separator, args @ ..] if separator == "--" => (&[][..], args),
        rest => grammar::cut(rest),
    };
    let (settings, end) = grammar::scan(ours, |name| flags::kind(&command, name));
    let matches = flags::matches(command, &settings)?;
    match end {
        End::Positionals(found) => positionals(form, found)?,
        End::Help => return Ok(None),
        End::Broken(fault) => return Err(fault.into()),
    }
    Ok(Some((matches, args.to_vec())))
}

#[cfg(test)]
mod lookup_tests;
#[cfg(test)]
mod subcommand_tests;
#[cfg(test)]
mod tests;
