//! Whose turn it is to fetch: waited for, given up, taken over, and never a reason to stand still.

use super::*;

#[test]
fn a_turn_is_waited_for_two_seconds_in_all_and_ends_with_its_owner() {
    let dir = shared();
    let (holder, waiter) = (open(dir.path()), open(dir.path()));
    let turn = holder.try_turn("image");
    assert!(matches!(turn, Turn::Ours { .. }));
    assert!(matches!(holder.try_turn("image"), Turn::Taken), "a lock of the open file, not of the process");
    let since = Instant::now();
    assert!(matches!(wait(waiter.turn("image")), Turn::Taken));
    let waited = since.elapsed();
    assert!(waited >= WAIT && waited < WAIT * 2, "{waited:?}");
    eprintln!("a lock that is held for ever cost {waited:?}");
    // Nothing is left of the time, which is no reason not to try.
    let since = Instant::now();
    assert!(matches!(wait(waiter.turn("image")), Turn::Taken));
    assert!(since.elapsed() < WAIT);
    assert!(matches!(wait(waiter.turn("another image")), Turn::Ours { .. }));
    drop(turn);
    assert!(matches!(wait(waiter.turn("image")), Turn::Ours { .. }));
}

#[test]
fn the_first_turn_of_a_key_is_the_one_that_nobody_was_before() {
    for round in 0..300 {
        let directory = shared();
        let had = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let cache = Cache::open(directory.path(), None).unwrap();
                    loop {
                        match cache.try_turn("image") {
                            Turn::Ours { lock, first } => {
                                let before = had.fetch_add(1, Ordering::SeqCst);
                                assert!(!first || before == 0, "round {round}: first, and {before} before it");
                                drop(lock);
                                return;
                            }
                            Turn::Taken => std::thread::yield_now(),
                            Turn::Unknown(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn a_wait_that_is_given_up_counts() {
    let dir = shared();
    let (holder, waiter) = (open(dir.path()), open(dir.path()));
    let _turn = holder.try_turn("image");
    let half = Duration::from_millis(1000);
    let given_up = wait(async { tokio::time::timeout(half, waiter.turn("image")).await });
    assert!(given_up.is_err());
    let since = Instant::now();
    assert!(matches!(wait(waiter.turn("image")), Turn::Taken));
    assert!(since.elapsed() < WAIT, "{:?}", since.elapsed());
}

#[test]
fn a_lock_that_is_not_a_lock_costs_no_time() {
    let pranks: [(&str, Prank); 5] = [
        ("fifo", |path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap()),
        ("link", |path| symlink("/dev/zero", path).unwrap()),
        ("dangling link", |path| symlink("made", path).unwrap()),
        ("directory", |path| fs::create_dir(path).unwrap()),
        ("socket", |path| drop(UnixListener::bind(path).unwrap())),
    ];
    for (case, prank) in pranks {
        let dir = shared();
        let cache = open(dir.path());
        prank(&cache.lock_path("image"));
        let since = Instant::now();
        assert!(matches!(wait(cache.turn("image")), Turn::Unknown(CacheError::Lock { .. })), "{case}");
        assert!(since.elapsed() < WAIT, "{case}");
        assert!(!dir.path().join("entrypoint/made").exists());
    }
    let dir = shared();
    let cache = open(dir.path());
    sparse(&cache.lock_path("image"), 1 << 40);
    assert!(matches!(wait(cache.turn("image")), Turn::Ours { .. }), "what is in it is nobody's business");
}
