//! How long to wait between two tries of an endpoint.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The pause behind the first try.
const SHORTEST: Duration = Duration::from_millis(250);
/// The pause that they grow to.
const LONGEST: Duration = Duration::from_secs(5);

/// The pause behind this many tries: doubled each time, and each off by up to a quarter either way, so that the steps which
/// wait for one daemon do not ask it all at once. `random` is any number.
pub(super) fn after(tries: u32, random: u32) -> Duration {
    let doublings = tries.saturating_sub(1);
    let doubled = SHORTEST.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST);
    (doubled / 1000).saturating_mul(750 + random % 501)
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
    fn pauses_grow_from_a_quarter_of_a_second_to_five_seconds_and_are_never_alike() {
        for tries in 1..200 {
            let doubled = (0.25 * 2_f64.powi(tries - 1)).min(5.0);
            for random in [0, 249, 250, 500, 501, u32::MAX] {
                let pause = after(u32::try_from(tries).unwrap(), random).as_secs_f64();
                assert!((doubled * 0.75..=doubled * 1.25).contains(&pause), "{tries} {random}: {pause}");
            }
        }
        assert_ne!(after(4, 10), after(4, 400));
    }
}
