//! What a step can put into the cache of the others: nothing of it is believed, and nobody waits long for it.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::world::{World, asked, told};

/// Puts something at a path.
type Put = fn(&Path);

/// What can stand in the place of a file, by its name in messages.
const INSTEAD: [(&str, Put); 6] = [
    ("a FIFO", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap()),
    ("a symbolic link", |path| symlink("/dev/zero", path).unwrap()),
    ("a symbolic link", |path| {
        // To the document itself, elsewhere.
        let elsewhere = path.with_extension("elsewhere");
        if elsewhere.exists() {
            symlink(elsewhere, path).unwrap();
        } else {
            symlink("nowhere", path).unwrap();
        }
    }),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("1099511627776 bytes", |path| File::create(path).unwrap().set_len(1 << 40).unwrap()),
];

/// Puts something in the place of a file, which stays beside it.
fn replace(path: &Path, instead: Put) {
    fs::rename(path, path.with_extension("elsewhere")).unwrap();
    instead(path);
}

#[test]
fn what_stands_in_the_place_of_a_document_is_told_and_not_waited_for() {
    for (name, instead) in INSTEAD {
        for is_config in [true, false] {
            let world = World::new();
            let registry = world.serve();
            world.resolve(&registry, "v1");
            let entry = world.entry(if is_config { &world.config } else { &world.manifest });
            replace(&entry, instead);
            let told = world.resolve(&registry, "v1");
            let removed = "it has been removed";
            match name {
                // What is no file cannot be replaced by one.
                "a directory" => assert_eq!(told.of_the_cache().len(), 2, "{:?}", told.of_the_cache()),
                "1099511627776 bytes" => told.says(&[name, "must not have more than", removed]),
                _ => told.says(&[&format!(" is {name}, and must be a regular file; {removed}")]),
            }
            let again = if is_config { "GET config" } else { "GET v1" };
            let mut expected = vec!["GET config", "GET v1", "HEAD v1", again];
            expected.sort_unstable();
            assert_eq!(asked(&registry), expected, "{name}");
            // It has been replaced.
            if name != "a directory" {
                assert!(fs::symlink_metadata(&entry).unwrap().is_file(), "{name}");
                assert_eq!(world.resolve(&registry, "v1").of_the_cache(), [""; 0], "{name}");
                assert_eq!(asked(&registry).len(), 5, "{name}");
            }
        }
    }
}

#[test]
fn what_stands_in_the_place_of_the_lock_is_not_waited_for_and_the_cache_is_used_all_the_same() {
    for (name, instead) in INSTEAD {
        let world = World::new();
        let registry = world.serve();
        world.resolve(&registry, "v1");
        let lock = world.lock();
        replace(&lock, instead);
        let told = world.resolve(&registry, "v1");
        if name == "1099511627776 bytes" {
            // As good as any file.
            assert_eq!(told.of_the_cache(), [""; 0]);
        } else {
            told.says(&["locking ", lock.to_str().unwrap()]);
        }
        assert_eq!(asked(&registry), ["GET config", "GET v1", "HEAD v1"], "{name}");
    }
}

/// What is there is had while somebody else has the lock: that is for those who fetch.
#[test]
fn a_lock_that_is_held_for_ever_costs_nothing_where_the_image_is_there_and_else_a_while() {
    let world = World::new();
    let registry = world.serve();
    world.resolve(&registry, "v1");
    let lock = File::open(world.lock()).unwrap();
    lock.lock().unwrap();
    assert_eq!(world.resolve(&registry, "v1").of_the_cache(), [""; 0]);
    assert_eq!(asked(&registry), ["GET config", "GET v1", "HEAD v1"]);
    // Where there is nothing in the cache, it is fetched.
    fs::remove_dir_all(world.cache().join("blobs")).unwrap();
    world.resolve(&registry, "v1").says(&["somebody else has held the lock of this lookup for "]);
    assert_eq!(asked(&registry).len(), 6);
    drop(lock);
}

