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
}
