//! What the device's process says and is asked.

pub mod asic;
pub mod engine;
pub mod event;
pub mod fault;
pub mod loss;
pub mod oracle;
pub mod personality;
pub mod request;
pub mod shape;
pub mod state;
pub mod stats;
pub mod tables;
pub mod words;