#[test]
fn a_lock_that_is_held_for_ever_does_not_take_all_the_time_of_a_lookup_that_has_little() {
    let world = World::new();
    let registry = world.serve();
    world.resolve(&registry, "v1");
    let lock = File::open(world.lock()).unwrap();
    lock.lock().unwrap();
    fs::remove_dir_all(world.cache().join("blobs")).unwrap();
    // The wait for a lock is 2 s at most, and here the whole lookup has no more.
    let mut resolve = world.command(&registry, "v1", &world.cache());
    let short = told(resolve.args(["-image_lookup_timeout", "2s"]));
    short.is_right();
    short.says(&["somebody else has held the lock of this lookup for ", "ms: not waited for any longer"]);
    // Nor that of the first of several places.
    fs::remove_dir_all(world.cache().join("blobs")).unwrap();
    let mut resolve = world.command(&registry, "v1", &world.cache());
    let map = format!("{0}={0}/elsewhere", registry.host());
    let shared = told(resolve.args(["-image_lookup_timeout", "4s", "-image_registry_map", &map]));
    shared.is_right();
    shared.says(&["somebody else has held the lock of this lookup for ", "ms: not waited for any longer"]);
    assert_eq!(shared.story["found_at"]["because"], "-image_registry_map", "{:#}", shared.story);
    drop(lock);
}

#[test]
fn directories_that_are_links_are_not_followed() {
    for part in ["", "blobs", "blobs/sha256", "entrypoint"] {
        let world = World::new();
        let registry = world.serve();
        world.resolve(&registry, "v1");
        let path = world.cache().join(part).components().collect::<std::path::PathBuf>();
        replace(&path, |path| symlink(path.with_extension("elsewhere"), path).unwrap());
        world.resolve(&registry, "v1").says(&[path.to_str().unwrap(), " is a symbolic link, and must be a directory"]);
        assert_eq!(asked(&registry), ["GET config", "GET config", "GET v1", "GET v1"], "{part}: as without a cache");
    }
}

#[test]
fn files_in_the_place_of_directories_mean_no_cache() {
    for part in ["", "blobs", "blobs/sha256", "entrypoint"] {
        for (name, instead) in INSTEAD.into_iter().filter(|(name, _)| *name != "a directory") {
            let world = World::new();
            let registry = world.serve();
            world.resolve(&registry, "v1");
            let path = world.cache().join(part).components().collect::<std::path::PathBuf>();
            replace(&path, instead);
            let found = if name.ends_with("bytes") { "a file" } else { name };
            world
                .resolve(&registry, "v1")
                .says(&[path.to_str().unwrap(), &format!(" is {found}, and must be a directory")]);
            assert_eq!(
                asked(&registry),
                ["GET config", "GET config", "GET v1", "GET v1"],
                "{part}: as without a cache"
            );
        }
    }
}

#[test]
fn everything_at_once_costs_no_lookup() {
    let world = World::new();
    let registry = world.serve();
    world.resolve(&registry, "v2");
    let lock = File::open(world.lock()).unwrap();
    lock.lock().unwrap();
    replace(&world.entry(&world.index), INSTEAD[0].1);
    replace(&world.entry(&world.manifest), INSTEAD[1].1);
    replace(&world.entry(&world.config), INSTEAD[5].1);
    let notes = world.resolve(&registry, "v2").of_the_cache();
    // What is too large had to go before anybody asked for it: there was no room for the others.
    assert_eq!(notes.len(), 3, "{notes:#?}");
    let mut expected = vec!["GET config", "GET manifest", "GET v2", "GET config", "GET manifest", "GET v2", "HEAD v2"];
    expected.sort_unstable();
    assert_eq!(asked(&registry), expected);
    assert!(fs::symlink_metadata(world.entry(&world.index)).is_ok_and(|found| !found.file_type().is_fifo()));
}

#[test]
fn a_poisoned_cache_gives_no_step_another_command() {
    for victim in ["manifest", "config"] {
        let world = World::new();
        let registry = world.serve();
        world.resolve(&registry, "v1");
        let digest = if victim == "config" { &world.config } else { &world.manifest };
        let entry = world.entry(digest);
        let evil =
            String::from_utf8(world.document(digest)).unwrap().replace("the", "bad").replace("sha256:", "sha256:0");
        fs::remove_file(&entry).unwrap();
        fs::write(&entry, evil).unwrap();
        let told = world.resolve(&registry, "v1");
        told.says(&[
            entry.to_str().unwrap(),
            " is not what its name says; it has been removed: its digest is ",
            digest,
        ]);
        assert_eq!(fs::read(&entry).unwrap(), world.document(digest), "replaced");
        // A document that is what its name says, in the place of another.
        fs::remove_file(&entry).unwrap();
        fs::copy(world.entry(if victim == "config" { &world.manifest } else { &world.config }), &entry).unwrap();
        let ended = world.step(&registry, "v1").run(&["--"]);
        assert_eq!((ended.code(), ended.stdout.as_str()), (0, "from the image\n"), "{ended:#?}");
        assert_eq!(fs::read(&entry).unwrap(), world.document(digest), "replaced");
    }
}
