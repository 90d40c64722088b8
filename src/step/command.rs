//! What to execute: the argv of a step, the file that its first word names, and the platform table of the controller.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::host::Env;
use crate::image::{Platform, shown};

/// The environment variable in which Tekton's controller names the command per platform.
pub const PLATFORM_TABLE: &str = "TEKTON_PLATFORM_COMMANDS";

/// Why there is nothing that could be executed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no platform table.
    #[error(
        "no command: give -entrypoint PROGRAM, or -image IMAGE to look the command up, or have the controller set \
         {PLATFORM_TABLE}; unexpected end of JSON input"
    )]
    NoTable,
    /// The platform table is no JSON object of string lists.
    #[error("{PLATFORM_TABLE} cannot be read: a JSON object such as {{\"linux/amd64\":[\"/bin/app\"]}} is expected")]
    BadTable(#[source] serde_json::Error),
    /// The platform table has no entry for this machine.
    #[error("could not find command for platform \"{platform}\": {PLATFORM_TABLE} has {}", one_of(.known))]
    NoPlatform {
        /// This machine's platform.
        platform: String,
        /// Those that the table has.
        known: Vec<String>,
    },
    /// The program was not found in `PATH`.
    #[error("exec: {program:?}: executable file not found in $PATH; {hint}")]
    NotFound {
        /// The program.
        program: OsString,
        /// What `PATH` is, or what stood in the way.
        hint: String,
    },
    /// The program was found through a relative entry of `PATH`, which would run whatever lies in the working directory.
    #[error(
        "exec: {program:?}: cannot run executable found relative to current directory; name it with a path, or have \
         only absolute directories in PATH"
    )]
    Relative {
        /// The program.
        program: OsString,
    },
    /// The image's config has neither ENTRYPOINT nor CMD.
    #[error(
        "image {image} has neither ENTRYPOINT nor CMD, so it does not say what to run: add `command: [\"/path/to/program\"]` \
         to the step, or build the image with an ENTRYPOINT"
    )]
    NoCommand {
        /// The image.
        image: String,
    },
    /// An argument or a variable holds a NUL byte, which no process can be given.
    #[error("an argument or an environment variable of the step holds a NUL byte: {}", shown(&.0.to_string_lossy().replace('\0', "\\0"), 4096))]
    Nul(OsString),
}

/// `linux/amd64, linux/arm64`, or that there is nothing.
fn one_of(known: &[String]) -> String {
    if known.is_empty() { "no entry at all".to_owned() } else { known.join(", ") }
}

/// A program that is ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file.
    pub path: CString,
    /// Its arguments, the first being its name as written.
    pub argv: Vec<CString>,
    /// Its environment, as `NAME=value`.
    pub environment: Vec<CString>,
}

impl Program {
    /// Finds the program that `argv` names, with `PATH` as it is in `env`. An `argv` that is empty is no program.
    ///
    /// # Errors
    /// When the name has no `/` and `PATH` does not lead to it, or a text holds a NUL byte.
    pub fn find(argv: &[OsString], env: &Env) -> Result<Option<Self>, CommandError> {
        let Some(program) = argv.first() else { return Ok(None) };
        let path = if program.as_bytes().contains(&b'/') {
            PathBuf::from(program)
        } else {
            search(program, env.get("PATH"), is_executable)?
        };
        let argv = argv.iter().map(|word| c_string(word.clone())).collect::<Result<_, _>>()?;
        let environment = env.iter().map(|(name, value)| {
            let mut variable = name.to_owned();
            variable.push("=");
            variable.push(value);
            c_string(variable)
        });
        let environment = environment.collect::<Result<_, _>>()?;
        Ok(Some(Self { path: c_string(path.into_os_string())?, argv, environment }))
    }

    /// The file, as a path.
    #[must_use]
    pub fn file(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.path.as_bytes()))
    }
}

fn c_string(text: OsString) -> Result<CString, CommandError> {
    CString::new(text.into_vec()).map_err(|error| CommandError::Nul(OsString::from_vec(error.into_vec())))
}

/// Go's search (`os/exec.LookPath`): no default for an empty `PATH`, and a hit in a relative directory is refused.
fn search(
    program: &OsStr,
    path: Option<&OsStr>,
    is_executable: impl Fn(&Path) -> bool,
) -> Result<PathBuf, CommandError> {
    let not_found = |hint: String| CommandError::NotFound { program: program.to_owned(), hint };
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return Err(not_found("PATH is not set: name the program with its path".to_owned()));
    };
    if program.is_empty() {
        return Err(not_found("the command's first word is empty".to_owned()));
    }
    for directory in path.as_bytes().split(|byte| *byte == b':') {
        let directory = if directory.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(directory)) };
        let candidate = directory.join(program);
        if is_executable(&candidate) {
            if directory.is_absolute() {
                return Ok(candidate);
            }
            return Err(CommandError::Relative { program: program.to_owned() });
        }
    }
    Err(not_found(format!("PATH is {}: does this step's image contain the program?", path.display())))
}

