//! What a step leaves behind: termination message, `exitCode`, post file.
