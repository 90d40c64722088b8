//! The main job on loopback.

fn main() {}
