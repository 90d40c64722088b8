//! A cache that cannot be written, or is not there: that is told, and costs no lookup.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use crate::skip;
use crate::world::{Told, World, asked, told};

/// `resolve` with the shared directory mounted by a script, in which it is `$1`; none if that is impossible here.
fn mounted(world: &World, registry: &crate::server::Server, script: &str) -> Option<Told> {
    let purpose = "a disk of its own";
    if !skip::root(purpose) || !skip::programs(purpose, &[("unshare", "util-linux"), ("mount", "mount")]) {
        return None;
    }
    let script = format!("set -e\n{script}\nshift\nexec \"$@\"");
    let shared = world.shared().display().to_string();
    let wrapper = ["unshare", "-m", "sh", "-c", &script, "sh", &shared];
    let told = told(&mut world.command_under(&wrapper, registry, "v1", &world.cache()));
    told.is_right();
    Some(told)
}

#[test]
fn a_directory_that_may_not_be_written_means_no_cache() {
    if !skip::root("another user") {
        return;
    }
    let world = World::new();
    let registry = world.serve();
    fs::set_permissions(world.shared(), Permissions::from_mode(0o755)).unwrap();
    let resolve = || {
        let told = told(world.command(&registry, "v1", &world.cache()).uid(65534).gid(65534));
        told.is_right();
        told
    };
    resolve().says(&["making ", "/shared/images\": permission denied"]);
    assert_eq!(asked(&registry), ["GET config", "GET v1"]);
    // An empty one that somebody else has made.
    fs::create_dir(world.cache()).unwrap();
    resolve().says(&["writing ", "/shared/images\": permission denied"]);
    // One that root keeps for all, as a node's is to be: it is read.
    world.resolve(&registry, "v1");
    let before = asked(&registry).len();
    assert_eq!(resolve().of_the_cache(), [""; 0]);
    assert_eq!(asked(&registry).len(), before + 1);
}

#[test]
fn a_directory_that_may_not_be_entered_means_no_cache() {
    if !skip::root("another user") {
        return;
    }
    let world = World::new();
    let registry = world.serve();
    world.resolve(&registry, "v1");
    fs::set_permissions(world.shared(), Permissions::from_mode(0o700)).unwrap();
    let told = told(world.command(&registry, "v1", &world.cache()).uid(65534).gid(65534));
    told.is_right();
    told.says(&["opening ", "/shared/images\": permission denied"]);
}

#[test]
fn a_read_only_file_system_means_no_cache_unless_there_is_something_in_it() {
    let read_only = "mount --bind \"$1\" \"$1\"\nmount -o remount,bind,ro \"$1\"";
    let world = World::new();
    let registry = world.serve();
    let Some(told) = mounted(&world, &registry, read_only) else { return };
    told.says(&["making ", "/shared/images\": read-only file system"]);
    assert_eq!(asked(&registry), ["GET config", "GET v1"]);
    world.resolve(&registry, "v1");
    let Some(told) = mounted(&world, &registry, read_only) else { return };
    assert_eq!(told.of_the_cache(), [""; 0]);
    assert_eq!(asked(&registry), ["GET config", "GET config", "GET v1", "GET v1", "HEAD v1"]);
    // Somebody has poisoned it before: it cannot be mended, and is not believed.
    fs::remove_file(world.entry(&world.config)).unwrap();
    fs::write(world.entry(&world.config), "{}").unwrap();
    let Some(told) = mounted(&world, &registry, read_only) else { return };
    let notes = told.of_the_cache();
    let [poisoned, unwritten] = &notes[..] else { panic!("{notes:#?}") };
    assert!(poisoned.contains(" is not what its name says: its digest is "), "{poisoned}");
    assert!(unwritten.contains("writing ") && unwritten.ends_with("read-only file system"), "{unwritten}");
}

#[test]
fn a_full_disk_means_no_cache() {
    let world = World::new();
    let registry = world.serve();
    let full = "mount -t tmpfs -o size=64k,mode=777 none \"$1\"\ncat /dev/zero > \"$1\"/full 2> /dev/null || true";
    let Some(told) = mounted(&world, &registry, full) else { return };
    told.says(&["no space left on device"]);
    assert_eq!(asked(&registry), ["GET config", "GET v1"]);
    // Without room for one more file.
    for inodes in 1..16 {
        let tiny = format!("mount -t tmpfs -o nr_inodes={inodes},mode=777 none \"$1\"");
        let Some(told) = mounted(&world, &registry, &tiny) else { return };
        let notes = told.of_the_cache();
        assert!(notes.iter().all(|note| note.ends_with(": no space left on device")), "{notes:#?}");
    }
}

#[test]
fn a_directory_without_the_one_above_it_means_no_cache() {
    let world = World::new();
    let registry = world.serve();
    let resolve = |cache: &str| {
        let told = told(&mut world.command(&registry, "v1", &world.path(cache)));
        told.is_right();
        told
    };
    resolve("not/there").says(&["making ", "/not/there\": no such file or directory"]);
    assert!(!world.path("not").exists());
    // A file in its place, and in that of the one above it.
    fs::write(world.path("file"), "kept").unwrap();
    resolve("file").says(&["/file\" is a file, and must be a directory"]);
    resolve("file/below").says(&["/file/below\"", "not a directory"]);
    assert_eq!(fs::read_to_string(world.path("file")).unwrap(), "kept");
}

#[test]
fn an_image_layout_of_somebody_else_is_read_and_left_as_it_is() {
    let world = World::new();
    let registry = world.serve();
    let layout = world.path("layout");
    let before = fs::read_dir(&layout).unwrap().count();
    let told = told(&mut world.command(&registry, "v1", &layout));
    told.is_right();
    told.says(&["/layout\" is an image layout that somebody else has made: it is only read"]);
    assert_eq!(asked(&registry), ["HEAD v1"]);
    assert_eq!(fs::read_dir(&layout).unwrap().count(), before);
}
