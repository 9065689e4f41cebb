//! Scenarios: what is done to a guest and its GPU, and what has to be seen.

mod alternatives;
pub mod boot;
pub mod catalogue;
mod check;
pub mod condition;
pub mod diagnostic;
pub mod evidence;
pub mod expect;
pub mod judge;
pub mod kconfig;
pub mod kernels;
pub mod model;
pub mod outcome;
pub mod parse;
mod parse_expect;
pub mod plan;
mod reader;
pub mod runner;
pub mod schema;
mod slots;
pub mod timing;
mod vocabulary;