/// Whether a file can be executed by us, as far as its mode tells.
fn is_executable(file: &Path) -> bool {
    use nix::fcntl::{AT_FDCWD, AtFlags};
    use nix::unistd::{AccessFlags, faccessat};

    let Ok(metadata) = file.metadata() else { return false };
    if metadata.is_dir() {
        return false;
    }
    match faccessat(AT_FDCWD, file, AccessFlags::X_OK, AtFlags::AT_EACCESS) {
        Ok(()) => true,
        // A kernel or a sandbox without the call: the mode has to do.
        Err(nix::errno::Errno::ENOSYS | nix::errno::Errno::EPERM) => metadata.mode() & 0o111 != 0,
        Err(_) => false,
    }
}

/// This machine's platform in Go's words, as Tekton's entrypoint names it: `linux/amd64`, `linux/arm64/v8`.
#[must_use]
pub fn machine() -> String {
    let platform = Platform::host();
    match platform.architecture.as_str() {
        // Which one it is cannot be told from here, and Go's library says so.
        "arm" => format!("{platform}/unknown"),
        _ => platform.to_string(),
    }
}

/// The command that the platform table has for `platform`: an entry for exactly it, or for it without its variant; else
/// the variant that fits best, which is an intended difference to Tekton: what the table has is what kubelet could pull
/// for this machine. An entry that is `null` is an empty command.
///
/// # Errors
/// When there is no table, it cannot be read, or it has no such entry.
pub fn from_table(table: Option<&OsStr>, platform: &str) -> Result<Vec<OsString>, CommandError> {
    let table = table.filter(|table| !table.is_empty()).ok_or(CommandError::NoTable)?;
    let mut table: BTreeMap<String, Option<Vec<String>>> =
        serde_json::from_slice(table.as_bytes()).map_err(CommandError::BadTable)?;
    let without_variant = platform.rsplit_once('/').map_or(platform, |(rest, _)| rest);
    let key = [platform, without_variant].into_iter().find(|key| table.contains_key(*key)).map(str::to_owned);
    let key = key.or_else(|| nearest(platform, table.keys()).map(str::to_owned));
    match key.and_then(|key| table.remove(&key)) {
        Some(command) => Ok(command.unwrap_or_default().into_iter().map(OsString::from).collect()),
        None => Err(CommandError::NoPlatform { platform: platform.to_owned(), known: table.into_keys().collect() }),
    }
}

/// The key whose variant fits this machine best. Windows' keys have a version behind a colon, and are not for us.
fn nearest<'a>(platform: &str, keys: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let platform = platform.strip_suffix("/unknown").unwrap_or(platform).parse::<Platform>().ok()?;
    let fit = |key: &String| key.parse().ok().and_then(|offered| platform.fit(&offered));
    keys.filter_map(|key| Some((fit(key)?, key))).max_by_key(|(fit, _)| *fit).map(|(_, key)| key.as_str())
}

