//! The pass of a step.
