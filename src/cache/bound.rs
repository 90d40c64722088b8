//! How large the cache may become, and what goes when it would become larger. Pure: what is there is given.

use std::time::{Duration, SystemTime};

/// How many files there may be.
const FILES: usize = 1024;

/// How many bytes they may have together.
const BYTES: u128 = 64 << 20;

/// How large an entry may be: as large as a registry's answers may (a config; a manifest is at most half of it).
pub const ENTRY: u64 = 8 << 20;

/// An unfinished file that has not been written to for so long has been left by a process that was killed.
const UNFINISHED: Duration = Duration::from_secs(60);

/// How far another machine's clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(60);

/// A file that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its name is a digest.
    Entry,
    /// It is being written, or was.
    Unfinished,
}

impl Item {
    /// Whether it goes in any case: one of ours is not so large, not unfinished for so long, and not from the future.
    fn is_rubbish(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.modified);
        let stale = self.kind == Kind::Unfinished && age.as_ref().is_ok_and(|age| *age > UNFINISHED);
        stale || self.size > ENTRY || age.is_err_and(|ahead| ahead.duration() > SKEW)
    }
}

/// Makes room for a file of so many bytes: removes what is rubbish, then the oldest until the new one fits in. `remove` says
/// whether something is gone. The answer: whether there is room.
pub(super) fn make_room(
    mut items: Vec<Item>,
    incoming: u64,
    now: SystemTime,
    mut remove: impl FnMut(&Item) -> bool,
) -> bool {
    items.sort_by_key(|item| (!item.is_rubbish(now), item.modified));
    let mut files = items.len();
    let mut bytes: u128 = items.iter().map(|item| u128::from(item.size)).sum();
    let fits = |files: usize, bytes: u128| files < FILES && bytes + u128::from(incoming) <= BYTES;
    for item in &items {
        if fits(files, bytes) && !item.is_rubbish(now) {
            break;
        }
        if remove(item) {
            files -= 1;
            bytes -= u128::from(item.size);
        }
    }
    fits(files, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn item(name: &str, kind: Kind, size: u64, modified: u64) -> Item {
        Item { name: name.to_owned(), kind, size, modified: at(modified) }
    }

    /// Whether there is room, and what has been removed for it, in this order.
    fn removed(items: &[Item], incoming: u64) -> (bool, Vec<String>) {
        let mut gone = Vec::new();
        let room = make_room(items.to_vec(), incoming, at(NOW), |item| {
            gone.push(item.name.clone());
            true
        });
        (room, gone)
    }

    #[test]
    fn what_goes_is_rubbish_first_and_then_the_oldest() {
        use Kind::{Entry, Unfinished};
        let many: Vec<Item> = (0..1024).map(|n| item(&format!("{n}"), Entry, 1, NOW - 2000 + n)).collect();
        for (case, items, incoming, expected) in [
            ("nothing is there", vec![], ENTRY, vec![]),
            ("there is room", vec![item("a", Entry, 9, 1), item("b", Unfinished, 9, NOW - 60)], 9, vec![]),
            ("killed", vec![item("a", Unfinished, 9, NOW - 61), item("b", Unfinished, 0, NOW + 61)], 9, vec!["a", "b"]),
            ("nothing of ours", vec![item("old", Entry, 1, 1), item("huge", Entry, 1 << 40, NOW)], 9, vec!["huge"]),
            (
                "beyond all sums",
                vec![item("a", Entry, u64::MAX, NOW), item("b", Entry, u64::MAX, NOW)],
                9,
                vec!["a", "b"],
            ),
            ("from the future", vec![item("old", Entry, 1, 1), item("new", Entry, 1, NOW + 61)], 9, vec!["new"]),
            ("a clock a little ahead", vec![item("new", Entry, 1, NOW + 60)], 9, vec![]),
            ("one less", many[1..].to_vec(), 0, vec![]),
            ("as many as there may be", many.clone(), 0, vec!["0"]),
            (
                "as much as there may be",
                (0..8).rev().map(|n| item(&format!("{n}"), Entry, ENTRY, NOW - 8 + n)).collect(),
                ENTRY + 1,
                vec!["0", "1"],
            ),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(removed(&items, incoming), (true, expected), "{case}");
        }
    }

    #[test]
    fn what_cannot_be_removed_is_passed_by_for_the_next_and_if_nothing_can_there_is_no_room() {
        let items: Vec<Item> = (0..1030).map(|n| item(&format!("{n}"), Kind::Entry, 1, NOW - 2000 + n)).collect();
        let mut tries = 0;
        assert!(make_room(items.clone(), 0, at(NOW), |item| {
            tries += 1;
            item.name.len() > 1
        }));
        assert_eq!(tries, 17, "ten that stay, and the seven that have to go");
        assert!(!make_room(items, 0, at(NOW), |_| false));
        // Rubbish that stays is no reason to refuse what fits.
        assert!(make_room(vec![item("a", Kind::Unfinished, 9, 1)], 9, at(NOW), |_| false));
    }

    fn items() -> impl Strategy<Value = Vec<Item>> {
        vec((any::<bool>(), 0_u64..(12 << 20), NOW - 100..NOW + 100), 0..1100).prop_map(|found| {
            let numbered = found.into_iter().enumerate();
            let items = numbered.map(|(number, (entry, size, modified))| {
                let kind = if entry { Kind::Entry } else { Kind::Unfinished };
                item(&number.to_string(), kind, size, modified)
            });
            items.collect()
        })
    }

    proptest! {
        #[test]
        fn afterwards_it_fits_and_nothing_went_that_could_have_stayed(items in items(), incoming in 0..=ENTRY) {
            let (room, gone) = removed(&items, incoming);
            prop_assert!(room);
            let kept: Vec<&Item> = items.iter().filter(|item| !gone.contains(&item.name)).collect();
            let total = |kept: &[&Item]| kept.iter().map(|item| u128::from(item.size)).sum::<u128>();
            prop_assert!(kept.len() < FILES && total(&kept) + u128::from(incoming) <= BYTES);
            prop_assert!(kept.iter().all(|item| !item.is_rubbish(at(NOW))));
            let last = gone.last().and_then(|name| items.iter().find(|item| item.name == *name));
            if let Some(last) = last.filter(|last| !last.is_rubbish(at(NOW))) {
                prop_assert!(kept.len() + 1 >= FILES || total(&kept) + u128::from(last.size + incoming) > BYTES);
                prop_assert_eq!(kept.iter().filter(|item| item.modified < last.modified).count(), 0);
            }
        }
    }
}
