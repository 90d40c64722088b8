//! SIGKILL at any moment, of any process.
