#![doc = include_str!("../../README.md")]

pub mod args;
pub mod bisect;
mod boot;
pub mod cli;
pub mod findings;
pub mod mutants;
pub mod options;
pub mod rooted;
pub mod run;
pub mod runner;
mod slots;
mod subject;
pub mod watch;
