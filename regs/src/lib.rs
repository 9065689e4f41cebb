#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod athub;
pub mod gc;
pub mod hdp;
pub mod mmhub;
pub mod mp;
pub mod nbio;
pub mod osssys;
mod row;
pub mod smuio;
pub mod thm;
