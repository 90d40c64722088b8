//! Many at once: orphans, steps, bytes.
