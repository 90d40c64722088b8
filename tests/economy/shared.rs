//! Several steps of a pod with one image and one cache: processes, at the same time and one after the other.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::server::Server;
use crate::skip;
use crate::step::{Ended, Step};
use crate::world::{World, asked, told};

fn ran(ended: &Ended) {
    assert_eq!((ended.code(), ended.post, ended.stdout.as_str()), (0, true, "from the image\n"), "{ended:#?}");
    assert_eq!(ended.stderr, "", "a success is silent");
}

/// Six steps at once.
fn six(world: &World, registry: &Server, tag: &str) {
    let steps: Vec<Step> = (0..6).map(|_| world.step(registry, tag)).collect();
    let children: Vec<Child> = steps.iter().map(|step| step.start(&["--"])).collect();
    steps.into_iter().zip(children).for_each(|(step, child)| ran(&step.finish(child)));
}

#[test]
fn of_six_steps_with_one_image_one_fetches_it_and_the_others_ask_for_its_head() {
    for (tag, fetched) in [("v1", &["GET config", "GET v1"][..]), ("v2", &["GET config", "GET manifest", "GET v2"])] {
        let world = World::new();
        // Nobody is done before the others begin.
        let registry = world.serve_watched(|request| {
            if request.method == "GET" {
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        six(&world, &registry, tag);
        let gets = || asked(&registry).into_iter().filter(|line| line.starts_with("GET ")).collect::<Vec<_>>();
        assert_eq!(gets(), fetched, "once in all");
        // Who makes the lock need not be who has it first: then he too asks whether somebody has looked it up before.
        let heads = asked(&registry).len() - fetched.len();
        assert!((5..=6).contains(&heads), "{:?}", asked(&registry));
        // And later.
        six(&world, &registry, tag);
        assert_eq!(gets(), fetched);
        assert_eq!(asked(&registry).len() - fetched.len(), heads + 6);
    }
}

#[test]
fn one_that_is_killed_in_the_middle_leaves_it_to_the_next() {
    let world = World::new();
    let asked_for = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked_for);
    let registry = world.serve_watched(move |request| {
        // The first never has an answer.
        if request.method == "GET" && counted.fetch_add(1, Ordering::SeqCst) == 0 {
            std::thread::park_timeout(Duration::from_secs(20));
        }
    });
    let first = world.step(&registry, "v1");
    let mut killed = first.start(&["--"]);
    crate::step::eventually("the first asks", || asked_for.load(Ordering::SeqCst) == 1);
    let second = world.step(&registry, "v1");
    let waits = second.start(&["--"]);
    killed.kill().unwrap();
    killed.wait().unwrap();
    ran(&second.finish(waits));
    let asked = asked(&registry);
    assert_eq!(asked.iter().filter(|line| *line == "GET config").count(), 1, "{asked:?}");
}

#[test]
fn steps_of_several_users_share_what_one_of_them_has_fetched() {
    let wanted = [("setpriv", "util-linux")];
    if !skip::root("steps of several users") || !skip::programs("steps of several users", &wanted) {
        return;
    }
    let world = World::new();
    let registry = world.serve();
    for (user, requests) in [("1001", 2), ("0", 3), ("1002", 4), ("65534", 5)] {
        // Of a user whose files nobody else reads, where his umask decides.
        let masked = "umask 077; exec \"$@\"";
        let [user_flag, group_flag] = [format!("--reuid={user}"), format!("--regid={user}")];
        let step = world.step(&registry, "v1");
        fs::set_permissions(step.path("."), Permissions::from_mode(0o777)).unwrap();
        let step = step.under(&["setpriv", &user_flag, &group_flag, "--clear-groups", "sh", "-c", masked, "sh"]);
        ran(&step.run(&["--"]));
        assert_eq!(asked(&registry).len(), requests, "{user}");
    }
    // What one of them has written another one replaces, where it is spoilt.
    let entry = world.entry(&world.config);
    assert_eq!(fs::metadata(&entry).unwrap().uid(), 1001);
    fs::remove_file(&entry).unwrap();
    fs::write(&entry, "spoilt").unwrap();
    let mut resolve = world.command(&registry, "v1", &world.cache());
    let told = told(resolve.uid(1002).gid(1002));
    told.is_right();
    told.says(&[" is not what its name says; it has been removed: "]);
    assert_eq!(fs::metadata(&entry).unwrap().uid(), 1002);
    assert_eq!(fs::read(&entry).unwrap(), world.document(&world.config));
}
