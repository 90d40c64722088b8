//! The registry client: challenge, token, manifest, config.
