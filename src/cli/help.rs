//! The help text, from the definitions of flags and subcommands.

use std::fmt::{self, Write};

use clap::{Arg, Command};

use super::flags;
use super::subcommand::FORMS;

const INTRODUCTION: &str = "\
entrypoint runs one step of a pipeline in its container: it waits for its turn, finds out what to run (if need be from
the image's registry), runs it as PID 1 should, and leaves the files by which the next step and the controller learn
how it ended.

Usage:
  entrypoint [flags] -- [ARGUMENT...]
      run a step; what stands behind the first -- goes to the step's program as it is
";

pub(super) const GRAMMAR: &str = "
One dash or two, '-flag value' or '-flag=value'; a flag without a value takes one only with '='. Of a flag that is
given twice the last counts, unless it is repeatable. A flag without a default that is empty counts as not given.
";

/// What stands between a flag's help and its example.
pub(super) const EXAMPLE: &str = "\nExample: ";

/// How many columns a line of help takes at most.
const WIDTH: usize = 110;

/// The help, as it is printed.
pub(super) fn text(command: &Command) -> String {
    let mut text = INTRODUCTION.to_owned();
    // Writing to a String cannot fail.
    let _ = write_subcommands(&mut text).and_then(|()| write_flags(&mut text, command));
    text
}

fn write_subcommands(text: &mut String) -> fmt::Result {
    for form in FORMS {
        writeln!(text, "  entrypoint {form}\n      {}", form.about)?;
    }
    writeln!(text, "  entrypoint -help\n      print this")
}

fn write_flags(text: &mut String, command: &Command) -> fmt::Result {
    text.push_str(GRAMMAR);
    let mut heading = None;
    let resolve = flags::resolve_command();
    for arg in command.get_arguments().chain(of_resolve_alone(&resolve)) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            writeln!(text, "\n{}:", heading.unwrap_or_default())?;
        }
        write_flag(text, arg)?;
    }
    Ok(())
}

/// The flags that no step has: those of `resolve` without a heading are a step's too.
pub(super) fn of_resolve_alone(resolve: &Command) -> impl Iterator<Item = &Arg> {
    resolve.get_arguments().filter(|arg| arg.get_help_heading().is_some())
}

/// What stands for a flag's value. A boolean has none; clap gives it a name for its optional one.
pub(super) fn value_name(arg: &Arg) -> Option<&str> {
    let takes_one = arg.get_num_args().is_none_or(|range| range.min_values() > 0);
    arg.get_value_names().filter(|_| takes_one)?.first().map(|name| name.as_str())
}

fn write_flag(text: &mut String, arg: &Arg) -> fmt::Result {
    write!(text, "  -{}", arg.get_id())?;
    if let Some(name) = value_name(arg) {
        write!(text, " {name}")?;
    }
    if let [default] = arg.get_default_values() {
        write!(text, "  (default {})", default.display())?;
    }
    text.push('\n');
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.lines().try_for_each(|line| write_wrapped(text, "      ", line))
}

/// One paragraph, broken between words.
fn write_wrapped(text: &mut String, indent: &str, paragraph: &str) -> fmt::Result {
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        if column > 0 && column + 1 + word.len() <= WIDTH {
            write!(text, " {word}")?;
            column += 1 + word.len();
        } else {
            let end_of_line = if column > 0 { "\n" } else { "" };
            write!(text, "{end_of_line}{indent}{word}")?;
            column = indent.len() + word.len();
        }
    }
    writeln!(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_shows_every_flag_with_one_dash_and_every_subcommand() {
        let text = text(&flags::command());
        for arg in flags::command().get_arguments() {
            let flag = format!("-{}", arg.get_id());
            assert!(text.contains(&flag), "{flag}");
            assert!(!text.contains(&format!("-{flag}")), "{flag} with two dashes");
        }
        for line in [
            "  entrypoint [flags] -- [ARGUMENT...]\n",
            "  entrypoint resolve IMAGE [flags] [-- ARGUMENT...]\n",
            "\nHow resolve and doctor tell what they found:\n  -o FORMAT  (default text)\n",
            "  entrypoint doctor [IMAGE] [flags]\n",
            "  entrypoint init SRC DST [STEP...]\n",
            "  entrypoint cp SRC DST\n",
            "  entrypoint step-init [STEP...]\n",
            "  entrypoint decode-script FILE\n",
            "  entrypoint version\n",
            "\nWhat the step runs:\n  -entrypoint PROGRAM\n",
            "  -timeout DURATION  (default 0)\n",
            "  -wait_file_content  (default false)\n",
            "  -termination_path PATH  (default /tekton/termination)\n",
            "  -image_registry_certificate REGISTRY=PATH\n",
            "  -image_lookup_timeout DURATION  (default 30s)\n",
            "  -service_account_dir DIR  (default /var/run/secrets/kubernetes.io/serviceaccount)\n",
            "      Example: -wait_file /tekton/run/0/out\n",
            "\nHow its end is reported:\n",
            "  -enable_spire  (default false)\n",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
    }

    #[test]
    fn help_fits_a_wide_terminal_and_ends_with_a_line_break() {
        let text = text(&flags::command());
        assert!(text.lines().all(|line| line.len() <= 120 && line.trim_end() == line), "{text}");
        assert!(text.ends_with(" resolve busybox -source docker\n"), "{text}");
    }
}
