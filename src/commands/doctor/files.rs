//! Files of credentials and of certificate authorities: where they are and what they are for.

use std::path::Path;

use super::identity;
use super::row::{Check, Row};
use crate::authn::inventory::{self, ConfigFile, Contents};
use crate::host::Host;
use crate::http::{Network, Proxies, RootPlace, RootsThere, Trust};
use crate::image::Reference;
use crate::spec::DoctorSpec;
use crate::sys::cause::chain;
use crate::sys::file;

/// How many keys of a document are listed.
const LISTED: usize = 8;

/// What the files are.
pub(super) fn rows(spec: &DoctorSpec, host: &Host) -> Vec<Row> {
    let mut rows = configs(&inventory::files(&host.env), spec.settings().exec_helpers);
    let reference = spec.image().and_then(|lookup| lookup.image.parse::<Reference>().ok());
    let registry = reference.as_ref().map(Reference::registry);
    let readable = |path: &Path| match file::head(path, 1) {
        Ok(_) => Ok(()),
        Err(error) => Err(chain(&error)),
    };
    rows.extend(identity::rows(&host.env, registry, &spec.settings().clouds, readable));
    let extra = &spec.settings().certificates;
    match Network::new(&host.env) {
        Ok(network) => {
            let usable = |path: &Path| {
                let trust = Trust { public_roots: false, extra: vec![path.to_owned()] };
                network.client(&trust, Proxies::Never).map(drop).map_err(|error| chain(&error))
            };
            rows.extend(roots(network.root_places(), Network::embedded_roots()));
            rows.extend(extra.iter().map(|(registry, path)| certificate(registry, path, usable(path))));
        }
        Err(error) => rows.push(Check::CaRoots.not_checked(chain(&error), "see the line of the proxy")),
    }
    rows
}

