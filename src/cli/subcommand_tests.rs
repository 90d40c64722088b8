//! Subcommands on the command line: which there are, and what each takes.

use std::path::Path;

use super::tests::{argv, lookup, message, os, read, step};
use super::*;

#[test]
fn subcommands_are_known_by_name_and_number_of_arguments() {
    let copy = || SetupCommand::Copy { source: "a".into(), destination: "b".into() };
    let init = |steps: &[&str]| SetupCommand::Init { source: "a".into(), destination: "b".into(), steps: os(steps) };
    for (args, expected) in [
        (&["cp", "a", "b"][..], copy()),
        (&["-timeout=5s", "cp", "a", "b"], copy()),
        (&["--", "cp", "a", "b"], copy()),
        (&["cp", "a", "b", "--", "c"], copy()),
        (&["init", "a", "b"], init(&[])),
        (&["init", "a", "b", "s", "-t"], init(&["s", "-t"])),
        (&["step-init"], SetupCommand::StepInit { steps: Vec::new() }),
        (&["step-init", "s", "t"], SetupCommand::StepInit { steps: os(&["s", "t"]) }),
        (&["decode-script", "f"], SetupCommand::DecodeScript { file: "f".into() }),
    ] {
        assert_eq!(read(args), Ok(Invocation::Setup(expected)), "{args:?}");
    }
    assert_eq!(copy().name(), "cp");
    assert_eq!(init(&[]).name(), "init");
}

#[test]
fn a_subcommand_with_another_number_of_arguments_is_a_step_or_a_clear_error() {
    for (args, expected) in [
        (&["cp", "a"][..], "cp takes 2 arguments, got 1: entrypoint cp SRC DST"),
        (&["cp", "a", "b", "c"], "cp takes 2 arguments, got 3: entrypoint cp SRC DST"),
        (&["--", "cp", "--", "b", "c"], "cp takes 2 arguments, got 3: entrypoint cp SRC DST"),
        (&["init", "a"], "init takes at least 2 arguments, got 1: entrypoint init SRC DST [STEP...]"),
        (&["decode-script"], "decode-script takes 1 argument, got 0: entrypoint decode-script FILE"),
    ] {
        assert_eq!(message(args), expected, "{args:?}");
    }
    let read = step(&["-entrypoint", "echo", "cp", "a"]);
    assert_eq!((read.command, read.ignored), (CommandSource::Given("echo".into()), os(&["cp", "a"])));
    assert_eq!(lookup(&["-image", "busybox", "cp", "a"]).image, "busybox");
}

#[test]
fn run_image_takes_an_image_the_flags_of_the_lookup_and_arguments() {
    let run_image = |args: &[&str]| match read(args) {
        Ok(Invocation::RunImage { lookup, args }) => (*lookup, args),
        other => panic!("{args:?}: {other:?}"),
    };
    for (args, image, rest) in [
        (&["run-image", "a/b"][..], "a/b", &[][..]),
        (&["run-image", "a/b", "--"], "a/b", &[]),
        (&["run-image", "a/b", "--", "x", "--", "-y"], "a/b", &["x", "--", "-y"]),
        (&["run-image", "a/b", "-image_lookup_timeout=5s", "--", "x"], "a/b", &["x"]),
    ] {
        let (lookup, arguments) = run_image(args);
        assert_eq!((lookup.image.as_str(), arguments), (image, os(rest)), "{args:?}");
    }
    let (lookup, _) = run_image(&["run-image", "a/b", "--image_insecure_registry", "r:1", "-taskrun_namespace=n"]);
    assert_eq!((lookup.insecure, lookup.namespace.as_deref()), (vec!["r:1".to_owned()], Some("n")));
    assert!(matches!(read(&["run-image", "a", "-h"]), Ok(Invocation::Help(_))));
}

