//! docs/flags.md is what this makes of the definitions; `make flags` writes it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;

use entrypoint::cli;
use entrypoint::cli::reference::{self, Flag};

use super::{page, root};

const PAGE: &str = "docs/flags.md";

const INTRODUCTION: &str = "\
# Flags

Made from the definitions in [src/cli](../src/cli/flags.rs) by `make flags`; `entrypoint -help` tells the same. A test fails where this page
is another one.

*Whose*: **Tekton's** are the flags of its own entrypoint, and mean the same here, or [contract.md](contract.md) has the difference;
**ours** are beyond them. The rules of each flag stand there too, with their tests.
";

/// Who takes flags: a step, which has no word of its own, and the subcommands that take flags.
const TAKERS: [(&str, &[&str]); 4] = [
    ("a step", &[]),
    ("`run-image`", &["run-image", "busybox"]),
    ("`resolve`", &["resolve", "busybox"]),
    ("`doctor`", &["doctor", "busybox"]),
];

/// Who takes this flag, as the program's own reader says.
fn takers(flag: &str) -> Vec<&'static str> {
    let knows = |words: &[&str]| {
        let mut argv: Vec<OsString> = vec!["entrypoint".into()];
        argv.extend(words.iter().map(Into::into));
        argv.push(format!("-{flag}=x").into());
        cli::parse(&argv).err().is_none_or(|error| !error.message.starts_with("flag provided but not defined"))
    };
    TAKERS.into_iter().filter(|(_, words)| knows(words)).map(|(name, _)| name).collect()
}

/// Whose flag it is, by the document of the contract: one of which Tekton has nothing to say is ours.
fn whose(flag: &str, contract: &str) -> &'static str {
    let quoted = format!("`-{flag}`");
    let mut rows = contract.lines().filter_map(|line| line.strip_prefix("| ")).map(|row| row.split(" | "));
    let tekton = rows.find_map(|mut cells| cells.next().filter(|rule| rule.contains(&quoted)).and(cells.next()));
    match tekton {
        Some("–" | "none") => "ours",
        Some(_) => "Tekton's",
        None => panic!("docs/contract.md has no row for -{flag}"),
    }
}

/// Text in a cell of a table.
fn in_cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A piece of a command line in a cell.
fn code(text: &str) -> String {
    let fence = if text.contains('`') { "``" } else { "`" };
    format!("{fence}{}{fence}", in_cell(text))
}

/// Help in a cell: what people would type is code, and nothing else is markup.
fn prose(help: &str) -> String {
    let words = help.split(' ').map(|word| {
        let start = word.len() - word.trim_start_matches('(').len();
        let inner = word[start..].trim_end_matches([')', '.', ';', ',', ':']);
        let is_code = inner.starts_with('-') || inner.contains(['_', '/', '[', '<', '=', '*']);
        if inner.is_empty() || !is_code || inner == "'='" {
            return in_cell(word);
        }
        format!("{}{}{}", &word[..start], code(inner), in_cell(&word[start + inner.len()..]))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Who takes the flags of a group, once if they are the same for all.
fn taken_by(flags: &[&Flag]) -> String {
    let of_all: BTreeSet<Vec<&str>> = flags.iter().map(|flag| takers(&flag.name)).collect();
    match Vec::from_iter(of_all).as_slice() {
        [same] => format!("Taken by {}.", same.join(", ")),
        _ => {
            let each =
                flags.iter().map(|flag| format!("`-{}` is taken by {}", flag.name, takers(&flag.name).join(", ")));
            format!("{}.", each.collect::<Vec<_>>().join("; "))
        }
    }
}

fn row(flag: &Flag, contract: &str) -> String {
    let value = flag.value.as_ref().map(|value| format!(" {value}")).unwrap_or_default();
    let default = flag.default.as_deref().map(code).unwrap_or_default();
    format!(
        "| {} | {default} | {} | {}<br>{} |",
        code(&format!("-{}{value}", flag.name)),
        whose(&flag.name, contract),
        prose(&flag.help),
        code(&flag.example),
    )
}

/// The page.
fn render(contract: &str) -> String {
    let mut text = INTRODUCTION.to_owned();
    let grammar = reference::GRAMMAR.split_whitespace().collect::<Vec<_>>().join(" ");
    write!(text, "\n{grammar}\n\n## Subcommands\n\n| | |\n|---|---|\n").unwrap();
    writeln!(text, "| `entrypoint [flags] -- [ARGUMENT...]` | run a step |").unwrap();
    for subcommand in reference::subcommands() {
        writeln!(text, "| {} | {} |", code(&format!("entrypoint {}", subcommand.form)), prose(subcommand.about))
            .unwrap();
    }
    let flags = reference::flags();
    for group in flags.chunk_by(|one, next| one.group == next.group) {
        let group: Vec<&Flag> = group.iter().collect();
        write!(text, "\n## {}\n\n{}\n\n", group[0].group, taken_by(&group)).unwrap();
        text.push_str("| Flag | Default | Whose | |\n|---|---|---|---|\n");
        for flag in group {
            writeln!(text, "{}", row(flag, contract)).unwrap();
        }
    }
    text
}

#[test]
fn the_page_of_the_flags_is_made_from_their_definitions() {
    let made = render(&page("docs/contract.md"));
    if std::env::var("UPDATE").is_ok_and(|value| value == "1") {
        fs::write(root().join(PAGE), &made).unwrap();
    }
    let there = fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let other = made.lines().zip(there.lines().chain([""].into_iter().cycle())).find(|(made, there)| made != there);
    if made != there {
        panic!("{PAGE} is not what the flags say: run `make flags` and commit it\nfirst difference: {other:?}");
    }
}

#[test]
fn every_flag_has_a_taker_help_and_an_example() {
    let flags = reference::flags();
    assert!(flags.len() > 50, "{}", flags.len());
    for Flag { group, name, value, help, example, .. } in flags {
        assert!(!group.is_empty() && !help.is_empty() && example.contains(&format!("-{name}")), "{name}");
        assert!(!takers(&name).is_empty(), "{name}");
        assert_ne!(value.as_deref(), Some(""), "{name}");
    }
    assert_eq!(takers("post_file"), ["a step"]);
    assert_eq!(takers("image_pin"), ["a step", "`run-image`", "`resolve`", "`doctor`"]);
    assert_eq!(takers("o"), ["`resolve`", "`doctor`"]);
}

#[test]
fn whose_a_flag_is_comes_from_the_contract() {
    let contract = "| Rule | Tekton | Here | Test |\n| `-a` `-b` | `main`: x | same | `t::x` |\n| `-c` | – | ours | `t::x` |\n\
                    | `-d` | none | ours | `t::x` |\n";
    for (flag, expected) in [("a", "Tekton's"), ("b", "Tekton's"), ("c", "ours"), ("d", "ours")] {
        assert_eq!(whose(flag, contract), expected, "{flag}");
    }
    assert!(std::panic::catch_unwind(|| whose("e", contract)).is_err());
}

#[test]
fn help_is_written_so_that_nothing_in_it_is_markup() {
    for (help, expected) in [
        ("a b|c, d.", "a b\\|c, d."),
        ("see -post_file (of POST_FILE.err); with '='.", "see `-post_file` (of `POST_FILE.err`); with '='."),
        ("[http[s]://]host[:port], a<b>|c:", "`[http[s]://]host[:port]`, `a<b>\\|c`:"),
        ("step's - or", "step's `-` or"),
    ] {
        assert_eq!(prose(help), expected);
    }
}
