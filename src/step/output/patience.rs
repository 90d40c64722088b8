//! How long a step that has ended waits for somebody to read what it printed.

use std::time::{Duration, Instant};

/// How long nothing may be read before we give up.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The time since somebody last read something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    ends: Option<Instant>,
}

impl Patience {
    /// It begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self { ends: now.checked_add(PATIENCE) }
    }

    /// Something was read, if it was more than nothing: the time begins anew.
    pub(super) fn passed(&mut self, bytes: usize, now: Instant) {
        if bytes > 0 {
            *self = Self::new(now);
        }
    }

    /// How long it still lasts; nothing when it is over.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.ends?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_lasts_as_long_as_somebody_reads_and_a_while_longer() {
        let start = Instant::now();
        let after = |part: u32| start + PATIENCE * part / 4;
        let mut patience = Patience::new(start);
        assert_eq!(patience.left(after(1)), Some(PATIENCE * 3 / 4));
        patience.passed(0, after(2));
        assert_eq!(patience.left(after(3)), Some(PATIENCE / 4));
        patience.passed(1, after(3));
        assert_eq!(patience.left(after(6)), Some(PATIENCE / 4));
        assert_eq!(patience.left(after(7)), None);
        assert_eq!(patience.left(after(9)), None);
    }
}
