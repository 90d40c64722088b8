//! What happened, in the order in which it happened.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Something that happened.
#[derive(Clone)]
pub struct Event {
    /// Since the beginning.
    pub at: Duration,
    /// Who was asked, or who did it.
    pub who: &'static str,
    /// What was asked, or done. Never holds a secret.
    pub what: String,
}

/// Notes events, from any thread.
pub struct Witness {
    begun: Instant,
    events: Mutex<Vec<Event>>,
    more: Condvar,
}

impl Witness {
    /// Begins now.
    pub fn new() -> Self {
        Self { begun: Instant::now(), events: Mutex::default(), more: Condvar::new() }
    }

    /// Notes an event.
    pub fn note(&self, who: &'static str, what: String) {
        self.events().push(Event { at: self.begun.elapsed(), who, what });
        self.more.notify_all();
    }

    /// All events so far.
    pub fn all(&self) -> Vec<Event> {
        self.events().clone()
    }

    /// Waits until such an event was noted; false if it was not within the limit.
    pub fn wait_for(&self, limit: Duration, such: impl Fn(&Event) -> bool) -> bool {
        let waiting = self.more.wait_timeout_while(self.events(), limit, |events| !events.iter().any(&such));
        waiting.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
