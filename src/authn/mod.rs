//! The keychain: every credential that a pod has for a registry, and the story of each source.
