//! Scenarios: what is done to a guest and its GPU, and what has to be seen.

mod check;
pub mod condition;
pub mod diagnostic;
pub mod evidence;
pub mod expect;
pub mod kernels;
pub mod model;
pub mod outcome;
pub mod parse;
mod parse_expect;
mod reader;
