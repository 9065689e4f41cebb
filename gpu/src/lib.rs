#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod asic;
pub mod blocks;
mod card;
pub mod event;
pub mod images;
pub mod limited;
pub mod memory;
pub mod registers_doc;
pub mod sriov;
#[cfg(test)]
mod testing;

pub use card::*;
