//! Filesystems that fill up or turn read-only, at every write.
