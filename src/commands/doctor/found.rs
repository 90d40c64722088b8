//! The whole lookup in one line.

use super::super::words::shell_line;
use super::row::{Check, Row};
use crate::lookup::{Failure, Found};
use crate::step::command;

/// What came of the lookup, and whether a step would have a command.
pub(super) fn row(result: &Result<Found, Failure>) -> (Row, Option<bool>) {
    let found = match result {
        Ok(found) => found,
        Err(failure) => {
            let fix =
                format!("entrypoint resolve {} tells every source and every request", shell_line(&[&failure.image]));
            return (Check::Lookup.problem(failure.summary(), fix), Some(false));
        }
    };
    let words = command::of_image(&found.image, found.entrypoint.clone(), found.cmd.clone(), false);
    let words = match words {
        Ok(words) => words,
        Err(error) => {
            let fix = "give the step a command, or take an image that has an ENTRYPOINT";
            return (Check::Lookup.problem(error.to_string(), fix), Some(false));
        }
    };
    let place = match (&found.daemon, &found.found_at) {
        (Some(daemon), _) => format!("{}, in the Docker daemon at {daemon}", found.image),
        (None, Some(at)) => format!("{}, found at {at}", found.image),
        (None, None) => found.image.clone(),
    };
    let credential = match (&found.daemon, &found.credential) {
        (Some(_), _) => String::new(),
        (None, Some(credential)) => format!("; credential: {credential}"),
        (None, None) => "; no credential was needed".to_owned(),
    };
    let platform = &found.platform;
    (Check::Lookup.ok(format!("runs {}: {place}, {platform}{credential}", shell_line(&words))), Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::{FoundAt, samples};

    fn found() -> Found {
        Found {
            image: "r.example/team/tool:v1".to_owned(),
            entrypoint: vec!["/app".to_owned(), "-v".to_owned()],
            cmd: vec!["serve it".to_owned()],
            ..samples::found()
        }
    }

    #[test]
    fn a_lookup_is_one_line() {
        let elsewhere = FoundAt { image: "m.example/tool:v1".to_owned(), because: "-image_registry_map".to_owned() };
        for (found, looked_up, line) in [
            (found(), true, "runs /app -v 'serve it': r.example/team/tool:v1, linux/amd64; no credential was needed"),
            (
                Found { credential: Some("pull secret ci/regcred".to_owned()), found_at: Some(elsewhere), ..found() },
                true,
                "runs /app -v 'serve it': r.example/team/tool:v1, found at m.example/tool:v1 (-image_registry_map), \
                 linux/amd64; credential: pull secret ci/regcred",
            ),
            (
                Found { daemon: Some("unix:///d.sock".to_owned()), ..found() },
                true,
                "runs /app -v 'serve it': r.example/team/tool:v1, in the Docker daemon at unix:///d.sock, linux/amd64",
            ),
            (
                Found { entrypoint: Vec::new(), cmd: Vec::new(), ..found() },
                false,
                "image r.example/team/tool:v1 has neither ENTRYPOINT nor CMD, ",
            ),
        ] {
            let (row, told) = row(&Ok(found));
            assert_eq!((row.says.starts_with(line), told), (true, Some(looked_up)), "{row:?}");
            assert_eq!(row.fix.is_none(), looked_up);
        }
        let (row, told) = row(&Err(Failure::of("a b", "no".to_owned())));
        assert_eq!(row.says, "cannot look up the command of image a b: no");
        assert_eq!(row.fix.as_deref(), Some("entrypoint resolve 'a b' tells every source and every request"));
        assert_eq!(told, Some(false));
    }
}
