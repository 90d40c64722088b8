//! What init containers ask for: placing the binary, step directories, decoding scripts.
