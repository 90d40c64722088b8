//! How long to wait between two attempts of a lookup.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The shortest pause.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause after this many failures before it: doubled each time, and each pause off by up to a quarter either way,
/// so that the pods of a node that failed together do not come back together. `random` is any number.
pub(super) fn after(failures: u32, random: u32) -> Duration {
    let doubled = SHORTEST.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LONGEST);
    let thousandths = 750 + random % 500;
    (doubled / 1000).saturating_mul(thousandths).clamp(SHORTEST, LONGEST)
}

/// A number that is different in other pods: all that a pause needs of chance.
pub(super) fn some_number() -> u32 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    (clock / 1000) ^ std::process::id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_one_second_to_one_minute_and_are_never_alike() {
        for failures in 0..200 {
            let doubled = 2_f64.powi(failures).min(60.0);
            for random in [0, 249, 250, 499, 500, u32::MAX] {
                let pause = after(u32::try_from(failures).unwrap(), random).as_secs_f64();
                let (shortest, longest) = ((doubled * 0.75).max(1.0), (doubled * 1.25).min(60.0));
                assert!((shortest..=longest).contains(&pause), "{failures} {random}: {pause}");
            }
        }
        assert_ne!(after(4, 10), after(4, 400));
    }
}
