//! Names and documents of the registry world: pure values, no I/O.