/// The lines of docker's and podman's files.
fn configs(files: &[ConfigFile], helpers_run: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for ConfigFile { kind, path, contents: found } in files {
        let Some(found) = found else { continue };
        let name = format!("{kind} {}", path.display());
        let row = contents(
            Check::ConfigFiles,
            &name,
            found,
            "write it anew (docker login, podman login), or take it away; its directory and mode must let this user read it",
        );
        let has_helpers = found.as_ref().is_ok_and(|found| !found.helpers.is_empty());
        if has_helpers && !helpers_run && row.fix.is_none() {
            let says = format!("{}; no helper is run", row.says);
            rows.push(Check::ConfigFiles.note(says, "-image_exec_helpers runs them, or use a pull secret"));
        } else {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        let looked: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
        rows.push(if looked.is_empty() {
            Check::ConfigFiles.note(
                "none is looked for: neither DOCKER_CONFIG nor HOME is set",
                "set HOME or DOCKER_CONFIG, if there is one",
            )
        } else {
            Check::ConfigFiles.ok(format!("there is none; looked for: {}", looked.join(", ")))
        });
    }
    rows
}

/// What a document of credentials is for.
pub(super) fn contents(check: Check, name: &str, found: &Result<Contents, String>, fix: &str) -> Row {
    let Contents { entries, helpers } = match found {
        Ok(contents) => contents,
        Err(reason) => return check.problem(format!("{name}: {reason}"), fix),
    };
    let listed = |texts: Vec<String>| {
        let more = texts.len().saturating_sub(LISTED);
        let end = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{end}", texts.into_iter().take(LISTED).collect::<Vec<_>>().join(", "))
    };
    let usable: Vec<String> =
        entries.iter().filter(|entry| entry.skipped.is_none()).map(|entry| entry.key.clone()).collect();
    let skipped: Vec<String> = entries
        .iter()
        .filter_map(|entry| entry.skipped.as_ref().map(|reason| format!("{} ({reason})", entry.key)))
        .collect();
    let mut parts = Vec::new();
    if !usable.is_empty() {
        parts.push(format!("for {}", listed(usable)));
    }
    if !helpers.is_empty() {
        parts.push(format!("helpers: {}", listed(helpers.clone())));
    }
    let broken = !skipped.is_empty();
    if broken {
        parts.push(format!("of no use: {}", listed(skipped)));
    }
    if parts.is_empty() {
        return check.note(format!("{name}: it has no entry"), fix);
    }
    let says = format!("{name}: {}", parts.join("; "));
    if broken { check.problem(says, fix) } else { check.ok(says) }
}

/// The line of the authorities, and one for each place that cannot be used.
fn roots(places: &[RootPlace], embedded: usize) -> Vec<Row> {
    let mut there = vec![format!("{embedded} are compiled in")];
    let mut rows = Vec::new();
    for RootPlace { path, variable, found } in places {
        let name = match variable {
            Some(variable) => format!("{variable}={}", path.display()),
            None => path.display().to_string(),
        };
        match (found, variable) {
            (RootsThere::Certificates(count), _) => there.push(format!("{count} in {name}")),
            (RootsThere::Absent, None) => {}
            (RootsThere::Absent, Some(_)) => rows.push(Check::CaRoots.problem(
                format!("{name}: there is no such file or directory, and it stands for the usual ones"),
                "mount it there, or unset the variable",
            )),
            (RootsThere::Unusable { reason }, Some(_)) => rows.push(Check::CaRoots.problem(
                format!("{name}: {reason}, and it stands for the usual ones"),
                "let it name PEM files that this user may read, or unset the variable",
            )),
            (RootsThere::Unusable { reason }, None) => rows.push(Check::CaRoots.note(
                format!("{name}: {reason}"),
                "harmless, unless a private authority was to be there: then let it be a PEM file that this user may read",
            )),
        }
    }
    rows.insert(0, Check::CaRoots.ok(there.join("; ")));
    rows
}

/// The line of a file of `-image_registry_certificate`.
fn certificate(registry: &str, path: &Path, usable: Result<(), String>) -> Row {
    let name = format!("-image_registry_certificate {registry}={}", path.display());
    match usable {
        Ok(()) => Check::CaRoots.ok(format!("{name} is trusted for {registry}")),
        Err(reason) => Check::CaRoots.problem(
            format!("{name}: {reason}"),
            "name a PEM file with the authority's certificate that this user may read",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::Verdict;
    use super::*;
    use crate::authn::inventory::Entry;

    fn told(rows: &[Row]) -> Vec<(Verdict, &str)> {
        assert!(rows.iter().all(|row| row.fix.is_some() == (row.verdict != Verdict::Ok)), "{rows:?}");
        rows.iter().map(|row| (row.verdict, row.says.as_str())).collect()
    }

    fn entry(key: &str) -> Entry {
        Entry { key: format!("\"{key}\""), skipped: None }
    }

    fn config(contents: Option<Result<Contents, String>>) -> Vec<ConfigFile> {
        vec![ConfigFile { kind: "docker config", path: "/h/config.json".into(), contents }]
    }

    #[test]
    fn config_files_are_told_with_their_keys_and_helpers() {
        let helped = Contents { entries: vec![entry("a")], helpers: vec!["docker-credential-x for \"b\"".to_owned()] };
        let many = Contents { entries: (0..10).map(|n| entry(&n.to_string())).collect(), helpers: Vec::new() };
        for (found, run, verdict, says) in [
            (None, false, Verdict::Ok, "there is none; looked for: /h/config.json"),
            (
                Some(Ok(helped.clone())),
                true,
                Verdict::Ok,
                "docker config /h/config.json: for \"a\"; helpers: docker-credential-x for \"b\"",
            ),
            (
                Some(Ok(helped)),
                false,
                Verdict::Note,
                "docker config /h/config.json: for \"a\"; helpers: docker-credential-x for \"b\"; no helper is run",
            ),
            (
                Some(Ok(many)),
                false,
                Verdict::Ok,
                "docker config /h/config.json: for \"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\" and 2 more",
            ),
            (Some(Ok(Contents::default())), false, Verdict::Note, "docker config /h/config.json: it has no entry"),
            (Some(Err("it is empty".to_owned())), false, Verdict::Problem, "docker config /h/config.json: it is empty"),
        ] {
            assert_eq!(told(&configs(&config(found), run)), [(verdict, says)]);
        }
        assert_eq!(configs(&[], false)[0].verdict, Verdict::Note);
    }

    #[test]
    fn authorities_are_told_with_where_they_are() {
        let place = |path: &str, variable, found| RootPlace { path: path.into(), variable, found };
        let unusable = || RootsThere::Unusable { reason: "it cannot be read: permission denied".to_owned() };
        let usual = [
            place("/a.crt", None, RootsThere::Absent),
            place("/b.crt", None, unusable()),
            place("/c.crt", None, RootsThere::Certificates(140)),
        ];
        assert_eq!(
            told(&roots(&usual, 3)),
            [
                (Verdict::Ok, "3 are compiled in; 140 in /c.crt"),
                (Verdict::Note, "/b.crt: it cannot be read: permission denied")
            ]
        );
        let named = [
            place("/b.crt", Some("SSL_CERT_FILE"), unusable()),
            place("/d", Some("SSL_CERT_DIR"), RootsThere::Absent),
            place("/e", Some("SSL_CERT_DIR"), RootsThere::Certificates(1)),
        ];
        assert_eq!(
            told(&roots(&named, 3)),
            [
                (Verdict::Ok, "3 are compiled in; 1 in SSL_CERT_DIR=/e"),
                (
                    Verdict::Problem,
                    "SSL_CERT_FILE=/b.crt: it cannot be read: permission denied, and it stands for the usual ones"
                ),
                (
                    Verdict::Problem,
                    "SSL_CERT_DIR=/d: there is no such file or directory, and it stands for the usual ones"
                ),
            ]
        );
        let rows = [
            certificate("r:5000", Path::new("/ca.pem"), Ok(())),
            certificate("r:5000", Path::new("/ca.pem"), Err("it is not a PEM file".to_owned())),
        ];
        let name = "-image_registry_certificate r:5000=/ca.pem";
        let expected = [format!("{name} is trusted for r:5000"), format!("{name}: it is not a PEM file")];
        assert_eq!(told(&rows), [(Verdict::Ok, expected[0].as_str()), (Verdict::Problem, expected[1].as_str())]);
    }
}
