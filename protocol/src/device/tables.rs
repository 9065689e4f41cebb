//! The answers to `page-tables` and `unmodelled`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::words::{LevelName, RegisterSpace};

/// What one context's page tables hold.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TableReport {
    /// The context.
    pub vmid: u8,
    /// Whether the context is enabled and has a root.
    pub live: bool,
    /// Where the root is.
    pub root: String,
    /// Tables by level, root first.
    #[schemars(with = "BTreeMap<LevelName, u64>")]
    pub tables: BTreeMap<&'static str, u64>,
    /// Present entries by level, root first.
    #[schemars(with = "BTreeMap<LevelName, u64>")]
    pub entries: BTreeMap<&'static str, u64>,
    /// Pages in VRAM.
    pub vram_pages: u64,
    /// Pages in system memory.
    pub system_pages: u64,
    /// Partially resident pages.
    pub prt_pages: u64,
    /// Bytes mapped.
    pub mapped_bytes: u64,
    /// Pages and tables that are in no memory.
    pub out_of_memory: u64,
    /// The walk was given up: the tables are too many, or point at themselves.
    pub truncated: bool,
}

/// A register that the guest touched and that is not modelled.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct UnmodelledRegister {
    /// `register` or `smn`.
    #[schemars(with = "RegisterSpace")]
    pub space: &'static str,
    /// Byte offset.
    pub offset: u32,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Last value written.
    pub last_write: Option<u32>,
}
