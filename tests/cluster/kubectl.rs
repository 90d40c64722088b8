//! What can be known of a `kubectl` command line without running it: that `kubectl` has its verb and its flags.

use std::process::Command;

/// The words of a line of shell, as far as pages use it: quotes of both kinds, and no expansion.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    assert!(quote.is_none(), "an open quote: {line}");
    words.extend(word);
    words
}

/// What `kubectl` prints.
fn says(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("kubectl").args(arguments).env("KUBECONFIG", "/nonexistent").output().expect("kubectl starts");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether it has the newest flag of the pages: `--custom` is there without a switch since 1.32.
pub fn is_recent() -> bool {
    says(&["debug", "--help"]).is_some_and(|help| help.contains("--custom"))
}

/// `kubectl` has the verb, with what follows it where that is part of it, and every flag in front of `--`.
pub fn knows(command: &[String], place: &str) {
    let own = command.split(|word| word == "--").next().unwrap_or_default();
    let mut rest = own.iter().skip(1).map(String::as_str).skip_while(|word| word.starts_with('-'));
    // -n takes the namespace with it.
    let mut verb = rest.next().unwrap_or_else(|| panic!("{place}: no verb: {own:?}"));
    if own.get(1).is_some_and(|word| word == "-n") {
        verb = rest.next().unwrap_or_else(|| panic!("{place}: no verb: {own:?}"));
    }
    let next = rest.next().unwrap_or_default();
    let third = rest.next().unwrap_or_default();
    let longest = match verb {
        "create" if next == "secret" => vec![verb, next, third],
        "create" | "auth" | "rollout" if !next.starts_with('-') => vec![verb, next],
        _ => vec![verb],
    };
    let help =
        says(&[&longest[..], &["--help"]].concat()).unwrap_or_else(|| panic!("{place}: kubectl has no {longest:?}"));
    let usage = longest.iter().all(|word| help.contains(word));
    assert!(usage, "{place}: kubectl has no {longest:?}: {help}");
    let options = says(&["options"]).expect("kubectl's options");
    for flag in own.iter().filter(|word| word.starts_with('-') && *word != "-") {
        let flag = flag.split('=').next().unwrap_or_default();
        let known = |text: &str| {
            let starts = text.lines().map(str::trim_start);
            let mut named =
                starts.filter(|line| line.starts_with('-')).flat_map(|line| line.split([',', '=', ' ', ':']));
            named.any(|word| word == flag)
        };
        assert!(known(&help) || known(&options), "{place}: kubectl {longest:?} has no {flag}");
    }
}

#[test]
fn words_are_taken_apart_as_a_shell_does() {
    assert_eq!(words("a  'b c' \"d e\"f -p '[{\"x\": 1}]'"), ["a", "b c", "d ef", "-p", "[{\"x\": 1}]"]);
}
