//! What a run found, for readers and for programs.

pub mod compute;
pub mod date;
pub mod files;
#[cfg(test)]
mod fixture;
pub mod html;
pub mod junit;
pub mod ktap;
pub mod matrix;
pub mod summary;
pub mod table;
pub mod text;
pub mod timeline;
