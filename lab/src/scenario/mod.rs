//! Scenarios: what is done to a guest and its GPU, and what has to be seen.

pub mod outcome;
