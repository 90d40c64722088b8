//! The definitions of flags and subcommands for whoever writes them down: docs/flags.md is made from them (tests/pages).

use clap::Arg;

use super::flags;
use super::help;
use super::subcommand::FORMS;

/// How flags are written, in a sentence or two.
pub const GRAMMAR: &str = help::GRAMMAR;

/// A subcommand, as help shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subcommand {
    /// How it is written.
    pub form: String,
    /// What it does.
    pub about: &'static str,
}

/// A flag, as help shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The group that it stands in.
    pub group: String,
    /// Its name, without dashes.
    pub name: String,
    /// What stands for its value; none of a boolean.
    pub value: Option<String>,
    /// What it has without being given.
    pub default: Option<String>,
    /// What it does.
    pub help: String,
    /// How it is used.
    pub example: String,
}

/// All subcommands, in help's order.
#[must_use]
pub fn subcommands() -> Vec<Subcommand> {
    FORMS.iter().map(|form| Subcommand { form: form.to_string(), about: form.about }).collect()
}

/// All flags, in help's order.
#[must_use]
pub fn flags() -> Vec<Flag> {
    let (command, resolve) = (flags::command(), flags::resolve_command());
    command.get_arguments().chain(help::of_resolve_alone(&resolve)).map(flag).collect()
}

fn flag(arg: &Arg) -> Flag {
    let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, example) = text.split_once(help::EXAMPLE).unwrap_or((&text, ""));
    let default = arg.get_default_values().first();
    Flag {
        group: arg.get_help_heading().unwrap_or_default().to_owned(),
        name: arg.get_id().to_string(),
        value: help::value_name(arg).map(str::to_owned),
        default: default.map(|default| default.display().to_string()),
        help: help.to_owned(),
        example: example.to_owned(),
    }
}
