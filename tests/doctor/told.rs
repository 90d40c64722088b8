//! The table as a whole: its form, its exit codes, and that nothing that hangs or dies keeps the rest from being told.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::server::{Bound, Reply, Request, Server};
use crate::step::{self, entrypoint};
use crate::tls::LOOPBACK;
use crate::world::{World, row, rows, run, told};

const NONE: &[&str] = &[];

#[test]
fn every_check_and_every_name_of_the_document_is_in_the_json_and_the_other_way_round() {
    let (_, report) = told(&mut World::new().command(NONE));
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/doctor.md")).unwrap();
    // The first column of the tables under a heading.
    let documented = |heading: &str| -> BTreeSet<String> {
        let (_, text) = document.split_once(&format!("\n## {heading}\n")).expect(heading);
        let text = text.split("\n## ").next().unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect()
    };
    let names =
        |value: &serde_json::Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let checks: BTreeSet<String> =
        report["checks"].as_array().unwrap().iter().map(|row| row["check"].as_str().unwrap().to_owned()).collect();
    assert_eq!(documented("Checks"), checks);
    let all: BTreeSet<String> = [names(&report), names(&report["checks"][0])].into_iter().flatten().collect();
    assert_eq!(documented("JSON"), all);
    let verdicts = names(&report["counts"]);
    assert_eq!(documented("Verdicts"), verdicts);
    assert_eq!((&report["image"], &report["looked_up"]), (&json!(null), &json!(null)));
    let counted: u64 = report["counts"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(counted, report["checks"].as_array().unwrap().len() as u64);
}

#[test]
fn the_text_has_the_same_rows_and_ends_with_their_number() {
    let world = World::new();
    let (_, report) = told(&mut world.command(NONE));
    let text = run(&mut world.command(NONE));
    assert_eq!((text.code, text.stderr.as_str()), (Some(0), ""));
    let lines = text.stdout.lines().filter(|line| !line.is_empty() && !line.starts_with(' ')).count();
    assert_eq!(lines, report["checks"].as_array().unwrap().len() + 1, "{}", text.stdout);
    assert!(text.stdout.starts_with("not checked  container       nothing is mounted at "), "{}", text.stdout);
    assert!(text.stdout.contains("\n                             fix: "), "{}", text.stdout);
    assert!(text.stdout.lines().last().unwrap().starts_with("problems: 0, notes: "), "{}", text.stdout);
}

#[test]
fn an_image_that_cannot_be_looked_up_is_exit_1_and_nothing_else_is() {
    let world = World::new();
    let registry = world.serve(Bound::new(), None);
    let host = registry.host();
    for (image, code, looked_up) in [("v1", 0, true), ("absent", 1, false), ("nothing", 1, false)] {
        let args: Vec<String> =
            [format!("{host}/team/tool:{image}")].into_iter().chain(world.trusting(&host)).collect();
        let (told, report) = told(&mut world.command(&args));
        assert_eq!((told.code, &report["looked_up"]), (Some(code), &json!(looked_up)), "{told:?}");
        assert_eq!(row(&report, "lookup").0 == "ok", looked_up);
    }
    let usage = run(&mut world.command(&["-o", "yaml"]));
    assert_eq!((usage.code, usage.stdout.as_str()), (Some(2), ""));
}

#[test]
fn what_hangs_is_told_by_its_limit_and_the_rest_as_ever() {
    let world = World::new();
    let mount = world.path().join("account");
    fs::create_dir(&mount).unwrap();
    nix::unistd::mkfifo(&mount.join("token"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (told, report) = told(world.command(NONE).arg("-service_account_dir").arg(&mount));
    assert_eq!(told.code, Some(0));
    assert_eq!(row(&report, "token"), ("not_checked".to_owned(), "it came to no end within 5s".to_owned()));
    assert_eq!(row(&report, "proxy").0, "ok");
}

#[test]
fn a_part_that_is_killed_is_told_and_the_rest_as_ever() {
    let world = World::new();
    let tls = Some(world.authority().server(LOOPBACK));
    let silent = Server::handler(Bound::new(), tls, |_: &Request| Reply::Stall(Vec::new()));
    let args: Vec<String> =
        [format!("{}/team/tool:v1", silent.host())].into_iter().chain(world.trusting(&silent.host())).collect();
    let mut command = world.command(&args);
    let child = command.args(["-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    // The lookup and the network's part are the two that wait.
    let children = || {
        let listed = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        listed.split_whitespace().filter_map(|id| id.parse::<i32>().ok()).collect::<Vec<_>>()
    };
    step::eventually("both have asked, and only they are left", || silent.lines().len() >= 2 && children().len() == 2);
    for id in children() {
        step::send(id, libc::SIGKILL);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = serde_json::from_slice(&output.stdout).unwrap();
    for check in ["dns", "proxy", "registry", "clock"] {
        assert_eq!(row(&report, check), ("not_checked".to_owned(), "its process was killed by SIGKILL".to_owned()));
    }
    let (verdict, sentence) = row(&report, "lookup");
    assert_eq!(verdict, "problem");
    assert!(sentence.contains("was killed by SIGKILL"), "{sentence}");
    assert_eq!(rows(&report, "ca_roots")[0].verdict, "ok");
}

#[test]
fn a_signal_ends_it_with_one_line() {
    use std::os::unix::process::ExitStatusExt;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (world, host) = (World::new(), silent.local_addr().unwrap().to_string());
    let mut command = world.command(&[format!("{host}/team/tool:v1")]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let connection = silent.accept().unwrap();
    step::send(i32::try_from(child.id()).unwrap(), libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.signal(), output.stdout.len()), (Some(libc::SIGTERM), 0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.lines().count() == 1 && stderr.ends_with(" SIGTERM ended the checks\n"), "{stderr}");
    drop(connection);
}

#[test]
fn a_reader_that_has_gone_is_exit_1_and_no_crash() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(entrypoint());
    let output = command.arg("doctor").env_clear().stdin(Stdio::null()).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0));
}
