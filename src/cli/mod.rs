//! The command line: Go-style flags, through clap, to an invocation.
