//! The cache as one lookup uses it: what is on it is believed because it verifies, and used by whom may read it.

use crate::cache::Cache;

/// A cache for one lookup.
#[derive(Debug)]
pub struct Shelf {
    #[allow(dead_code, reason = "the next commit")]
    cache: Cache,
}
