//! Scenarios: what is done to a guest and its GPU, and what has to be seen.
//!
//! Nothing here starts a process: it reads files, plans, and judges what was seen.

mod alternatives;
pub mod asic;
pub mod catalogue;
mod check;
pub mod condition;
pub mod context;
pub mod diagnostic;
pub mod driver;
pub mod evidence;
pub mod expect;
pub mod facts;
pub mod judge;
pub mod kernels;
pub mod model;
mod orders;
pub mod outcome;
pub mod parse;
mod parse_expect;
pub mod per_asic;
pub mod plan;
mod reader;
mod relation;
mod resolve;
pub mod schema;
pub mod steps;
pub mod timing;
pub mod verdict;
mod vocabulary;