#[test]
fn run_image_refuses_what_it_has_no_use_for() {
    for (args, expected) in [
        (&["run-image"][..], "run-image takes the image first: entrypoint run-image IMAGE [flags] [-- ARGUMENT...]"),
        (
            &["run-image", "--", "x"],
            "run-image takes the image first: entrypoint run-image IMAGE [flags] [-- ARGUMENT...]",
        ),
        (
            &["run-image", "-x", "a"],
            "run-image takes the image first: entrypoint run-image IMAGE [flags] [-- ARGUMENT...]",
        ),
        (&["run-image", "a", "-post_file=/o"], "flag provided but not defined: -post_file"),
        (&["run-image", "a", "-image=b"], "flag provided but not defined: -image"),
        (&["run-image", "a", "-image_lookup_timeout"], "flag needs an argument: -image_lookup_timeout"),
        (
            &["run-image", "a", "b", "--", "c"],
            "run-image has no use for \"b\" before `--`: what the image's program is to get stands behind `--`, as in \
             entrypoint run-image IMAGE [flags] [-- ARGUMENT...]",
        ),
    ] {
        assert_eq!(read(args).map_err(|error| error.message), Err(expected.to_owned()), "{args:?}");
    }
    // Anywhere else it is a word like any other.
    assert_eq!(step(&["-timeout=5s", "run-image", "a"]).ignored, os(&["run-image", "a"]));
}

#[test]
fn version_is_a_subcommand_only_as_the_first_argument_and_alone() {
    assert_eq!(read(&["version"]), Ok(Invocation::Version));
    for args in [&["version", "-x"][..], &["version", "--"]] {
        let expected = format!("version takes no arguments, got {}: entrypoint version", args.len() - 1);
        assert_eq!(message(args), expected);
    }
    assert_eq!(step(&["--", "version"]).ignored, os(&["version"]));
    assert_eq!(step(&["-timeout=5s", "version"]).ignored, os(&["version"]));
}

#[test]
fn doctor_takes_an_image_or_none_and_the_flags_of_the_lookup() {
    let doctor = |args: &[&str]| match read(args) {
        Ok(Invocation::Doctor { spec, format }) => (spec, format),
        other => panic!("{args:?}: {other:?}"),
    };
    for (args, image, format) in [
        (&["doctor"][..], None, Format::Text),
        (&["doctor", "a/b"], Some("a/b"), Format::Text),
        (&["doctor", "-o", "json"], None, Format::Json),
        (&["doctor", "a/b", "--o=json", "-taskrun_namespace=n"], Some("a/b"), Format::Json),
        (&["doctor", "a/b", "--"], Some("a/b"), Format::Text),
        (&["doctor", "--"], None, Format::Text),
    ] {
        let (spec, read) = doctor(args);
        assert_eq!((spec.image().map(|lookup| lookup.image.as_str()), read), (image, format), "{args:?}");
    }
    let (spec, _) = doctor(&["doctor", "-image_pull_secrets=a,b", "-service_account_dir", "/d"]);
    assert_eq!((spec.settings().pull_secrets.as_slice(), spec.image()), (&["a".to_owned(), "b".to_owned()][..], None));
    assert_eq!(spec.settings().service_account_dir, Path::new("/d"));
    assert!(matches!(read(&["doctor", "-h"]), Ok(Invocation::Help(_))));
    // Anywhere else it is a word like any other.
    assert_eq!(step(&["-timeout=5s", "doctor"]).ignored, os(&["doctor"]));
}

#[test]
fn doctor_refuses_what_it_has_no_use_for() {
    for (args, expected) in [
        (&["doctor", "a", "b"][..], "doctor has no use for \"b\": entrypoint doctor [IMAGE] [flags]"),
        (&["doctor", "a", "--", "x"], "doctor has no use for \"x\": entrypoint doctor [IMAGE] [flags]"),
        (&["doctor", "-o", "json", "a"], "doctor has no use for \"a\": entrypoint doctor [IMAGE] [flags]"),
        (&["doctor", ""], "doctor has no use for \"\": entrypoint doctor [IMAGE] [flags]"),
        (&["doctor", "-o=yaml"], "invalid value \"yaml\" for flag -o: write text or json"),
        (&["doctor", "-post_file=/o"], "flag provided but not defined: -post_file"),
        (&["doctor", "a", "-source=docker"], "flag provided but not defined: -source"),
    ] {
        assert_eq!(read(args).map_err(|error| error.message), Err(expected.to_owned()), "{args:?}");
    }
    let without = parse_with(&argv(&["doctor"]), Built { lookup: false }).unwrap_err();
    assert!(
        without.message.starts_with("asking a registry needs a build with the feature \"lookup\""),
        "{}",
        without.message
    );
}
