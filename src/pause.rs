//! How long to wait between two tries of the same thing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between which lengths pauses grow.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// The shortest, which is the first.
    pub shortest: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Pauses {
    /// The pause behind this many others: doubled each time, and each off by up to a quarter either way, so that those who
    /// failed together do not come back together. `random` is any number.
    #[must_use]
    pub fn behind(self, others: u32, random: u32) -> Duration {
        let doubled = self.shortest.saturating_mul(1_u32.checked_shl(others).unwrap_or(u32::MAX)).min(self.longest);
        (doubled / 1000).saturating_mul(750 + random % 500).clamp(self.shortest, self.longest)
    }
}

/// Into how many steps the random part of a pause is divided.
const STEPS: u32 = 1_000_000;

/// A pause that is never shorter than what was asked for, and longer by a random part of at most a quarter of it, or of at
/// most `least` where that is more: those who were all told the same number do not come back together, not even where it
/// is 0. `random` is any number.
#[must_use]
pub fn not_before(asked: Duration, least: Duration, random: u32) -> Duration {
    let most = (asked / 4).max(least);
    asked.saturating_add((most / STEPS).saturating_mul(random % (STEPS + 1)))
}

/// A number that is different in other pods: all that a pause needs of chance.
#[must_use]
pub fn some_number() -> u32 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    (clock / 1000) ^ std::process::id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_the_shortest_to_the_longest_and_are_never_alike() {
        for (shortest, longest) in [(1.0_f64, 60.0), (0.25, 5.0)] {
            let seconds = Duration::from_secs_f64;
            let pauses = Pauses { shortest: seconds(shortest), longest: seconds(longest) };
            for others in 0..200 {
                let doubled = (shortest * 2_f64.powi(others)).min(longest);
                for random in [0, 249, 250, 499, 500, u32::MAX] {
                    let pause = pauses.behind(u32::try_from(others).unwrap(), random).as_secs_f64();
                    let (least, most) = ((doubled * 0.75).max(shortest), (doubled * 1.25).min(longest));
                    assert!((least..=most).contains(&pause), "{others} {random}: {pause}");
                }
            }
            assert_ne!(pauses.behind(3, 10), pauses.behind(3, 400));
        }
    }

    #[test]
    fn nobody_comes_back_before_the_time_and_not_all_at_once() {
        let (millis, all, half) = (Duration::from_millis, STEPS, STEPS / 2);
        for (asked, least, random, pause) in [
            (0, 0, all, 0),
            (0, 1_000, 0, 0),
            (0, 1_000, half, 500),
            (0, 1_000, all, 1_000),
            (1_000, 1_000, 0, 1_000),
            (1_000, 1_000, half, 1_500),
            (1_000, 0, all, 1_250),
            (8_000, 1_000, 0, 8_000),
            (8_000, 1_000, half, 9_000),
            (8_000, 1_000, all, 10_000),
            (8_000, 1_000, all + 1, 8_000),
            (900_000, 1_000, all, 1_125_000),
        ] {
            assert_eq!(not_before(millis(asked), millis(least), random), millis(pause), "{asked} {least} {random}");
        }
        for random in [0, 1, 499_999, u32::MAX] {
            let pause = not_before(millis(60_000), millis(1_000), random);
            assert!((millis(60_000)..=millis(75_000)).contains(&pause), "{random}: {pause:?}");
            assert!(not_before(Duration::MAX, Duration::ZERO, random) >= Duration::MAX - Duration::from_secs(1));
        }
    }
}
