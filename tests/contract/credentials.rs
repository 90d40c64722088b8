//! Section 16: what a step finds of its credentials, and what is said of those that it does not. The files are in
//! `tests/credentials.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{SH, assert_left, in_tekton, internal, lines};
use crate::skip;
use crate::step::{Ended, Step};

/// A step in `/tekton` with a home, a directory for credentials, and a secret of each type.
fn with_secrets() -> Option<Step> {
    let step = in_tekton()?;
    for (name, content) in [
        ("login/username", "me"),
        ("login/password", "hunter2\n"),
        ("key/ssh-privatekey", "KEY\n"),
        ("config/.dockerconfigjson", r#"{"auths":{"c.io":{"auth":"x","identitytoken":"t"}}}"#),
        ("cfg/.dockercfg", r#"{"l.io":{"auth":"y"}}"#),
    ] {
        let path = step.path("tekton/creds-secrets").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir(step.path("tekton/creds")).unwrap();
    fs::create_dir(step.path("home")).unwrap();
    let home = step.path("home").display().to_string();
    Some(step.env("HOME", &home))
}

const ALL: [&str; 5] = [
    "-basic-docker=login=b.io",
    "-docker-config=config",
    "-docker-cfg=cfg",
    "-basic-git=login=https://git.io",
    "-ssh-git=key=git.io",
];

/// Runs a shell script as the step.
fn sh(step: Step, script: &str) -> Ended {
    step.run(&[&SH[..], &["-c", script]].concat())
}

#[test]
fn a_step_finds_its_credentials_in_its_home() {
    let Some(step) = with_secrets() else { return };
    let ended = sh(
        step.flags(ALL),
        "cd; cat .docker/config.json; echo; cat .git-credentials .ssh/id_key; tail -n 1 .ssh/config",
    );
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!(ended.stderr, "");
    assert_eq!(
        ended.stdout,
        concat!(
            r#"{"auths":{"b.io":{"username":"me","password":"hunter2","auth":"bWU6aHVudGVyMg==","email":"not@val.id"},"#,
            r#""c.io":{"auth":"x","identitytoken":"t"},"l.io":{"auth":"y"}}}"#,
            "\nhttps://me:hunter2@git.io\nKEY\n    IdentityFile /tekton/creds/.ssh/id_key\n"
        )
    );
}

#[test]
fn the_umask_counts_for_directories_and_new_files() {
    let Some(step) = with_secrets() else { return };
    let step = step.under(&["sh", "-c", "umask 027; exec \"$@\"", "sh"]);
    let ended = sh(step.flags(ALL), "stat -c %a /tekton/creds/.ssh /tekton/creds/.ssh/config ~/.ssh ~/.ssh/config");
    assert_eq!(ended.stdout, "750\n600\n700\n600\n");
}

#[test]
fn a_secret_that_cannot_be_read_fails_the_step_and_releases_the_next_as_ours_does() {
    // Tekton exits with 2 as well, without a post file and without a message.
    for (flag, cause) in [
        ("-basic-git=none=https://other.io", "open /tekton/creds-secrets/none/username: no such file or directory"),
        ("-basic-docker=key=k.io", "open /tekton/creds-secrets/key/username: no such file or directory"),
        ("-ssh-git=none=git.io", "open /tekton/creds-secrets/none/ssh-privatekey: no such file or directory"),
        ("-ssh-git=none", "expect entries of the form secret=url, got: none"),
    ] {
        let Some(step) = with_secrets() else { return };
        let (name, value) = flag.split_once('=').unwrap();
        let ended = step.flags(ALL).run(&[flag, "-entrypoint", "/bin/echo", "--", "ran"]);
        let sentence = format!(r#"invalid value "{value}" for flag {name}: {cause}"#);
        assert_left(&ended, 2, false, None, &[internal("entrypoint/error", &sentence)]);
        assert_eq!(lines(&ended.stderr), [&sentence, "Run 'entrypoint -help' for the flags and subcommands."]);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn what_cannot_be_written_or_copied_is_said_in_tektons_words_and_the_step_runs() {
    let Some(step) = with_secrets() else { return };
    let home = step.path("home").display().to_string();
    fs::write(step.path("home/.docker"), "in the way").unwrap();
    fs::create_dir(step.path("home/.gitconfig")).unwrap();
    fs::create_dir(step.path("tekton/creds/.ssh")).unwrap();
    fs::write(step.path("tekton/creds/.ssh/id_key"), "old").unwrap();
    fs::create_dir(step.path("tekton/creds/.ssh/config")).unwrap();
    fs::create_dir(step.path("tekton/creds/.docker")).unwrap();
    let ended = step.flags(ALL).run(&["-docker-config=gone", "-entrypoint", "/bin/echo", "--", "ran"]);
    assert_left(&ended, 0, true, Some("0"), &[]);
    let unsuccessful =
        |name: &str| format!(r#"warning: unsuccessful cred copy: "{name}" from "/tekton/creds" to "{home}""#);
    assert_eq!(
        lines(&ended.stderr),
        [
            "Error initializing credentials: open /tekton/creds-secrets/gone/.dockerconfigjson: no such file or directory",
            "Error initializing credentials: open /tekton/creds/.ssh/config: is a directory",
            &format!(
                "{}: unable to create destination directory: mkdir {home}/.docker: not a directory",
                unsuccessful(".docker")
            ),
            &format!(
                "{}: unable to open destination: open {home}/.gitconfig: is a directory",
                unsuccessful(".gitconfig")
            ),
        ]
    );
    assert_eq!(ended.stdout, "ran\n");
}

#[test]
fn a_step_without_a_home_is_told_that_it_has_no_copies() {
    let Some(step) = with_secrets() else { return };
    let ended = step.env("HOME", "").flags(ALL).run(&["-entrypoint", "/bin/true", "--"]);
    assert_eq!(
        (ended.code(), lines(&ended.stderr)),
        (
            0,
            vec![
                r#"non-fatal error copying credentials: "error getting the user's home directory: $HOME is not defined""#
            ]
        )
    );
}

#[test]
fn a_step_without_rights_is_told_what_it_may_not_do() {
    if !skip::programs("a step of another user", &[("setpriv", "util-linux")]) {
        return;
    }
    let Some(step) = with_secrets() else { return };
    let home = step.path("home").display().to_string();
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    for name in ["", "tekton", "tekton/creds"] {
        fs::set_permissions(step.path(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::set_permissions(step.path("home"), fs::Permissions::from_mode(0o755)).unwrap();
    let ended = step.under(&user).run(&["-basic-git=login=https://git.io", "-entrypoint", "/bin/true", "--"]);
    let denied = |name: &str| {
        format!(
            r#"warning: unsuccessful cred copy: "{name}" from "/tekton/creds" to "{home}": unable to open destination: open {home}/{name}: permission denied"#
        )
    };
    assert_eq!(
        (ended.code(), lines(&ended.stderr)),
        (0, vec![denied(".gitconfig").as_str(), denied(".git-credentials").as_str()])
    );

    let Some(step) = with_secrets() else { return };
    fs::set_permissions(step.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(step.path("tekton/creds-secrets/login/password"), fs::Permissions::from_mode(0o600)).unwrap();
    let ended = step.under(&user).run(&["-basic-git=login=https://git.io", "-entrypoint", "/bin/true", "--"]);
    let sentence = r#"invalid value "login=https://git.io" for flag -basic-git: open /tekton/creds-secrets/login/password: permission denied"#;
    assert_eq!((ended.code(), lines(&ended.stderr).first()), (2, Some(&sentence)));
}

#[test]
fn a_home_that_is_the_directory_of_credentials_keeps_them_as_ours_does() {
    // Tekton empties every file.
    let Some(step) = with_secrets() else { return };
    let ended = sh(step.env("HOME", "/tekton/creds").flags(ALL), "cat ~/.git-credentials ~/.ssh/id_key");
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("https://me:hunter2@git.io\nKEY\n", ""));
}

#[test]
fn what_a_merge_cannot_keep_is_said_without_a_secret() {
    let Some(step) = with_secrets() else { return };
    fs::write(step.path("tekton/creds-secrets/config/.dockerconfigjson"), r#"{"credsStore":"desktop"}"#).unwrap();
    let ended = step.flags(ALL).run(&["-entrypoint", "/bin/true", "--"]);
    assert_eq!(
        lines(&ended.stderr),
        [
            "WARN credentials for docker: credsStore desktop of /tekton/creds-secrets/config/.dockerconfigjson is left out: \
          docker would ask it for b.io too, for which another secret has a credential; name the helper's registries in \
          credHelpers"
        ]
    );
}
