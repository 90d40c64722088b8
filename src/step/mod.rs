//! A step's life: its wait, its command, its process.