/// What an image runs, by Tekton's rule: its ENTRYPOINT, with its CMD only where the step has no arguments of its own.
/// Without an ENTRYPOINT its CMD is the command, and the step's arguments, which follow in any case, are appended to it.
///
/// # Errors
/// When the image has neither.
pub fn of_image(
    image: &str,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    has_args: bool,
) -> Result<Vec<OsString>, CommandError> {
    let words = match (entrypoint.is_empty(), cmd.is_empty()) {
        (true, true) => return Err(CommandError::NoCommand { image: image.to_owned() }),
        (true, false) => cmd,
        (false, _) if has_args => entrypoint,
        (false, _) => [entrypoint, cmd].concat(),
    };
    Ok(words.into_iter().map(OsString::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(json: &str, platform: &str) -> Result<Vec<OsString>, String> {
        from_table(Some(OsStr::new(json)), platform).map_err(|error| error.to_string())
    }

    #[test]
    fn the_table_is_asked_for_the_platform_then_without_its_variant() {
        let both = r#"{"linux/arm64/v8":["a"],"linux/arm64":["b"]}"#;
        assert_eq!(table(both, "linux/arm64/v8").unwrap(), ["a"]);
        assert_eq!(table(r#"{"linux/arm64":["b","c"]}"#, "linux/arm64/v8").unwrap(), ["b", "c"]);
        assert_eq!(table(r#"{"linux/amd64":null}"#, "linux/amd64").unwrap(), [""; 0]);
        assert_eq!(table(r#"{"linux/amd64":[]}"#, "linux/amd64").unwrap(), [""; 0]);
    }

    #[test]
    fn a_table_with_a_variant_only_serves_a_machine_that_names_none() {
        for (json, platform, expected) in [
            (r#"{"linux/amd64/v1":["a"]}"#, "linux/amd64", "a"),
            (r#"{"linux/amd64/v3":["c"],"linux/amd64/v2":["b"]}"#, "linux/amd64", "b"),
            (r#"{"linux/arm/v7":["v7"],"linux/arm/v6":["v6"]}"#, "linux/arm/unknown", "v7"),
            (r#"{"linux/arm/v6":["v6"],"linux/arm/v5":["v5"]}"#, "linux/arm/unknown", "v6"),
            (r#"{"linux/arm64/v8":["a"]}"#, "linux/arm64", "a"),
            (r#"{"linux/amd64/v2":["b"],"linux/amd64":["a"]}"#, "linux/amd64", "a"),
        ] {
            assert_eq!(table(json, platform).unwrap(), [expected], "{json} {platform}");
        }
        for (json, platform) in [
            (r#"{"linux/arm64/v9":["a"]}"#, "linux/arm64/v8"),
            (r#"{"windows/amd64:10.0.1":["a"]}"#, "linux/amd64"),
            (r#"{"linux/386":["a"]}"#, "linux/amd64"),
        ] {
            assert!(table(json, platform).unwrap_err().starts_with("could not find command for platform"), "{json}");
        }
    }

    #[test]
    fn a_table_without_this_platform_says_what_it_has() {
        let error = table(r#"{"linux/s390x":["a"],"linux/arm/v7":["a"]}"#, "linux/amd64").unwrap_err();
        assert_eq!(
            error,
            "could not find command for platform \"linux/amd64\": TEKTON_PLATFORM_COMMANDS has linux/arm/v7, linux/s390x"
        );
        assert!(table("{}", "linux/amd64").unwrap_err().ends_with("no entry at all"));
    }

    #[test]
    fn a_malformed_table_is_named_with_the_form_that_is_expected() {
        for json in ["[", "[]", r#"{"linux/amd64":"sh"}"#, r#"{"linux/amd64":[1]}"#] {
            assert!(table(json, "linux/amd64").unwrap_err().starts_with("TEKTON_PLATFORM_COMMANDS cannot be read"));
        }
    }

    #[test]
    fn no_table_at_all_names_the_three_ways_to_give_a_command() {
        for absent in [None, Some(OsStr::new(""))] {
            let error = from_table(absent, "linux/amd64").unwrap_err().to_string();
            for part in ["-entrypoint", "-image", "TEKTON_PLATFORM_COMMANDS", "unexpected end of JSON input"] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn an_image_runs_its_entrypoint_else_its_cmd() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (entrypoint, cmd, has_args, expected) in [
            ("/app -v", "serve", false, "/app -v serve"),
            ("/app -v", "serve", true, "/app -v"),
            ("/app", "", false, "/app"),
            ("", "sh -c", false, "sh -c"),
            ("", "sh -c", true, "sh -c"),
        ] {
            let command = of_image("x", words(entrypoint), words(cmd), has_args).unwrap();
            assert_eq!(
                command,
                words(expected).into_iter().map(OsString::from).collect::<Vec<_>>(),
                "{entrypoint:?} {cmd:?} {has_args}"
            );
        }
        let error = of_image("ghcr.io/a/b:1", Vec::new(), Vec::new(), true).unwrap_err().to_string();
        assert!(error.contains("ghcr.io/a/b:1 has neither") && error.contains("command: ["), "{error}");
    }

    #[test]
    fn the_search_of_path_is_go_s() {
        let found = |program: &str, path: Option<&str>, executables: &[&str]| {
            let executables: Vec<PathBuf> = executables.iter().map(PathBuf::from).collect();
            search(OsStr::new(program), path.map(OsStr::new), |file| executables.iter().any(|known| known == file))
                .map(|path| path.display().to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(found("x", Some("/a:/b"), &["/b/x", "/c/x"]).unwrap(), "/b/x");
        assert!(found("x", Some("/a:rel"), &["rel/x"]).unwrap_err().contains("relative to current directory"));
        assert!(found("x", Some("/a:"), &["./x"]).unwrap_err().contains("relative to current directory"));
        for (path, hint) in [(None, "PATH is not set"), (Some(""), "PATH is not set"), (Some("/a"), "PATH is /a")] {
            let error = found("x", path, &["/usr/bin/x"]).unwrap_err();
            assert!(error.starts_with("exec: \"x\": executable file not found in $PATH; "), "{error}");
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn the_environment_reaches_the_step_as_it_is() {
        let env: Env = [("=odd", "1"), ("A", ""), ("A", "2")].into_iter().collect();
        let program = Program::find(&["/bin/x".into(), "a b".into()], &env).unwrap().unwrap();
        let shown: Vec<&str> = program.environment.iter().map(|variable| variable.to_str().unwrap()).collect();
        assert_eq!(shown, ["=odd=1", "A=", "A=2"]);
        assert_eq!(program.file(), Path::new("/bin/x"));
    }

    #[test]
    fn a_nul_byte_is_shown_where_it_stands() {
        let error = Program::find(&["/bin/x".into(), "a\0b".into()], &Env::default()).unwrap_err().to_string();
        assert!(error.ends_with("a\\0b"), "{error}");
    }

    #[test]
    fn this_machine_has_a_platform() {
        assert!(machine().starts_with("linux/"));
    }
}
